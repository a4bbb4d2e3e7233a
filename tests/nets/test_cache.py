"""The cache never serves stale weights."""

import copy

import pytest
import torch

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.nets import GenerationCache, HyperNet, InitConfig, TargetMLP, TargetSpec

SPEC = TargetSpec.mlp(3, (5,), 2)
CONDITION = torch.tensor([0.5, -1.0])


@pytest.fixture
def hyper():
    return HyperNet(SPEC, 2, "mlp", encoder="running_norm", init="hyperfan_in")


def train(hyper, optimizer):
    optimizer.zero_grad()
    TargetMLP(SPEC)(hyper.generate(torch.randn(4, 2)), torch.randn(4, 3)).square().mean().backward()
    optimizer.step()


def test_equal_conditions_hit_and_different_ones_miss(hyper):
    cache = GenerationCache(hyper)
    first = cache.generate(CONDITION)
    assert cache.generate(CONDITION.clone()) is first
    assert (cache.hits, cache.misses) == (1, 1)
    other = cache.generate(CONDITION + 1e-6)
    assert cache.generate(torch.stack([CONDITION] * 2)).batch_shape == (2,)
    assert cache.generate(CONDITION) is first
    assert (cache.hits, cache.misses) == (2, 3)
    assert not torch.equal(other.materialise(), first.materialise())
    assert torch.equal(first.materialise(), hyper.generate(CONDITION).materialise())
    assert not first.materialise().requires_grad


def test_a_key_is_a_name_and_not_a_promise(hyper):
    cache = GenerationCache(hyper)
    first = cache.generate(CONDITION, key="env 0")
    assert cache.generate(CONDITION, key="env 0") is first
    changed = cache.generate(-CONDITION, key="env 0")
    assert torch.equal(changed.materialise(), hyper.generate(-CONDITION).materialise())
    assert cache.misses == 2


def test_changing_the_callers_tensor_afterwards_does_not_change_the_key(hyper):
    cache, condition = GenerationCache(hyper), CONDITION.clone()
    cache.generate(condition, key=0)
    condition.neg_()
    assert torch.equal(
        cache.generate(condition, key=0).materialise(), hyper.generate(condition).materialise()
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: torch.optim.Adam(parameters, fused=True),
        lambda parameters: torch.optim.Adam(parameters, foreach=True),
        lambda parameters: torch.optim.Adam(parameters, foreach=False),
        lambda parameters: torch.optim.AdamW(parameters, fused=True),
        lambda parameters: torch.optim.SGD(parameters, lr=1e-3, fused=True),
        lambda parameters: torch.optim.RMSprop(parameters),
    ],
    ids=["fused Adam", "foreach Adam", "loop Adam", "fused AdamW", "fused SGD", "RMSprop"],
)
def test_optimiser_steps_invalidate(hyper, optimizer):
    cache, optimizer = GenerationCache(hyper), optimizer(hyper.parameters())
    for _ in range(3):
        before = cache.generate(CONDITION).materialise()
        train(hyper, optimizer)
        after = cache.generate(CONDITION).materialise()
        assert not torch.equal(after, before)
        assert torch.equal(after, hyper.generate(CONDITION).materialise())
    assert cache.hits == 2


def mutate_by_loading(hyper):
    torch.manual_seed(7)
    other = HyperNet(SPEC, 2, "mlp", encoder="running_norm", init="hyperfan_in")
    hyper.load_state_dict(other.state_dict())


def mutate_by_assigning(hyper):
    hyper.load_state_dict({k: v + 1 for k, v in copy.deepcopy(hyper.state_dict()).items()}, assign=True)


def mutate_by_lerp(hyper):
    parameters = list(hyper.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(parameters, [torch.ones_like(p) for p in parameters], 0.5)


def mutate_by_set_theta0(hyper):
    hyper.set_theta0(hyper.theta0() + 1)


def mutate_statistics(hyper):
    hyper.encoder.update(10 + torch.randn(20, 2))


def mutate_by_initialising(hyper):
    hyper.head.initialise(InitConfig("hyperfan_out"), 1.0)


@pytest.mark.parametrize(
    "mutate",
    [
        mutate_by_loading,
        mutate_by_assigning,
        mutate_by_lerp,
        mutate_by_set_theta0,
        mutate_statistics,
        mutate_by_initialising,
    ],
)
def test_every_other_way_of_writing_parameters_or_statistics_invalidates(hyper, mutate):
    cache = GenerationCache(hyper)
    before = cache.generate(CONDITION).materialise()
    mutate(hyper)
    after = cache.generate(CONDITION).materialise()
    assert not torch.equal(after, before)
    assert torch.equal(after, hyper.generate(CONDITION).materialise())


def test_the_least_recently_used_condition_is_forgotten(hyper):
    cache = GenerationCache(hyper, size=2)
    a, b, c = (torch.full((2,), float(i)) for i in range(3))
    for condition in (a, b, a, c):
        cache.generate(condition)
    assert (cache.hits, cache.misses) == (1, 3)
    cache.generate(a)
    assert cache.hits == 2
    cache.generate(b)
    assert cache.misses == 4


def test_other_dtypes_are_other_conditions(hyper):
    cache = GenerationCache(hyper.double())
    cache.generate(CONDITION.double(), key=0)
    hyper.float()
    assert cache.generate(CONDITION, key=0).materialise().dtype == torch.float32


def test_invalidate_forgets(hyper):
    cache = GenerationCache(hyper)
    first = cache.generate(CONDITION)
    cache.invalidate()
    assert cache.generate(CONDITION) is not first


def test_refusals(hyper):
    with pytest.raises(ConfigError, match="at least 1 condition, got 0"):
        GenerationCache(hyper, size=0)
    cache = GenerationCache(hyper)
    with pytest.raises(ShapeError, match="ending in 2 numbers"):
        cache.generate(torch.zeros(3))
    with pytest.raises(NonFiniteError, match="must be finite"):
        cache.generate(torch.tensor([float("nan"), 0.0]))
    assert cache.generate(CONDITION).batch_shape == ()
