"""One seed for a whole run, from which every part gets its own.

The parts are independent: another number of evaluation episodes does not change what is trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hyperrl.ranges import whole

# Fixed branch numbers: a new part takes a new number and changes no other part's seeds.
_AGENT, _ENVS, _EVALUATION, _FINAL_EVALUATION, _ZERO_SHOT, _ADAPTATION, _ADAPTING = 0, 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run.

    Attributes:
        agent: Seed of the algorithm: initial weights, exploration, batches.
        envs: Seed of the first training environment.
        evaluation: One seed for each episode of the evaluations while training. They are the same in every
            one, so that two evaluations differ by the policy alone.
    """

    agent: int
    envs: int
    evaluation: tuple[int, ...]


def seeds_of_run(seed: int, eval_episodes: int) -> Seeds:
    """Derive the seeds of a training run.

    Args:
        seed: The run's seed, from 0 to 2^32 - 1.
        eval_episodes: Number of episodes in each evaluation.

    Raises:
        ConfigError: The seed is out of range.
    """
    return Seeds(
        agent=_numbers([seed], _AGENT, 1)[0],
        # Environments take consecutive seeds from here on, so room is left below 2^32.
        envs=_numbers([seed], _ENVS, 1)[0] // 2,
        evaluation=_numbers([seed], _EVALUATION, eval_episodes),
    )


def seeds_of_evaluation(run_seed: int, seed: int, episodes: int) -> tuple[int, ...]:
    """Derive one seed for each episode of a later evaluation, none of them used while training.

    Args:
        run_seed: The seed of the run that is evaluated.
        seed: The evaluation's own seed.
        episodes: Number of episodes.

    Raises:
        ConfigError: A seed is out of range.
    """
    return _numbers([run_seed, seed], _FINAL_EVALUATION, episodes)


def seeds_of_zero_shot(seed: int, episodes: int) -> tuple[int, ...]:
    """Derive one seed for each episode of a zero-shot evaluation, the same for every run and context.

    Args:
        seed: The evaluation's seed.
        episodes: Number of episodes in each context.

    Raises:
        ConfigError: The seed is out of range.
    """
    return _numbers([seed], _ZERO_SHOT, episodes)


def seeds_of_adaptation(seed: int, episodes: int) -> tuple[int, ...]:
    """Derive one seed for each episode that an agent adapts by, the same for every run and task.

    Episodes that it is evaluated in between have the seeds of `seeds_of_zero_shot`.

    Args:
        seed: The evaluation's seed.
        episodes: Number of episodes of data.

    Raises:
        ConfigError: The seed is out of range.
    """
    return _numbers([seed], _ADAPTATION, episodes)


def seeds_of_adapting(seed: int, first: int, data: int, evaluations: int) -> tuple[int, ...]:
    """Derive what an agent that adapts draws with: in its next episode of data, and in evaluations before it.

    Args:
        seed: The evaluation's seed.
        first: Number of the first of the tasks that it adapts to side by side.
        data: Episodes of data so far.
        evaluations: How many evaluations; the first seed is that of the data, whatever their number.

    Raises:
        ConfigError: The seed is out of range.
    """
    return _numbers([seed, first, data], _ADAPTING, 1 + evaluations)


def _numbers(entropy: Iterable[int], branch: int, count: int) -> tuple[int, ...]:
    words = [int(whole(0, 2**32 - 1).check("seed", word)) for word in entropy]
    sequence = np.random.SeedSequence(words, spawn_key=(branch,))
    return tuple(int(word) for word in sequence.generate_state(count, np.uint32))
