"""Loading MuJoCo Warp, which is an extra."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from hyperrl.errors import ConfigError, MissingExtraError


class Libraries(NamedTuple):
    """The modules that simulate.

    Attributes:
        warp: `warp`, which compiles and launches kernels.
        mujoco_warp: `mujoco_warp`, MuJoCo as such kernels.
    """

    warp: Any
    mujoco_warp: Any


def load_libraries() -> Libraries:
    """Import warp and MuJoCo Warp.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    try:
        warp = importlib.import_module("warp")
        # Where there is no GPU it would say so, whatever the device; modules are compiled without a word.
        warp.config.log_level = max(warp.config.log_level, warp.LOG_ERROR)
        return Libraries(warp, importlib.import_module("mujoco_warp"))
    except ImportError as error:
        raise MissingExtraError(
            "the simulation with MuJoCo Warp needs packages that are not installed "
            f"({error.name or error}): pip install -e '.[warp]'"
        ) from error


def torch_device(name: str) -> Any:
    """Return the `torch.device` that a name stands for, with its number where it is a GPU.

    Args:
        name: "cpu", "cuda", "cuda:0" and so on, or "auto" for a GPU where torch finds one.

    Raises:
        ConfigError: It is neither a processor nor a GPU that is there.
    """
    import torch

    found = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if found else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise ConfigError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    number = torch.cuda.current_device() if device.index is None and found else device.index or 0
    if number >= found:
        raise ConfigError(f"device is {name!r}, but torch finds {found or 'no'} GPUs here: use 'cpu'")
    return torch.device("cuda", number)
