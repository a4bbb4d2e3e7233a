"""CompiledPPO against Stable-Baselines3's PPO; nothing is compiled here, see `test_compiled_ppo_graphs`."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import hyperrl_agents.baselines.ppo as baseline
from hyperrl import CompiledPPO
from hyperrl.compiled import CompiledFunction, CompileWarning, NotCompiledError
from hyperrl.errors import ConfigError, NonFiniteError
from hyperrl.presets import resolve
from hyperrl.sb3 import ppo_losses as losses
from hyperrl.testing import check_agent
from hyperrl.train import check
from hyperrl_agents.compiled_ppo.update import PPOUpdate
from tests.sb3.toys import DictEnv, ImageEnv, PointEnv

SIZES = {"n_steps": 16, "batch_size": 8, "n_epochs": 3, "seed": 3, "device": "cpu"}
ragged = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


@pytest.fixture
def as_written(monkeypatch):
    """What would be compiled runs as it is written; returns the names of what did."""
    ran = set()

    def run(self, inputs):
        ran.add(self._name)
        return self._function(self._state, inputs)

    monkeypatch.setattr(CompiledFunction, "__call__", run)
    return ran


def build(cls, env=PointEnv, policy="MlpPolicy", venv=None, **kwargs):
    policy_kwargs = {"net_arch": [16], **kwargs.pop("policy_kwargs", {})}
    venv = venv or make_vec_env(env, n_envs=2, seed=0)
    return cls(policy, venv, policy_kwargs=policy_kwargs, **{**SIZES, **kwargs})


def learned(model, steps=64, callback=None):
    th.manual_seed(5)
    np.random.seed(5)
    model.learn(steps, callback=callback, log_interval=None)
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def falling(remaining):
    return 0.05 + 0.3 * remaining


class WideEnv(PointEnv):
    """Observations in float64 and actions in float64, as some environments have them."""

    def __init__(self):
        super().__init__(spaces.Box(-1, 2, (2,), np.float64))
        self.observation_space = spaces.Box(-1, 1, (3,), np.float64)

    def observe(self):
        return self.state.astype(np.float64)


VARIANTS = {
    "default": {},
    "values clipped": {"clip_range_vf": 0.1},
    "schedules": {"clip_range": falling, "clip_range_vf": falling, "learning_rate": lambda p: 1e-3 * p},
    "entropy": {"ent_coef": 0.1, "normalize_advantage": False, "vf_coef": 0.2, "max_grad_norm": 0.01},
    "stops": {"target_kl": 1e-3, "learning_rate": 3e-3},
    "ragged": {"batch_size": 12},
    "last of one": {"batch_size": 31},
    "one batch of all": {"batch_size": 100},
    "wide": {"env": WideEnv},
    "weight decay": {"policy_kwargs": {"optimizer_kwargs": {"weight_decay": 0.1}}},
    "nothing shared": {"policy_kwargs": {"share_features_extractor": False}},
    "dictionary": {"env": DictEnv, "policy": "MultiInputPolicy"},
    "image": {"env": ImageEnv, "policy": "CnnPolicy"},
    "discrete": {"env": partial(PointEnv, spaces.Discrete(3))},
    "multi-discrete": {"env": partial(PointEnv, spaces.MultiDiscrete([2, 3]))},
    "multi-binary": {"env": partial(PointEnv, spaces.MultiBinary(2))},
}
variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())


@ragged
@variants
def test_without_compiling_every_bit_is_that_of_stable_baselines3(options):
    expected = learned(build(PPO, **options))
    for cls in (partial(CompiledPPO, compile=False), baseline.PPO):
        found = learned(build(cls, **options))
        assert all(th.equal(found[name], expected[name]) for name in expected)


@ragged
@variants
def test_the_functions_that_are_compiled_compute_what_stable_baselines3_computes(options, as_written):
    theirs, ours = build(PPO, **options), build(CompiledPPO, compile=True, **options)
    start = {name: value.clone() for name, value in theirs.policy.state_dict().items()}
    expected = learned(theirs)
    drawn = th.rand(1), np.random.rand()
    found = learned(ours)
    # Both have drawn equally many random numbers.
    assert (th.rand(1), np.random.rand()) == drawn
    assert_same(found, expected)
    assert any(not th.equal(start[name], found[name]) for name in found)
    assert ours._n_updates == theirs._n_updates
    assert "the update of CompiledPPO" in as_written
    logged, their_log = (dict(model.logger.name_to_value) for model in (ours, theirs))
    assert logged.keys() == their_log.keys()
    assert len(logged) >= 9
    for name, value in their_log.items():
        if name.startswith("train/"):
            assert logged[name] == pytest.approx(value, rel=1e-3, abs=2e-6), name
    for name in ("rewards", "advantages", "returns", "values", "log_probs"):
        one, other = (np.sort(getattr(m.rollout_buffer, name).flatten()) for m in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=name)
    steps = [int(m.policy.optimizer.state_dict()["state"][0]["step"]) for m in (ours, theirs)]
    assert steps[0] == steps[1] > 0


def test_normalised_observations_and_rewards(as_written):
    def model(cls, **kwargs):
        return build(cls, venv=VecNormalize(make_vec_env(PointEnv, n_envs=2, seed=0)), **kwargs)

    ours, theirs = model(CompiledPPO, compile=True), model(PPO)
    assert_same(learned(ours), learned(theirs))
    np.testing.assert_allclose(ours.env.obs_rms.mean, theirs.env.obs_rms.mean)


class Recorder(BaseCallback):
    """Remembers what it was called with, and stops learning after some steps."""

    def __init__(self, last=10**9):
        super().__init__()
        self.calls, self.seen, self.last = [], [], last

    def _on_rollout_start(self):
        self.calls.append("start")

    def _on_rollout_end(self):
        self.calls.append("end")
        self.at_end = set(self.locals)

    def _on_step(self):
        self.calls.append("step")
        names = ("actions", "clipped_actions", "values", "log_probs", "rewards", "dones", "new_obs")
        self.seen.append({name: np.asarray(self.locals[name]).copy() for name in names})
        self.names = set(self.locals)
        return self.num_timesteps < self.last


def test_callbacks_see_what_stable_baselines3s_see(as_written):
    ours, theirs = Recorder(), Recorder()
    learned(build(CompiledPPO, compile=True), callback=ours)
    learned(build(PPO), callback=theirs)
    assert ours.calls == theirs.calls
    # How the value after a time limit comes about is a matter of another function here.
    inner = {"idx", "done", "terminal_obs", "terminal_value"}
    assert theirs.names - ours.names <= inner
    assert theirs.at_end - ours.at_end <= inner
    for one, other in zip(ours.seen, theirs.seen, strict=True):
        for name, value in other.items():
            assert (one[name].shape, one[name].dtype) == (value.shape, value.dtype), name
            np.testing.assert_allclose(one[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("last", [6, 40])
def test_a_callback_can_end_a_rollout(as_written, last):
    model = build(CompiledPPO, compile=True)
    model.learn(100, callback=Recorder(last))
    assert model.num_timesteps == last
    assert model.rollout_buffer.pos == (last % 32) // 2 - 1
    assert model._n_updates == 3 * (last // 32)


def test_an_action_that_is_not_finite_reaches_no_environment(as_written):
    model = build(CompiledPPO, compile=True)
    with th.no_grad():
        model.policy.action_net.bias[0] = math.nan
    with pytest.raises(NonFiniteError, match=r"at step 0: its weight action_net\.bias is not finite"):
        model.learn(32)


def test_every_promise_of_an_agent_holds_for_what_is_compiled(as_written):
    check_agent(CompiledPPO, PointEnv, agent_kwargs={"compile": True, "batch_size": 8})


class OtherBuffer(RolloutBuffer):
    """Could do anything."""


def frozen(model):
    next(model.policy.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (partial(build, use_sde=True), "state-dependent exploration"),
        (partial(build, policy_kwargs={"optimizer_class": th.optim.AdamW}), "need torch.optim.Adam"),
        (partial(build, rollout_buffer_class=OtherBuffer), "OtherBuffer with ways of its own"),
        (lambda *args, **kwargs: frozen(build(*args, **kwargs)), "a frozen parameter, log_std"),
    ],
)
def test_what_cannot_be_compiled_says_so_once_and_learns_as_in_stable_baselines3(make, reason):
    with pytest.warns(CompileWarning, match=reason) as told:
        found = learned(make(CompiledPPO, compile=True))
    assert len([warning for warning in told if warning.category is CompileWarning]) == 1
    expected = learned(make(PPO))
    assert all(th.equal(found[name], expected[name]) for name in expected)


@ragged
def test_updates_are_counted_before_they_are_made(capsys):
    model = build(CompiledPPO, batch_size=12, verbose=1)
    assert model.expected_updates(64) == 2 * 3 * 3
    assert model.expected_updates(65) == 3 * 3 * 3
    model.learn(64)
    assert "not compiling the updates, of which about 18 are to be made" in capsys.readouterr().err
    assert model.compiles(20_000)


@pytest.mark.parametrize("fails", ["the acting", "the update"])
def test_where_compiling_fails_it_learns_as_in_stable_baselines3_from_there_on(fails, monkeypatch):
    """Bit by bit, and random numbers drawn for a graph are not lost."""

    def run(self, inputs):
        if self._name.startswith(fails):
            raise NotCompiledError(f"{self._name} could not be compiled: no reason")
        return self._function(self._state, inputs)

    monkeypatch.setattr(CompiledFunction, "__call__", run)
    with pytest.warns(
        CompileWarning, match=f"{fails} of CompiledPPO .*; the ordinary updates are made"
    ) as told:
        found = learned(build(CompiledPPO, compile=True))
    assert len([warning for warning in told if warning.category is CompileWarning]) == 1
    expected = learned(build(PPO))
    if fails == "the acting":
        assert all(th.equal(found[name], expected[name]) for name in expected)
    else:
        assert_same(found, expected)


def test_losses_by_hand():
    ratio, advantages = th.tensor([0.5, 1.0, 2.0]), th.tensor([-1.0, 2.0, 3.0])
    # min(-0.5, -0.8) + min(2, 2) + min(6, 3.6)
    assert losses.clipped_surrogate(ratio, advantages, 0.2) == pytest.approx(-(-0.8 + 2 + 3.6) / 3)
    assert losses.clip_fraction(ratio, 0.2) == pytest.approx(2 / 3)
    expected = (ratio - 1 - ratio.log()).mean()
    assert losses.approximate_kl(ratio.log()) == pytest.approx(float(expected))
    values = losses.clipped_values(th.tensor([1.0, 3.0]), th.tensor([0.9, 1.0]), 0.5)
    assert values.tolist() == [1.0, 1.5]
    assert losses.value_loss(values, th.tensor([0.0, 0.5])) == pytest.approx(1.0)
    assert losses.entropy_loss(None, th.tensor([-2.0, -4.0])) == -3
    assert losses.entropy_loss(th.tensor([2.0, 4.0]), th.zeros(2)) == -3
    normalised = losses.normalised_advantages(advantages)
    assert (normalised.mean().abs() < 1e-6, float(normalised.std())) == (True, pytest.approx(1))
    assert losses.normalised_advantages(advantages[:1]).tolist() == [-1.0]


def test_the_presets_of_both_are_the_papers():
    configs = [resolve(agent, {"env": "Hopper-v5"}).config for agent in ("ppo", "compiled-ppo")]
    for config in configs:
        assert config.n_envs * config.agent_kwargs["n_steps"] == 2048
        defaults = build(PPO, **{k: v for k, v in config.agent_kwargs.items() if k != "n_steps"})
        assert (defaults.batch_size, defaults.n_epochs, defaults.gae_lambda) == (64, 10, 0.95)
        check(config)
    assert configs[0].agent_kwargs == configs[1].agent_kwargs
    demo = resolve("compiled-ppo", {"preset": "demo"}).config
    assert demo.agent_kwargs == configs[1].agent_kwargs


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("n_epochs=0", "n_epochs must be a whole number from 1"),
        ("gae_lambda=1.5", "gae_lambda must be a number from 0 to 1"),
        ("clip_range=0", "clip_range must be a number above 0"),
        ("clip_range_vf=-1", "clip_range_vf must be a number above 0"),
        ("ent_coef=auto", "ent_coef must be a number from 0"),
        ("ent_coef=-0.1", "ent_coef must be a number from 0"),
        ("vf_coef=nan", "vf_coef must be a number from 0"),
        ("max_grad_norm=0", "max_grad_norm must be a number above 0"),
        ("target_kl=0", "target_kl must be a number above 0"),
        ("normalize_advantage=1", "normalize_advantage must be true or false"),
    ],
)
@pytest.mark.parametrize("agent", ["ppo", "compiled-ppo"])
def test_arguments_out_of_range_are_refused(agent, setting, message):
    with pytest.raises(ConfigError, match=message):
        check(resolve(agent, {"env": "Pendulum-v1"}, settings=[setting]).config)


def test_the_entropy_need_not_count():
    check(resolve("ppo", {"env": "Pendulum-v1"}, settings=["ent_coef=0"]).config)


def test_policies_refuse_what_is_not_finite():
    model = build(baseline.PPO)
    with pytest.raises(NonFiniteError):
        model.predict(np.full(3, np.nan, np.float32))


def test_a_count_of_steps_elsewhere_goes_on_with_the_first():
    """As on a GPU, where the optimiser keeps its counts on the CPU."""
    agents = []
    for elsewhere in (True, False):
        agents.append(build(CompiledPPO, compile=False))
        agent = agents[-1]
        agent.train = lambda: None
        agent.learn(agent.n_steps * agent.n_envs)
        update = PPOUpdate(agent, compiled=False)
        settings = dict.fromkeys(("clip_range", "vf_coef", "max_grad_norm"), 0.5) | {"ent_coef": 0.0}
        update.load(agent.rollout_buffer, settings)
        if elsewhere:
            state = update.tensors.adam["policy"]
            update.tensors.adam["policy"] = dataclasses.replace(state, counted=state.counted.clone())
            update._bind()
        rows = th.arange(agent.n_steps * agent.n_envs)
        for _ in range(3):
            update.epoch(rows)
    ours, usual = agents
    state = ours.policy.optimizer.state.values()
    assert len({float(one["step"]) for one in state}) == 1
    for found, expected in zip(ours.policy.parameters(), usual.policy.parameters(), strict=True):
        th.testing.assert_close(found, expected, rtol=0, atol=0)
