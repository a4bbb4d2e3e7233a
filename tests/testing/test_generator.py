"""The conformance kit passes every registered generator and a third party's, and catches broken ones."""

import pytest
import torch
from torch import nn

from hyperrl import registry
from hyperrl.errors import HyperRLError
from hyperrl.nets.architectures import ArchitectureSpace
from hyperrl.nets.architectures.generators import WeightGenerator
from hyperrl.nets.architectures.generators.nested import NestedGenerator
from hyperrl.testing import GeneratorCheckError, check_generator

SMALL = {"graph": {"size": 40}}


@pytest.mark.parametrize("name", registry.generators.names())
def test_registered_generators_conform(name):
    before = torch.get_rng_state()
    assert len(check_generator(name, **SMALL.get(name, {}))) == 7
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        # Networks larger than the decoder.
        ("graph", {"size": 8}),
        ("transformer", {"rank": 3, "width": 12, "heads": 3, "depth": 1, "hidden": 20}),
        ("transformer", {"space": ArchitectureSpace(70, 40, [(5,), (9, 2), (2, 2, 2, 33)])}),
        # More widths than a decoder is cut at.
        ("transformer", {"space": ArchitectureSpace.grid(2, 1, range(3, 25), (1, 2))}),
        ("graph", {"size": 16, "space": ArchitectureSpace.grid(2, 1, range(3, 25), (1, 2))}),
        ("implicit", {"hidden": 8, "waves": 3}),
        ("nested", {"output_gain": 1.0}),
    ],
)
def test_options_conform(name, options):
    check_generator(name, **options)


class Rescaled(NestedGenerator):
    """A third party's generator."""

    def __init__(self, space, factor=0.5):
        super().__init__(space)
        self.factor = factor

    def forward(self, layout):
        return self.factor * super().forward(layout)


def test_a_third_partys_generator_conforms():
    check_generator(Rescaled, factor=0.25)


class HasLinearLayers(NestedGenerator):
    def __init__(self, space):
        super().__init__(space)
        self.extra = nn.Linear(2, 2)


class ForgetsTheBiases(NestedGenerator):
    def forward(self, layout):
        return super().forward(layout)[: -layout.space.outputs]


class MixesArchitectures(NestedGenerator):
    def forward(self, layout):
        weights = super().forward(layout)
        return weights - weights.mean()


class DependsOnThePlace(NestedGenerator):
    def forward(self, layout):
        weights = super().forward(layout)
        return weights * (1 + torch.arange(layout.total) / layout.total)


class AddsNoise(NestedGenerator):
    def forward(self, layout):
        weights = super().forward(layout)
        return weights + torch.randn_like(weights)


class IgnoresTheWidth(NestedGenerator):
    def _plan(self, layout, device):
        source, scale = super()._plan(layout, device)
        return source, torch.ones_like(scale)


class StartsAtZero(NestedGenerator):
    def __init__(self, space):
        super().__init__(space)
        nn.init.zeros_(self.masters)


class StartsAsNaN(NestedGenerator):
    def __init__(self, space):
        super().__init__(space)
        nn.init.constant_(self.masters, float("nan"))


class IsSingle(NestedGenerator):
    def forward(self, layout):
        return super().forward(layout).float()


class CutsTheGradient(NestedGenerator):
    def __init__(self, space):
        super().__init__(space)
        self.dead = nn.Parameter(torch.ones(()))

    def forward(self, layout):
        return super().forward(layout) * self.dead.detach()


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1.01


class HasAWrongGradient(NestedGenerator):
    def forward(self, layout):
        return Wrong.apply(super().forward(layout))


class ForgetsItsState(NestedGenerator):
    def __init__(self, space):
        super().__init__(space)
        self.hidden = 1 + torch.rand(())

    def forward(self, layout):
        return super().forward(layout) * self.hidden


class TakesAnySpace(NestedGenerator):
    def __call__(self, layout):
        return nn.Module.__call__(self, layout)


class TakesAnyArchitecture(NestedGenerator):
    def generate(self, architecture):
        return super().generate(self.space[0])


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (HasLinearLayers, "HasLinearLayers, bare parameters: extra is a Linear"),
        (ForgetsTheBiases, "shapes: expected weights of shape"),
        (StartsAsNaN, "shapes: new weights are not finite"),
        (IsSingle, "shapes: in double precision it generated torch.float32"),
        (MixesArchitectures, "alone and among others: .* alone has other weights than among others"),
        (DependsOnThePlace, "alone and among others: "),
        (AddsNoise, "alone and among others: two calls"),
        (IgnoresTheWidth, "initial scale: first weights must shrink"),
        (StartsAtZero, "initial scale: the first weights behind . neurons are all zero"),
        (CutsTheGradient, "gradients: no gradient reaches dead"),
        (HasAWrongGradient, "gradients: along the gradient"),
        (ForgetsItsState, "state and copies: a restored state_dict"),
        (TakesAnySpace, "refusals: "),
        (TakesAnyArchitecture, "refusals: an architecture that is not in the space is generated"),
        (WeightGenerator, "bare parameters: there is no trainable parameter"),
    ],
)
def test_broken_generators_are_caught_with_the_check_that_they_fail(generator, message):
    with pytest.raises(GeneratorCheckError, match=message) as caught:
        check_generator(generator)
    assert isinstance(caught.value, HyperRLError)
