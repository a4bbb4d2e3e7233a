"""A data set on the disk: tasks are added one by one, the manifest comes last; all is verified when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyperrl.context import Splits
from hyperrl.context.splits import TRAIN
from hyperrl.errors import CheckpointError, DatasetError, RunFolderError
from hyperrl.run.files import make_folders, write_parts
from hyperrl.run.manifest import package_versions
from hyperrl.run.members import Member, read_member
from hyperrl.run.sealed import read_sealed, seal, sha256, unseal
from hyperrl.zero_shot_data.manifest import MANIFEST, DatasetManifest, TaskRecord
from hyperrl.zero_shot_data.transitions import Transitions


class Dataset:
    """A data set of solved tasks.

    Args:
        folder: Its folder; `add` and `finish` make it where it is missing.

    Attributes:
        folder: The absolute path.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()

    def manifest(self) -> DatasetManifest:
        """Read the manifest.

        Raises:
            DatasetError: There is none, or it is not what was written.
        """
        return DatasetManifest.read(self.folder)

    def load(self, split: str = TRAIN) -> list[Transitions]:
        """Read the transitions of all tasks of a set of contexts, those of no other.

        Args:
            split: "train" or a test.

        Returns:
            One for each task, in the order of `DatasetManifest.of_split`.

        Raises:
            DatasetError: There is no such task, or a file is missing or not what was written.
        """
        tasks = self.manifest().of_split(split)
        loaded = [self._read(task) for task in tasks]
        for task, transitions in zip(tasks, loaded, strict=True):
            if transitions.sizes != loaded[0].sizes:
                raise DatasetError(
                    f"{self.folder} has states and actions of {transitions.sizes} numbers in {task.name} and "
                    f"of {loaded[0].sizes} in {tasks[0].name}"
                )
        return loaded

    def add(
        self,
        name: str,
        split: str,
        context: Sequence[float],
        transitions: Transitions,
        *,
        expert: Mapping[str, Any],
        label: str,
        returns: Sequence[float],
    ) -> TaskRecord:
        """Write the transitions of one task, replacing what there was of it.

        Args:
            name: The task's name, see `TaskRecord`.
            split: The set of contexts that it belongs to.
            context: Raw values, shape [d].
            transitions: What its expert did.
            expert: Where the expert came from, as JSON values.
            label: Where the values came from.
            returns: The expert's return in each episode.

        Raises:
            RunFolderError: A file cannot be written.
        """
        data = transitions.to_bytes()
        record = TaskRecord(
            name,
            split,
            tuple(float(value) for value in context),
            dict(expert),
            label,
            tuple(float(value) for value in returns),
            len(transitions),
            len(data),
            sha256(data),
        )
        self._write(record.file, data)
        self._write(f"tasks/{name}.json", seal({"task": asdict(record)}))
        return record

    def added(self, name: str) -> TaskRecord | None:
        """Return the record of a task that was added before and is whole, else None.

        Args:
            name: The task's name.
        """
        path = self.folder / "tasks" / f"{name}.json"
        try:
            record = TaskRecord.from_json(unseal(read_sealed(path), path).get("task"), str(path))
            self._read(record)
        except (CheckpointError, DatasetError):
            return None
        return record

    def finish(
        self,
        *,
        env: str,
        env_kwargs: Mapping[str, Any],
        splits: Splits,
        gamma: float,
        tasks: Sequence[TaskRecord],
    ) -> DatasetManifest:
        """Write the manifest of tasks that were added, which makes them a data set.

        Args:
            env: Gymnasium id of the environment.
            env_kwargs: Its keyword arguments.
            splits: The contexts.
            gamma: Discount of the values.
            tasks: What `add` returned.

        Raises:
            DatasetError: There is no task of training, or a task is not of its split.
            RunFolderError: The file cannot be written.
        """
        ordered = sorted(tasks, key=lambda task: (task.split != TRAIN, task.split, task.name))
        manifest = DatasetManifest(env, dict(env_kwargs), splits, gamma, tuple(ordered), package_versions())
        manifest.of_split(TRAIN)
        manifest.check_tasks(str(self.folder / MANIFEST))
        self._write(MANIFEST, manifest.to_bytes())
        return manifest

    def _read(self, task: TaskRecord) -> Transitions:
        path = self.folder / task.file
        try:
            data = read_member(path.parent, Member(path.name, task.size, task.sha256))
        except CheckpointError as error:
            raise DatasetError(f"the data set cannot be used: {error}") from error
        return Transitions.from_bytes(data, str(path))

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            make_folders(path.parent)
            write_parts(path, [data])
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error
