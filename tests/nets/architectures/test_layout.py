"""The flat vector is torch's own, for each architecture after the other."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from hyperrl.nets.architectures import ArchitectureSpace
from hyperrl.nets.architectures.layout import Layout, positions_of_blocks

SPACE = ArchitectureSpace.grid(5, 2, (3, 8, 20), (1, 2, 3))


def network(widths):
    return nn.Sequential(*(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)))


@pytest.mark.parametrize("numbers", [[0], [38], [3, 3], [38, 0, 17, 5]])
def test_the_vector_is_that_of_the_networks_one_after_the_other(numbers):
    layout = Layout(SPACE, numbers)
    networks = [network((5, *SPACE[number], 2)) for number in numbers]
    flat = torch.cat([parameters_to_vector(one.parameters()) for one in networks])
    assert (layout.total, len(layout)) == (len(flat), len(numbers))
    assert np.diff(layout.offsets).tolist() == SPACE.parameters[numbers].tolist()
    for parts, one in zip(layout.split(flat), networks, strict=True):
        for (weight, bias), layer in zip(parts, one, strict=True):
            assert torch.equal(weight, layer.weight)
            assert torch.equal(bias, layer.bias)


def test_parts_are_views_that_lead_back_to_the_vector():
    layout = Layout(SPACE, [4, 30])
    flat = torch.zeros(layout.total, requires_grad=True)
    sum((weight.sum() + 2 * bias.sum()) for parts in layout.split(flat) for weight, bias in parts).backward()
    biases = sum(sum(SPACE[number]) + 2 for number in (4, 30))
    assert flat.grad is not None
    assert flat.grad.sum() == layout.total + biases
    assert layout.split(flat)[0][0][0].data_ptr() == flat.data_ptr()


def test_the_table_describes_every_layer():
    number = SPACE.index((8, 20))
    table = Layout(SPACE, [0, number]).layers
    assert len(table) == 5
    assert table.owner.tolist() == [0, 0, 1, 1, 1]
    assert table.position.tolist() == [0, 1, 0, 1, 2]
    assert table.remaining.tolist() == [1, 0, 2, 1, 0]
    assert table.fan_in.tolist() == [5, 3, 5, 8, 20]
    assert table.fan_out.tolist() == [3, 2, 8, 20, 2]


def test_positions_are_those_of_slices():
    memory = np.arange(60).reshape(6, 10)
    found = positions_of_blocks(*(np.array(part) for part in ([0, 23], [2, 3], [4, 2], [10, 10])))
    assert found.tolist() == [*memory[:2, :4].ravel(), *memory[2:5, 3:5].ravel()]
