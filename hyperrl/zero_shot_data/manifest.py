"""What a data set says of itself: environment, contexts, and one record for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hyperrl.context import ContextSpace, Splits
from hyperrl.context.splits import TRAIN
from hyperrl.errors import CheckpointError, DatasetError, HyperRLError
from hyperrl.run.sealed import read_sealed, seal, unseal

MANIFEST = "dataset.json"


@dataclass(frozen=True)
class TaskRecord:
    """One task, its expert and its file.

    Attributes:
        name: The task's name, for example "task-003".
        split: The set of contexts that it belongs to: "train", or a test.
        context: Raw values in the order of the space.
        expert: Where its expert came from: agent, run folder, checkpoint, steps.
        label: Where `values` came from: "critic" or "returns".
        returns: The expert's return in each episode that is recorded, not discounted.
        rows: Number of transitions.
        size: Bytes of the file.
        sha256: Of the file.
    """

    name: str
    split: str
    context: tuple[float, ...]
    expert: Mapping[str, Any]
    label: str
    returns: tuple[float, ...]
    rows: int
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """Name of the file in the folder of the data set."""
        return f"tasks/{self.name}.safetensors"

    @property
    def mean_return(self) -> float:
        """Mean return of the expert."""
        return sum(self.returns) / len(self.returns)

    @classmethod
    def from_json(cls, values: Any, source: str) -> TaskRecord:
        """Build a record from what `dataclasses.asdict` returned.

        Args:
            values: The record as plain data.
            source: What it was read from, for messages.

        Raises:
            DatasetError: It is incomplete.
        """
        names = {one.name for one in fields(cls)}
        if not isinstance(values, Mapping) or values.keys() != names or not values["returns"]:
            raise DatasetError(f"{source} is damaged: a task needs {', '.join(sorted(names))}")
        lists = {name: tuple(float(value) for value in values[name]) for name in ("context", "returns")}
        if "/" in str(values["name"]) or str(values["name"]).startswith("."):
            raise DatasetError(f"{source} is damaged: {values['name']!r} is not the name of a task")
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class DatasetManifest:
    """What a data set says of itself.

    Attributes:
        env: Gymnasium id of the environment.
        env_kwargs: Its keyword arguments, but for what fixes the task and hides the context.
        splits: The contexts of training and of tests.
        gamma: Discount of `Transitions.values`.
        tasks: The tasks, those of training first.
        packages: Versions of the packages that made it.
    """

    env: str
    env_kwargs: Mapping[str, Any]
    splits: Splits
    gamma: float
    tasks: tuple[TaskRecord, ...]
    packages: Mapping[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> ContextSpace:
        """The space of contexts."""
        return self.splits.space

    def of_split(self, split: str) -> tuple[TaskRecord, ...]:
        """Return the tasks of one set of contexts.

        Args:
            split: "train" or a test.

        Raises:
            DatasetError: There is no task of it.
        """
        found = tuple(task for task in self.tasks if task.split == split)
        if not found:
            known = ", ".join(dict.fromkeys(task.split for task in self.tasks)) or "none"
            raise DatasetError(f"the data set has no task of the split {split!r}, only of: {known}")
        return found

    def to_bytes(self) -> bytes:
        """Return the content of `dataset.json`."""
        tasks = [asdict(task) for task in self.tasks]
        return seal(
            {
                "env": self.env,
                "env_kwargs": dict(self.env_kwargs),
                "splits": self.splits.to_json(),
                "gamma": self.gamma,
                "tasks": tasks,
                "packages": dict(self.packages),
            }
        )

    @classmethod
    def read(cls, folder: Path) -> DatasetManifest:
        """Read the manifest of a data set.

        Args:
            folder: The data set.

        Raises:
            DatasetError: There is none, or it is not what was written, or a task of training is a test.
        """
        path = folder / MANIFEST
        if not path.exists():
            raise DatasetError(
                f"{folder} holds no data set: it has no {MANIFEST}; make one with hyperrl zero-shot prepare"
            )
        try:
            table = unseal(read_sealed(path), path)
            manifest = cls(
                str(table["env"]),
                dict(table["env_kwargs"]),
                Splits.from_json(table["splits"]),
                float(table["gamma"]),
                tuple(TaskRecord.from_json(task, str(path)) for task in table["tasks"]),
                dict(table["packages"]),
            )
        except DatasetError:
            raise
        except CheckpointError as error:
            raise DatasetError(str(error)) from error
        except (HyperRLError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{path} is damaged: {error}") from error
        manifest.check_tasks(str(path))
        return manifest

    def check_tasks(self, source: str) -> None:
        """Refuse tasks whose contexts do not belong to the set that they are said to be of.

        Args:
            source: What the manifest is called in messages.

        Raises:
            DatasetError: A task that is trained on is a test, or the other way round.
        """
        for task in self.tasks:
            if task.split not in self.splits.names:
                raise DatasetError(f"{source} has a task of the split {task.split!r}, which it does not have")
            known = {self.space.key(row) for row in self.splits.contexts(task.split)}
            if self.space.key(task.context) not in known:
                what = "trained on" if task.split == TRAIN else f"of the test {task.split!r}"
                raise DatasetError(
                    f"{source} says that {task.name} is {what}, but its context "
                    f"{self.space.text(task.context)} is none of these"
                )
