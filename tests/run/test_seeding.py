import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.errors import ConfigError
from hyperrl.run.seeding import seeds_of_evaluation, seeds_of_run

SEED = st.integers(0, 2**32 - 1)


@given(SEED, st.integers(1, 20))
def test_the_seed_decides_all_and_the_parts_differ(seed, episodes):
    seeds = seeds_of_run(seed, episodes)
    assert seeds == seeds_of_run(seed, episodes)
    assert len(seeds.evaluation) == episodes
    parts = [seeds.agent, seeds.envs, *seeds.evaluation, *seeds_of_evaluation(seed, 0, episodes)]
    assert all(0 <= part < 2**32 for part in parts)
    assert len(set(parts)) == len(parts)
    assert seeds.envs + 4096 < 2**32


def test_more_evaluation_episodes_change_nothing_else():
    few, many = seeds_of_run(5, 2), seeds_of_run(5, 9)
    assert (few.agent, few.envs) == (many.agent, many.envs)
    assert many.evaluation[:2] == few.evaluation


def test_another_seed_changes_every_part():
    first, second = seeds_of_run(0, 3), seeds_of_run(1, 3)
    assert first.agent != second.agent
    assert first.envs != second.envs
    assert not set(first.evaluation) & set(second.evaluation)
    assert not set(seeds_of_evaluation(0, 0, 9)) & set(seeds_of_evaluation(0, 1, 9))
    assert not set(seeds_of_evaluation(0, 1, 9)) & set(seeds_of_evaluation(1, 0, 9))


def test_seeds_are_the_same_on_every_machine():
    assert seeds_of_run(0, 1).agent == 3757552657
    assert seeds_of_evaluation(0, 0, 1) == (3685993406,)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, float("nan"), "x"])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(ConfigError, match="seed must be"):
        seeds_of_run(seed, 1)
    with pytest.raises(ConfigError, match="seed must be"):
        seeds_of_evaluation(0, seed, 1)
