"""The chunked kind, written out piece by piece."""

import pytest
import torch

from hyperrl.errors import ConfigError
from hyperrl.nets import HyperNet, TargetSpec
from hyperrl.nets.kinds.chunked import ChunkedKind

SPEC = TargetSpec.mlp(3, (5,), 2, activation="tanh")


@pytest.mark.parametrize("base", [True, False])
def test_each_piece_is_made_of_features_and_its_embedding(random_hyper, base):
    hyper = random_hyper(SPEC, 2, ChunkedKind, chunk=7, embedding=3, widths=(6, 4), base=base)
    head, condition = hyper.head, torch.randn(4, 2, dtype=torch.float64)
    assert head.chunks == 5  # 32 numbers in pieces of 7
    pieces = []
    for embedding in head.embeddings:
        h = torch.cat([condition, embedding.expand(4, -1)], 1)
        for index, (matrix, bias) in enumerate(zip(head.matrices, head.biases, strict=True)):
            h = (h if index == 0 else torch.relu(h)) @ matrix + bias
        pieces.append(h)
    expected = hyper.theta0() + torch.cat(pieces, 1)[:, : SPEC.numel] * head.scale
    assert torch.allclose(hyper.generate(condition).materialise(), expected)
    assert bool(hyper.theta0().any()) is base


def test_what_is_generated_without_independent_weights_begins_as_large_as_a_plain_network():
    spec = TargetSpec.mlp(64, (16,), 32)
    torch.manual_seed(0)
    hyper = HyperNet(spec, 2, ChunkedKind, chunk=50, base=False)
    named = spec.unflatten(hyper.generate(torch.randn(500, 2)).materialise())
    for name, fan_in in (("layers.0.weight", 64), ("layers.1.weight", 16)):
        assert 0.7 < float(named[name].detach().std()) * (3 * fan_in) ** 0.5 < 1.4
    with pytest.raises(ConfigError, match="no independent weights"):
        hyper.set_theta0(torch.zeros(spec.numel))
    assert not any("base" in name for name, _ in hyper.named_parameters())


@pytest.mark.parametrize("options", [{"chunk": 0}, {"embedding": 0}, {"widths": (4, 0)}, {"widths": ()}])
def test_sizes_that_are_none_are_refused(options):
    with pytest.raises(ConfigError, match="a chunked hypernetwork needs"):
        HyperNet(SPEC, 2, ChunkedKind, **options)


@pytest.mark.parametrize("base", [True, False])
def test_every_parameter_has_its_gradient_in_a_transform(random_hyper, base):
    hyper = random_hyper(SPEC, 2, ChunkedKind, chunk=7, embedding=3, widths=(6, 5, 4), base=base)
    condition, parameters = torch.randn(4, 2, dtype=torch.float64), dict(hyper.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(hyper, parameters, (condition,)).materialise().square().sum()

    found = torch.func.grad(loss)(parameters)
    expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for name, gradient in zip(parameters, expected, strict=True):
        assert gradient.any()
        assert torch.allclose(found[name], gradient), name
