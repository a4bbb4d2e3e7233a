"""What a training run came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperrl.config import RunConfig
    from hyperrl.run.folder import RunFolder


@dataclass(frozen=True)
class Run:
    """What a training run came to.

    Attributes:
        folder: Its folder.
        config: Its configuration.
        steps: Environment steps taken.
        seconds: Wall-clock time of learning, without that of evaluations.
        return_before: Mean return of the evaluation before training.
        return_after: Mean return of the evaluation after training.
        was_finished: Whether the run had all of its steps already, so that nothing was done.
    """

    folder: RunFolder
    config: RunConfig
    steps: int
    seconds: float
    return_before: float
    return_after: float
    was_finished: bool = False

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second of wall-clock time."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0
