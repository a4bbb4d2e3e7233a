"""Loading MuJoCo models and finding things in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mujoco
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from hyperrl.errors import ConfigError, ShapeError

_SIZES = ("nq", "nv", "nu", "na", "nbody", "ntendon", "nsite")


def load_model(xml_file: str) -> Any:
    """Load a model as Gymnasium does.

    Args:
        xml_file: The name of a file among Gymnasium's assets, or a path that begins with "/", "." or "~".

    Returns:
        The `mujoco.MjModel`.

    Raises:
        ConfigError: There is no such file, or it is no model.
    """
    try:
        return mujoco.MjModel.from_xml_path(expand_model_path(xml_file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"xml_file {xml_file!r} cannot be loaded: {str(error).splitlines()[0]}") from error


def check_alike(models: Sequence[Any]) -> None:
    """Refuse models that cannot be stacked.

    Args:
        models: At least one `mujoco.MjModel`.

    Raises:
        ShapeError: They differ in the number of coordinates, actuators, bodies, tendons or sites.
    """
    first = [getattr(models[0], name) for name in _SIZES]
    for index, model in enumerate(models):
        sizes = [getattr(model, name) for name in _SIZES]
        for name, size, expected in zip(_SIZES, sizes, first, strict=True):
            if size != expected:
                raise ShapeError(
                    f"models[{index}] has {name} = {size}, but models[0] has {expected}: environments that "
                    "are stepped together need models of the same structure"
                )


def named(find: Callable[[Any], Any], kind: str, name: int | str) -> Any:
    """Return a part of a simulation by name or number.

    Args:
        find: The accessor, for example `data.body`.
        kind: What it finds, for messages.
        name: The name, or the number.

    Raises:
        ConfigError: The model has no such part.
    """
    try:
        return find(name)
    except (KeyError, IndexError) as error:
        raise ConfigError(f"the model has no {kind} {name!r}, which the task needs") from error
