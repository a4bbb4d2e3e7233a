"""Condition encoders."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.errors import BoundsError, ConfigError, ShapeError, UnknownNameError
from hyperrl.nets import (
    RMS,
    Chain,
    CosSin,
    DirectionLogNorm,
    EmbeddingTable,
    Encoder,
    HyperNet,
    Identity,
    RunningNorm,
    TargetSpec,
    make_encoder,
)

bounded = st.lists(st.floats(-3.0, 5.0), min_size=2, max_size=2)


@given(bounded)
def test_cos_sin_has_constant_norm_and_can_be_inverted(values):
    encoder = CosSin([-3.0, -3.0], [5.0, 5.0]).double()
    condition = torch.tensor(values, dtype=torch.float64)
    encoder.validate(condition)
    encoded = encoder(condition)
    assert encoded.norm().item() == pytest.approx(sqrt(2))
    angle = torch.atan2(encoded[2:], encoded[:2])
    assert torch.allclose(angle / (torch.pi / 2) * 8 - 3, condition, atol=1e-9)


def test_cos_sin_lists_all_cosines_then_all_sines():
    encoder = CosSin([0.0, 10.0], [1.0, 20.0])
    encoded = encoder(torch.tensor([[0.0, 20.0], [0.5, 10.0]]))
    expected = torch.tensor([[1.0, 0.0, 0.0, 1.0], [sqrt(0.5), 1.0, sqrt(0.5), 0.0]])
    assert torch.allclose(encoded, expected, atol=1e-6)
    assert encoder.output_dim == 4


@pytest.mark.parametrize("value", [-0.01, 1.01, 5.0, float("inf")])
def test_cos_sin_refuses_values_outside_its_bounds_where_they_would_alias(value):
    encoder = CosSin([0.0, 0.0], [1.0, 1.0])
    hyper = HyperNet(TargetSpec.mlp(2, (), 1), 2, encoder=encoder)
    with pytest.raises(BoundsError, match=r"coordinate 1 of a condition is .*, outside its bounds \[0, 1\]"):
        encoder.validate(torch.tensor([[0.5, 0.5], [0.5, value]]))
    if value != float("inf"):
        with pytest.raises(BoundsError, match=f"coordinate 1 of a condition is {value:g}"):
            hyper.generate(torch.tensor([0.5, value]))


def test_cos_sin_takes_bounds_themselves_after_rounding():
    encoder = CosSin([0.1], [0.7])
    bounds = torch.tensor([[0.1], [0.7], [0.7000001]])
    encoder.validate(bounds)
    torch.testing.assert_close(encoder(bounds)[:, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0], [0.0], "low < high"),
        ([1.0], [0.0], "low < high"),
        ([0.0], [float("inf")], "finite bounds"),
        ([float("nan")], [1.0], "finite bounds"),
        ([0.0, 0.0], [1.0], "finite bounds"),
        ([], [], "at least 1 dimension"),
    ],
)
def test_cos_sin_refuses_bounds_that_are_none(low, high, message):
    with pytest.raises(ConfigError, match=message):
        CosSin(low, high)


def test_direction_and_log_norm_keep_all_information():
    condition = torch.randn(100, 5, dtype=torch.float64) * torch.logspace(-3, 3, 100).double().unsqueeze(-1)
    encoded = DirectionLogNorm(5)(condition)
    assert encoded.shape == (100, 6)
    assert torch.allclose(encoded[:, :5].norm(dim=-1), torch.full((100,), sqrt(5)).double())
    assert torch.allclose(encoded[:, :5] * encoded[:, 5:].exp() / sqrt(5), condition)
    assert bool(DirectionLogNorm(5)(torch.zeros(2, 5)).isfinite().all())


def test_rms_has_unit_mean_square():
    encoded = RMS(6)(50 * torch.randn(20, 6, dtype=torch.float64))
    assert torch.allclose(encoded.square().mean(-1), torch.ones(20).double(), atol=1e-6)
    assert bool(RMS(6)(torch.zeros(2, 6)).isfinite().all())


def test_running_norm_merges_batches_like_numpy_on_all_rows():
    generator = np.random.default_rng(0)
    rows = generator.normal([3.0, -2.0], [0.5, 4.0], size=(60, 2)).astype(np.float32)
    encoder = RunningNorm(2)
    start = 0
    for size in (1, 7, 2, 40, 10):
        encoder.update(torch.from_numpy(rows[start : start + size]))
        start += size
    encoder.update(torch.zeros(0, 2))
    assert encoder.running_count.item() == 60
    np.testing.assert_allclose(encoder.running_mean.numpy(), rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(encoder.running_var.numpy(), rows.var(0), rtol=1e-5)
    expected = (rows - rows.mean(0)) / rows.std(0)
    np.testing.assert_allclose(encoder(torch.from_numpy(rows)).numpy(), expected, atol=1e-5)


def test_running_norm_takes_any_leading_dimensions_and_clips():
    encoder = RunningNorm(2, clip=1.5)
    assert torch.equal(encoder(torch.tensor([0.5, 9.0])), torch.tensor([0.5, 1.5]))
    batch = torch.randn(4, 5, 2)
    encoder.update(batch)
    assert encoder.running_count.item() == 20
    assert torch.allclose(encoder.running_mean, batch.double().reshape(-1, 2).mean(0))
    assert encoder(-1e6 * torch.ones(2)).tolist() == [-1.5, -1.5]


def test_running_norm_is_stable_for_single_precision_conditions_far_from_zero():
    encoder = RunningNorm(1)
    rows = (1e4 + torch.randn(500, 200, 1, dtype=torch.float64)).float()
    for batch in rows:
        encoder.update(batch)
    exact = rows.double()
    assert encoder.running_mean.item() == pytest.approx(exact.mean().item(), abs=1e-6)
    assert encoder.running_var.item() == pytest.approx(exact.var(correction=0).item(), rel=1e-6)
    normalised = encoder(rows)
    assert normalised.dtype == torch.float32
    assert torch.allclose(normalised.double(), (exact - exact.mean()) / exact.std(), atol=1e-4)


def test_running_norm_statistics_move_only_in_update_and_carry_names_that_target_networks_copy():
    encoder = RunningNorm(3)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(torch.randn(9, 3))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert set(before) == {"running_mean", "running_var", "running_count"}
    assert not list(encoder.parameters())


def test_embeddings_have_a_fixed_norm_whatever_their_length():
    encoder = EmbeddingTable(4, 9)
    with torch.no_grad():
        encoder.table.mul_(torch.tensor([[1e-3], [1.0], [10.0], [1e3]]))
    rows = encoder(torch.tensor([[0], [1], [2], [3]]))
    assert torch.allclose(rows.norm(dim=-1), torch.full((4,), 3.0))
    free = EmbeddingTable(4, 9, fixed_norm=False)
    assert torch.equal(free(torch.tensor([[[2.0]], [[0.0]]])), free.table[[2, 0]].unsqueeze(1))


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[4]], BoundsError, r"ids must lie in \[0, 3\], got 4 to 4"),
        ([[0], [-1]], BoundsError, "got -1 to 0"),
        ([[0.5]], ShapeError, "integer ids"),
        ([0, 1], ShapeError, "ending in 1 numbers"),
    ],
)
def test_embedding_tables_refuse_other_ids(ids, error, message):
    with pytest.raises(error, match=message):
        EmbeddingTable(4, 2).validate(torch.tensor(ids))


def test_a_chain_applies_updates_and_validates_one_after_another():
    chain = Chain([RunningNorm(2, clip=3.0), CosSin([-3.0] * 2, [3.0] * 2), RMS(4)])
    batch = torch.randn(500, 2) * 7 + 3
    chain.update(batch)
    normalised = chain.encoders[0](batch)
    assert normalised.mean().abs() < 0.01
    assert torch.equal(chain(batch), chain.encoders[2](chain.encoders[1](normalised)))
    chain.validate(1e6 * batch)
    assert (chain.input_dim, chain.output_dim) == (2, 4)


def test_a_chain_refuses_what_an_inner_encoder_refuses():
    chain = Chain([Identity(2), RMS(2), CosSin([-1.0] * 2, [1.0] * 2)])
    chain.validate(torch.tensor([[0.3, 0.3]]))
    with pytest.raises(BoundsError, match=r"coordinate 1 of a condition is 1\.4"):
        chain.validate(torch.tensor([[0.0, 0.3]]))
    with pytest.raises(ShapeError, match="ending in 2 numbers"):
        chain.validate(torch.zeros(3))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Chain([]), ConfigError, "at least 1 encoder"),
        (lambda: make_encoder([], 2), ConfigError, "at least 1 encoder"),
        (lambda: Chain([DirectionLogNorm(2), RMS(2)]), ConfigError, "gives 3 numbers but RMS takes 2"),
        (lambda: Chain([Identity(1), EmbeddingTable(3, 2)]), ConfigError, "only be the first"),
        (lambda: Identity(0), ConfigError, "at least 1 dimension, got 0"),
        (lambda: EmbeddingTable(0, 2), ConfigError, "got 0 entries of size 2"),
        (lambda: EmbeddingTable(2, 0), ConfigError, "got 2 entries of size 0"),
        (lambda: RunningNorm(2, clip=0.0), ConfigError, "must be positive, got 0.0"),
        (lambda: RunningNorm(2, clip=float("nan")), ConfigError, "must be positive, got nan"),
        (lambda: make_encoder("running", 2), UnknownNameError, "did you mean 'running_norm'"),
        (lambda: make_encoder(["rms", "identiti"], 2), UnknownNameError, "did you mean 'identity'"),
        (lambda: make_encoder(RMS(3), 2), ShapeError, "takes 3 dimensions, the condition has 2"),
    ],
)  # fmt: skip
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_make_encoder_builds_names_chains_and_mixtures():
    assert isinstance(make_encoder("rms", 3), RMS)
    assert isinstance(make_encoder(["rms"], 3), RMS)
    chain = make_encoder(["running_norm", "direction_log_norm", "rms"], 3)
    assert [type(step) for step in chain.encoders] == [RunningNorm, DirectionLogNorm, RMS]
    assert chain.output_dim == 4
    mixed = make_encoder([CosSin([0.0] * 3, [1.0] * 3), "rms"], 3)
    assert [type(step) for step in mixed.encoders] == [CosSin, RMS]
    with pytest.raises(ShapeError, match="takes 3 dimensions, the condition has 4"):
        make_encoder(["direction_log_norm", RMS(3)], 3)


ALL = [
    Identity(2),
    CosSin([-5.0, 2.0], [-4.0, 3.0]),
    DirectionLogNorm(2),
    RMS(2),
    RunningNorm(2),
    EmbeddingTable(5, 3),
    Chain([CosSin([-5.0, 2.0], [-4.0, 3.0]), RMS(4)]),
    Chain([EmbeddingTable(5, 3), RMS(3)]),
]


@pytest.mark.parametrize("encoder", ALL, ids=lambda encoder: type(encoder).__name__)
def test_probes_are_conditions_that_the_encoder_accepts(encoder):
    probes = encoder.probes(64)
    encoder.validate(probes)
    assert encoder(probes).shape == (probes.shape[0], encoder.output_dim)
    hyper = HyperNet(TargetSpec.mlp(3, (), 2), encoder.input_dim, encoder=encoder, init="hyperfan_in")
    assert bool(hyper.generate(probes).materialise().isfinite().all())


def test_encoders_of_third_parties_inherit_what_they_leave_out():
    class Double(Encoder):
        def forward(self, condition):
            return 2 * condition

    encoder = Double(3)
    encoder.update(torch.zeros(3))
    assert encoder.probes(7).shape == (7, 3)
    assert torch.equal(encoder(torch.ones(3)), torch.full((3,), 2.0))


def test_constant_norm_inputs_make_generated_weights_independent_of_the_conditions_magnitude():
    spec = TargetSpec.mlp(4, (8,), 2)
    scales = torch.linspace(0.01, 1.0, 50).unsqueeze(-1)

    def spread(encoder):
        norms = []
        for seed in range(10):
            torch.manual_seed(seed)
            hyper = HyperNet(spec, 1, "mlp", encoder=encoder, init="hyperfan_in")
            with torch.no_grad():
                for layer in hyper.trunk.layers:
                    layer.bias.zero_()
            norms.append(hyper.generate(scales).materialise().norm(dim=-1).detach())
        return (torch.stack(norms).max(1).values / torch.stack(norms).min(1).values).mean().item()

    assert spread("identity") == pytest.approx(100.0, rel=1e-3)
    assert spread(CosSin([0.0], [1.0])) < 3
