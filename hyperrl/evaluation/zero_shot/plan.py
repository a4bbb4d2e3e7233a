"""Which episodes a zero-shot evaluation plays: a fixed number in every context, all from the same starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperrl.context import Splits
from hyperrl.context.space import Array
from hyperrl.context.splits import TRAIN
from hyperrl.errors import ConfigError, ContextError, unknown_name
from hyperrl.ranges import whole
from hyperrl.run.seeding import seeds_of_zero_shot

NONE = "none"
"""The policy as it was trained."""
SHUFFLED = "shuffled"
"""The policy is told the context of another task of the same split."""
MEAN = "mean"
"""The policy is told the mean of the contexts of training."""
RANDOM = "random"
"""No policy: actions drawn evenly from the action space, a reference."""

ABLATIONS = (SHUFFLED, MEAN)
"""What can be done to the context that a policy is told. The task itself keeps its own."""

_SHUFFLE = 0xAB1A  # Keeps this draw apart from others of the same seed.


@dataclass(frozen=True)
class Case:
    """One episode to be played.

    Attributes:
        split: Name of the set of contexts.
        number: Which context of the set, from 0.
        context: The context of the task, shape [d].
        told: The context that the policy is told instead, shape [d]; None for the true one.
        ablation: `NONE`, one of `ABLATIONS`, or `RANDOM`.
        seed: Seed of the evaluation.
        episode: Number of the episode, from 0, for this context and seed.
        reset_seed: Seed of the environment's reset.
    """

    split: str
    number: int
    context: Array
    told: Array | None
    ablation: str
    seed: int
    episode: int
    reset_seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """A zero-shot evaluation, independent of what is evaluated.

    The resets are the same in every context, for every method and every run (common random numbers), so
    that differences between contexts or methods owe as little as possible to luck.

    Attributes:
        splits: The contexts.
        names: The splits to evaluate, in the order of `splits.names`.
        episodes: Episodes in each context for each seed.
        seeds: Seeds of the evaluation.
        ablations: Some of `ABLATIONS`, in their order.
        random: Whether random actions are played, too.

    Raises:
        UnknownNameError: There is no such split or ablation.
        ContextError: No split is named.
        ConfigError: A number is out of range, or a seed comes twice.
    """

    splits: Splits
    names: tuple[str, ...]
    episodes: int
    seeds: tuple[int, ...] = (0,)
    ablations: tuple[str, ...] = ()
    random: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be planned; names get their usual order, each once."""
        if not self.names:
            raise ContextError(f"no split of contexts is named, choose from {', '.join(self.splits.names)}")
        for name in self.names:
            self.splits.contexts(name)
        for name in self.ablations:
            if name not in ABLATIONS:
                raise unknown_name("ablation of the context", str(name), ABLATIONS)
        chosen = {"names": _ordered(self.names, self.splits.names)}
        chosen["ablations"] = _ordered(self.ablations, ABLATIONS)
        for field, value in chosen.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "episodes", int(whole(1, 10_000).check("episodes", self.episodes)))
        seeds = tuple(int(whole(0, 2**32 - 1).check("seeds", seed)) for seed in self.seeds)
        if not seeds or len(set(seeds)) < len(seeds):
            raise ConfigError(f"seeds must be one or more different numbers, got {list(self.seeds)}")
        object.__setattr__(self, "seeds", seeds)

    def cases(self) -> list[Case]:
        """Return the episodes, those of one context beside each other."""
        kinds = [NONE, *self.ablations, *([RANDOM] if self.random else [])]
        return [case for kind in kinds for name in self.names for case in self._of_split(name, kind)]

    def joined(self, other: Plan) -> Plan | None:
        """Return the plan of all episodes of two plans, None where their episodes do not go together.

        Args:
            other: A plan; its splits must have the same contexts, and its numbers must be the same.
        """
        mine, its = ((plan.episodes, plan.seeds, plan.splits.to_json()) for plan in (self, other))
        if mine != its:
            return None
        names, ablations = self.names + other.names, self.ablations + other.ablations
        return dataclasses.replace(self, names=names, ablations=ablations, random=self.random or other.random)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data; equal data stand for the same episodes."""
        return {
            "splits": self.splits.to_json(),
            "names": list(self.names),
            "episodes": self.episodes,
            "seeds": list(self.seeds),
            "ablations": list(self.ablations),
            "random": self.random,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Build a plan from what `to_json` returned.

        Raises:
            ContextError: Something is missing.
            HyperRLError: A value is wrong.
        """
        missing = {field.name for field in dataclasses.fields(cls)} - set(values)
        if missing:
            raise ContextError(f"the plan of a zero-shot evaluation lacks {', '.join(sorted(missing))}")
        return cls(
            Splits.from_json(values["splits"]),
            tuple(values["names"]),
            values["episodes"],
            tuple(values["seeds"]),
            tuple(values["ablations"]),
            bool(values["random"]),
        )

    def _of_split(self, name: str, kind: str) -> list[Case]:
        contexts = self.splits.contexts(name)
        told: Sequence[Array | None] = [None] * len(contexts)
        if kind == SHUFFLED:
            if len(contexts) == 1:
                return []  # There is no other context to be told.
            told = list(contexts[_others(len(contexts))])
        elif kind == MEAN:
            told = [_mean_context(self.splits)] * len(contexts)
        return [
            Case(name, number, context, told[number], kind, seed, episode, reset_seed)
            for number, context in enumerate(contexts)
            for seed in self.seeds
            for episode, reset_seed in enumerate(seeds_of_zero_shot(seed, self.episodes))
        ]


def _ordered(given: Sequence[str], order: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in order if name in given)


def _others(count: int) -> list[int]:
    """Return a permutation that leaves nothing in its place: one step along a random circle."""
    circle = np.random.default_rng(_SHUFFLE).permutation(count)
    others = np.empty(count, int)
    others[circle] = np.roll(circle, 1)
    return [int(other) for other in others]


def _mean_context(splits: Splits) -> Array:
    """Return the mean of the contexts of training, of logarithms or directions where a parameter has them."""
    space, contexts = splits.space, splits.contexts(TRAIN)
    mean = space.denormalise(space.normalise(contexts).mean(axis=0))
    for column in [index for index, param in enumerate(space) if param.periodic]:
        low, turn = space.low[column], space.high[column] - space.low[column]
        angles = (contexts[:, column] - low) * (2 * np.pi / turn)
        middle = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()) / (2 * np.pi)
        mean[column] = low + turn * (middle % 1.0)
    return mean
