"""What happens beside learning: evaluations, checkpoints, the status file, the progress bar, the end."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from hyperrl.errors import RunStoppedError
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.evaluations import Evaluations
from hyperrl.run.folder import RunFolder
from hyperrl.run.signals import StopRequestedError, StopSignals
from hyperrl.run.store import Checkpoint

_STATUS_EVERY_SECONDS = 5.0
# After a checkpoint that the disk refused.
_RETRY_SECONDS = 60.0


class Interval:
    """Tells when the next multiple of a number of steps is reached or passed.

    Args:
        every: The number; 0 for never.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._last = 0

    def passed(self, steps: int) -> bool:
        """Return whether a multiple was reached since the last call that said so.

        Args:
            steps: The steps now.
        """
        if not self._every or steps // self._every <= self._last // self._every:
            return False
        self._last = steps
        return True

    def start(self, steps: int) -> None:
        """Count from here on.

        Args:
            steps: The steps now.
        """
        self._last = steps


class RunCallback(BaseCallback):
    """Keeps a run alive and its folder up to date.

    All that touches the agent happens at the top of a rollout, where Stable-Baselines3 has made all updates
    of the last one and drawn nothing for the next: there a run is evaluated, saved, stopped after a signal
    and, on its first call, restored. So the loop's own variables need no saving.

    A signal ends an evaluation that is under way, too; the run that continues makes it again. A checkpoint
    that the disk refuses is tried again after a minute. The policy has moved on by then: if it was the best,
    that is forgotten, and the next evaluation decides anew.

    Args:
        folder: The run's folder.
        evaluations: Its evaluations.
        checkpoints: Its checkpoints.
        signals: The signals that ask it to stop.
        steps: The length of the whole run, for the bar.
        eval_every: Steps between evaluations, 0 for none while learning.
        checkpoint_every: Steps between checkpoints, 0 for none while learning.
        resume_from: Where to continue; None for a new run.
    """

    def __init__(
        self,
        folder: RunFolder,
        evaluations: Evaluations,
        checkpoints: Checkpoints,
        signals: StopSignals,
        *,
        steps: int,
        eval_every: int,
        checkpoint_every: int,
        resume_from: Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._evaluations = evaluations
        self._checkpoints = checkpoints
        self._signals = signals
        self._steps = steps
        self._evaluation_due = Interval(eval_every)
        self._checkpoint_due = Interval(checkpoint_every)
        self._resume_from = resume_from
        self._next_status = 0.0
        self._retry_at = float("inf")
        self._updates_after = 0
        self._gradient_steps: int | None = None
        self._bar: tqdm[None] | None = None

    def _on_training_start(self) -> None:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._steps, unit="step", unit_scale=True, dynamic_ncols=True)
            self._show_return()

    def _on_rollout_start(self) -> None:
        if self._resume_from is not None:
            ended = self.restore(self._resume_from)
            self._resume_from = None
            if ended and self.model.use_sde:
                # This rollout's noise was drawn before the state came back, and none before it was saved.
                _actor(self.model).reset_noise(self.model.n_envs)
        elif self.model.num_timesteps == 0:
            # So that a run that is killed in its first evaluation can be resumed, too.
            self.save(best=True)
        steps = self.model.num_timesteps
        best = self._evaluate_if_due(steps)
        stop = self._signals.received is not None
        due = self._checkpoint_due.passed(steps) or best or time.monotonic() >= self._retry_at
        if due or (stop and self._checkpoints.saved_steps != steps):
            self.save(best)
        if stop:
            raise self.stopped()

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(min(self.num_timesteps, self._steps) - self._bar.n)
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY_SECONDS
            self._folder.try_status("running", self.num_timesteps, self._checkpoints.problem)
        return True

    def _on_rollout_end(self) -> None:
        if self._updates_after:
            model: Any = self.model
            held_back = model.num_timesteps <= self._updates_after
            # What Stable-Baselines3 reads next, to decide on updates.
            model.gradient_steps = 0 if held_back else self._gradient_steps
            if not held_back:
                self._updates_after = 0

    def _on_training_end(self) -> None:
        self.close()

    def save(self, best: bool = False, ended: bool = False) -> bool:
        """Write a checkpoint now.

        Args:
            best: Whether the policy is the best so far.
            ended: Whether learning has ended, so that no rollout has begun.

        Returns:
            Whether it could be written.
        """
        run = run_state(self._evaluations, ended=ended, updates_after=self._updates_after)
        if self._checkpoints.save(run, best):
            self._retry_at = float("inf")
            return True
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if best:
            self._evaluations.take_back_best()
        return False

    def stopped(self) -> RunStoppedError:
        """Return the error that ends a run after a signal; see `StopSignals.error`."""
        steps, saved_steps = self.model.num_timesteps, self._checkpoints.saved_steps
        problem = None if saved_steps == steps else self._checkpoints.problem
        return self._signals.error(steps, saved_steps, problem)

    def close(self) -> None:
        """Take the progress bar off the terminal's last line; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def restore(self, checkpoint: Checkpoint) -> bool:
        """Put the agent and the run back to where they were.

        Args:
            checkpoint: Where the run continues.

        Returns:
            Whether learning had ended there, so that no rollout had begun.
        """
        run, notes = self._checkpoints.restore(checkpoint)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        steps = self.model.num_timesteps
        self.num_timesteps = steps
        self._evaluations.restore(run["evaluations"], steps)
        # An evaluation that a signal ended is still due.
        self._evaluation_due.start(max(0, self._evaluations.last_steps))
        self._checkpoint_due.start(steps)
        self._hold_updates_back(run.get("updates_after", 0))
        self._show_return()
        return bool(run["ended"])

    def _hold_updates_back(self, until: int) -> None:
        """Collect transitions before the first update, as a new run does; see `hyperrl.import_model`."""
        if until < self.model.num_timesteps:
            return
        self._updates_after, self._gradient_steps = until, vars(self.model).get("gradient_steps")
        if until >= self._steps > self.model.num_timesteps:
            warnings.warn(
                f"the run of {self._steps:,} steps is over before it learns anything: with an empty replay "
                f"buffer, updates begin after {until:,} steps (learning_starts)",
                stacklevel=2,
            )

    def _evaluate_if_due(self, steps: int) -> bool:
        """Evaluate where training begins, and at the run's intervals.

        Returns:
            Whether the policy is the best so far and not yet saved as such.
        """
        first = self._evaluations.last_steps < 0
        due = self._evaluation_due.passed(steps) and steps < self._steps
        if not (first or due):
            return False
        try:
            best = self._evaluations.run(self.model)
        except StopRequestedError:
            return False
        self._show_return()
        return best and self._checkpoints.best_steps != steps

    def _show_return(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {self._evaluations.last_return:.0f}")


def run_state(evaluations: Evaluations, *, ended: bool, updates_after: int = 0) -> dict[str, Any]:
    """Return what a checkpoint remembers of the run itself, as plain values.

    Args:
        evaluations: The run's evaluations.
        ended: Whether learning has ended, so that no rollout has begun.
        updates_after: Steps up to which transitions are collected only, where the replay buffer was lost.
    """
    return {"evaluations": evaluations.state(), "ended": ended, "updates_after": updates_after}


def _actor(model: Any) -> Any:
    """Return what explores: off-policy algorithms have an actor of their own, the others the policy."""
    return getattr(model, "actor", None) or model.policy
