"""TargetSpec: layout, views, initial weights, refusals."""

from math import prod, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hyperrl.errors import ConfigError, HyperRLError, ShapeError, UnknownNameError
from hyperrl.nets import LayerSpec, TargetSpec, TensorSpec

SPEC = TargetSpec.mlp(3, (5, 4), 2, gain=True)
sizes = st.integers(1, 7)
specs = st.builds(
    TargetSpec.mlp,
    sizes,
    st.lists(sizes, max_size=3),
    sizes,
    bias=st.booleans(),
    gain=st.booleans(),
)


def test_mlp_lists_tensors_layer_by_layer_in_the_order_weight_bias_gain():
    assert [(t.name, t.shape, t.layer) for t in SPEC.tensors] == [
        ("layers.0.weight", (5, 3), 0),
        ("layers.0.bias", (5,), 0),
        ("layers.0.gain", (5,), 0),
        ("layers.1.weight", (4, 5), 1),
        ("layers.1.bias", (4,), 1),
        ("layers.1.gain", (4,), 1),
        ("layers.2.weight", (2, 4), 2),
        ("layers.2.bias", (2,), 2),
        ("layers.2.gain", (2,), 2),
    ]
    assert SPEC.numel == 5 * 3 + 4 * 5 + 2 * 4 + 2 * (5 + 4 + 2)
    assert SPEC.layers[1] == LayerSpec(5, 4, "layers.1.weight", "layers.1.bias", "layers.1.gain", "relu")
    assert [layer.activation for layer in SPEC.layers] == ["relu", "relu", "identity"]


def test_mlp_without_hidden_layers_or_biases_is_one_matrix():
    spec = TargetSpec.mlp(3, (), 2, bias=False)
    assert [t.name for t in spec.tensors] == ["layers.0.weight"]
    assert spec.layers[0].bias is None
    assert spec.layers[0].gain is None
    assert spec.vectors == ()


@given(specs, st.lists(st.integers(1, 3), max_size=3))
def test_unflatten_cuts_the_flat_vector_in_order_for_any_leading_dimensions(spec, lead):
    flat = torch.arange(prod(lead) * spec.numel, dtype=torch.float64).reshape(*lead, spec.numel)
    position = 0
    for tensor, (name, value) in zip(spec.tensors, spec.unflatten(flat).items(), strict=True):
        assert tensor.name == name
        assert value.shape == (*lead, *tensor.shape)
        expected = flat[..., position : position + tensor.numel]
        assert torch.equal(value.reshape(*lead, -1), expected)
        position += tensor.numel
    assert position == spec.numel
    assert torch.equal(spec.flatten(spec.unflatten(flat)), flat)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_unflatten_gives_views_even_of_strided_vectors(lead):
    flat = torch.zeros(SPEC.numel, *lead).movedim(0, -1)
    for value in SPEC.unflatten(flat).values():
        value.fill_(1.0)
    assert torch.equal(flat, torch.ones(*lead, SPEC.numel))


def test_flatten_follows_the_spec_not_the_dictionary():
    flat = torch.randn(4, SPEC.numel)
    backwards = dict(reversed(SPEC.unflatten(flat).items()))
    assert torch.equal(SPEC.flatten(backwards), flat)


def test_scalar_tensors_are_laid_out_too():
    spec = TargetSpec((TensorSpec("a", (), "other", 0, 1, 1), TensorSpec("b", (2,), "bias", 0, 1, 2)))
    views = spec.unflatten(torch.tensor([[1.0, 2.0, 3.0]]))
    assert torch.equal(views["a"], torch.tensor([1.0]))
    assert torch.equal(spec.flatten(views), torch.tensor([[1.0, 2.0, 3.0]]))


def test_flatten_refuses_missing_wrong_and_unequal_tensors():
    tensors = SPEC.unflatten(torch.zeros(2, SPEC.numel))
    with pytest.raises(ShapeError, match="expected exactly the tensors"):
        SPEC.flatten({name: value for name, value in tensors.items() if name != "layers.0.bias"})
    with pytest.raises(ShapeError, match=r"layers\.0\.weight must end in shape \(5, 3\), got \(2, 3, 5\)"):
        SPEC.flatten({**tensors, "layers.0.weight": torch.zeros(2, 3, 5)})
    with pytest.raises(ShapeError, match=r"layers\.0\.weight must end in shape \(5, 3\), got \(3,\)"):
        SPEC.flatten({**tensors, "layers.0.weight": torch.zeros(3)})
    with pytest.raises(ShapeError, match="same leading dimensions"):
        SPEC.flatten({**tensors, "layers.0.weight": torch.zeros(5, 3)})


@pytest.mark.parametrize("flat", [torch.zeros(SPEC.numel + 1), torch.zeros(SPEC.numel, 2), torch.tensor(0.0)])
def test_unflatten_refuses_other_lengths(flat):
    with pytest.raises(ShapeError, match=f"must end in {SPEC.numel} numbers"):
        SPEC.unflatten(flat)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, (4,), 1), {}, ConfigError, r"positive integers, got \[0, 4, 1\]"),
        ((3, (4, -1), 1), {}, ConfigError, r"positive integers, got \[3, 4, -1, 1\]"),
        ((3, (4.0,), 1), {}, ConfigError, "positive integers"),
        ((3, (4,), 1), {"activation": "rellu"}, UnknownNameError, "did you mean 'relu'"),
        ((3, (4,), 1), {"output_activation": "tahn"}, UnknownNameError, "did you mean 'tanh'"),
        ((3, (4,), 1), {"init": "orthogonl"}, UnknownNameError, "did you mean 'orthogonal'"),
        ((3, (4,), 1), {"norm": "layr"}, UnknownNameError, "did you mean 'layer'"),
        ((3, (4,), 1), {"output_init_gain": float("nan")}, ConfigError, "initial gain must be finite"),
    ],
)
def test_mlp_refuses_impossible_networks(arguments, options, error, message):
    with pytest.raises(error, match=message) as caught:
        TargetSpec.mlp(*arguments, **options)
    assert isinstance(caught.value, HyperRLError)


def test_specs_refuse_double_names_and_nothing_at_all():
    tensor = TensorSpec("a", (1,), "bias", 0, 1, 1)
    with pytest.raises(ConfigError, match="must be unique"):
        TargetSpec((tensor, tensor))
    with pytest.raises(ConfigError, match="at least 1 tensor"):
        TargetSpec(())


@pytest.mark.parametrize(
    ("scheme", "std"),
    [
        ("torch", 1 / sqrt(3 * 300)),
        ("kaiming", sqrt(2 / 300)),
        ("xavier", sqrt(2 / 500)),
        ("orthogonal", sqrt(2 / 300)),
        ("normc", 1 / sqrt(300)),
    ],
)
def test_init_flat_samples_the_named_scheme(scheme, std):
    torch.manual_seed(0)
    spec = TargetSpec.mlp(300, (200,), 100, gain=True, output_init_gain=0.5)
    values = spec.unflatten(spec.init_flat(scheme))
    assert values["layers.0.weight"].std().item() == pytest.approx(std, rel=0.02)
    second = {"torch": 1 / sqrt(600), "kaiming": 0.1, "xavier": sqrt(2 / 300), "orthogonal": 0.1}
    expected = 0.5 * second.get(scheme, 1 / sqrt(200))
    assert values["layers.1.weight"].std().item() == pytest.approx(expected, rel=0.02)
    assert bool((values["layers.0.gain"] == 1).all())
    bound = 1 / sqrt(300) if scheme == "torch" else 0.0
    assert values["layers.0.bias"].abs().max().item() <= bound
    assert values["layers.0.bias"].std().item() == pytest.approx(bound / sqrt(3), rel=0.15)


def test_orthogonal_and_normc_rows_have_their_geometry():
    spec = TargetSpec.mlp(6, (), 4, bias=False)
    weight = spec.init_flat("orthogonal", dtype=torch.float64).reshape(4, 6)
    assert torch.allclose(weight @ weight.T, 2 * torch.eye(4, dtype=torch.float64))
    rows = spec.init_flat("normc", dtype=torch.float64).reshape(4, 6).norm(dim=1)
    assert torch.allclose(rows, torch.ones(4, dtype=torch.float64))


def test_init_flat_repeats_with_a_generator_and_refuses_unknown_schemes():
    first = SPEC.init_flat(generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, SPEC.init_flat(generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(first, SPEC.init_flat(generator=torch.Generator().manual_seed(4)))
    assert SPEC.init_flat(dtype=torch.float64).dtype == torch.float64
    with pytest.raises(UnknownNameError, match="did you mean 'kaiming'"):
        SPEC.init_flat("kaimin")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 2)
        self.temperature = nn.Parameter(torch.zeros(()))


def test_from_module_reads_names_shapes_roles_layers_and_fans():
    spec = TargetSpec.from_module(Block())
    by_name = {t.name: (t.shape, t.role, t.layer, t.fan_in, t.fan_out) for t in spec.tensors}
    assert by_name == {
        "temperature": ((), "other", 0, 1, 1),
        "conv.weight": ((8, 3, 5, 5), "weight", 1, 75, 8),
        "conv.bias": ((8,), "bias", 1, 75, 8),
        "norm.weight": ((8,), "other", 2, 8, 8),
        "norm.bias": ((8,), "bias", 2, 8, 8),
        "out.weight": ((2, 8), "weight", 3, 8, 2),
        "out.bias": ((2,), "bias", 3, 8, 2),
    }


def test_from_module_starts_convolutions_with_kernel_fans_and_normalisation_as_the_identity():
    torch.manual_seed(0)
    values = TargetSpec.from_module(nn.Sequential(nn.Conv2d(3, 64, 5), nn.LayerNorm(64)))
    samples = [values.unflatten(values.init_flat()) for _ in range(20)]
    for name in ("0.weight", "0.bias"):
        stacked = torch.stack([sample[name] for sample in samples])
        assert stacked.abs().max().item() <= 1 / sqrt(75)
        assert stacked.std().item() == pytest.approx(1 / sqrt(3 * 75), rel=0.05)
    assert bool((samples[0]["1.weight"] == 1).all())
    assert bool((samples[0]["1.bias"] == 0).all())


def test_from_module_takes_only_what_matches_the_whole_name():
    spec = TargetSpec.from_module(Block(), include=r"out\..*")
    assert [t.name for t in spec.tensors] == ["out.weight", "out.bias"]
    with pytest.raises(ConfigError, match="no parameter of Block matches the pattern 'ou'"):
        TargetSpec.from_module(Block(), include="ou")
    with pytest.raises(ConfigError, match="not a regular expression"):
        TargetSpec.from_module(Block(), include="(")


def test_sizes_of_numpy_are_plain_integers_in_the_spec():
    spec = TargetSpec.mlp(np.int64(3), (np.int32(4),), np.prod((2, 1)))
    assert spec == TargetSpec.mlp(3, (4,), 2)
    assert {type(layer.out_features) for layer in spec.layers} == {int}
