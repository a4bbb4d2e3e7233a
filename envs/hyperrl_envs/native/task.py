"""What a task is to the simulations that run it: settings and pure functions over stacked arrays.

Every function here and in the tasks is written so that row i of a batch has the very bits that Gymnasium
computes for one environment. That decides between ways that are equal on paper: see `norm`, `squared` and
`weighted`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.model import load_model

Array = NDArray[np.float64]
Batch = Mapping[str, Array]


class Outcome(NamedTuple):
    """What one step of n environments leads to.

    Attributes:
        rewards: Float64 of shape [n].
        terminated: Booleans of shape [n].
        terms: What Gymnasium's `info` holds after a step, by name: arrays of shape [n] or [n, k].
    """

    rewards: Array
    terminated: NDArray[np.bool_]
    terms: dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One of Gymnasium's MuJoCo tasks, with its settings as attributes.

    A batch holds, by name and with one row for each of n environments: the arrays that `views` names, `qpos0`
    and `qvel0` (the model's own start, shapes [n, nq] and [n, nv]) and `dt` (seconds of one step, shape [n]).
    A batch is not changed once it was handed out.

    Attributes:
        xml_file: The model, a file of Gymnasium's assets or a path.
        frame_skip: Simulation steps of one step.
        timed: Whether batches also hold `time` (seconds since the episode began, shape [n]).
    """

    timed: ClassVar[bool] = False

    xml_file: str
    frame_skip: int

    def load(self) -> Any:
        """Load the model.

        Returns:
            A new `mujoco.MjModel`.

        Raises:
            ConfigError: `xml_file` is no model.
        """
        return load_model(self.xml_file)

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return the arrays of one simulation that the task reads, as views that follow the simulation.

        Args:
            model: The `mujoco.MjModel`.
            data: The `mujoco.MjData`.

        Raises:
            ConfigError: The model lacks something that the task reads.
        """
        return {"qpos": data.qpos, "qvel": data.qvel}

    @abstractmethod
    def observation(self, batch: Batch) -> Array:
        """Return the observations as a new array of shape [n, observation size]."""

    @abstractmethod
    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Judge one step.

        Args:
            before: The batch before the step.
            after: The batch after it.
            actions: The actions as they were given, of shape [n, nu], contiguous.
        """

    @abstractmethod
    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw the start of an episode of one environment, in the order of Gymnasium's `reset_model`.

        Args:
            generator: The environment's own.
            qpos0: Positions of the model's own start, shape [nq].
            qvel0: Velocities of it, shape [nv].

        Returns:
            Positions of shape [nq] and velocities of shape [nv], as new arrays.
        """

    @property
    def redrawn(self) -> tuple[str, ...]:
        """Names of the model's arrays that `prepare` changes; each environment then has its own model."""
        return ()

    def prepare(
        self, generator: np.random.Generator, model: Any, data: Any, published: Mapping[str, Array]
    ) -> None:
        """Draw what an episode of one environment has beside its start, before `draw`; nothing by default.

        Args:
            generator: The environment's own.
            model: The `mujoco.MjModel`, of which only the arrays in `redrawn` may be changed.
            data: The `mujoco.MjData`, fresh from `mj_resetData`.
            published: The arrays in `redrawn` as they were before the first episode.
        """
        return None

    def measure(self, model: Any, data: Any) -> None:
        """Compute what the task reads and a step of MuJoCo leaves behind; nothing by default.

        It follows each step and each start. After a step positions and velocities are those of its end, and
        what follows from them, such as `xpos`, is that of one simulation step before.

        Args:
            model: The `mujoco.MjModel`, which stays as it is.
            data: The `mujoco.MjData`, of which only what follows from positions and velocities may change.
        """
        return None

    def show(self, model: Any, data: Any) -> None:
        """Place what is drawn and not simulated, before a picture is taken; nothing by default.

        Args:
            model: The `mujoco.MjModel`.
            data: The `mujoco.MjData`, of which only the places of shapes without effect may be changed.
        """
        return None

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return what Gymnasium's `info` holds after a reset, as in `Outcome.terms`; nothing by default."""
        return {}


@dataclass(frozen=True, kw_only=True)
class NoisyStart(Task):
    """A task whose episodes begin near the model's own start.

    Attributes:
        normal_velocities: Whether the velocities' noise is normal rather than uniform.
        reset_noise_scale: Half the width of the uniform noise, the standard deviation of the normal one.
    """

    normal_velocities: ClassVar[bool] = False

    reset_noise_scale: float

    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw positions, then velocities; see `Task.draw`."""
        scale = self.reset_noise_scale
        qpos = qpos0 + generator.uniform(low=-scale, high=scale, size=len(qpos0))
        if self.normal_velocities:
            return qpos, qvel0 + scale * generator.standard_normal(len(qvel0))
        return qpos, qvel0 + generator.uniform(low=-scale, high=scale, size=len(qvel0))


def first_row(terms: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the terms of the first environment: numbers, or arrays that nobody else changes."""
    rows = {name: values[0] for name, values in terms.items()}
    return {name: row.copy() if row.ndim else row.item() for name, row in rows.items()}


def never(batch: Batch) -> NDArray[np.bool_]:
    """Return that no environment has terminated, shape [n]."""
    return np.zeros(len(batch["qpos"]), bool)


def norm(rows: Array) -> Array:
    """Return the Euclidean norm of each row of [n, k], as `numpy.linalg.norm` gives it for one vector.

    That uses the dot product of the linear algebra library, which may fuse multiplication and addition, and
    so does `numpy.matmul` of one row and one column.
    """
    rows = np.ascontiguousarray(rows)
    return np.asarray(np.sqrt(np.matmul(rows[:, None, :], rows[:, :, None])[:, 0, 0]), np.float64)


def squared(values: Array) -> Array:
    """Return the squares of [n] values, as NumPy computes ``value**2`` of a single number.

    It asks the C library's `pow` for a number and multiplies for an array: the last bits may differ.
    """
    return np.array([value**2 for value in values])


def weighted(weight: float, values: NDArray[Any]) -> NDArray[Any]:
    """Return a multiple of [n] values in the precision that NumPy takes for a single one.

    For float32 values it is float32 since NumPy 2, and was float64 before.
    """
    kind = (weight * values.dtype.type(0)).dtype
    return np.asarray(np.multiply(values, weight, dtype=kind))


def square_sum(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of squares of each row of [n, ...], in the precision of the rows."""
    return np.asarray(np.add.reduce(np.square(rows).reshape(len(rows), -1), axis=1))


def joined(parts: Sequence[Array]) -> Array:
    """Return arrays of shape [n, ...] side by side, as a new array of shape [n, size]."""
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
