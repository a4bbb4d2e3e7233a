"""TargetMLP's pairing and refusals, and VmapTarget on arbitrary modules."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from hyperrl.errors import ConfigError, ShapeError, UnknownNameError
from hyperrl.nets import Generated, HyperNet, InitConfig, TargetMLP, TargetSpec, VmapTarget


def test_gain_scales_the_product_and_not_the_bias():
    spec = TargetSpec.mlp(2, (), 3, gain=True)
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    bias, gain = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 0.0, -1.0])
    theta = spec.flatten({"layers.0.weight": weight, "layers.0.bias": bias, "layers.0.gain": gain})
    out = TargetMLP(spec)(Generated.from_flat(spec, theta), torch.tensor([1.0, 1.0]))
    assert torch.equal(out, torch.tensor([2 * 3.0 + 10, 20.0, -11.0 + 30]))


def test_output_activation_is_applied():
    spec = TargetSpec.mlp(2, (3,), 2, activation="elu", output_activation="tanh")
    theta, x = spec.init_flat(), torch.randn(4, 2)
    named = spec.unflatten(theta)
    hidden = functional.elu(functional.linear(x, named["layers.0.weight"], named["layers.0.bias"]))
    expected = torch.tanh(functional.linear(hidden, named["layers.1.weight"], named["layers.1.bias"]))
    assert torch.allclose(TargetMLP(spec)(Generated.from_flat(spec, theta), x), expected, atol=1e-6)


@pytest.mark.parametrize("batch", [(), (4,)])
def test_layer_norm_standardises_hidden_layers_before_the_activation(batch):
    spec = TargetSpec.mlp(3, (6, 5), 2, activation="tanh", norm="layer", gain=True)
    theta = torch.randn(*batch, spec.numel).double()
    x = torch.randn(*batch, 3).double()
    named = spec.unflatten(theta.reshape(-1, spec.numel)[0])
    h = x.reshape(-1, 3)[0]
    for index in range(3):
        h = (
            named[f"layers.{index}.weight"] @ h * named[f"layers.{index}.gain"]
            + named[f"layers.{index}.bias"]
        )
        if index < 2:
            h = torch.tanh((h - h.mean()) / (h.var(correction=0) + 1e-5).sqrt())
    out = TargetMLP(spec)(Generated.from_flat(spec, theta), x)
    assert torch.allclose(out.reshape(-1, 2)[0], h)


@pytest.mark.parametrize(("batch", "rows"), [((0,), ()), ((0,), (3,)), ((2,), (0,)), ((), (0,))])
def test_empty_batches_give_empty_outputs(batch, rows):
    spec = TargetSpec.mlp(2, (3,), 4)
    hyper = HyperNet(spec, 2)
    out = TargetMLP(spec)(hyper.generate(torch.zeros(*batch, 2)), torch.zeros(*batch, *rows, 2))
    assert out.shape == (*batch, *rows, 4)


@pytest.mark.parametrize(
    ("batch", "shape"),
    [((), ()), ((), (3,)), ((4,), (2,)), ((4,), (5, 2)), ((4,), (4, 3)), ((2, 3), (3, 2, 2)), ((2,), (2,))],
)
def test_inputs_that_do_not_fit_the_weights_are_refused(batch, shape):
    spec = TargetSpec.mlp(2, (3,), 1)
    generated = Generated.from_flat(spec, torch.zeros(*batch, spec.numel))
    with pytest.raises(ShapeError, match=r"expected an input of shape \(.*\*rows, 2\)"):
        TargetMLP(spec)(generated, torch.zeros(shape))


def test_weights_of_another_target_are_refused_and_of_an_equal_one_taken():
    spec, same, other = (TargetSpec.mlp(2, (3,), 1, activation=a) for a in ("relu", "relu", "tanh"))
    generated = Generated.from_flat(spec, spec.init_flat())
    assert TargetMLP(same)(generated, torch.zeros(2)).shape == (1,)
    with pytest.raises(ShapeError, match="another target network"):
        TargetMLP(other)(generated, torch.zeros(2))


def test_constructor_refusals():
    module = nn.Linear(2, 3)
    with pytest.raises(ConfigError, match="use VmapTarget"):
        TargetMLP(TargetSpec.from_module(module))
    with pytest.raises(UnknownNameError, match="did you mean 'outer'"):
        TargetMLP(TargetSpec.mlp(2, (), 1), "oter")
    with pytest.raises(ConfigError, match=r"layers\.0\.weight of shape \(1, 2\), but Linear has no such"):
        VmapTarget(module, TargetSpec.mlp(2, (), 1))
    with pytest.raises(ConfigError, match=r"weight of shape \(3, 2\), but Linear has shape \(3, 4\)"):
        VmapTarget(nn.Linear(4, 3), TargetSpec.from_module(module))


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.LayerNorm([4, 2, 2])
        self.group = nn.GroupNorm(2, 4)
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.conv(x)))
        return self.out(self.group(h.flatten(0, -4)).reshape(*h.shape[:-3], -1))


@pytest.mark.parametrize("kind", ["linear", "mlp", "modular"])
@pytest.mark.parametrize(("batch", "rows"), [((), (5,)), ((3,), (1,)), ((3,), (5,)), ((2, 3), (5,))])
def test_generated_convolutions_equal_the_module_with_those_weights(random_hyper, kind, batch, rows):
    module = ConvNet().double()
    spec = TargetSpec.from_module(module)
    hyper = random_hyper(spec, 2, kind)
    condition = torch.randn(*batch, 2).double()
    x = torch.randn(*batch, *rows, 2, 4, 4).double()
    out = VmapTarget(module, spec)(hyper.generate(condition), x)
    assert out.shape == (*batch, *rows, 3)
    conditions, flat_x = condition.reshape(-1, 2), x.reshape(-1, *rows, 2, 4, 4)
    for index, value in enumerate(out.reshape(-1, *rows, 3)):
        weights = spec.unflatten(hyper.generate(conditions[index]).materialise())
        assert torch.allclose(value, functional_call(module, weights, (flat_x[index],)))
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in hyper.head.parameters() if p.numel())


def test_parameters_outside_the_spec_stay_the_modules_own():
    module = ConvNet()
    spec = TargetSpec.from_module(module, r"out\..*")
    hyper = HyperNet(spec, 2, "linear")
    hyper.set_theta0(spec.flatten({f"out.{name}": p for name, p in module.out.named_parameters()}))
    x = torch.randn(3, 5, 2, 4, 4)
    expected = torch.stack([module(rows) for rows in x])
    out = VmapTarget(module, spec)(hyper.generate(torch.randn(3, 2)), x)
    assert torch.allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp", "modular"])
def test_module_targets_start_as_modules_do_and_take_theta0(kind):
    module = ConvNet()
    spec = TargetSpec.from_module(module)
    hyper = HyperNet(spec, 2, kind, init=InitConfig("bias_hyper", 0.1))
    named = spec.unflatten(hyper.theta0())
    assert bool((named["norm.weight"] == 1).all())
    assert bool((named["norm.bias"] == 0).all())
    assert 0 < named["conv.bias"].abs().max() <= 18**-0.5
    assert named["conv.weight"].abs().max() <= 18**-0.5
    own = spec.flatten(dict(module.named_parameters())).detach()
    hyper.set_theta0(own)
    assert torch.equal(hyper.theta0(), own)


def test_vmap_target_refuses_inputs_without_the_batch():
    module = nn.Linear(2, 3)
    spec = TargetSpec.from_module(module)
    generated = Generated.from_flat(spec, torch.zeros(4, spec.numel))
    with pytest.raises(ShapeError, match=r"starting with \(4,\), got \(3, 2\)"):
        VmapTarget(module, spec)(generated, torch.zeros(3, 2))
