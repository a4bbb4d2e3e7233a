"""Generated weights in all their forms."""

import pytest
import torch

from hyperrl import registry
from hyperrl.errors import ConfigError, ShapeError
from hyperrl.nets import Generated, GeneratedWeight, TargetMLP, TargetSpec

SPEC = TargetSpec.mlp(3, (5,), 2, gain=True)
KINDS = registry.kinds.names()


@pytest.mark.parametrize(
    "spec", [SPEC, TargetSpec.mlp(3, (5,), 2, bias=False)], ids=["vectors", "no vectors"]
)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_from_flat_and_materialise_are_inverse(spec, batch):
    theta = torch.randn(*batch, spec.numel)
    generated = Generated.from_flat(spec, theta)
    assert generated.batch_shape == batch
    assert torch.equal(generated.materialise(), theta)
    with pytest.raises(ShapeError, match="must end in"):
        Generated.from_flat(spec, theta[..., 1:])


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_materialised_weights_act_as_their_factors_do(random_hyper, kind, batch):
    hyper = random_hyper(SPEC, 2, kind)
    generated = hyper.generate(torch.randn(*batch, 2).double())
    named = generated.as_dict()
    assert {name: tuple(value.shape) for name, value in named.items()} == {
        tensor.name: (*batch, *tensor.shape) for tensor in SPEC.tensors
    }
    flat = generated.materialise()
    assert flat.shape == (*batch, SPEC.numel)
    x = torch.randn(*batch, 6, 3).double()
    target = TargetMLP(SPEC)
    assert torch.allclose(target(Generated.from_flat(SPEC, flat), x), target(generated, x))


@pytest.mark.parametrize("kind", KINDS)
def test_detach_cuts_shared_and_generated_tensors_and_changes_no_value(random_hyper, kind):
    hyper = random_hyper(SPEC, 2, kind)
    generated = hyper.generate(torch.randn(4, 2).double())
    detached = generated.detach()
    assert torch.equal(detached.materialise(), generated.materialise())
    x = torch.randn(4, 3, requires_grad=True, dtype=torch.float64)
    TargetMLP(SPEC)(detached, x).sum().backward()
    assert x.grad.any()
    assert all(parameter.grad is None for parameter in hyper.parameters())
    assert generated.materialise().requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_index_picks_conditions(random_hyper, kind):
    hyper = random_hyper(SPEC, 2, kind)
    condition = torch.randn(4, 3, 2).double()
    generated = hyper.generate(condition)
    ids = torch.tensor([[2, 0], [1, 2]])
    picked = generated.index(ids)
    assert picked.batch_shape == (2, 2, 3)
    assert torch.allclose(picked.materialise(), hyper.generate(condition[ids]).materialise())
    with pytest.raises(ShapeError, match="no batch dimension"):
        hyper.generate(condition[0, 0]).index(ids)


def test_weights_that_make_no_matrix_are_refused():
    with pytest.raises(ConfigError, match="needs coefficients"):
        GeneratedWeight(bank=torch.zeros(2, 3, 4))
    with pytest.raises(ConfigError, match="left factor needs a right one"):
        GeneratedWeight(left=torch.zeros(3, 2))
    with pytest.raises(ConfigError, match="needs a base, a template bank or low-rank factors"):
        GeneratedWeight(scale=torch.zeros(4))
