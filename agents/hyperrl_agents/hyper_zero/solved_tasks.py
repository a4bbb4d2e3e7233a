"""The tasks of a data set as an environment shows them, compared with the environment first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.context import ContextSpace, shown, shown_size
from hyperrl.context.splits import TRAIN
from hyperrl.errors import ConfigError, ContextError, DatasetError
from hyperrl.zero_shot_data import Dataset, DatasetManifest, Transitions


class SolvedTasks:
    """A data set beside the environment whose tasks it is of; either may be missing.

    Args:
        env: The environments of an agent, or None.
        dataset: Folder of the data set, or None.
    """

    def __init__(self, env: VecEnv | None, dataset: str | None) -> None:
        self._env = env
        self._dataset = None if dataset is None else Dataset(dataset)

    def space(self) -> ContextSpace:
        """Return the space of contexts: the environment's, else the data set's.

        Raises:
            ConfigError: Neither says it.
        """
        own = self._ask("context_space")
        if isinstance(own, ContextSpace):
            return own
        if self._dataset is None:
            raise ConfigError("what contexts are is unknown: give an environment with contexts, or a dataset")
        return self._manifest().space

    def context_size(self) -> int:
        """Return how many of an observation's last numbers are the context: 0 where it is hidden.

        Raises:
            ConfigError: Neither the environment nor the data set says it.
        """
        return 0 if self._ask("context_mode") == "hidden" else shown_size(self.space(), self._units())

    def seen(self, contexts: ArrayLike) -> NDArray[np.float32]:
        """Return raw contexts ``[..., d]`` as the environment shows them, normalised unless it says "raw"."""
        return shown(self.space(), contexts, self._units())

    def gamma(self) -> float:
        """Return the discount of the data set's values."""
        return self._manifest().gamma

    def conditions(self) -> NDArray[np.float32]:
        """Return what the policy sees of the tasks of training, shape [T, d].

        Raises:
            ContextError: The data set is of other contexts than the environment.
            DatasetError: It cannot be read, or is of another environment.
        """
        manifest = self._manifest()
        own = self._ask("context_space")
        if isinstance(own, ContextSpace):
            _compare(own, manifest.space)
        spec = self._ask("spec")
        # An id may name the module that registers it, too.
        if spec is not None and own is not None and spec.id != manifest.env.rpartition(":")[2]:
            raise DatasetError(f"the data set is of {manifest.env}, this environment is {spec.id}")
        return self.seen([task.context for task in manifest.of_split(TRAIN)])

    def load(self, states: int, actions: int) -> list[Transitions]:
        """Read the transitions of the tasks of training.

        Args:
            states: Numbers of a state that the policy takes.
            actions: Numbers of an action.

        Raises:
            DatasetError: They cannot be read, or are of other sizes.
        """
        if self._dataset is None:
            raise ConfigError("there is no data set to learn from: give dataset")
        loaded = self._dataset.load(TRAIN)
        if loaded[0].sizes != (states, actions):
            raise DatasetError(
                f"the data set has states and actions of {loaded[0].sizes} numbers, the environment's have "
                f"{(states, actions)}"
            )
        return loaded

    def _manifest(self) -> DatasetManifest:
        if self._dataset is None:
            raise ConfigError("there is no data set to learn from: give dataset")
        return self._dataset.manifest()

    def _units(self) -> str:
        return self._ask("units") or "normalised"

    def _ask(self, name: str) -> Any:
        """Return an attribute of the environments, None where they have none."""
        if self._env is None or not self._env.has_attr(name):
            return None
        return self._env.get_attr(name)[0]


def _compare(own: ContextSpace, other: ContextSpace) -> None:
    if own.names != other.names:
        raise ContextError(
            f"the data set's contexts are of {', '.join(other.names)}, but this task's are of "
            f"{', '.join(own.names)}, in this order"
        )
    for mine, theirs in zip(own, other, strict=True):
        if (mine.train_low, mine.train_high, mine.log) != (theirs.train_low, theirs.train_high, theirs.log):
            raise ContextError(
                f"the data set's {mine.name} is trained from {theirs.train_low:g} to {theirs.train_high:g}, "
                f"this task's from {mine.train_low:g} to {mine.train_high:g}"
            )
