"""Random numbers of many environments: reproducible one by one, and random."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperrl.errors import ConfigError
from hyperrl_envs.warp.draws import Draws, normals

CPU = torch.device("cpu")


def seeded(seeds):
    draws = Draws(len(seeds), CPU)
    draws.seed(seeds)
    return draws


def test_an_environment_draws_the_same_however_many_others_there_are():
    many, one = seeded(list(range(10, 20))), seeded([13])
    for episode in range(3):
        assert torch.equal(many.uniforms(7)[3], one.uniforms(7)[0])
        # The others' episodes end at other times.
        many.advance(torch.tensor([index == 3 or index % 2 == episode % 2 for index in range(10)]))
        one.advance(torch.tensor([True]))


def test_more_numbers_begin_with_the_same_ones():
    draws = seeded([5, 6])
    assert torch.equal(draws.uniforms(9)[:, :4], draws.uniforms(4))


def test_a_seed_begins_anew_and_none_goes_on():
    draws = seeded([0, 1])
    first = draws.uniforms(4)
    draws.advance(torch.tensor([True, True]))
    second = draws.uniforms(4)
    draws.seed([None, 1])
    assert torch.equal(draws.uniforms(4), torch.stack([second[0], first[1]]))
    assert not torch.equal(Draws(2, CPU).uniforms(4), Draws(2, CPU).uniforms(4))


def test_numbers_are_uniform_and_streams_and_episodes_have_nothing_in_common():
    draws = seeded(list(range(2000)))
    parts = []
    for _ in range(5):
        parts.append(draws.uniforms(20))
        draws.advance(torch.ones(2000, dtype=torch.bool))
    values = torch.stack(parts).numpy()
    assert values.min() >= 0 < values.max() < 1
    counts = np.histogram(values, bins=100, range=(0, 1))[0]
    expected = values.size / 100
    # Chi-squared with 99 degrees of freedom: below 160 but for one in ten thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 160
    for other in (values[:, 1:], values[1:], values[:, :, 1:]):
        size = other.shape
        near = np.corrcoef(values[: size[0], : size[1], : size[2]].ravel(), other.ravel())[0, 1]
        assert abs(near) < 4 / np.sqrt(other.size)
    bell = normals(torch.from_numpy(values)).numpy()
    assert abs(bell.mean()) < 0.01
    assert abs(bell.std() - 1) < 0.01
    ends = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)
    assert bool(normals(ends).isfinite().all())


@pytest.mark.parametrize("seeds", [[1], [1, -1], [1, 0.5], [1, 2**60]])
def test_wrong_seeds_are_refused(seeds):
    with pytest.raises(ConfigError, match="seed"):
        Draws(2, CPU).seed(seeds)
