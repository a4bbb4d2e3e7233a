"""What the numbers of observations and actions are, as far as the environment says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hyperrl.errors import ShapeError

UNKNOWN = "unknown"
LARGEST_JITTER = 0.2
"""How far from the control period, as a share of it, two actions may lie apart: the bounds 0.8 and 1.2 beyond
which the executor of RLtools (Eschmann et al., "Learning to Fly in Seconds", 2024) warns."""
# Wrappers of Gymnasium that change neither observations nor actions.
_TRANSPARENT = frozenset(
    {
        "NormalizeReward",
        "OrderEnforcing",
        "PassiveEnvChecker",
        "RecordEpisodeStatistics",
        "RecordVideo",
        "TimeLimit",
        "TransformReward",
    }
)


@dataclass(frozen=True)
class Interface:
    """Names and units, in the order in which the policy takes and gives them.

    Attributes:
        observation_names: One for each observation.
        observation_units: One for each observation, "unknown" where nobody says.
        action_names: One for each action.
        action_units: One for each action.
        control_period: Seconds between two actions in training, None where nobody says.
        conventions: Frames, order of quaternions and the like, by name.
        wrappers: What lies between the environment and the policy, outermost first, and may change
            observations or actions: it is no part of what is exported.
    """

    observation_names: tuple[str, ...]
    observation_units: tuple[str, ...]
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    control_period: float | None = None
    conventions: dict[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()

    def check(self, inputs: int, outputs: int) -> None:
        """Refuse an interface that does not fit a policy.

        Args:
            inputs: Size of the policy's observation.
            outputs: Size of its action.

        Raises:
            ShapeError: The environment names more or fewer numbers than there are.
        """
        for noun, names, size in (
            ("observation_names", self.observation_names, inputs),
            ("observation_units", self.observation_units, inputs),
            ("action_names", self.action_names, outputs),
            ("action_units", self.action_units, outputs),
        ):
            if len(names) != size:
                raise ShapeError(f"{noun} must have one entry for each of {size} numbers, got {len(names)}")

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "observations": _rows(self.observation_names, self.observation_units),
            "actions": _rows(self.action_names, self.action_units),
            "control_period_seconds": self.control_period,
            "largest_jitter_seconds": None
            if self.control_period is None
            else LARGEST_JITTER * self.control_period,
            "conventions": dict(self.conventions),
            "wrappers": list(self.wrappers),
        }


def interface_of(env: Any, inputs: int, outputs: int) -> Interface:
    """Return what an environment says of its numbers, and plain numbers for names where it says nothing.

    It is asked for the attributes ``observation_names``, ``observation_units``, ``action_names``,
    ``action_units``, ``dt`` (seconds) and ``conventions`` (texts by name) of its ``unwrapped``.

    Args:
        env: A Gymnasium environment, or None.
        inputs: Size of the policy's observation.
        outputs: Size of its action.

    Raises:
        ShapeError: The environment names more or fewer numbers than there are.
    """
    inner = getattr(env, "unwrapped", env)

    def texts(attribute: str, default: list[str]) -> tuple[str, ...]:
        given = getattr(inner, attribute, None)
        return tuple(default if given is None else map(str, given))

    conventions = getattr(inner, "conventions", None)
    interface = Interface(
        texts("observation_names", [f"observation[{index}]" for index in range(inputs)]),
        texts("observation_units", [UNKNOWN] * inputs),
        texts("action_names", [f"action[{index}]" for index in range(outputs)]),
        texts("action_units", [UNKNOWN] * outputs),
        _period(getattr(inner, "dt", None)),
        {str(key): str(value) for key, value in conventions.items()} if isinstance(conventions, dict) else {},
        tuple(name for name in _wrapper_names(env) if name not in _TRANSPARENT),
    )
    interface.check(inputs, outputs)
    return interface


def _wrapper_names(env: Any) -> Iterator[str]:
    inner = getattr(env, "unwrapped", env)
    while env is not inner:
        yield type(env).__name__
        env = env.env


def _period(seconds: Any) -> float | None:
    try:
        period = float(seconds)
    except (TypeError, ValueError):
        return None
    return period if math.isfinite(period) and period > 0 else None


def _rows(names: tuple[str, ...], units: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"index": index, "name": name, "unit": unit}
        for index, (name, unit) in enumerate(zip(names, units, strict=True))
    ]
