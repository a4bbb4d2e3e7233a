import numpy as np
import pytest

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets.architectures import SAMPLERS, ArchitectureSampler, ArchitectureSpace

PAPER = ArchitectureSpace.paper(17, 6)
SMALL = ArchitectureSpace.grid(3, 2, (2, 4, 8), (1, 2))


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("count", [2, 5, 12])
def test_no_architecture_comes_twice_in_a_draw(kind, count):
    sampler = ArchitectureSampler(SMALL, count, kind)
    for _ in range(30):
        drawn = sampler.draw()
        assert len(set(drawn.tolist())) == len(drawn) == count
        assert drawn.dtype == np.int64
        assert 0 <= drawn.min() <= drawn.max() < 12


@pytest.mark.parametrize(
    ("count", "shares"),
    [(8, (22.2, 25.7, 25.9, 26.2)), (16, (20.2, 25.9, 27.0, 26.9)), (32, (16.1, 26.7, 28.4, 28.7))],
)
def test_depths_are_drawn_as_often_as_was_measured_of_the_papers_code(count, shares):
    sampler = ArchitectureSampler(PAPER, count, "biased", seed=1)
    depths = np.concatenate([PAPER.depths[sampler.draw()] for _ in range(4000)])
    found = np.bincount(depths, minlength=5)[1:] / len(depths) * 100
    np.testing.assert_allclose(found, shares, atol=0.6)


def test_one_architecture_is_drawn_with_its_probability():
    sampler = ArchitectureSampler(SMALL, 1, "biased")
    probabilities = sampler.probabilities()
    assert probabilities.sum() == pytest.approx(1)
    # Three of one layer, nine of two.
    assert probabilities[SMALL.index((2,))] == pytest.approx(1 / 6)
    assert probabilities[SMALL.index((2, 8))] == pytest.approx(1 / 18)
    found = np.bincount([sampler.draw()[0] for _ in range(20_000)], minlength=12) / 20_000
    np.testing.assert_allclose(found, probabilities, atol=0.012)
    uniform = ArchitectureSampler(SMALL, 1, "uniform")
    found = np.bincount([uniform.draw()[0] for _ in range(20_000)], minlength=12) / 20_000
    np.testing.assert_allclose(found, 1 / 12, atol=0.012)


@pytest.mark.parametrize("count", [1, 4, 5, 7, 12])
def test_each_comes_before_any_comes_again(count):
    sampler = ArchitectureSampler(SMALL, count, "sequential")
    visits = np.zeros(12, int)
    for _ in range(40):
        np.add.at(visits, sampler.draw(), 1)
        # A draw that crosses the end of an order puts off what it has already.
        assert visits.max() - visits.min() <= 1
    first, second = (ArchitectureSampler(SMALL, 12, "sequential", seed=seed).draw() for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_sandwich_has_both_ends():
    sampler = ArchitectureSampler(SMALL, 4, "sandwich")
    between = set()
    for _ in range(200):
        drawn = sampler.draw()
        assert drawn[:2].tolist() == [0, 11]
        between |= set(drawn[2:].tolist())
    assert between == set(range(1, 11))
    alone = ArchitectureSampler(ArchitectureSpace(3, 2, [(4,)]), 1, "sandwich")
    assert alone.draw().tolist() == [0]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_seeds_decide_and_states_continue(kind):
    first, again, other = (ArchitectureSampler(SMALL, 5, kind, seed=seed) for seed in (3, 3, 4))
    draws = [[sampler.draw().tolist() for _ in range(5)] for sampler in (first, again, other)]
    assert draws[0] == draws[1] != draws[2]
    other.restore(first.state())
    assert [other.draw().tolist() for _ in range(5)] == [first.draw().tolist() for _ in range(5)]


def test_mistakes_are_one_sentence():
    with pytest.raises(UnknownNameError, match="biased"):
        ArchitectureSampler(SMALL, 2, "baised")
    with pytest.raises(ConfigError, match=r"a draw of 13 architectures .* the space has 12"):
        ArchitectureSampler(SMALL, 13)
    with pytest.raises(ConfigError, match="number of architectures in a draw must be"):
        ArchitectureSampler(SMALL, 0)
    with pytest.raises(ConfigError, match="at least 2"):
        ArchitectureSampler(SMALL, 1, "sandwich")
    with pytest.raises(ConfigError, match="that of a sampler 'uniform'"):
        ArchitectureSampler(SMALL, 2).restore(ArchitectureSampler(SMALL, 2, "uniform").state())
