"""The whole state of a MuJoCo environment, captured and restored so that it continues bit for bit.

What follows from a state depends on more than positions and velocities: the constraint solver starts from the
last accelerations, tasks read positions and forces that the last step left behind before they step again,
`TimeLimit` counts steps and the environment draws from its generator. All of it is captured here.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import UnsupportedEnvError

# What each known wrapper remembers from step to step, by the package and the name of its class. The names,
# rather than the classes, keep Stable-Baselines3 out of this package.
_WRAPPER_MEMORY: dict[tuple[str, str], tuple[str, ...]] = {
    ("gymnasium", "DelayObservation"): ("observation_queue",),
    ("gymnasium", "FrameStackObservation"): ("obs_queue", "padding_value"),
    ("gymnasium", "NormalizeObservation"): ("obs_rms", "_update_running_mean"),
    ("gymnasium", "NormalizeReward"): ("return_rms", "discounted_reward", "_update_running_mean"),
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
    ("stable_baselines3", "Monitor"): ("rewards", "needs_reset", "current_reset_info"),
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
_BUILT_WITH = frozenset(
    {
        "_ezpickle_args",
        "_ezpickle_kwargs",
        "camera_id",
        "camera_name",
        "frame_skip",
        "fullpath",
        "height",
        "metadata",
        "observation_structure",
        "render_mode",
        "width",
    }
)
_PHYSICAL = ("actuator_", "body_", "dof_", "eq_", "geom_", "jnt_", "tendon_")
_COSMETIC = ("castshadow", "group", "matid", "rgba", "user", "width")


@runtime_checkable
class Snapshotable(Protocol):
    """What an environment or a wrapper offers to have its own Python state captured.

    A MuJoCo environment needs it only for state that is neither in its simulation nor in attributes made of
    numbers, strings, arrays and containers of these. Other simulators and unknown wrappers need it always.
    """

    def snapshot_state(self) -> object:
        """Return an independent copy of everything that the object remembers from step to step."""

    def restore_snapshot(self, snapshot: Any) -> None:
        """Go back to what `snapshot_state` of this object, or of one built alike, returned."""


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
        generator: The state of the environment's random bit generator.
    """

    layers: tuple[str, ...]
    simulation: Any
    model_parameters: Mapping[str, NDArray[Any]]
    memories: tuple[object, ...]
    generator: Mapping[str, Any]


def capture_state(env: gym.Env[Any, Any]) -> SimulatorState:
    """Capture the state of an environment through all of its wrappers.

    The copy holds the whole `mujoco.MjData`, not only the state that `mj_getState` returns: with that state
    alone the derived quantities (`xpos`, `cfrc_ext`, `ten_length`) would have to be recomputed, which
    `mj_forward` does for the current state while the last step left those of the one before. The state does
    not hold the MuJoCo model.

    Args:
        env: A Gymnasium environment with a MuJoCo simulation (`unwrapped.model` and `unwrapped.data`), or one
            that is `Snapshotable`, after a reset.

    Returns:
        A state that later steps of the environment do not change.

    Raises:
        UnsupportedEnvError: The environment or one of its wrappers keeps a state that cannot be captured.
    """
    layers = _layers(env)
    base = layers[-1]
    has_simulation = _has_simulation(base)
    if not has_simulation and not isinstance(base, Snapshotable):
        raise UnsupportedEnvError(
            f"the state of {_name(base)} cannot be captured: it must have a MuJoCo simulation (attributes "
            "model and data) or the methods snapshot_state and restore_snapshot"
        )
    return SimulatorState(
        layers=tuple(_class_name(layer) for layer in layers),
        simulation=copy.copy(base.data) if has_simulation else None,
        model_parameters=_model_parameters(base.model) if has_simulation else {},
        memories=tuple(_remember(layer) for layer in layers),
        generator=copy.deepcopy(base.np_random.bit_generator.state),
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
    layers = _layers(env)
    base = layers[-1]
    _check_same_kind(layers, state)
    if state.simulation is not None:
        mujoco.mj_copyData(base.data, base.model, state.simulation)
    base.np_random.bit_generator.state = copy.deepcopy(dict(state.generator))
    for layer, memory in zip(layers, state.memories, strict=True):
        _recall(layer, memory)


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


def _has_simulation(base: Any) -> bool:
    return isinstance(getattr(base, "model", None), mujoco.MjModel) and isinstance(
        getattr(base, "data", None), mujoco.MjData
    )


def _class_name(layer: object) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _name(base: Any) -> str:
    return base.spec.id if base.spec is not None else type(base).__name__


def _remember(layer: Any) -> object:
    if isinstance(layer, Snapshotable):
        return layer.snapshot_state()
    if not isinstance(layer, gym.Wrapper):
        names = [name for name, value in vars(layer).items() if name not in _BUILT_WITH and _is_plain(value)]
    else:
        key = (type(layer).__module__.split(".")[0], type(layer).__qualname__)
        if key not in _WRAPPER_MEMORY:
            raise UnsupportedEnvError(
                f"the state of the wrapper {_class_name(layer)} cannot be captured: give it the methods "
                "snapshot_state and restore_snapshot, or leave it out"
            )
        names = [name for name in _WRAPPER_MEMORY[key] if hasattr(layer, name)]
    return copy.deepcopy({name: getattr(layer, name) for name in names})


def _recall(layer: Any, memory: Any) -> None:
    if isinstance(layer, Snapshotable):
        layer.restore_snapshot(memory)
        return
    for name, value in copy.deepcopy(memory).items():
        setattr(layer, name, value)


def _is_plain(value: object) -> bool:
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        # An array whose memory is not NumPy's shows the simulation itself, and a copy would cut it off.
        return value.base is None and value.dtype != object
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic)


def _model_parameters(model: Any) -> dict[str, NDArray[Any]]:
    names = [name for name in dir(model) if name.startswith(_PHYSICAL) and not name.endswith(_COSMETIC)]
    found = {name: getattr(model, name) for name in names}
    found.update({f"opt.{name}": getattr(model.opt, name) for name in dir(model.opt) if name[0] != "_"})
    return {name: np.array(value) for name, value in found.items() if not callable(value)}


def _check_same_kind(layers: list[Any], state: SimulatorState) -> None:
    found = tuple(_class_name(layer) for layer in layers)
    if found != state.layers:
        raise UnsupportedEnvError(
            f"the state was captured from {' > '.join(state.layers)} and cannot be restored to "
            f"{' > '.join(found)}: they must be of the same classes in the same order"
        )
    base = layers[-1]
    if state.simulation is None:
        return
    parameters = _model_parameters(base.model)
    differing = [
        name
        for name, value in state.model_parameters.items()
        if name not in parameters or not np.array_equal(parameters[name], value)
    ]
    if differing:
        raise UnsupportedEnvError(
            f"the state was captured from a MuJoCo model with another {differing[0]} than that of "
            f"{_name(base)}: both environments must simulate the same model with the same parameters"
        )
