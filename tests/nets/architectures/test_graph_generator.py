"""The graph generator is the published one: networks and gradients are those of its plain form."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hyperrl.bench.naive_generator import NaiveGraphGenerator
from hyperrl.nets.architectures import ArchitectureSampler, ArchitectureSpace
from hyperrl.nets.architectures.generators.graph import GraphGenerator
from hyperrl.nets.architectures.layout import Layout


def pairs(ours, naive, pick):
    """Return tensors of equal meaning, ours first; `pick` takes values or gradients."""
    decoder = naive.weight_decoder
    order = ours.published_rows()
    found = [
        (pick(ours.message_gate.weight), pick(naive.gate.weight_ih)),
        (pick(ours.message_gate.bias), pick(naive.gate.bias_ih)),
        (pick(ours.state_gate.weight), pick(naive.gate.weight_hh)),
        (pick(ours.state_gate.bias), pick(naive.gate.bias_hh)),
        (pick(ours.tile_biases), pick(decoder[2].bias)[order]),
    ]
    layers = [
        (ours.encoder, naive.encoder),
        (ours.message[0], naive.message[0]),
        (ours.message[1], naive.message[2]),
        (ours.norm, naive.norm),
        (ours.expansion[0], naive.expansion[0]),
        (ours.expansion[1], decoder[0]),
        (ours.bias_expansion, naive.bias_decoder[0]),
        (ours.bias_decoder, naive.bias_decoder[2]),
        (ours.last_bias, naive.last_bias),
    ]
    for one, other in layers:
        found += [(pick(one.weight), pick(other.weight)), (pick(one.bias), pick(other.bias))]
    tiles = pick(decoder[2].weight).flatten(1)[order].split([tile.shape[1] for tile in ours.tiles])
    return found + [(pick(tile), rows.t()) for tile, rows in zip(ours.tiles, tiles, strict=True)]


def both(space, size=256, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    naive = NaiveGraphGenerator(space.inputs, space.outputs, size).to(dtype)
    ours = GraphGenerator(space, size).to(dtype)
    for one, other in pairs(ours, naive, lambda parameter: parameter.data):
        one.copy_(other.view(one.shape))
    return ours, naive


def flatten(networks):
    return torch.cat([part.flatten() for network in networks for layer in network for part in layer])


def test_there_are_as_many_parameters_as_published():
    generator = GraphGenerator(ArchitectureSpace.paper(17, 6))
    assert generator.n_params() == 8_486_316
    assert sum(parameter.numel() for parameter in NaiveGraphGenerator(17, 6).parameters()) == 8_486_316


# The last two have inputs and outputs larger than what is decoded.
@pytest.mark.parametrize(("inputs", "outputs"), [(17, 6), (376, 17), (300, 260)])
def test_networks_are_the_published_ones(inputs, outputs):
    space = ArchitectureSpace.paper(inputs, outputs)
    ours, naive = both(space)
    numbers = [space.index(one) for one in ((4,), (256, 8), (16, 16, 64), (32, 4, 256, 128))]
    layout = Layout(space, [*numbers, *ArchitectureSampler(space, 4, seed=1).draw()])
    with torch.no_grad():
        found = ours(layout)
        assert (found - flatten(naive(layout.architectures))).abs().max() <= 1e-6
        # One graph at a time: nothing but a chain of nodes.
        single = flatten([naive([architecture])[0] for architecture in layout.architectures])
        assert (found - single).abs().max() <= 1e-6


@pytest.mark.parametrize("size", [32, 9])
def test_networks_and_all_gradients_are_equal_in_double_precision(size):
    space = ArchitectureSpace.grid(11, 3, (4, 9, 32), (1, 2, 3, 4))
    ours, naive = both(space, size, torch.float64)
    layout = Layout(space, ArchitectureSampler(space, 9, seed=2).draw())
    direction = torch.randn(layout.total, dtype=torch.float64)
    found, expected = ours(layout), flatten(naive(layout.architectures))
    assert (found - expected).abs().max() <= 1e-12
    (found.square() @ direction).backward()
    (expected.square() @ direction).backward()
    for one, other in pairs(ours, naive, lambda parameter: parameter.grad):
        scale = other.abs().max().clamp_min(1e-12)
        assert (one - other.view(one.shape)).abs().max() <= 1e-10 * scale


def test_weights_are_repeated_where_the_decoder_is_too_small():
    space = ArchitectureSpace.paper(376, 6)
    weight, _ = GraphGenerator(space).generate((256,))[0]
    assert torch.equal(weight[:, 256:], weight[:, :120])


def test_first_weights_are_a_tenth_of_what_is_usual():
    space = ArchitectureSpace.paper(17, 6)
    raw = []
    for seed in range(3):
        torch.manual_seed(seed)
        layout = Layout(space, ArchitectureSampler(space, 8, seed=seed).draw())
        for network in layout.split(GraphGenerator(space)(layout).detach()):
            raw += [weight.flatten() * (weight.shape[1] / 2) ** 0.5 for weight, _ in network]
            assert all(bias.abs().max() < 1 for _, bias in network)
    assert float(torch.cat(raw).std()) == pytest.approx(0.105, abs=0.02)


def test_tiles_that_no_architecture_needs_get_no_gradient():
    space = ArchitectureSpace.grid(3, 2, (4, 16, 32), (1, 2))
    generator = GraphGenerator(space, 32)
    layout = Layout(space, [space.index((4,)), space.index((4, 4)), space.index((16,))])
    generator(layout).sum().backward()
    needed = np.zeros((32, 32), bool)
    for architecture in layout.architectures:
        for fan_in, fan_out in pairwise((3, *architecture, 2)):
            needed[:fan_out, :fan_in] = True
    gradients = torch.cat([tile.grad.abs().sum(0) for tile in generator.tiles])
    reached = np.zeros(32 * 32, bool)
    reached[generator.published_rows()] = (gradients > 0).numpy()
    assert (reached.reshape(32, 32) == needed).all()


def test_dense_layers_compute_what_the_published_convolutions_do():
    torch.manual_seed(0)
    one, other = NaiveGraphGenerator(5, 2, 16), NaiveGraphGenerator(5, 2, 16, convolutions=False)
    state = {
        name: value.flatten(1) if value.dim() == 4 else value for name, value in one.state_dict().items()
    }
    other.load_state_dict(state)
    architectures = [(4,), (16, 8, 4)]
    assert torch.allclose(flatten(one(architectures)), flatten(other(architectures)), atol=1e-6)
