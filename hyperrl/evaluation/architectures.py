"""What every architecture of an agent earns: all of them at once, the better ones again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from hyperrl.errors import ConfigError
from hyperrl.evaluation.choice import Candidate, better_half, size_classes
from hyperrl.evaluation.stacked import play_stacked
from hyperrl.evaluation.statistics import Interval, bootstrap_interval
from hyperrl.exporters.budget import budget_of

_Numbers = NDArray[np.int64]
Progress = Callable[[str], None]


class _Space(Protocol):
    architectures: tuple[tuple[int, ...], ...]
    parameters: _Numbers
    inputs: int
    outputs: int

    def index(self, architecture: Sequence[int]) -> int:
        """Return an architecture's number."""
        ...


class ManyArchitectures(Protocol):
    """The policy of an agent that has many architectures, such as HyperPPO's."""

    space: _Space

    @property
    def default_architecture(self) -> tuple[int, ...]:
        """The architecture that acts where none is given."""
        ...

    def mean_actions(self, numbers: Sequence[int], observations: NDArray[Any]) -> NDArray[Any]:
        """Return deterministic actions ``[M, B, ...]`` of some architectures for ``[M, B, ...]``."""
        ...


def has_architectures(agent: BaseAlgorithm) -> bool:
    """Return whether an agent has policies of several architectures.

    Args:
        agent: The agent.
    """
    return hasattr(agent.policy, "space") and hasattr(agent.policy, "mean_actions")


def policy_of(agent: BaseAlgorithm, name: str) -> ManyArchitectures:
    """Return the policy of an agent that has many architectures.

    Args:
        agent: The agent.
        name: What it is called in messages.

    Raises:
        ConfigError: It has one architecture only.
    """
    policy: Any = agent.policy
    if not has_architectures(agent):
        raise ConfigError(
            f"{name} has a policy of one architecture: give a run of an agent with many, such as hyper-ppo"
        )
    many: ManyArchitectures = policy
    return many


class Tournament:
    """Plays episodes with every architecture, then with the better half of each size, and so on.

    Episodes are deterministic; in a round all architectures play the same ones, the number of which doubles
    from round to round. The last round's are fresh: what an architecture owes to the luck by which it was
    picked is gone there.

    Args:
        agent: The agent, with its `VecNormalize` if it has one.
        policy: Its policy.
        make_envs: Builds as many environments as it is told, with the infos of a `Monitor`.
        at_once: Most environments that are stepped together.
        say: Called with a line for each round.
    """

    def __init__(
        self,
        agent: BaseAlgorithm,
        policy: ManyArchitectures,
        make_envs: Callable[[int], VecEnv],
        at_once: int = 512,
        say: Progress = print,
    ) -> None:
        self._policy = policy
        self._normaliser = agent.get_vec_normalize_env()
        self._make_envs = make_envs
        self._at_once = at_once
        self._say = say
        self._parameters = [int(number) for number in policy.space.parameters]

    def play(self, seeds: Sequence[int], finals: Sequence[int], finalists: int = 3) -> list[Candidate]:
        """Play all rounds.

        Args:
            seeds: Seeds of the episodes of the rounds before the last, those of the first round first. With
                none there is the last round alone, with all architectures.
            finals: Seeds of the last round's episodes.
            finalists: Architectures of each class of size that are in the last round.

        Returns:
            One candidate for each architecture, by number.
        """
        count = len(self._parameters)
        returns: dict[int, list[float]] = {number: [] for number in range(count)}
        racing = list(range(count))
        classes = size_classes(self._parameters)
        start, episodes = 0, max(1, len(seeds) // 4)
        while start < len(seeds):
            part = seeds[start : start + episodes]
            self._say(f"{len(racing):,} architectures, {len(part)} episodes each")
            for number, own in zip(racing, self._returns(racing, part), strict=True):
                returns[number] += own
            start, episodes = start + episodes, 2 * episodes
            means = [float(np.mean(returns[number])) for number in racing]
            kept = better_half(means, [classes[number] for number in racing], finalists)
            racing = [racing[place] for place in kept]
        final = self._finalists(racing, returns, classes, finalists) if seeds else racing
        fresh = dict(zip(final, self.finals(final, finals), strict=True))
        return [
            fresh[number] if number in fresh else self._candidate(number, returns[number], False)
            for number in range(count)
        ]

    def finals(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[Candidate]:
        """Play the last round.

        Args:
            numbers: The finalists.
            seeds: Seeds of its episodes.

        Returns:
            One candidate for each finalist.
        """
        self._say(f"{len(numbers):,} finalists, {len(seeds)} fresh episodes each")
        returns = self._returns(numbers, seeds)
        return [self._candidate(number, own, True) for number, own in zip(numbers, returns, strict=True)]

    def _finalists(
        self, racing: Sequence[int], returns: dict[int, list[float]], classes: Sequence[int], count: int
    ) -> list[int]:
        """Return the best of each class."""
        chosen: list[int] = []
        for one in sorted({classes[number] for number in racing}):
            own = [number for number in racing if classes[number] == one]
            own.sort(key=lambda number: (-float(np.mean(returns[number])), number))
            chosen += own[:count]
        return sorted(chosen)

    def _candidate(self, number: int, returns: Sequence[float], is_finalist: bool) -> Candidate:
        space = self._policy.space
        # A normaliser of rewards alone does not go to the robot.
        normalised = self._normaliser is not None and self._normaliser.norm_obs
        sizes = [space.inputs, *space.architectures[number], space.outputs]
        budget = budget_of(sizes, normalised=normalised)
        if len(returns) > 1:
            interval = bootstrap_interval(returns, resamples=2000)
        else:
            # One episode says nothing of the spread.
            interval = Interval(returns[0], -math.inf, math.inf)
        return Candidate(space.architectures[number], budget, len(returns), interval, is_finalist)

    def _returns(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[list[float]]:
        """Return the returns of the same episodes for each architecture."""
        played: list[list[float]] = [[] for _ in numbers]
        for first in range(0, len(seeds), self._at_once):
            own = seeds[first : first + self._at_once]
            together = self._at_once // len(own)
            for start in range(0, len(numbers), together):
                part = numbers[start : start + together]
                for place, returns in enumerate(self._play(part, own), start):
                    played[place] += returns
        return played

    def _play(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[list[float]]:
        """Play all these episodes side by side."""
        env = self._make_envs(len(numbers) * len(seeds))
        try:
            acting = _Together(self._policy, numbers, self._normaliser)
            return play_stacked(acting, env, [seeds] * len(numbers), lambda: None)
        finally:
            env.close()


class _Together:
    """Acts for several architectures, whose observations come one after the other.

    Args:
        policy: The policy.
        numbers: The architectures.
        normaliser: What normalises observations.
    """

    def __init__(
        self, policy: ManyArchitectures, numbers: Sequence[int], normaliser: VecNormalize | None
    ) -> None:
        self._policy = policy
        self._numbers = numbers
        self._normaliser = normaliser

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return actions ``[M E, ...]`` for observations ``[M E, ...]``."""
        if self._normaliser is not None:
            observation = self._normaliser.normalize_obs(observation)
        split = observation.reshape(len(self._numbers), -1, *observation.shape[1:])
        actions = self._policy.mean_actions(self._numbers, split)
        return actions.reshape(-1, *actions.shape[2:]), state
