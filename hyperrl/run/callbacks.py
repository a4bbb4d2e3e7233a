"""What happens beside learning: evaluations, checkpoints, the status file, the progress bar, the end."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.evaluations import Evaluations
from hyperrl.run.folder import RunFolder
from hyperrl.run.signals import StopSignals
from hyperrl.run.store import Checkpoint

_STATUS_EVERY_SECONDS = 5.0


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
        self._bar: tqdm[None] | None = None

    def _on_training_start(self) -> None:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._steps, unit="step", unit_scale=True, dynamic_ncols=True)
            self._show_return()

    def _on_rollout_start(self) -> None:
        if self._resume_from is not None:
            self._restore(self._resume_from)
            self._resume_from = None
            self._evaluate_first()
            return
        steps = self.model.num_timesteps
        if steps == 0:
            # So that a run that is killed in its first evaluation can be resumed, too.
            self.save(best=True)
            self._evaluate_first()
        best = False
        if self._evaluation_due.passed(steps) and steps < self._steps:
            best = self._evaluations.run(self.model)
            self._show_return()
        stop = self._signals.received is not None
        due = self._checkpoint_due.passed(steps) or best
        if due or (stop and self._checkpoints.saved_steps != steps):
            self.save(best)
        if stop:
            raise self._signals.error(steps, self._checkpoints.saved_steps, self._checkpoints.problem)

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(min(self.num_timesteps, self._steps) - self._bar.n)
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY_SECONDS
            self._folder.try_status("running", self.num_timesteps, self._checkpoints.problem)
        return True

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
        return self._checkpoints.save({"evaluations": self._evaluations.state(), "ended": ended}, best)

    def close(self) -> None:
        """Take the progress bar off the terminal's last line; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _evaluate_first(self) -> None:
        """Measure where training begins, unless an earlier process has done so."""
        if self._evaluations.last_steps < 0:
            self._evaluations.run(self.model)
            self._show_return()

    def _restore(self, checkpoint: Checkpoint) -> None:
        run, notes = self._checkpoints.restore(checkpoint)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        if run["ended"] and self.model.use_sde:
            # This rollout's noise was drawn before the state came back, and not at all before it was saved.
            _actor(self.model).reset_noise(self.model.n_envs)
        steps = self.model.num_timesteps
        self.num_timesteps = steps
        self._evaluations.restore(run["evaluations"], steps)
        for due in (self._evaluation_due, self._checkpoint_due):
            due.start(steps)
        self._show_return()

    def _show_return(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {self._evaluations.last_return:.0f}")


def _actor(model: Any) -> Any:
    """Return what explores: off-policy algorithms have an actor of their own, the others the policy."""
    return getattr(model, "actor", None) or model.policy
