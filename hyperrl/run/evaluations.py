"""The evaluations of a run while it trains: `eval/evaluations.csv` and TensorBoard's `eval/mean_return`."""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.run import generators
from hyperrl.run.files import write_text
from hyperrl.run.folder import RunFolder

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_HEAD = ("steps", "seconds", "episode", "return")
_HEAD_OF_SEEDS = ("steps", "seconds", "seed", "episode", "return")


class Evaluations:
    """Plays evaluation episodes, writes their returns and knows which policy was the best.

    Args:
        folder: The run's folder.
        returns_of: Plays the evaluation episodes and gives their returns. What it raises leaves no trace.
        seeds: The seeds that are trained at once, if there are several; there are as many returns of each,
            those of the first seed first.

    Attributes:
        best: The highest mean return so far.
        best_steps: Environment steps at which it was reached.
        first_return: Mean return of the first evaluation, before training.
        last_return: Mean return of the last evaluation.
        last_steps: Environment steps at the last evaluation.
        last_returns: The returns of its episodes.
    """

    def __init__(
        self,
        folder: RunFolder,
        returns_of: Callable[[BaseAlgorithm], Sequence[float]],
        seeds: Sequence[int] = (),
    ) -> None:
        self._seeds = tuple(seeds)
        self._head = _HEAD_OF_SEEDS if seeds else _HEAD
        self._file = folder.evaluation / "evaluations.csv"
        self._returns_of = returns_of
        self._start = time.monotonic()
        self._seconds_before = 0.0
        self._seconds_of_evaluations = 0.0
        self.best, self.best_steps = -np.inf, -1
        self._best_before = self.best, self.best_steps
        self.first_return = self.last_return = float("nan")
        self.last_steps = -1
        self.last_returns: list[float] = []

    def run(self, agent: BaseAlgorithm) -> bool:
        """Evaluate now and write the results; the process's random generators stay as they are.

        Args:
            agent: The algorithm.

        Returns:
            Whether the mean return is the best so far.
        """
        seconds = self.seconds_of_learning()
        start = time.monotonic()
        drawn = generators.capture()
        try:
            returns = np.asarray(self._returns_of(agent), dtype=np.float64)
        finally:
            # An evaluation that is given up and made again must not be one for the training.
            generators.restore(drawn)
        if self.last_steps < 0:
            self.first_return = float(returns.mean())
        self.last_steps, self.last_return = agent.num_timesteps, float(returns.mean())
        self.last_returns = [float(value) for value in returns]
        self._append(seconds, returns)
        agent.logger.record("eval/mean_return", self.last_return)
        agent.logger.dump(agent.num_timesteps)
        is_best = self.last_return > self.best
        self._best_before = self.best, self.best_steps
        if is_best:
            self.best, self.best_steps = self.last_return, self.last_steps
        self._seconds_of_evaluations += time.monotonic() - start
        return is_best

    def take_back_best(self) -> None:
        """Forget that the last evaluation was the best: its policy could not be saved.

        The best is always one that lies in a checkpoint. The next evaluation decides against the one before.
        """
        self.best, self.best_steps = self._best_before

    def seconds_of_learning(self) -> float:
        """Return the wall-clock time of all of the run's processes without the time that evaluations took."""
        return self._seconds_before + time.monotonic() - self._start - self._seconds_of_evaluations

    def state(self) -> dict[str, Any]:
        """Return what a resumed run has to know, as plain values."""
        return {
            "seconds": self.seconds_of_learning(),
            "best": float(self.best),
            "best_steps": self.best_steps,
            "first_return": self.first_return,
            "last_return": self.last_return,
            "last_steps": self.last_steps,
            "last_returns": self.last_returns,
        }

    def restore(self, state: Mapping[str, Any], steps: int) -> None:
        """Continue from a state; rows of evaluations after it are taken out of the table.

        Args:
            state: What `state` returned.
            steps: Environment steps at which the run continues.
        """
        self._seconds_before = state["seconds"]
        self._start = time.monotonic()
        self._seconds_of_evaluations = 0.0
        self.best, self.best_steps = self._best_before = state["best"], state["best_steps"]
        self.first_return, self.last_return = state["first_return"], state["last_return"]
        self.last_steps, self.last_returns = state["last_steps"], state.get("last_returns", [])
        try:
            _forget_after(self._file, self._head, self.last_steps)
        except OSError as error:
            warnings.warn(
                f"{self._file} cannot be written ({error.strerror or error}): rows of evaluations that are "
                "made again stay in it twice",
                stacklevel=3,
            )

    def _append(self, seconds: float, returns: NDArray[np.float64]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._file.exists():
            writer.writerow(self._head)
        each = len(returns) // max(1, len(self._seeds))
        for index, value in enumerate(returns):
            of_seed = [self._seeds[index // each]] if self._seeds else []
            row = [self.last_steps, f"{seconds:.3f}", *of_seed, index % each, float(value)]
            writer.writerow(row)
        try:
            _append_whole(self._file, text.getvalue())
        except OSError as error:
            warnings.warn(
                f"the evaluation after {self.last_steps:,} steps could not be written to {self._file} "
                f"({error.strerror or error}): training goes on, its mean return was {self.last_return:.1f}",
                stacklevel=3,
            )


def _append_whole(path: Path, text: str) -> None:
    """Append a text or nothing: a disk that becomes full must not leave half a row."""
    with path.open("ab") as file:
        end = file.tell()
        try:
            file.write(text.encode())
            file.flush()
        except OSError:
            file.truncate(end)
            raise


def _forget_after(path: Path, head: Sequence[str], steps: int) -> None:
    """Take rows of later steps out of the table, and a row that a killed process left unfinished."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return
    rows = [line for line in lines[1:] if line.endswith("\n") and _step(line) <= steps]
    write_text(path, "".join([",".join(head) + "\n", *rows]))


def _step(line: str) -> float:
    first = line.partition(",")[0]
    return int(first) if first.isdigit() else float("inf")
