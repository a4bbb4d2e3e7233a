"""What each generator promises beyond the conformance kit."""

import pickle

import pytest
import torch
from torch.nn import functional

from hyperrl import registry
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets.architectures import ArchitectureSampler, ArchitectureSpace
from hyperrl.nets.architectures.generators.implicit import ImplicitGenerator
from hyperrl.nets.architectures.generators.nested import NestedGenerator
from hyperrl.nets.architectures.generators.tokens import layer_features
from hyperrl.nets.architectures.generators.transformer import TransformerGenerator
from hyperrl.nets.architectures.layout import Layout
from hyperrl.nets.architectures.packing import Packing

SPACE = ArchitectureSpace.grid(5, 2, (4, 16, 32), (1, 2, 3))


def build(name, space=SPACE, **options):
    torch.manual_seed(0)
    return registry.generators.get(name)(space, **options)


@pytest.mark.parametrize("name", registry.generators.names())
def test_policies_vary_with_the_observation_at_every_depth(name):
    generator = build(name)
    layout = Layout(SPACE, range(len(SPACE)))
    x = torch.randn(200, 5).expand(len(layout), 200, 5)
    with torch.no_grad():
        actions = Packing(layout).pack(generator(layout))(x)
    spread = actions.std(1).mean(1)
    assert (spread > 1e-5).all()
    if name != "graph":
        # The published weights are so small that each layer takes nine tenths of it.
        deep, shallow = (spread[torch.from_numpy(SPACE.depths == depth)].mean() for depth in (3, 1))
        assert deep > 0.01 * shallow


@pytest.mark.parametrize("name", registry.generators.names())
def test_networks_are_pickled_with_their_generator_and_not_with_a_layout(name):
    generator = build(name)
    layout = Layout(SPACE, [3, 9])
    expected = generator(layout)
    size = len(pickle.dumps(generator))
    copy = pickle.loads(pickle.dumps(generator))
    assert torch.equal(copy(layout), expected)
    generator(Layout(SPACE, range(len(SPACE))))
    assert len(pickle.dumps(generator)) == size


@pytest.mark.parametrize("name", registry.generators.names())
def test_wrong_architectures_are_refused(name):
    generator = build(name)
    other = ArchitectureSpace.grid(5, 3, (4, 16, 32), (1, 2))
    with pytest.raises(
        ConfigError, match="5 inputs, 3 outputs and 12 architectures, and this generator is for"
    ):
        generator(Layout(other, [0]))
    with pytest.raises(UnknownNameError, match=r"did you mean \[4, 4\]"):
        generator.generate((4, 5))


def test_a_layout_can_be_used_in_both_precisions():
    generator, layout = build("transformer"), Layout(SPACE, [0, 20])
    single = generator(layout)
    double = generator.double()(layout)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.allclose(single.double(), double, atol=1e-5)


def test_the_transformers_first_weights_have_the_size_that_is_asked_for():
    space = ArchitectureSpace.paper(17, 6)
    layout = Layout(space, ArchitectureSampler(space, 40, seed=0).draw())
    hidden, last = [], []
    for network in layout.split(
        build("transformer", space, weight_gain=0.7, output_gain=0.2)(layout).detach()
    ):
        hidden += [weight.flatten() * (weight.shape[1] / 2) ** 0.5 for weight, _ in network[:-1]]
        last.append(network[-1][0].flatten() * network[-1][0].shape[1] ** 0.5)
        assert all(not bias.any() for _, bias in network)
    assert float(torch.cat(hidden).std()) == pytest.approx(0.7, rel=0.1)
    assert float(torch.cat(last).std()) == pytest.approx(0.7 * 0.2, rel=0.25)


def test_the_transformer_has_a_vector_for_every_input():
    space = ArchitectureSpace.grid(300, 2, (4, 8), (1, 2))
    weight, _ = build("transformer", space).generate((8,))[0]
    assert weight.shape == (8, 300)
    assert len(torch.unique(weight.detach(), dim=1).t()) == 300


def test_the_transformers_weights_have_at_most_its_rank():
    weight, _ = build("transformer", rank=3).generate((32, 32))[1]
    values = torch.linalg.svdvals(weight.detach().double())
    assert values[2] > 1e-3 * values[0]
    assert values[3] < 1e-5 * values[0]


def test_neurons_that_no_architecture_has_get_no_gradient():
    generator = build("transformer")
    layout = Layout(SPACE, [SPACE.index((4,)), SPACE.index((16, 4))])
    generator(layout).square().sum().backward()
    reached = generator.rows.grad.abs().sum(0).view(-1, generator.rank).sum(1) > 0
    assert reached.tolist() == [True] * 16 + [False] * 16 + [True] * 2
    reached = generator.columns.grad.abs().sum(0).view(-1, generator.rank).sum(1) > 0
    assert reached.tolist() == [True] * 5 + [True] * 16 + [False] * 16
    assert all(parameter.grad.any() for parameter in generator.layers.parameters())


def test_nested_weights_of_other_depths_get_no_gradient():
    generator = build("nested")
    layout = Layout(SPACE, [SPACE.index((32,))])
    generator(layout).sum().backward()
    assert int((generator.masters.grad != 0).sum()) == layout.total


def test_nested_networks_are_corners_of_larger_ones():
    generator = build("nested")
    (small, _), (large, _) = generator.generate((4, 16))[1], generator.generate((32, 16))[1]
    assert torch.allclose(small * 4**0.5, large[:, :4] * 32**0.5)


def test_implicit_weights_are_a_function_of_coordinates():
    generator = build("implicit")
    # Of each layer a weight at the same relative places, by the small network as it is written in the papers.
    weight, bias = (part.detach() for part in generator.generate((16, 32))[1])
    table = Layout(SPACE, [SPACE.index((16, 32))]).layers
    features = torch.from_numpy(layer_features(SPACE, table))[1].float()

    def waves(unit, count):
        angles = torch.pi * (unit + 0.5) / count * 2.0 ** torch.arange(generator.waves)
        return torch.cat([angles.sin(), angles.cos()])

    for row, column in ((0, 0), (31, 15), (10, 3)):
        first = generator.embedding(features) + waves(row, 32) @ generator.neurons[0]
        inner = first + waves(column, 16) @ generator.neurons[1]
        value = torch.sin(generator.middle(torch.sin(inner))) @ generator.last.detach()
        assert float(weight[row, column]) == pytest.approx(float(value.detach()) * (2 / 16) ** 0.5, abs=1e-4)
    assert not bias.any()


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        (TransformerGenerator, {"rank": 0}, "rank"),
        (TransformerGenerator, {"width": 10}, "multiple of the heads, got 10 and 4"),
        (TransformerGenerator, {"weight_gain": 0.0}, "weight_gain"),
        (TransformerGenerator, {"output_gain": float("nan")}, "output_gain"),
        (ImplicitGenerator, {"waves": 0}, "waves"),
        (NestedGenerator, {"output_gain": -1.0}, "output_gain"),
    ],
)
def test_options_out_of_range_are_refused(generator, options, message):
    with pytest.raises(ConfigError, match=message):
        generator(SPACE, **options)


@pytest.mark.parametrize("name", registry.generators.names())
def test_training_makes_several_networks_imitate_another(name):
    torch.manual_seed(0)
    space = ArchitectureSpace(3, 1, [(4,), (8,), (8, 4), (4, 4, 4)])
    options = {"size": 16} if name == "graph" else {}
    generator = build(name, space, **options)
    layout = Layout(space, range(4))
    packing = Packing(layout, "loop")
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    x = torch.randn(64, 3)
    target = functional.relu(x[:, :1]) - x[:, 1:2]
    losses = []
    for _ in range(150):
        loss = (packing.pack(generator(layout))(x.expand(4, 64, 3)) - target).square().mean((1, 2))
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    assert (losses[-1] < 0.6 * losses[0]).all()
