"""What the layers of an environment, its wrappers and itself, remember from step to step in Python."""

from __future__ import annotations

import copy
import enum
import itertools
import types
from collections import deque
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from hyperrl.errors import UnsupportedEnvError
from hyperrl_envs.generator_state import generator_state, set_generator_state

# What each known wrapper remembers from step to step, by the package and the name of its class. The names,
# rather than the classes, keep Stable-Baselines3 out of this package.
_WRAPPER_MEMORY: dict[tuple[str, str], tuple[str, ...]] = {
    ("gymnasium", "DelayObservation"): ("observation_queue",),
    ("gymnasium", "FrameStackObservation"): ("obs_queue", "padding_value"),
    ("gymnasium", "NormalizeObservation"): (
        "obs_rms.mean",
        "obs_rms.var",
        "obs_rms.count",
        "_update_running_mean",
    ),
    ("gymnasium", "NormalizeReward"): (
        "return_rms.mean",
        "return_rms.var",
        "return_rms.count",
        "discounted_reward",
        "_update_running_mean",
    ),
    ("gymnasium", "OrderEnforcing"): ("_has_reset",),
    ("gymnasium", "PassiveEnvChecker"): (
        "checked_reset",
        "checked_step",
        "checked_data_reuse",
        "_previous_data",
    ),
    ("gymnasium", "RecordEpisodeStatistics"): ("episode_returns", "episode_lengths", "episode_start_time"),
    ("gymnasium", "StickyAction"): ("last_action", "is_sticky_actions", "num_repeats", "repeats_taken"),
    ("gymnasium", "TimeAwareObservation"): ("timesteps",),
    ("gymnasium", "TimeLimit"): ("_elapsed_steps",),
    ("stable_baselines3", "Monitor"): ("rewards", "needs_reset", "current_reset_info", "total_steps"),
    **{
        ("gymnasium", name): ()
        for name in (
            "AddRenderObservation",
            "ClipAction",
            "ClipReward",
            "DtypeObservation",
            "FilterObservation",
            "FlattenObservation",
            "GrayscaleObservation",
            "RescaleAction",
            "RescaleObservation",
            "ReshapeObservation",
            "ResizeObservation",
            "TransformAction",
            "TransformObservation",
            "TransformReward",
        )
    },
}
# How an environment was built and how it draws; restoring these would change how another instance renders.
_BUILT_WITH = frozenset({"_ezpickle_args", "_ezpickle_kwargs", "metadata", "render_mode"})
_SIMULATION_BUILT_WITH = _BUILT_WITH | {
    "camera_id",
    "camera_name",
    "frame_skip",
    "fullpath",
    "height",
    "observation_structure",
    "width",
}
# Objects that remember nothing which a step depends on, by the package that their class comes from.
_DRAWING = frozenset({"glfw", "pygame"})
_STATELESS = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    type,
    np.dtype,
    enum.Enum,
)


@runtime_checkable
class Snapshotable(Protocol):
    """What an environment or a wrapper offers to have its own Python state captured.

    A MuJoCo environment needs it only for state that is neither in its simulation nor in attributes made of
    numbers, strings, arrays and containers of these; another environment only where an attribute is something
    else than these, a space or a NumPy generator. Unknown wrappers need it always. A checkpoint takes a
    snapshot that is made of numbers, strings, arrays and containers only.
    """

    def snapshot_state(self) -> object:
        """Return an independent copy of everything that the object remembers from step to step."""

    def restore_snapshot(self, snapshot: Any) -> None:
        """Go back to what `snapshot_state` of this object, or of one built alike, returned."""


def remember(layer: Any, has_simulation: bool) -> object:
    """Return an independent copy of what a layer remembers from step to step.

    Args:
        layer: A wrapper or an environment.
        has_simulation: Whether the environment has a MuJoCo simulation.

    Raises:
        UnsupportedEnvError: The wrapper is unknown and not `Snapshotable`.
    """
    if isinstance(layer, Snapshotable):
        return layer.snapshot_state()
    if not isinstance(layer, gym.Wrapper):
        return _remember_attributes(layer, has_simulation)
    key = (type(layer).__module__.split(".")[0], type(layer).__qualname__)
    if key not in _WRAPPER_MEMORY:
        raise UnsupportedEnvError(
            f"the state of the wrapper {class_name(layer)} cannot be captured: give it the methods "
            "snapshot_state and restore_snapshot, or leave it out"
        )
    memory = {}
    for path in _WRAPPER_MEMORY[key]:
        owner, name = _owner(layer, path)
        if hasattr(owner, name):
            memory[path] = getattr(owner, name)
    return copy.deepcopy(memory)


def recall(layer: Any, memory: Any) -> None:
    """Let a layer go back to what `remember` returned, for this layer or for one built alike."""
    if isinstance(layer, Snapshotable):
        layer.restore_snapshot(memory)
    elif isinstance(layer, gym.Wrapper):
        for path, value in copy.deepcopy(memory).items():
            owner, name = _owner(layer, path)
            setattr(owner, name, value)
    else:
        for name, value in copy.deepcopy(memory["attributes"]).items():
            if not _draws(vars(layer).get(name)):
                setattr(layer, name, value)
        for name, state in memory["generators"].items():
            set_generator_state(getattr(layer, name), state)


def check_attributes(env: Any, name: str) -> None:
    """Refuse an environment without a simulation whose attributes may hide a state.

    Args:
        env: The environment, not `Snapshotable`.
        name: How to call it in a message.

    Raises:
        UnsupportedEnvError: An attribute is no plain data, or two attributes share memory.
    """
    attributes = {key: value for key, value in vars(env).items() if key not in _BUILT_WITH}
    remedy = "give the environment the methods snapshot_state and restore_snapshot"
    known = (gym.Space, EnvSpec, np.random.Generator)
    for key, value in attributes.items():
        if not (is_plain(value) or isinstance(value, known) or _draws(value)):
            raise UnsupportedEnvError(
                f"the state of {name} cannot be captured: its attribute {key}, a {type(value).__name__}, is "
                f"not made of numbers, strings and arrays; {remedy}"
            )
    arrays = {key: value for key, value in attributes.items() if isinstance(value, np.ndarray)}
    for (first, left), (second, right) in itertools.combinations(arrays.items(), 2):
        # Copies of both would no longer show each other's changes.
        if left is not right and np.shares_memory(left, right):
            raise UnsupportedEnvError(
                f"the state of {name} cannot be captured: its attributes {first} and {second} share memory; "
                f"{remedy}"
            )


def left_out(env: Any) -> tuple[str, ...]:
    """Name the attributes of an environment with a simulation that may hold a state and are not captured.

    Args:
        env: The environment.

    Returns:
        The names, each with its type.
    """
    if isinstance(env, Snapshotable):
        return ()
    return tuple(
        f"{key} ({type(value).__name__})"
        for key, value in vars(env).items()
        if key not in _SIMULATION_BUILT_WITH and not is_plain(value) and not _has_no_state(value)
    )


def is_plain(value: object) -> bool:
    """Return whether a value is made of numbers, strings, arrays of its own and containers only."""
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        # An array whose memory is not NumPy's shows the simulation itself, and a copy would cut it off.
        return value.base is None and value.dtype != object
    if isinstance(value, dict):
        return all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return all(is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic)


def class_name(layer: object) -> str:
    """Return the full name of an object's class."""
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _remember_attributes(env: Any, has_simulation: bool) -> dict[str, Any]:
    built_with = _SIMULATION_BUILT_WITH if has_simulation else _BUILT_WITH
    attributes = {key: value for key, value in vars(env).items() if key not in built_with}
    return {
        "attributes": copy.deepcopy({key: value for key, value in attributes.items() if is_plain(value)}),
        "generators": {
            key: generator_state(value)
            for key, value in attributes.items()
            if isinstance(value, np.random.Generator) and key != "_np_random"
        },
    }


def _owner(layer: Any, path: str) -> tuple[Any, str]:
    *parts, name = path.split(".")
    for part in parts:
        layer = getattr(layer, part)
    return layer, name


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _draws(value: object) -> bool:
    return _package(value) in _DRAWING


def _has_no_state(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype != object)  # What is not plain is a view of the simulation.
    known = (gym.Space, EnvSpec, np.random.Generator, *_STATELESS)
    renders = type(value).__module__ == "gymnasium.envs.mujoco.mujoco_rendering"
    return isinstance(value, known) or _draws(value) or renders or _package(value) == "mujoco"
