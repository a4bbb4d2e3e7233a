"""The state of a vectorised environment with its wrappers, as plain data.

Environments in this process are captured one by one (`hyperrl_envs.saved_state`). A vectorised environment
whose environments live elsewhere is asked for their states: its methods are `capture_env_states() -> list`,
which returns what `capture_plain` returns for each, and `restore_env_states(states)`; both may raise
UnsupportedEnvError or StateError. A wrapper of a vectorised environment that is not known here needs the
methods `snapshot_state` and `restore_snapshot` of `hyperrl_envs.simulator_state.Snapshotable`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from hyperrl.errors import CheckpointError, StateError, UnsupportedEnvError
from hyperrl.sb3.normalising import ContextVecNormalize
from hyperrl_envs.generator_state import capture_spaces, restore_spaces
from hyperrl_envs.layer_memory import class_name
from hyperrl_envs.saved_state import capture_plain, restore_plain

_NORMALISER = ("obs_rms", "ret_rms", "returns", "old_obs", "old_reward", "training")
# What each known wrapper remembers from step to step. Subclasses may remember more, so they are not known.
_WRAPPER_MEMORY: dict[type[VecEnvWrapper], tuple[str, ...]] = {
    VecCheckNan: ("_user_warned",),
    VecExtractDictObs: (),
    VecFrameStack: ("stacked_obs",),
    VecMonitor: ("episode_returns", "episode_lengths", "episode_count"),
    VecNormalize: _NORMALISER,
    ContextVecNormalize: _NORMALISER,
    VecTransposeImage: (),
}
# What the statistics and the stacks within a wrapper remember.
_PART_MEMORY: dict[type, tuple[str, ...]] = {
    RunningMeanStd: ("mean", "var", "count"),
    StackedObservations: ("stacked_obs", "sub_stacked_observations"),
}

# The layers at the bottom of a run's environments.
_GYMNASIUM = "stable_baselines3.common.vec_env.dummy_vec_env.DummyVecEnv"
_NATIVE = (
    "hyperrl_envs.native.vec_env.NativeMujocoVecEnv",
    "hyperrl_envs.contextual.native.vec_env.ContextualVecEnv",
)


def capture(vec_env: VecEnv) -> dict[str, Any]:
    """Capture the state of a vectorised environment, or why there is none.

    Args:
        vec_env: The environment between two steps.

    Returns:
        Plain data. `reason` is None, or a sentence that says why the environments themselves could not be
        captured; the statistics of wrappers are there all the same.
    """
    layers = list(_layers(vec_env))
    base = layers[-1]
    state = {
        "layers": [class_name(layer) for layer in layers],
        "count": vec_env.num_envs,
        "wrappers": [_remember(layer) if _is_known(layer) else None for layer in layers[:-1]],
        "spaces": capture_spaces(_spaces(layers)),
        # What the next call of `reset` will use.
        "seeds": list(base._seeds),
        "options": copy.deepcopy(base._options),
        "envs": None,
        "reason": None,
    }
    try:
        for layer in layers[:-1]:
            _check_known(layer)
        state["envs"] = _capture_envs(base)
    except (UnsupportedEnvError, StateError) as error:
        state["reason"] = str(error)
    return state


def restore(vec_env: VecEnv, state: Mapping[str, Any], seed: int) -> tuple[list[str], VecEnvObs | None]:
    """Bring a vectorised environment to a captured state, or to the beginning of new episodes.

    Args:
        vec_env: An environment built like the one that the state came from.
        state: What `capture` returned.
        seed: Seeds the new episodes, where the state has no environments.

    Returns:
        A sentence for everything that does not continue exactly, and the first observations of new episodes,
        or None where the old ones continue.

    Raises:
        CheckpointError: The environment is built otherwise than the one that the state came from.
    """
    layers = list(_layers(vec_env))
    _check_same_kind(layers, state)
    base = layers[-1]
    try:
        restore_spaces(_spaces(layers), state["spaces"])
        for layer, memory in zip(layers[:-1], state["wrappers"], strict=True):
            if memory is not None:
                _recall(layer, memory)
        if state["envs"] is None:
            vec_env.seed(seed)
            sentence = f"all environments begin a new episode, since {state['reason']}"
            return [sentence], vec_env.reset()
        _restore_envs(base, state["envs"])
    except (UnsupportedEnvError, StateError) as error:
        raise CheckpointError(f"the environments do not fit the checkpoint: {error}") from error
    base._seeds, base._options = list(state["seeds"]), copy.deepcopy(state["options"])
    names = dict.fromkeys(name for env in state["envs"] for name in env.get("left_out", ()))
    return [
        f"the environment's attribute {name} is not part of the checkpoint and stays as it was built"
        for name in names
    ], None


def restore_statistics(vec_env: VecEnv, state: Mapping[str, Any]) -> None:
    """Give the normalisers of environments the statistics of others, and keep them as they are from there on.

    Args:
        vec_env: Environments for acting alone; their number may be another.
        state: What `capture` returned for environments with the same wrappers.

    Raises:
        CheckpointError: A normaliser has no counterpart.
    """
    known = dict(zip(state["layers"], state["wrappers"], strict=False))
    for layer in _layers(vec_env):
        if not isinstance(layer, VecNormalize):
            continue
        memory = known.get(class_name(layer))
        if memory is None:
            raise CheckpointError("the checkpoint has no statistics, but its settings normalise observations")
        _recall(layer, {name: memory[name] for name in ("obs_rms", "ret_rms") if name in memory})
        layer.training = False


def _capture_envs(base: Any) -> list[dict[str, Any]]:
    if hasattr(type(base), "capture_env_states"):
        states: list[dict[str, Any]] = base.capture_env_states()
        return states
    if type(base) is not DummyVecEnv:
        raise UnsupportedEnvError(
            f"the state of a {class_name(base)} cannot be captured: it has no method capture_env_states"
        )
    return [capture_plain(env) for env in base.envs]


def _restore_envs(base: Any, states: list[dict[str, Any]]) -> None:
    if hasattr(type(base), "restore_env_states"):
        base.restore_env_states(states)
        return
    for env, state in zip(base.envs, states, strict=True):
        restore_plain(env, state)


def _layers(vec_env: VecEnv) -> Iterator[VecEnv]:
    while isinstance(vec_env, VecEnvWrapper):
        yield vec_env
        vec_env = vec_env.venv
    yield vec_env


def _spaces(layers: list[VecEnv]) -> Iterator[spaces.Space[Any]]:
    for layer in layers:
        yield layer.action_space
        yield layer.observation_space


def _has_methods(layer: VecEnv) -> bool:
    # Asked of the class: a wrapper itself answers with the attributes of what it wraps.
    return hasattr(type(layer), "snapshot_state") and hasattr(type(layer), "restore_snapshot")


def _is_known(layer: VecEnv) -> bool:
    return _has_methods(layer) or type(layer) in _WRAPPER_MEMORY


def _check_known(layer: VecEnv) -> None:
    if not _is_known(layer):
        raise UnsupportedEnvError(
            f"the state of the wrapper {class_name(layer)} cannot be captured: it has no methods "
            "snapshot_state and restore_snapshot"
        )


def _check_same_kind(layers: list[VecEnv], state: Mapping[str, Any]) -> None:
    found = [class_name(layer) for layer in layers]
    if found[-1] in _NATIVE and _GYMNASIUM in state["layers"]:
        raise CheckpointError(
            "the checkpoint's environments were simulated by Gymnasium, as an older hyperrl did by itself, "
            "and cannot go on natively: set native = false in the run's run.toml"
        )
    if found != state["layers"] or layers[0].num_envs != state["count"]:
        raise CheckpointError(
            f"the checkpoint is of {state['count']} environments in {' > '.join(state['layers'])} and cannot "
            f"continue with {layers[0].num_envs} in {' > '.join(found)}: build them as they were"
        )


def _remember(layer: Any) -> Any:
    if _has_methods(layer):
        return layer.snapshot_state()
    # Not `getattr`, which would find an attribute of what the wrapper wraps.
    own = vars(layer)
    return {name: _value(own[name]) for name in _WRAPPER_MEMORY[type(layer)] if name in own}


def _recall(layer: Any, memory: Any) -> None:
    if _has_methods(layer):
        layer.restore_snapshot(memory)
        return
    for name, value in memory.items():
        setattr(layer, name, _restored(vars(layer).get(name), value))


def _value(part: Any) -> Any:
    names = _PART_MEMORY.get(type(part))
    if names is not None:
        own = vars(part)
        return {name: _value(own[name]) for name in names if name in own}
    if isinstance(part, dict):
        return {key: _value(value) for key, value in part.items()}
    return copy.deepcopy(part)


def _restored(part: Any, value: Any) -> Any:
    """Return a value of a wrapper's memory; statistics and stacks stay the same objects."""
    if type(part) in _PART_MEMORY:
        for name, inner in value.items():
            setattr(part, name, _restored(vars(part).get(name), inner))
        return part
    if isinstance(part, dict) and any(type(inner) in _PART_MEMORY for inner in part.values()):
        if part.keys() != value.keys():
            raise CheckpointError(
                f"the checkpoint has statistics of {', '.join(value)}, but these environments normalise "
                f"{', '.join(part)}: the run is of an older hyperrl or of other settings of normalize"
            )
        return {key: _restored(part[key], inner) for key, inner in value.items()}
    return copy.deepcopy(value)
