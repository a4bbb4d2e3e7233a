"""An environment's whole state as numbers, strings, arrays and containers, which any file format can hold.

The state of a MuJoCo simulation is MuJoCo's own integration state and every array of `mujoco.MjData` that the
model alone gives a size: tasks read positions and forces that the last step left behind before they step
again, so an environment restored from these continues bit for bit without `mj_forward`. Contacts and the
rows of constraints, whose number changes from step to step, are not kept: the next step finds them anew.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import UnsupportedEnvError
from hyperrl_envs.simulator_state import SimulatorState, capture_state, check_fits, restore_state

_Arrays = Mapping[str, NDArray[Any]]

_INTEGRATION = int(mujoco.mjtState.mjSTATE_INTEGRATION)
# Addresses in memory, which mean nothing in another simulation.
_POINTERS = frozenset({"plugin_data"})
# Of fixed size as well, but not in the buffer where MuJoCo keeps the others.
_BESIDE_BUFFER = ("energy",)
_ATOMS = (bool, int, float, str, bytes)
_MUTABLE = (np.ndarray, list, dict, set, deque)


def capture_plain(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Capture the state of an environment, through all of its wrappers, as plain data.

    Args:
        env: An environment that `simulator_state.capture_state` takes, after a reset.

    Returns:
        Numbers, strings, NumPy arrays and containers of these, independent of the environment.

    Raises:
        UnsupportedEnvError: The environment or one of its wrappers keeps a state that is not plain.
    """
    return to_plain(capture_state(env))


def restore_plain(env: gym.Env[Any, Any], plain: Mapping[str, Any]) -> None:
    """Bring an environment to a state that `capture_plain` returned, from which it continues bit for bit.

    Args:
        env: An environment built like the one that the state came from. It need not have been reset.
        plain: The state, possibly after a journey through a file.

    Raises:
        UnsupportedEnvError: The environment has other wrappers, another class, a MuJoCo model with other
            physical parameters or another MuJoCo. It is unchanged then.
    """
    restore_state(env, from_plain(env, plain))


def to_plain(state: SimulatorState) -> dict[str, Any]:
    """Return a state in memory as plain data.

    Args:
        state: What `simulator_state.capture_state` returned.

    Raises:
        UnsupportedEnvError: A layer's memory is not plain, or a MuJoCo plugin keeps memory of its own.
    """
    for layer, memory in zip(state.layers, state.memories, strict=True):
        _check_plain(memory, layer)
    return {
        "layers": list(state.layers),
        "simulation": None if state.simulation is None else _plain_simulation(state.simulation),
        "model_parameters": _join(state.model_parameters),
        "memories": list(state.memories),
        "same": _same_objects(state.memories[-1]),
        "generator": None if state.generator is None else dict(state.generator),
        "spaces": [None if space is None else dict(space) for space in state.spaces],
        "left_out": list(state.left_out),
    }


def from_plain(env: gym.Env[Any, Any], plain: Mapping[str, Any]) -> SimulatorState:
    """Return plain data as a state that `simulator_state.restore_state` takes.

    Args:
        env: The environment that it is for; it is not changed.
        plain: What `to_plain` returned.

    Raises:
        UnsupportedEnvError: The environment cannot take the state, see `restore_plain`.
    """
    state = SimulatorState(
        layers=tuple(plain["layers"]),
        simulation=None,
        model_parameters=_split(plain["model_parameters"]),
        memories=(*plain["memories"][:-1], _with_same_objects(plain["memories"][-1], plain["same"])),
        generator=plain["generator"],
        spaces=tuple(plain["spaces"]),
        left_out=tuple(plain["left_out"]),
    )
    check_fits(env, state)
    if plain["simulation"] is None:
        return state
    model = env.unwrapped.model  # type: ignore[attr-defined]
    return dataclasses.replace(state, simulation=_simulation(model, plain["simulation"]))


def _plain_simulation(data: Any) -> dict[str, Any]:
    if data.nplugin:
        raise UnsupportedEnvError(
            "the state of a MuJoCo simulation with plugins cannot be saved: they keep memory of their own"
        )
    integration = np.empty(mujoco.mj_stateSize(data.model, _INTEGRATION), np.float64)
    mujoco.mj_getState(data.model, data, integration, _INTEGRATION)
    return {
        "mujoco": mujoco.__version__,
        "integration": integration,
        "arrays": _join(_fixed_arrays(data)),
        "flags": {name: getattr(data, name) for name in _flag_names(data)},
    }


def _simulation(model: Any, plain: Mapping[str, Any]) -> Any:
    data = mujoco.MjData(model)
    # The names exist before their values are right: what MuJoCo of this version keeps is compared first.
    own, saved = _fixed_arrays(data), _split(plain["arrays"])
    kinds = [{name: (array.shape, array.dtype) for name, array in arrays.items()} for arrays in (own, saved)]
    size = mujoco.mj_stateSize(model, _INTEGRATION)
    if kinds[0] != kinds[1] or len(plain["integration"]) != size or set(plain["flags"]) != _flag_names(data):
        raise UnsupportedEnvError(
            f"the state was captured with MuJoCo {plain['mujoco']}, whose simulations hold other arrays than "
            f"those of MuJoCo {mujoco.__version__}: install the one that it came from"
        )
    mujoco.mj_setState(model, data, plain["integration"], _INTEGRATION)
    for name, array in own.items():
        array[...] = saved[name]
    for name, value in plain["flags"].items():
        setattr(data, name, value)
    return data


def _fixed_arrays(data: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays whose size follows from the model, as views of the simulation.

    They lie in one buffer that begins with `qpos`. The others are laid out anew in every step, outside of it.
    """
    start = data.qpos.ctypes.data
    arrays = {
        name: value
        for name in dir(data)
        if name[0] != "_" and name not in _POINTERS and isinstance(value := getattr(data, name), np.ndarray)
    }
    return {
        name: array
        for name, array in arrays.items()
        if array.size and (name in _BESIDE_BUFFER or start <= array.ctypes.data < start + data.nbuffer)
    }


def _flag_names(data: Any) -> set[str]:
    """Return the names of what tells MuJoCo which of its arrays are up to date and which bodies are awake."""
    names = {name for name in dir(data) if name.startswith("flg_") or name.endswith("_awake")}
    return {name for name in names if not isinstance(getattr(data, name), np.ndarray)}


def _join(arrays: _Arrays) -> dict[str, Any]:
    """Lay arrays end to end, one long array for each type: a file with hundreds of small ones is slow."""
    flat: dict[str, list[NDArray[Any]]] = {}
    for array in arrays.values():
        flat.setdefault(array.dtype.str, []).append(array.ravel())
    return {
        "layout": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        "values": {kind: np.concatenate(parts) for kind, parts in flat.items()},
    }


def _split(joined: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    position = dict.fromkeys(joined["values"], 0)
    arrays = {}
    for name, kind, shape in joined["layout"]:
        start = position[kind]
        position[kind] = start + int(np.prod(shape))
        arrays[name] = joined["values"][kind][start : position[kind]].reshape(shape)
    return arrays


def _same_objects(memory: Any) -> dict[str, str]:
    """Find attributes of an environment that are one and the same object: a file keeps values only."""
    first: dict[int, str] = {}
    same = {}
    for name, value in _attributes(memory).items():
        if isinstance(value, _MUTABLE) and first.setdefault(id(value), name) != name:
            same[name] = first[id(value)]
    return same


def _with_same_objects(memory: Any, same: Mapping[str, str]) -> Any:
    if not same:
        return memory
    attributes = _attributes(memory)
    shared = {name: attributes[other] for name, other in same.items()}
    return {**memory, "attributes": {**attributes, **shared}}


def _attributes(memory: Any) -> dict[str, Any]:
    is_own = isinstance(memory, dict) and set(memory) == {"attributes", "generators"}
    return memory["attributes"] if is_own else {}


def _check_plain(value: Any, path: str) -> None:
    kind = type(value)
    if value is None or kind in _ATOMS:
        return
    if kind is np.ndarray or isinstance(value, np.generic):
        if value.dtype.kind in "biuf":
            return
    elif kind is dict:
        for key, part in value.items():
            _check_plain(key, path)
            _check_plain(part, f"{path}.{key}")
        return
    elif kind in (list, tuple, set, frozenset, deque):
        for part in value:
            _check_plain(part, path)
        return
    described = f"array of {value.dtype}" if kind is np.ndarray else kind.__name__
    raise UnsupportedEnvError(
        f"the state of {path} cannot be saved: it is of type {described}, and only numbers, strings, arrays "
        "of numbers and containers of these can be saved"
    )
