"""TensorBoard logs of a run, which a full disk cannot stop and a resume does not write twice."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter


class EventFile(TensorBoardOutputFormat):
    """Writes TensorBoard's event files; what cannot be written is dropped, with one warning.

    Args:
        folder: Where the event files go.
        purge_step: After a resume, the step from which older events are void; TensorBoard hides them.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        # Not the base class's constructor, which offers no `purge_step`.
        self._is_closed = False
        self._failed = False
        self.writer = SummaryWriter(str(folder), purge_step=purge_step)

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Write the values of one step, see Stable-Baselines3's `KVWriter`."""
        try:
            super().write(key_values, key_excluded, step)
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Close the file; a disk that is full then is warned of, too."""
        try:
            super().close()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            warnings.warn(
                f"TensorBoard's log cannot be written ({error.strerror or error}): training goes on without",
                stacklevel=3,
            )


def run_logger(folder: Path, purge_step: int | None = None) -> Logger:
    """Return a logger of Stable-Baselines3 that writes TensorBoard's event files directly into a folder.

    Args:
        folder: The folder.
        purge_step: See `EventFile`.
    """
    try:
        return Logger(str(folder), [EventFile(folder, purge_step)])
    except OSError as error:
        warnings.warn(
            f"TensorBoard's log cannot be written to {folder} ({error.strerror or error}): training goes on "
            "without",
            stacklevel=2,
        )
        return Logger(str(folder), [])
