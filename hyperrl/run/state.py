"""Everything that decides how an agent's training goes on, but for its policy's weights and its replay rows.

Both functions belong in a callback's `_on_rollout_start`: Stable-Baselines3 calls it after all updates of the
last rollout and before any draw of the next, so the loop's own variables need no saving. To continue, build
the agent anew, call `learn` as for a new run, and at the first `_on_rollout_start` put back the weights, then
the replay buffer (`hyperrl.run.replay`), then this state.

An algorithm that remembers more than Stable-Baselines3's own has two methods: `checkpoint_state() -> dict`
returns it as numbers, strings, arrays, tensors and containers, and `restore_checkpoint_state(state)` takes it
back. If it has `begin_episodes()`, that is called where new episodes begin instead of those that were saved.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import Tensor, nn
from torch.optim import Optimizer

from hyperrl.errors import CheckpointError, StateError
from hyperrl.run import env_state, generators
from hyperrl.run.exploration import capture_matrices, capture_noise, restore_matrices, restore_noise
from hyperrl_envs.layer_memory import class_name, is_plain

# Counters that belong to one call of `learn`, and settings.
_NOT_CONTINUED = frozenset({"_total_timesteps", "_num_timesteps_at_start", "_stats_window_size"})
# Others are found by their type and their leading underscore; these have none.
_PUBLIC_COUNTERS = ("num_timesteps", "exploration_rate")
_LAST = ("_last_obs", "_last_original_obs", "_last_episode_starts")


def capture(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return the state of an agent as plain data, independent of the agent; nothing is drawn or changed.

    Args:
        agent: An off-policy or on-policy algorithm at the top of a rollout.

    Returns:
        Numbers, strings, arrays, tensors and containers of these.

    Raises:
        StateError: A rollout is half collected, so that it would be lost.
    """
    _check_between_rollouts(agent)
    modules, optimizers, variables = _torch_parts(agent)
    return {
        "agent": _kind(agent),
        "counters": _counters(agent),
        "modules": {name: _copied(module.state_dict()) for name, module in modules.items()},
        "optimizers": {
            name: {"class": class_name(optimizer), "state": _copied(optimizer.state_dict())}
            for name, optimizer in optimizers.items()
        },
        "variables": {name: tensor.detach().clone() for name, tensor in variables.items()},
        "last": {name: copy.deepcopy(getattr(agent, name)) for name in _LAST},
        "episodes": [_plain_entries(info) for info in agent.ep_info_buffer or ()],
        "successes": [value for value in agent.ep_success_buffer or () if is_plain(value)],
        "noise": capture_noise(agent.action_noise),
        "matrices": capture_matrices(agent.policy),
        "env": env_state.capture(_env(agent)),
        "own": agent.checkpoint_state() if hasattr(agent, "checkpoint_state") else None,
        "generators": generators.capture(),
    }


def restore(agent: BaseAlgorithm, state: Mapping[str, Any]) -> list[str]:
    """Put an agent, in place, where another one built alike was; its weights and rows are there already.

    Where the state of the environments could not be captured, new episodes begin, and the last row of the
    replay buffer ends the old ones as a time limit would.

    Args:
        agent: The agent, at the top of its first rollout.
        state: What `capture` returned.

    Returns:
        A sentence for everything that does not continue exactly, none if all does.

    Raises:
        CheckpointError: The state is of another algorithm, other optimisers or other environments.
    """
    _check_kind(agent, state["agent"])
    restore_noise(agent.action_noise, state["noise"])
    restore_matrices(agent.policy, state["matrices"])
    _restore_torch_parts(agent, state)
    for name, value in state["counters"].items():
        setattr(agent, name, value)
    # Steps per second are those of this process.
    agent._num_timesteps_at_start = agent.num_timesteps
    _refill(agent.ep_info_buffer, state["episodes"])
    _refill(agent.ep_success_buffer, state["successes"])
    for name, value in state["last"].items():
        setattr(agent, name, copy.deepcopy(value))
    seed = generators.reset_seed(state["generators"])
    sentences, observations = env_state.restore(_env(agent), state["env"], seed)
    if state["own"] is not None:
        agent.restore_checkpoint_state(state["own"])  # type: ignore[attr-defined]
    if observations is not None:
        _begin_episodes(agent, observations)
    # Last, since all of the above may draw.
    return sentences + generators.restore(state["generators"])


def _kind(agent: BaseAlgorithm) -> dict[str, Any]:
    return {
        "class": class_name(agent),
        "environments": agent.n_envs,
        "observations": str(agent.observation_space),
        "actions": str(agent.action_space),
    }


def _check_kind(agent: BaseAlgorithm, there: Mapping[str, Any]) -> None:
    for name, here in _kind(agent).items():
        if there[name] != here:
            raise CheckpointError(
                f"the checkpoint is of another agent: its {name} was {there[name]} and is {here} here"
            )


def _check_between_rollouts(agent: BaseAlgorithm) -> None:
    buffer = getattr(agent, "rollout_buffer", None)
    if buffer is not None and buffer.pos and not buffer.full:
        raise StateError(
            f"the state of {type(agent).__name__} cannot be captured after {buffer.pos} of the "
            f"{buffer.buffer_size} steps of a rollout, which would be lost: do it in _on_rollout_start"
        )


def _env(agent: BaseAlgorithm) -> Any:
    if agent.env is None:
        raise StateError(f"this {type(agent).__name__} has no environment: give it one with set_env")
    return agent.env


def _counters(agent: BaseAlgorithm) -> dict[str, int | float]:
    return {
        name: value
        for name, value in vars(agent).items()
        if type(value) in (int, float)
        and (name in _PUBLIC_COUNTERS or (name[0] == "_" and name not in _NOT_CONTINUED))
    }


def _torch_parts(
    agent: BaseAlgorithm,
) -> tuple[dict[str, nn.Module], dict[str, Optimizer], dict[str, Tensor]]:
    """Return what the algorithm says it trains: modules but for the policy, optimisers, single tensors."""
    names, variable_names = agent._get_torch_save_params()
    parts = {name: recursive_getattr(agent, name) for name in names}
    # The policy's weights are a file of their own; a compiled module hides the one that has the names.
    modules = {
        name: getattr(part, "_orig_mod", part)
        for name, part in parts.items()
        if isinstance(part, nn.Module) and name != "policy"
    }
    optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
    return modules, optimizers, {name: recursive_getattr(agent, name) for name in variable_names}


def _restore_torch_parts(agent: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    modules, optimizers, variables = _torch_parts(agent)
    for kind, own in (("modules", modules), ("optimizers", optimizers), ("variables", variables)):
        if own.keys() != state[kind].keys():
            raise CheckpointError(
                f"the checkpoint has the {kind} {sorted(state[kind])} and this {type(agent).__name__} has "
                f"{sorted(own)}: build it as it was"
            )
    try:
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in optimizers.items():
            _restore_optimizer(optimizer, state["optimizers"][name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint does not fit {name}: {error}") from error
    for name, tensor in variables.items():
        saved = state["variables"][name]
        if saved.shape != tensor.shape:
            raise CheckpointError(
                f"the checkpoint's {name} is of shape {tuple(saved.shape)}, that of this agent of "
                f"{tuple(tensor.shape)}"
            )
        # In place: optimisers hold on to the tensor.
        tensor.data.copy_(saved)


def _restore_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    if class_name(optimizer) != saved["class"]:
        raise ValueError(f"it was a {saved['class']} and is a {class_name(optimizer)}")
    optimizer.load_state_dict(_copied(saved["state"]))


def _begin_episodes(agent: Any, observations: Any) -> None:
    """Set what depends on the episode, once the environments are reset to new ones."""
    agent._last_obs = observations
    agent._last_episode_starts = np.ones(agent.n_envs, dtype=bool)
    if agent._vec_normalize_env is not None:
        agent._last_original_obs = agent._vec_normalize_env.get_original_obs()
    if agent.action_noise is not None:
        agent.action_noise.reset()
    if hasattr(agent, "begin_episodes"):
        agent.begin_episodes()
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None and buffer.size():
        _end_trajectory(buffer)


def _end_trajectory(buffer: ReplayBuffer) -> None:
    """Mark the last row as the end of its episode, so that no return or goal reaches into the next one."""
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says what the sentence of `restore` says.
            buffer.truncate_last_trajectory()
        return
    last = buffer.pos - 1
    if buffer.handle_timeout_termination:
        buffer.timeouts[last] = np.where(buffer.dones[last], buffer.timeouts[last], 1.0)
    buffer.dones[last] = 1.0


def _refill(buffer: Any, values: list[Any]) -> None:
    buffer.clear()
    buffer.extend(copy.deepcopy(values))


def _plain_entries(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return an episode's record; what a user's `info_keywords` added to it may be anything."""
    return {name: copy.deepcopy(value) for name, value in info.items() if is_plain(value)}


def _copied(tree: Any) -> Any:
    """Return a copy of a state dict that later updates do not change."""
    if isinstance(tree, Tensor):
        return tree.detach().clone(memory_format=torch.preserve_format)
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_copied(value) for value in tree)
    return tree
