"""The width that comes nearest to a number of parameters."""

import pytest
import torch
from torch import nn

from hyperrl.errors import ConfigError
from hyperrl.nets import TargetSpec
from hyperrl.nets.matching import count_params, match_width


@pytest.mark.parametrize("wanted", [9, 100, 101, 5000, 123_456])
def test_no_other_width_comes_nearer(wanted):
    def count(width):
        return 7 * width + 2 + width**2

    match = match_width(count, wanted)
    assert match.n_params == count(match.width)
    assert abs(match.n_params - wanted) == min(abs(count(width) - wanted) for width in range(1, 500))


def test_networks_are_counted_and_nothing_is_drawn():
    state = torch.get_rng_state()
    match = match_width(lambda width: nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2)), 700)
    assert (match.width, match.n_params) == (100, 702)
    assert torch.equal(torch.get_rng_state(), state)
    frozen = nn.Linear(3, 2)
    frozen.bias.requires_grad_(False)
    assert count_params(frozen) == 6


def test_what_no_width_gives_is_refused():
    with pytest.raises(ConfigError, match="the narrowest network has"):
        match_width(lambda width: TargetSpec.mlp(100, (width,), 100).numel, 50)
    with pytest.raises(ConfigError, match="no width up to"):
        match_width(lambda width: 3, 50)
    with pytest.raises(ConfigError, match="positive integer, got 0"):
        match_width(lambda width: width, 0)
