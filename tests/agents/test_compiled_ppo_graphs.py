"""CompiledPPO's graphs, compiled: one configuration serves most tests, as compiling takes seconds."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import CompiledPPO
from hyperrl.compiled import PRECISIONS
from hyperrl.sb3.compiled_updates import missing_hardware
from hyperrl.sb3.ppo_metrics import METRICS
from hyperrl.testing import check_agent
from hyperrl_agents.compiled_ppo.acting import GaussianActing
from hyperrl_agents.compiled_ppo.update import PPOUpdate
from tests.sb3.toys import PointEnv

# Three minibatches of an epoch: two of twelve, and one of eight, which runs as it is written.
OPTIONS = {"n_steps": 16, "batch_size": 12, "n_epochs": 2, "clip_range_vf": 0.2, "target_kl": 100.0}
STEPS = 64
pytestmark = pytest.mark.filterwarnings(
    "ignore:You have specified a mini-batch size", "error::hyperrl.compiled.CompileWarning"
)


def build(cls, **kwargs):
    venv = make_vec_env(PointEnv, n_envs=2, seed=0)
    settings = {"policy_kwargs": {"net_arch": [16]}, "seed": 3, "device": "cpu", **OPTIONS, **kwargs}
    return cls("MlpPolicy", venv, **settings)


def learned(model):
    th.manual_seed(5)
    np.random.seed(5)
    return model.learn(STEPS, log_interval=None)


def vector(model):
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def graphs_of(model):
    graphs, *_ = model._compiled
    return graphs.update._graph, graphs.update._remainder, graphs.acting._graph


@pytest.fixture(scope="module")
def compiled():
    """An agent that has learned from two rollouts, the last of which it still has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
        return learned(build(CompiledPPO, compile=True))


@pytest.fixture(scope="module")
def numbers_after_two_rollouts(compiled):
    return vector(compiled)


@pytest.fixture
def model(compiled, numbers_after_two_rollouts):
    """The same agent in the same state for each test, with the same graphs."""
    states = copy.deepcopy((compiled.policy.state_dict(), compiled.policy.optimizer.state_dict()))
    settings = {name: getattr(compiled, name) for name in ("n_epochs", "target_kl", "ent_coef", "clip_range")}
    settings |= {"lr_schedule": compiled.lr_schedule, "_n_updates": compiled._n_updates}
    yield compiled
    vars(compiled).update(settings)
    compiled.policy.load_state_dict(states[0])
    compiled.policy.optimizer.load_state_dict(states[1])


def test_two_rollouts_equal_stable_baselines3s(model, numbers_after_two_rollouts):
    update, remainder, acting = graphs_of(model)
    assert update.fallback is remainder.fallback is acting.fallback is None
    assert [len(graph._graphs) for graph in (update, remainder, acting)] == [1, 0, 1]
    theirs = learned(build(PPO))
    th.testing.assert_close(numbers_after_two_rollouts, vector(theirs), rtol=1e-3, atol=1e-4)
    for name in ("rewards", "values", "advantages"):
        one, other = (np.sort(getattr(m.rollout_buffer, name).flatten()) for m in (model, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def one_update(model, update):
    """Return how far one minibatch moves the parameters, and its metrics; afterwards nothing has changed."""
    states = copy.deepcopy((model.policy.state_dict(), model.policy.optimizer.state_dict()))
    before = vector(model)
    update.load(model.rollout_buffer, model._settings())
    metrics, stopped = update.epoch(th.arange(12))
    change = vector(model) - before
    steps = [int(each["step"]) for each in model.policy.optimizer.state.values()]
    model.policy.load_state_dict(states[0])
    model.policy.optimizer.load_state_dict(states[1])
    assert not stopped
    return change, metrics[0], steps


def test_one_update_equals_the_function_that_was_compiled(model):
    changes, metrics, steps = zip(
        one_update(model, model._compiled[0].update), one_update(model, PPOUpdate(model, False)), strict=True
    )
    assert float((changes[0] - changes[1]).norm() / changes[1].norm()) < 1e-4
    th.testing.assert_close(metrics[0], metrics[1], rtol=1e-4, atol=1e-6)
    # Twelve updates were made before, and every parameter's count says so.
    assert steps[0] == steps[1] == [13] * len(steps[0])


def test_acting_equals_the_policys_own(model):
    observations = th.rand(2, 3)
    th.manual_seed(1)
    found = model._acting()(observations)
    th.manual_seed(1)
    with th.no_grad():
        expected = model.policy(observations)
    th.testing.assert_close(tuple(found), tuple(expected))
    th.manual_seed(1)
    written = GaussianActing(model, compiled=False)
    written.bind(model._compiled[0].update.tensors)
    th.testing.assert_close(tuple(written(observations)), tuple(expected))


def test_schedules_and_coefficients_take_effect_without_another_graph(model):
    def change(**settings):
        for name, value in settings.items():
            setattr(model, name, value)
        before, states = vector(model), copy.deepcopy(model.policy.state_dict())
        np.random.seed(0)
        model.train()
        after = vector(model)
        model.policy.load_state_dict(states)
        return float((after - before).norm())

    usual = change()
    assert usual > 0
    assert change(ent_coef=10.0) != usual
    assert change(ent_coef=0.0, clip_range=lambda _: 1e-6) != usual
    assert change(clip_range=lambda _: 0.2, lr_schedule=lambda _: 0.0) == 0
    assert model.logger.name_to_value["train/learning_rate"] == 0
    assert [len(graph._graphs) for graph in graphs_of(model)] == [1, 0, 1]


class Watched:
    """A graph of whose calls something else is told first."""

    def __init__(self, graph, tell):
        self.graph, self.tell = graph, tell
        self.bind = graph.bind

    def __call__(self, rows):
        self.tell()
        return self.graph(rows)


@pytest.fixture
def watch(model, monkeypatch):
    """Have a function called before each compiled minibatch."""
    update = model._compiled[0].update
    return lambda tell: monkeypatch.setattr(update, "_graph", Watched(update._graph, tell))


def test_learning_stops_at_the_divergence_and_leaves_what_was_learned_before(
    model, watch, capsys, monkeypatch
):
    model.target_kl = 1e-12
    monkeypatch.setattr(model, "verbose", 1)
    before, calls = vector(model), []
    watch(lambda: calls.append(1))
    model.train()
    # Old and new policy differ from the first minibatch on, as the rollout has been learned from before.
    assert len(calls) == 1
    assert th.equal(vector(model), before)
    assert {int(each["step"]) for each in model.policy.optimizer.state.values()} == {12}
    assert "Early stopping at step 0 due to reaching max kl" in capsys.readouterr().out
    assert model._n_updates == 5
    assert model.logger.name_to_value["train/approx_kl"] > 1.5e-12


def test_a_fault_between_minibatches_leaves_equal_counts(model, watch):
    divisors = iter([1, 0])
    watch(lambda: 1 / next(divisors))
    with pytest.raises(ZeroDivisionError):
        model.train()
    assert {int(each["step"]) for each in model.policy.optimizer.state.values()} == {13}


def test_parameters_stay_those_of_the_policy(model):
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    observation = np.full(3, 0.3, np.float32)
    action, _ = model.predict(observation, deterministic=True)
    model.train()
    assert all(not th.equal(before[name], value) for name, value in model.policy.state_dict().items())
    assert not np.array_equal(action, model.predict(observation, deterministic=True)[0])
    model.policy.load_state_dict(before)
    assert np.array_equal(action, model.predict(observation, deterministic=True)[0])


def test_a_saved_agent_goes_on_as_the_one_that_was_saved(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = CompiledPPO.load(tmp_path / "model", env=make_vec_env(PointEnv, n_envs=2, seed=0), device="cpu")
    assert th.equal(vector(loaded), vector(model))
    assert (loaded.compile, vars(loaded).get("_compiled")) == (True, (None, None, ()))
    model.set_env(make_vec_env(PointEnv, n_envs=2, seed=0))
    for one in (model, loaded):
        one.set_random_seed(3)
    # The same graphs, read from the cache or compiled again.
    assert th.equal(vector(learned(model)), vector(learned(loaded)))


# The graphs of the highest one are compiled already.
@pytest.mark.parametrize(
    "precision",
    [pytest.param(name, marks=() if name == "highest" else pytest.mark.slow) for name in PRECISIONS],
)
def test_a_hundred_updates_stay_finite_in_every_precision_that_there_is(precision):
    if missing_hardware(precision, th.device("cpu")) is not None:
        pytest.skip(f"no hardware for {precision}")
    before = th.get_float32_matmul_precision()
    model = build(CompiledPPO, compile=True, precision=precision, n_epochs=25)
    seen = []
    model.learn(STEPS, callback=lambda *_: seen.append(th.get_float32_matmul_precision()) or True)
    assert int(next(iter(model.policy.optimizer.state.values()))["step"]) == 150
    assert th.isfinite(vector(model)).all()
    assert all(np.isfinite(model.logger.name_to_value[f"train/{name}"]) for name in METRICS)
    # Set for updates only, and set back after them.
    assert {*seen, th.get_float32_matmul_precision()} == {before}


@pytest.mark.slow
def test_every_promise_of_an_agent_holds_for_the_graphs():
    settings = {"compile": True, "batch_size": 8, "policy_kwargs": {"net_arch": [16]}}
    check_agent(CompiledPPO, PointEnv, agent_kwargs=settings)
