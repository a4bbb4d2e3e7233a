"""Whether an exported policy acts as the policy does, and how close is close enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ArtefactError, ExportError
from hyperrl.plain_policy import PlainPolicy

TOLERANCE = 1e-5
"""Of half an action's range, for example 1e-5 for actions from -1 to 1."""
SELF_TEST_TOLERANCE = 1e-4
"""The same for the self-test on a robot, whose processor and C library may round otherwise."""
INT8_SELF_TEST_TOLERANCE = 0.02
"""The same for int8 weights: where a value lies between two steps, rounding decides which one it takes."""
_ROUNDINGS = 4
_HOPELESS = 1e-3

STATEMENT = (
    "|difference| <= tolerance x half of the action's range; for an action without bounds, tolerance x "
    "max(1, |action|). The tolerance is 1e-5, or four times the largest difference between the same policy "
    "in float32 and in float64 where that is more."
)


@dataclass(frozen=True, eq=False)
class Closeness:
    """How actions are compared, and how close they must be.

    Attributes:
        tolerance: The largest difference, in the unit of `errors`.
        half_range: Half of each action's range ``[out]``; 1 where it has no bounds.
        bounded: Which actions have bounds ``[out]``.
    """

    tolerance: float
    half_range: NDArray[np.float64]
    bounded: NDArray[np.bool_]

    def errors(self, actions: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
        """Return differences in units of half the action's range, ``[N, out]``; infinity for NaN.

        Args:
            actions: ``[N, out]``.
            expected: ``[N, out]``.

        Raises:
            ExportError: The shapes differ.
        """
        got, wanted = np.asarray(actions, np.float64), np.asarray(expected, np.float64)
        if got.shape != wanted.shape:
            raise ExportError(f"it gives actions of shape {list(got.shape)} instead of {list(wanted.shape)}")
        scale = np.where(self.bounded, self.half_range, np.maximum(1.0, np.abs(wanted)))
        difference = np.abs(got - wanted) / scale
        return np.where(np.isfinite(difference), difference, np.inf)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "tolerance": self.tolerance,
            "statement": STATEMENT,
            "half_range": self.half_range.tolist(),
            "bounded": self.bounded.tolist(),
        }

    @classmethod
    def from_json(cls, table: Any) -> Closeness:
        """Read what `as_json` returned.

        Args:
            table: The JSON values.

        Raises:
            ArtefactError: They are something else.
        """
        try:
            return cls(
                float(table["tolerance"]),
                np.array(table["half_range"], np.float64),
                np.array(table["bounded"], np.bool_),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"the manifest has no valid parity section: {error}") from error


def closeness(policy: PlainPolicy, actions32: ArrayLike, actions64: ArrayLike) -> Closeness:
    """Return how close an exported policy must come.

    Args:
        policy: The policy.
        actions32: What it does in float32, ``[N, out]``.
        actions64: What it does in float64, ``[N, out]``.

    Raises:
        ExportError: float32 alone is already far from the truth.
    """
    low, high = policy.head.low.astype(np.float64), policy.head.high.astype(np.float64)
    bounded = np.isfinite(high - low) & (policy.head.bound != "none")
    exact = Closeness(TOLERANCE, policy.head.half_range, bounded)
    rounding = float(exact.errors(actions32, actions64).max())
    if rounding > _HOPELESS:
        raise ExportError(
            f"this policy differs by {rounding:.2g} of half the action range between float32 and float64: "
            "its weights or observations are too large to be computed in float32"
        )
    return Closeness(max(TOLERANCE, _ROUNDINGS * rounding), exact.half_range, bounded)


def check_parity(
    close: Closeness, actions: ArrayLike, expected: ArrayLike, kinds: tuple[str, ...], what: str
) -> float:
    """Return the largest error of exported actions.

    Args:
        close: How they are compared.
        actions: What the exported policy does ``[N, out]``.
        expected: What it must do ``[N, out]``.
        kinds: Where each vector comes from, for the message.
        what: What is compared with what, for the message.

    Raises:
        ExportError: It is larger than the tolerance.
    """
    errors = close.errors(actions, expected)
    row, column = np.unravel_index(int(errors.argmax()), errors.shape)
    worst = float(errors[row, column])
    if worst > close.tolerance:
        raise ExportError(
            f"{what} differs by {worst:.2g} of half the action range, more than {close.tolerance:.2g}, in "
            f"action {int(column)} at test vector {int(row)} ({kinds[int(row)]})"
        )
    return worst
