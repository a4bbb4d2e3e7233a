from itertools import pairwise, product

import numpy as np
import pytest
from torch import nn

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets import TargetSpec
from hyperrl.nets.architectures import ArchitectureSpace

PAPER = ArchitectureSpace.paper(17, 6)


def test_the_papers_space():
    assert len(PAPER) == 7 + 49 + 343 + 2401 == 2800
    assert (PAPER.parameters[0], PAPER.parameters[-1]) == (102, 203_526)
    # 47.3 million as published, 189 MB in float32.
    assert PAPER.parameters.sum() / 1e6 == pytest.approx(47.3, abs=0.06)
    assert round(4 * PAPER.parameters.sum() / 1e6) == 189
    assert PAPER.parameters[1400] == 7554
    assert (PAPER[0], PAPER[-1]) == ((4,), (256, 256, 256, 256))
    assert np.bincount(PAPER.depths).tolist() == [0, 7, 49, 343, 2401]


@pytest.mark.parametrize("sizes", [(range(1, 200), (4,)), ((1, 2), (100,))])
def test_a_space_that_would_fill_the_memory_is_refused(sizes):
    with pytest.raises(ConfigError, match="a space has at most 100,000 architectures"):
        ArchitectureSpace.grid(3, 1, *sizes)


def test_widths_that_are_no_list_are_refused():
    with pytest.raises(ConfigError, match="widths must be a list of whole numbers"):
        ArchitectureSpace.grid(3, 1, 4, [1])


def test_the_cpus_space():
    space = ArchitectureSpace.cpu(17, 6)
    assert len(space) == 5 + 25 + 125
    assert max(max(one) for one in space.architectures) == 64


def test_numbers_are_those_of_a_stable_sort_by_size():
    assert (np.diff(PAPER.parameters) >= 0).all()
    given = [one for depth in (1, 2, 3, 4) for one in product((4, 8, 16, 32, 64, 128, 256), repeat=depth)]
    for number in np.flatnonzero(np.diff(PAPER.parameters) == 0):
        assert given.index(PAPER[number]) < given.index(PAPER[number + 1])


@pytest.mark.parametrize("architecture", [(4,), (8, 64), (256, 4, 16), (32, 32, 128, 8)])
def test_counts_are_those_of_real_networks(architecture):
    widths = (17, *architecture, 6)
    layers = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
    assert PAPER.count_parameters(architecture) == sum(
        p.numel() for layer in layers for p in layer.parameters()
    )
    assert PAPER.count_parameters(architecture) == TargetSpec.mlp(17, architecture, 6).numel
    assert PAPER.count_macs(architecture) == sum(layer.weight.numel() for layer in layers)
    assert PAPER.parameters[PAPER.index(architecture)] == PAPER.count_parameters(architecture)


def test_every_architecture_has_its_number():
    assert [PAPER.index(one) for one in PAPER.architectures] == list(range(2800))
    assert PAPER.index([64, 64]) == PAPER.index((64, 64))


def test_a_space_comes_back_from_its_state():
    space = ArchitectureSpace(3, 2, [(5, 5), (2,), (9,)])
    assert (space.architectures, space.parameters.tolist()) == (((2,), (9,), (5, 5)), [14, 56, 62])
    again = ArchitectureSpace.from_state(space.state())
    assert (again.architectures, again.inputs, again.outputs) == (space.architectures, 3, 2)


def test_what_is_not_there_has_the_nearest():
    with pytest.raises(UnknownNameError, match=r"\[60, 60\] is not one of the 2,800 .* did you mean \[.*\]"):
        PAPER.index((60, 60))
    with pytest.raises(UnknownNameError, match=r"did you mean \[4\]"):
        PAPER.index((3,))


@pytest.mark.parametrize(
    ("architectures", "message"),
    [
        ([], "at least one"),
        ([()], "widths of its hidden layers"),
        (["16,16"], "widths of its hidden layers"),
        ([(4, 0)], "a width must be a whole number"),
        ([(4, 2.5)], "a width must be a whole number"),
        ([(4,), (8,), (4,)], r"\[4\] is there twice"),
    ],
)
def test_a_mistake_is_one_sentence(architectures, message):
    with pytest.raises(ConfigError, match=message):
        ArchitectureSpace(3, 2, architectures)


def test_sizes_are_checked():
    with pytest.raises(ConfigError, match="inputs must be"):
        ArchitectureSpace(0, 2, [(4,)])
    with pytest.raises(ConfigError, match="depths must be"):
        ArchitectureSpace.grid(3, 2, (4,), (0,))
