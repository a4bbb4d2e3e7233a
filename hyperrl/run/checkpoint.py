"""What a run's checkpoint holds, and how an agent gets it back.

Everything that decides how training goes on: weights, optimisers, replay buffer, environments, noise and
random generators (`hyperrl.run.state`), and what the run itself counts. It is taken at the top of a rollout,
after all updates of the previous one; see `hyperrl.run.callbacks`.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from hyperrl.errors import CheckpointCorruptError, CheckpointError, HyperRLError, NonFiniteError
from hyperrl.run.manifest import package_versions
from hyperrl.run.replay import ReplayLog
from hyperrl.run.rotation import RemovalError
from hyperrl.run.segments import SegmentLostError, SegmentUnreadableError
from hyperrl.run.state import capture, restore
from hyperrl.run.store import Checkpoint, CheckpointStore, Segment

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy
    from torch import Tensor

_WARN_EVERY_SECONDS = 60.0


class Checkpoints:
    """Saves and restores one agent that is training.

    Args:
        agent: The algorithm.
        store: Where the checkpoints go.
        about: What they say of the run, for those who read them: agent, environment, settings.

    Attributes:
        saved_steps: Environment steps of the last checkpoint that was written or restored, -1 for none.
        best_steps: Environment steps of the last one that was written as the best so far, -1 for none.
        problem: What is wrong with the disk, None while nothing is.
    """

    def __init__(self, agent: BaseAlgorithm, store: CheckpointStore, about: Mapping[str, Any]) -> None:
        self._agent = agent
        self._store = store
        self._about = dict(about)
        buffer = getattr(agent, "replay_buffer", None)
        self._replay = None if buffer is None else ReplayLog(buffer)
        self._last_warning = -float("inf")
        # Whether the last attempt failed for a piece of the replay buffer that could not be read.
        self._was_unreadable = False
        self.saved_steps = self.best_steps = -1
        self.problem: str | None = None

    def save(self, run: Mapping[str, Any], best: bool = False) -> bool:
        """Write a checkpoint; while the disk refuses, training goes on and the older ones stay.

        Args:
            run: What the run itself has to remember, of plain values.
            best: Whether the policy is the best so far.

        Returns:
            Whether it was written. If not, `problem` says why, and a warning does so at most once a minute.

        Raises:
            NonFiniteError: A weight is NaN or infinite; the older checkpoints stay.
            StateError: A part of the agent cannot be saved.
            CheckpointError: What was to be saved does not fit the store: not the disk's fault.
        """
        weights = _weights(self._agent)
        # Not below, where what the operating system refuses counts as a fault of the disk.
        state = {"agent": capture(self._agent), "run": dict(run)}
        about = {**self._about, **conditions(self._agent)}
        self.problem = None
        try:
            self._write(weights, state, about, best)
        except RemovalError as error:
            # The new one counts, and the next save tries again to remove what it replaces.
            self.problem = f"older checkpoints cannot be removed: {error.strerror}"
            self._warn(f"{self.problem}; training goes on")
        except OSError as error:
            if not _is_of_the_disk(error):
                raise
            self.problem = error.strerror or str(error)
            self._warn(self._without_checkpoint(self.problem))
            return False
        self.saved_steps = self._agent.num_timesteps
        if best:
            self.best_steps = self.saved_steps
        return True

    def restore(self, checkpoint: Checkpoint) -> tuple[dict[str, Any], list[str]]:
        """Put the agent back to where it was.

        Args:
            checkpoint: A checkpoint of an agent built alike.

        Returns:
            What the run had to remember, and a sentence for everything that could not be restored exactly.

        Raises:
            CheckpointError: The checkpoint belongs to another agent.
            CheckpointCorruptError: The replay buffer's files are damaged.
        """
        state = checkpoint.state()
        notes = differences(checkpoint.about, conditions(self._agent))
        load_weights(self._agent.policy, checkpoint)
        if self._replay is not None:
            self._replay.restore(self._store, checkpoint.segments, state["replay"])
        notes += restore(self._agent, state["agent"])
        self.saved_steps = checkpoint.steps
        return state["run"], notes

    def _write(
        self, weights: Mapping[str, Tensor], state: Mapping[str, Any], about: Mapping[str, Any], best: bool
    ) -> None:
        def attempt() -> None:
            segments: tuple[Segment, ...] = ()
            rows = None
            if self._replay is not None:
                per_row = getattr(self._agent, "steps_per_row", self._agent.n_envs)
                segments, rows = self._replay.append(self._store, steps // per_row)
            self._store.save(
                steps,
                weights=weights,
                state={**state, "replay": rows},
                about=about,
                segments=segments,
                best=best,
            )

        steps = self._agent.num_timesteps
        try:
            attempt()
        except (SegmentLostError, SegmentUnreadableError) as error:
            # What the system refuses to read may be as good as ever in a minute.
            if isinstance(error, SegmentUnreadableError) and not self._was_unreadable:
                self._was_unreadable = True
                raise
            # Older pieces of the buffer are gone, replaced or out of reach: it is all still here.
            warnings.warn(f"{error}; the whole replay buffer is written again", stacklevel=3)
            self._replay = ReplayLog(self._agent.replay_buffer)  # type: ignore[attr-defined]
            attempt()
        self._was_unreadable = False

    def _without_checkpoint(self, problem: str) -> str:
        kept = (
            f"the last good checkpoint is that of {self.saved_steps:,} steps"
            if self.saved_steps >= 0
            else "there is no checkpoint yet"
        )
        return (
            f"no checkpoint could be written after {self._agent.num_timesteps:,} steps: {problem}; "
            f"training goes on, {kept}"
        )

    def _warn(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._last_warning >= _WARN_EVERY_SECONDS:
            self._last_warning = now
            warnings.warn(sentence, stacklevel=3)


def load_weights(policy: BasePolicy, checkpoint: Checkpoint) -> None:
    """Read the weights of a checkpoint into a policy of the same shape.

    Args:
        policy: The policy to fill.
        checkpoint: The checkpoint.

    Raises:
        CheckpointError: The weights belong to another policy.
    """
    weights, own = checkpoint.weights(), policy.state_dict()
    for name in sorted({*own, *weights}):
        there = tuple(weights[name].shape) if name in weights else "missing"
        wanted = tuple(own[name].shape) if name in own else "no such weight"
        if there != wanted:
            raise CheckpointError(
                f"the checkpoint {checkpoint.path} does not fit the policy of its run: {name} is {there} in "
                f"the file and {wanted} in the policy"
            )
    policy.load_state_dict(weights)


def conditions(agent: BaseAlgorithm) -> dict[str, Any]:
    """Return what has to be the same for a run to continue bit for bit, as JSON values.

    Args:
        agent: The algorithm.
    """
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(agent.device),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for everything in the conditions that makes a run continue otherwise.

    Args:
        then: What `conditions` said when the checkpoint was written.
        now: What it says now.
    """
    old = {**then.get("packages", {}), **{key: then.get(key) for key in now if key != "packages"}}
    new = {**now["packages"], **{key: now[key] for key in now if key != "packages"}}
    return [
        f"{name} was {old.get(name)} when the checkpoint was written and is {value} now: the run continues, "
        "but not bit for bit as it would have"
        for name, value in new.items()
        if old.get(name) != value
    ]


def _is_of_the_disk(error: OSError) -> bool:
    """Return whether the file system is at fault: it refuses, or what lies on it is not what was written."""
    return not isinstance(error, HyperRLError) or isinstance(error, CheckpointCorruptError)


def _weights(agent: BaseAlgorithm) -> dict[str, Tensor]:
    # Copies, because tensors that share memory are refused by safetensors.
    weights = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in agent.policy.state_dict().items()
    }
    # Buffers may hold infinity on purpose, in a mask for example.
    for name in dict(agent.policy.named_parameters()):
        if not bool(torch.isfinite(weights[name]).all()):
            raise NonFiniteError(
                f"the weight {name} of the policy is not finite after {agent.num_timesteps} steps"
            )
    return weights
