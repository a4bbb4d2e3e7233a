"""Observations with the actions that they must give: real ones, and the worst ones."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ArtefactError, ExportError
from hyperrl.plain_policy import PlainPolicy

LEAST_ROLLOUT = 64
"""How many real observations there must be."""
_MOST_ROLLOUT = 96
_EDGE_PATTERNS = 4
# How far beyond the clip, in clips.
_BEYOND = 3.0


@dataclass(frozen=True, eq=False)
class Vectors:
    """Observations, and what the policy does.

    Attributes:
        observations: ``[N, in]``, float32: what every exported policy is given.
        kinds: Where each comes from: "zeros", "clip", "beyond clip" or "rollout".
        actions64: ``[N, out]``, computed in float64: the truth.
        actions32: ``[N, out]``, computed in float32.
    """

    observations: NDArray[np.float32]
    kinds: tuple[str, ...]
    actions64: NDArray[np.float64]
    actions32: NDArray[np.float32]

    def write(self, folder: Path) -> None:
        """Write `test_vectors.npz` and, for those who read text, `test_vectors.json`.

        Args:
            folder: Where.
        """
        data = io.BytesIO()
        np.savez(
            data,
            observations=self.observations,
            kinds=np.array(self.kinds),
            actions_float64=self.actions64,
            actions_float32=self.actions32,
        )
        (folder / "test_vectors.npz").write_bytes(data.getvalue())
        rows = [
            {"kind": kind, "observation": observation, "action_float64": precise, "action_float32": single}
            for kind, observation, precise, single in zip(
                self.kinds,
                self.observations.tolist(),
                self.actions64.tolist(),
                self.actions32.tolist(),
                strict=True,
            )
        ]
        lines = ",\n".join(json.dumps(row) for row in rows)
        (folder / "test_vectors.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Vectors:
        """Read what `write` wrote.

        Args:
            folder: Where.

        Raises:
            ArtefactError: The file is missing or damaged.
        """
        path = folder / "test_vectors.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                kinds = tuple(str(kind) for kind in file["kinds"])
                arrays = file["observations"], file["actions_float64"], file["actions_float32"]
        except Exception as error:  # A damaged archive can fail in any of its parts, in any way.
            raise ArtefactError(f"{path} is missing or damaged: {error}") from error
        return cls(arrays[0], kinds, arrays[1], arrays[2])


def build_vectors(
    policy: PlainPolicy,
    rollout: ArrayLike,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
) -> Vectors:
    """Choose observations and compute what the policy does.

    Zeros; each number at its clip, all up, all down and in mixed patterns, and the same beyond it; and up to
    96 observations of a rollout, spread evenly. Where there is no clip the bounds of the observation space
    stand for it, and where it has none, the largest values of the rollout.

    Args:
        policy: The policy.
        rollout: Real observations ``[N, in]``, at least 64.
        low: Lower bounds of the observation space ``[in]``.
        high: Upper bounds of the observation space ``[in]``.

    Raises:
        ExportError: There are too few real observations.
        NonFiniteError: An observation is not finite.
    """
    real = np.asarray(rollout, np.float32).reshape(-1, policy.sizes[0])
    if len(real) < LEAST_ROLLOUT:
        raise ExportError(
            f"at least {LEAST_ROLLOUT} observations of a rollout are needed to test what is exported, "
            f"got {len(real)}"
        )
    chosen = real[np.linspace(0, len(real) - 1, min(len(real), _MOST_ROLLOUT)).round().astype(int)]
    centre, reach = _edges(policy, real, low, high)
    generator = np.random.default_rng(0)
    signs = np.stack(
        [
            np.ones_like(centre),
            -np.ones_like(centre),
            *(generator.choice([-1.0, 1.0], centre.size) for _ in range(_EDGE_PATTERNS)),
        ]
    )
    parts = {
        "zeros": np.zeros((1, centre.size)),
        "clip": centre + signs * reach,
        "beyond clip": centre + signs * reach * _BEYOND,
        "rollout": chosen,
    }
    limit = float(np.finfo(np.float32).max) / 4
    observations = np.clip(np.concatenate(list(parts.values())), -limit, limit).astype(np.float32)
    kinds = tuple(kind for kind, rows in parts.items() for _ in range(len(rows)))
    return Vectors(
        observations,
        kinds,
        np.asarray(policy(observations, np.float64), np.float64),
        np.asarray(policy(observations, np.float32), np.float32),
    )


def select(vectors: Vectors, rows: NDArray[np.bool_]) -> Vectors:
    """Return some of the vectors.

    Args:
        vectors: All of them.
        rows: Which ones ``[N]``.
    """
    kinds = tuple(kind for kind, row in zip(vectors.kinds, rows, strict=True) if row)
    return Vectors(vectors.observations[rows], kinds, vectors.actions64[rows], vectors.actions32[rows])


def _edges(
    policy: PlainPolicy, real: NDArray[np.float32], low: ArrayLike | None, high: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each observation and how far it is to its clip, or what stands for one."""
    normaliser = policy.normaliser
    if normaliser is not None and np.isfinite(normaliser.clip):
        return np.asarray(normaliser.mean), normaliser.clip * normaliser.deviation
    largest = np.maximum(np.abs(real).max(axis=0).astype(np.float64), 1e-3)
    if low is None or high is None:
        return np.zeros_like(largest), largest
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    # Some spaces have the largest number for a bound instead of infinity.
    finite = (np.abs(bottom) < 1e6) & (np.abs(top) < 1e6)
    bottom, top = np.where(finite, bottom, -largest), np.where(finite, top, largest)
    return (bottom + top) / 2, (top - bottom) / 2
