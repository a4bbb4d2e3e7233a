"""The whole state of an environment, captured and restored so that it continues bit for bit.

What follows from a state depends on more than positions and velocities: the constraint solver starts from the
last accelerations, tasks read positions and forces that the last step left behind before they step again,
`TimeLimit` counts steps, the environment and its spaces draw from their generators. All of it is captured
here. The state stays in memory; `hyperrl_envs.saved_state` gives it a form that can be written to a file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import UnsupportedEnvError
from hyperrl_envs.generator_state import (
    capture_spaces,
    generator_state,
    restore_spaces,
    set_generator_state,
)
from hyperrl_envs.layer_memory import (
    Snapshotable,
    check_attributes,
    class_name,
    left_out,
    recall,
    remember,
)

__all__ = ["SimulatorState", "Snapshotable", "capture_state", "check_fits", "restore_state"]

_PHYSICAL = ("actuator_", "body_", "dof_", "eq_", "geom_", "jnt_", "tendon_")
_COSMETIC = ("castshadow", "group", "matid", "rgba", "user", "width")


@dataclass(frozen=True, eq=False)
class SimulatorState:
    """One moment of an environment; see `capture_state`.

    Attributes:
        layers: The classes of the wrappers, outermost first, and of the environment itself.
        simulation: A copy of the whole `mujoco.MjData`, or None where the environment has no MuJoCo
            simulation.
        model_parameters: The physical parameters of the MuJoCo model by name, to tell a changed model from
            the same.
        memories: What each layer remembers, in the order of `layers`.
        generator: The state of the environment's random bit generator, None where it has none yet.
        spaces: The states of the generators of the layers' spaces, None for a space without one.
        left_out: Attributes of an environment with a simulation that are not part of the state, because they
            are neither plain data nor known to hold no state, each with its type.
    """

    layers: tuple[str, ...]
    simulation: Any
    model_parameters: Mapping[str, NDArray[Any]]
    memories: tuple[object, ...]
    generator: Mapping[str, Any] | None
    spaces: Sequence[Mapping[str, Any] | None]
    left_out: tuple[str, ...] = ()


def capture_state(env: gym.Env[Any, Any]) -> SimulatorState:
    """Capture the state of an environment through all of its wrappers.

    The copy holds the whole `mujoco.MjData`, not only the state that `mj_getState` returns: with that state
    alone the derived quantities (`xpos`, `cfrc_ext`, `ten_length`) would have to be recomputed, which
    `mj_forward` does for the current state while the last step left those of the one before. The state does
    not hold the MuJoCo model.

    Args:
        env: A Gymnasium environment after a reset: one with a MuJoCo simulation (`unwrapped.model` and
            `unwrapped.data`), one that is `Snapshotable`, or one whose every attribute is made of numbers,
            strings, arrays and containers, or is a space or a NumPy generator.

    Returns:
        A state that later steps of the environment do not change.

    Raises:
        UnsupportedEnvError: The environment or one of its wrappers keeps a state that cannot be captured.
    """
    layers = _layers(env)
    base = layers[-1]
    has_simulation = _has_simulation(base)
    if not has_simulation and not isinstance(base, Snapshotable):
        check_attributes(base, _name(base))
    return SimulatorState(
        layers=tuple(class_name(layer) for layer in layers),
        simulation=copy.copy(base.data) if has_simulation else None,
        model_parameters=_model_parameters(base) if has_simulation else {},
        memories=tuple(remember(layer, has_simulation) for layer in layers),
        generator=generator_state(base.np_random) if _has_generator(base) else None,
        spaces=capture_spaces(_spaces(layers)),
        left_out=left_out(base) if has_simulation else (),
    )


def restore_state(env: gym.Env[Any, Any], state: SimulatorState) -> None:
    """Bring an environment back to a captured state, from which it continues bit for bit.

    Args:
        env: The environment that the state was captured from, or another one built in the same way. It need
            not have been reset.
        state: What `capture_state` returned. It can be restored any number of times.

    Raises:
        UnsupportedEnvError: The environment has other wrappers, another class, or a MuJoCo model with other
            physical parameters than the one that the state came from. The environment is unchanged then.
    """
    check_fits(env, state)
    layers = _layers(env)
    base = layers[-1]
    if state.simulation is not None:
        mujoco.mj_copyData(base.data, base.model, state.simulation)
    if state.generator is not None:
        # Before the attributes: an environment that was never reset makes its generator, and its seed, now.
        set_generator_state(base.np_random, state.generator)
    elif _has_generator(base):
        base._np_random = base._np_random_seed = None
    for layer, memory in zip(layers, state.memories, strict=True):
        recall(layer, memory)
    restore_spaces(_spaces(layers), state.spaces)


def check_fits(env: gym.Env[Any, Any], state: SimulatorState) -> None:
    """Refuse an environment that a state cannot be restored to.

    Args:
        env: The environment; it is not changed.
        state: The state of another one.

    Raises:
        UnsupportedEnvError: The environment has other wrappers, another class, or a MuJoCo model with other
            physical parameters than the one that the state came from.
    """
    layers = _layers(env)
    found = tuple(class_name(layer) for layer in layers)
    if found != state.layers:
        raise UnsupportedEnvError(
            f"the state was captured from {' > '.join(state.layers)} and cannot be restored to "
            f"{' > '.join(found)}: they must be of the same classes in the same order"
        )
    base = layers[-1]
    if not state.model_parameters:
        return
    parameters = _model_parameters(base)
    # Where only one of them draws a parameter anew in each episode, only the other has it here.
    differing = [
        name
        for name in {**state.model_parameters, **parameters}
        if name not in parameters
        or name not in state.model_parameters
        or not np.array_equal(parameters[name], state.model_parameters[name])
    ]
    if differing:
        raise UnsupportedEnvError(
            f"the state was captured from a MuJoCo model with another {differing[0]} than that of "
            f"{_name(base)}: both environments must simulate the same model with the same parameters"
        )


def _layers(env: gym.Env[Any, Any]) -> list[Any]:
    if not isinstance(env, gym.Env):
        raise UnsupportedEnvError(
            f"the state of a {type(env).__name__} cannot be captured: "
            "give one gymnasium.Env, not a vectorised one"
        )
    return list(_unwrap(env))


def _unwrap(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


def _spaces(layers: list[Any]) -> Iterator[gym.Space[Any]]:
    for layer in layers:
        named = [getattr(layer, name, None) for name in ("action_space", "observation_space")]
        # Some draw their states from a further space.
        yield from (value for value in (*named, *vars(layer).values()) if isinstance(value, gym.Space))


def _has_simulation(base: Any) -> bool:
    return isinstance(getattr(base, "model", None), mujoco.MjModel) and isinstance(
        getattr(base, "data", None), mujoco.MjData
    )


def _has_generator(base: Any) -> bool:
    # Asking for `np_random` would make one, seeded by chance.
    return type(base).np_random is not gym.Env.np_random or base._np_random is not None


def _name(base: Any) -> str:
    return base.spec.id if base.spec is not None else type(base).__name__


def _model_parameters(base: Any) -> dict[str, NDArray[Any]]:
    model = base.model
    # What episodes change is part of what the environment itself remembers.
    redrawn = getattr(base, "redrawn_parameters", ())
    names = [
        name
        for name in dir(model)
        if name.startswith(_PHYSICAL) and not name.endswith(_COSMETIC) and name not in redrawn
    ]
    found = {name: getattr(model, name) for name in names}
    options = {f"opt.{name}": getattr(model.opt, name) for name in dir(model.opt) if name[0] != "_"}
    found.update({name: value for name, value in options.items() if name not in redrawn})
    return {name: np.array(value) for name, value in found.items() if not callable(value)}
