"""What happens beside learning: evaluations, the best checkpoint, the status file and the progress bar."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from hyperrl.run.checkpoint import save_checkpoint
from hyperrl.run.folder import RunFolder

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_STATUS_EVERY_SECONDS = 5.0


class Evaluations:
    """The evaluations of one run: `eval/evaluations.csv`, `eval/mean_return`, and the best checkpoint.

    Args:
        folder: The run's folder.
        returns_of: Plays the evaluation episodes and gives their returns.
    """

    def __init__(self, folder: RunFolder, returns_of: Callable[[BaseAlgorithm], Sequence[float]]) -> None:
        self._folder = folder
        self._returns_of = returns_of
        self._best = -np.inf
        self._start = time.monotonic()
        self._seconds_of_evaluations = 0.0
        self.last_steps = -1
        self.last_return = float("nan")

    def run(self, agent: BaseAlgorithm) -> float:
        """Evaluate now, write the results, and keep the weights if they are the best so far.

        Args:
            agent: The algorithm.

        Returns:
            The mean return.
        """
        seconds = self.seconds_of_learning()
        start = time.monotonic()
        returns = np.asarray(self._returns_of(agent), dtype=np.float64)
        self.last_steps, self.last_return = agent.num_timesteps, float(returns.mean())
        self._append(self._folder.evaluation / "evaluations.csv", seconds, returns)
        agent.logger.record("eval/mean_return", self.last_return)
        agent.logger.dump(agent.num_timesteps)
        if self.last_return > self._best:
            self._best = self.last_return
            save_checkpoint(agent, self._folder.checkpoints / "best")
        self._seconds_of_evaluations += time.monotonic() - start
        return self.last_return

    def seconds_of_learning(self) -> float:
        """Return the wall-clock time since the beginning without the time that evaluations took."""
        return time.monotonic() - self._start - self._seconds_of_evaluations

    def _append(self, path: Path, seconds: float, returns: NDArray[np.float64]) -> None:
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["steps", "seconds", "episode", "return"])
            for episode, value in enumerate(returns):
                writer.writerow([self.last_steps, f"{seconds:.3f}", episode, float(value)])


class RunCallback(BaseCallback):
    """Evaluates every `eval_every` steps, keeps `status.json` fresh and draws a progress bar on a terminal.

    Args:
        folder: The run's folder.
        evaluations: Its evaluations.
        eval_every: Steps between evaluations, 0 for none while learning.
        steps: The length of the whole run, for the bar.
    """

    def __init__(self, folder: RunFolder, evaluations: Evaluations, eval_every: int, steps: int) -> None:
        super().__init__()
        self._folder = folder
        self._evaluations = evaluations
        self._eval_every = eval_every
        self._steps = steps
        self._next_evaluation = eval_every
        self._next_status = 0.0
        self._bar: tqdm[None] | None = None

    def _on_training_start(self) -> None:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._steps, unit="step", unit_scale=True, dynamic_ncols=True)
            self._show_return()

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(min(self.num_timesteps, self._steps) - self._bar.n)
        if (
            self._eval_every
            and self.num_timesteps >= self._next_evaluation
            and self.num_timesteps < self._steps
        ):
            self._next_evaluation += self._eval_every * (
                1 + (self.num_timesteps - self._next_evaluation) // self._eval_every
            )
            self._evaluations.run(self.model)
            self._show_return()
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY_SECONDS
            self._folder.set_status("running", self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Take the progress bar off the terminal's last line; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_return(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {self._evaluations.last_return:.0f}")
