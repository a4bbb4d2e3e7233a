"""What is to be exported and what for, before any format is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.exporters.base import Act
from hyperrl.exporters.interface import Interface, interface_of
from hyperrl.plain_policy import PlainPolicy

MAX_LOSS = 0.05
"""The largest share of the return that int8 weights may cost, unless another is asked for."""
EPISODES_FOR_INT8 = 20
"""How many episodes decide it, unless another number is asked for."""


class Acting(Protocol):
    """Anything that acts as the algorithms of Stable-Baselines3 do."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the action for an observation, and the next recurrent state."""
        ...


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it lies.
        manifest: Its manifest.
    """

    folder: Path
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One format that is asked for.

    Attributes:
        format: Name of the exporter.
        out: The folder that shall appear.
        weights: "float32" or "int8".
        prefix: What names of functions and files begin with.
        fold_normaliser: Whether the first layer shall do what the normaliser does, without its clip.
        overwrite: Whether an artefact in that place is replaced.
        episodes: How many episodes the evaluation has, 0 for none.
        max_loss: The share of the return that int8 weights may cost.
    """

    format: str
    out: Path
    weights: str = "float32"
    prefix: str = "policy"
    fold_normaliser: bool = False
    overwrite: bool = False
    episodes: int = 0
    max_loss: float = MAX_LOSS


@dataclass(frozen=True, eq=False)
class Subject:
    """A policy with all that is known of it.

    Attributes:
        policy: The policy.
        rollout: Real observations ``[N, in]``, not normalised.
        interface: What its numbers are.
        provenance: Where it comes from, JSON values.
        reference: The trained model itself, from observations to actions; None where there is none.
        play: Plays so many episodes of the evaluation with a policy and returns their returns; None where
            there is no environment.
        low: Lower bounds of the observation space ``[in]``.
        high: Upper bounds of the observation space ``[in]``.
    """

    policy: PlainPolicy
    rollout: NDArray[np.float32]
    interface: Interface
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reference: Callable[[Any], Any] | None = None
    play: Callable[[Acting, int], Sequence[float]] | None = None
    low: ArrayLike | None = None
    high: ArrayLike | None = None


def plain_subject(policy: PlainPolicy, rollout: ArrayLike, **more: Any) -> Subject:
    """Return a subject for a policy that comes from nowhere else.

    Args:
        policy: The policy.
        rollout: Real observations ``[N, in]``, not normalised.
        **more: Other attributes of `Subject`.
    """
    interface = more.pop("interface", None) or interface_of(None, policy.sizes[0], policy.sizes[-1])
    return Subject(policy, np.asarray(rollout, np.float32), interface, **more)


class ActingExport:
    """An exported policy that plays episodes.

    Args:
        act: What an exporter loaded.
    """

    def __init__(self, act: Act) -> None:
        self._act = act

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the action for one observation, and the state as it is.

        Args:
            observation: ``[in]``.
            state: Given back.
            episode_start: Not used.
            deterministic: Not used.
        """
        return self._act(np.asarray(observation, np.float32)[None])[0], state
