"""The conformance kit passes every registered kind and a third party's, and catches broken ones."""

import pytest
import torch
from torch import nn

from hyperrl import registry
from hyperrl.errors import HyperRLError
from hyperrl.nets import Generated, InitConfig, Kind, TargetSpec
from hyperrl.nets.encoders import CosSin, EmbeddingTable
from hyperrl.nets.kinds.linear import LinearKind
from hyperrl.nets.kinds.mlp import MlpKind
from hyperrl.testing import HyperNetCheckError, check_hypernet, reference_forward


class ScaledKind(Kind):
    """A third party's kind: the plain network times one generated factor per tensor."""

    def __init__(self, spec: TargetSpec, feature_dim: int, strength: float = 1.0) -> None:
        super().__init__(spec, feature_dim)
        self.strength = strength
        self.factors = nn.Parameter(torch.zeros(feature_dim, len(spec.tensors)))

    def forward(self, features):
        factors = 1 + self.strength * features @ self.factors
        named = self.spec.unflatten(self.theta0())
        scaled = {}
        for index, (name, value) in enumerate(named.items()):
            factor = factors[..., index].reshape(*features.shape[:-1], *[1] * value.dim())
            scaled[name] = factor * value
        return Generated.from_flat(self.spec, self.spec.flatten(scaled))

    def initialise(self, config: InitConfig, second_moment: float) -> None:
        self.set_theta0(self.spec.init_flat())


@pytest.mark.parametrize("kind", registry.kinds.names())
def test_registered_kinds_conform(kind):
    assert len(check_hypernet(kind)) == 9


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mlp", {"encoder": EmbeddingTable(16, 4), "condition_dim": 1}),
        ("mlp", {"encoder": CosSin([5.0] * 3, [6.0] * 3)}),
        ("mlp", {"trunk": "residual", "hidden": (16, 32), "init": "hyperfan_in"}),
        ("mlp", {"init": "hyperfan_out", "spec": TargetSpec.mlp(4, (8,), 4, init="kaiming")}),
        ("lowrank", {"rank": 1, "feature_norm": "l2", "init": InitConfig("bias_hyper", 0.1)}),
        ("modular", {"modules": 2, "seed": 5}),
        ("film", {"spec": TargetSpec.mlp(4, (8, 8), 3, norm="layer")}),
        (ScaledKind, {"strength": 0.5}),
        (ScaledKind, {"hidden": (8,), "features": 4}),
    ],
)
def test_options_and_third_party_kinds_conform(kind, options):
    before = torch.get_rng_state()
    check_hypernet(kind, **options)
    assert torch.equal(torch.get_rng_state(), before)


class UsesLinearLayers(MlpKind):
    def __init__(self, spec, feature_dim):
        super().__init__(spec, feature_dim)
        self.extra = nn.Linear(2, 2)


class DropsTheBatch(LinearKind):
    def forward(self, features):
        return super().forward(features.reshape(-1, features.shape[-1])[0])


class MixesTheBatch(LinearKind):
    def forward(self, features):
        return super().forward(features - (features.mean(0) if features.dim() > 1 else 0))


class IgnoresTheCondition(LinearKind):
    def forward(self, features):
        return super().forward(torch.zeros_like(features))


class CutsTheGradient(MlpKind):
    def forward(self, features):
        return super().forward(features.detach())


class CutsEverything(LinearKind):
    def forward(self, features):
        return super().forward(features).detach()


class HasADeadParameter(LinearKind):
    def __init__(self, spec, feature_dim):
        super().__init__(spec, feature_dim)
        self.dead = nn.Parameter(torch.zeros(3))


class ForgetsItsState(LinearKind):
    def __init__(self, spec, feature_dim):
        super().__init__(spec, feature_dim)
        self.hidden = (torch.randn(feature_dim),)

    def forward(self, features):
        return super().forward(features + self.hidden[0].to(features))

    def initialise(self, config, second_moment):
        super().initialise(InitConfig("bias_hyper", 0.1), second_moment)


class StartsTooLarge(LinearKind):
    def initialise(self, config, second_moment):
        super().initialise(InitConfig("bias_hyper", 10.0), second_moment)


class StartsAsNaN(LinearKind):
    def initialise(self, config, second_moment):
        super().initialise(config, second_moment)
        nn.init.constant_(self.vector_bank, float("nan"))


class IgnoresTheta0(LinearKind):
    def set_theta0(self, flat):
        pass


class NeverFreezes(LinearKind):
    def freeze_theta0(self, frozen=True):
        pass


class NeverDetaches(LinearKind):
    def forward(self, features):
        generated = super().forward(features)

        class Attached(Generated):
            def detach(self):
                return self

        return Attached(generated.spec, generated.batch_shape, generated.weights, generated.vectors)


class ContractsDifferently(LinearKind):
    def forward(self, features):
        generated = super().forward(features)

        class Rounded(Generated):
            def materialise(self):
                return super().materialise().round(decimals=3)

        return Rounded(generated.spec, generated.batch_shape, generated.weights, generated.vectors)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (UsesLinearLayers, "UsesLinearLayers, bare parameters: extra is a Linear"),
        (DropsTheBatch, "shapes: "),
        (MixesTheBatch, "batch equals loop: a batch of conditions gives other weights"),
        (IgnoresTheCondition, "batch equals loop: the weights do not depend on the condition"),
        (CutsTheGradient, r"gradients: no gradient reaches trunk\.layers"),
        (CutsEverything, "batch equals loop: RuntimeError"),
        (HasADeadParameter, r"gradients: no gradient reaches head\.dead"),
        (ForgetsItsState, "state and copies: a restored state_dict gives other weights"),
        (StartsTooLarge, r"initial scale: new weights layers\.0\.weight have a root mean square"),
        (StartsAsNaN, "shapes: new weights are not finite"),
        (IgnoresTheta0, "independent weights: set_theta0 is not what theta0 returns"),
        (NeverFreezes, "independent weights: frozen independent weights changed"),
        (NeverDetaches, "detached weights: detached weights still lead"),
        (ContractsDifferently, "contractions: contraction 'auto' gives another result"),
    ],
)
def test_broken_kinds_are_caught_with_the_check_that_they_fail(kind, message):
    with pytest.raises(HyperNetCheckError, match=message) as caught:
        check_hypernet(kind)
    assert isinstance(caught.value, HyperRLError)
    assert isinstance(caught.value, AssertionError)


def test_reference_forward_is_a_written_out_network():
    spec = TargetSpec.mlp(2, (2,), 1, gain=True)
    theta = torch.tensor([1.0, 2.0, 3.0, -4.0, 0.5, 0.5, 2.0, 1.0, 10.0, 20.0, -1.0, 3.0])
    # hidden: relu((1 + 2) * 2 + 0.5) = 6.5 and relu((3 - 4) * 1 + 0.5) = 0; out: (10 * 6.5) * 3 - 1.
    x = torch.ones(1, 2)
    assert reference_forward(spec, theta, x).tolist() == [[194.0]]
    assert reference_forward(spec, torch.stack([theta, theta]), torch.ones(2, 2)).tolist() == [[194.0]] * 2
