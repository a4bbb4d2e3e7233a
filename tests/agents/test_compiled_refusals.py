"""What compiled updates must not get wrong: each of these once did, or easily could."""

import copy
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from hyperrl.bench.update import SpacesOnly
from hyperrl.compiled import CompiledFunction, CompileWarning, NotCompiledError
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.sb3.packed_buffer import PackedReplayBuffer
from hyperrl_agents.compiled_sac import CompiledSAC
from hyperrl_agents.compiled_td3 import CompiledTD3
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.agents.test_compiled import AGENTS, build, parameters, update
from tests.sb3.toys import SMALL, PointEnv


class Layer(FlattenExtractor):
    """A features extractor with a layer, which can be frozen, and with statistics of its own."""

    def __init__(self, observation_space, frozen=False, statistics=False):
        super().__init__(observation_space)
        self.layer = nn.Linear(self._features_dim, self._features_dim).requires_grad_(not frozen)
        if statistics:
            self.register_buffer("mean", torch.zeros(self._features_dim))

    def forward(self, observations):
        return torch.tanh(self.layer(super().forward(observations)))


def extractor(**options):
    return {"features_extractor_class": Layer, "features_extractor_kwargs": options}


@pytest.mark.parametrize("cls", [CompiledTD3, CompiledSAC])
@pytest.mark.parametrize(
    ("policy_kwargs", "words"),
    [
        (extractor(frozen=True), "frozen parameter, features_extractor.layer.weight"),
        (extractor(statistics=True), "a Layer with buffers"),
        (
            {**extractor(), "share_features_extractor": True},
            "shares its parameter|not that of all its parameters",
        ),
        ({"optimizer_kwargs": {"amsgrad": True}}, "with amsgrad"),
        ({"optimizer_kwargs": {"decoupled_weight_decay": True}}, "with decoupled_weight_decay"),
    ],
)
def test_it_is_refused_by_name(cls, policy_kwargs, words):
    assert re.search(words, build(cls, policy_kwargs=policy_kwargs)._why_not_compiled())


def test_hooks_of_gradients_and_optimisers_are_not_lost():
    model = build(CompiledTD3)
    handle = next(model.critic.parameters()).register_hook(lambda gradient: gradient.clamp(-1, 1))
    assert "has a hook" in model._why_not_compiled()
    handle.remove()
    handle = model.actor.optimizer.register_step_pre_hook(lambda *_: None)
    assert "hooks of Adam" in model._why_not_compiled()
    handle.remove()


def test_an_own_features_extractor_without_surprises_is_compiled():
    assert build(CompiledTD3, policy_kwargs=extractor())._why_not_compiled() is None
    assert build(CompiledSAC, policy_kwargs=extractor())._why_not_compiled() is None


@pytest.mark.parametrize("what", ["tau", "optimizer", "betas", "policy"])
def test_replaced_parts_and_constants_make_new_graphs(what):
    model = build(CompiledTD3, compile=True)
    first = model._updates()
    assert model._updates() is first
    if what == "tau":
        model.tau = 0.5
    elif what == "optimizer":
        model.critic.optimizer = torch.optim.Adam(model.critic.parameters())
    elif what == "betas":
        model.critic.optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    else:
        model._setup_model()
    assert model._updates() is not first


@pytest.mark.parametrize("cls", [HyperTD3, HyperSAC])
def test_buffers_are_read_by_the_graphs_where_they_are(cls):
    model = build(cls, compile=True)
    model.critic.register_buffer("scale", torch.ones(1))
    made = model._updates()
    graphs = [part for part in vars(made).values() if isinstance(part, CompiledFunction)]
    graphs += getattr(made, "_graphs", {}).values()
    assert graphs
    for _ in range(2):
        model._updates()
        for graph in graphs:
            assert any(leaf is model.critic.scale for leaf in graph._state_leaves)
        model.critic.scale = torch.zeros(1)


def test_a_changed_optimiser_of_the_temperature_makes_new_graphs():
    model = build(CompiledSAC, compile=True)
    first = model._updates()
    model.ent_coef_optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    assert model._updates() is not first


@pytest.fixture
def failing(monkeypatch):
    """Let graphs whose names begin so fail to compile, and the others run as they are written."""

    def fail(beginning):
        def run(self, inputs):
            if self._name.startswith(beginning):
                raise NotCompiledError(f"{self._name} could not be compiled: no reason")
            return self._function(self._state, inputs)

        monkeypatch.setattr(CompiledFunction, "__call__", run)

    return fail


@pytest.mark.parametrize("cls", AGENTS)
def test_where_compiling_fails_every_bit_is_that_of_ordinary_updates(cls, failing):
    failing("the ")
    ours, ordinary = build(cls, compile=True), build(cls, compile=False)
    with pytest.warns(CompileWarning, match="the ordinary updates are made"):
        update(ours, 2, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)  # Once is enough.
        update(ours, 2, seed=1)
    for _ in range(2):
        update(ordinary, 2, seed=1)
    torch.testing.assert_close(parameters(ours), parameters(ordinary), rtol=0, atol=0)
    assert (
        ours.logger.name_to_value["train/critic_loss"] == ordinary.logger.name_to_value["train/critic_loss"]
    )


def test_where_the_actors_graph_fails_the_critics_are_not_updated_twice(failing):
    failing("the actor")
    ours, ordinary = build(CompiledTD3, compile=True), build(CompiledTD3, compile=False)
    before = parameters(ours)
    with pytest.warns(CompileWarning, match="the actor's update of CompiledTD3"):
        update(ours, 2, seed=1)
    update(ordinary, 2, seed=1)
    assert (parameters(ours) - parameters(ordinary)).norm() / (parameters(ordinary) - before).norm() < 1e-4


def test_a_frozen_actor_does_not_stop_ordinary_updates():
    for cls in (CompiledTD3, CompiledSAC):
        model = build(cls, compile=False)
        model.actor.requires_grad_(False)
        before = [parameter.clone() for parameter in model.critic.parameters()]
        model.train(2, 16)
        assert any((p != old).any() for p, old in zip(model.critic.parameters(), before, strict=True))


def test_actions_of_another_shape_are_explored_in_it():
    class Square(PointEnv):
        def __init__(self):
            super().__init__(action_space=spaces.Box(-1, 2, (2, 2), np.float32))

        def step(self, action):
            assert action.shape == (2, 2)
            return super().step(action)

    for cls in (CompiledTD3, CompiledSAC):
        cls("MlpPolicy", Square(), **SMALL).learn(30)


def test_a_copy_explores_with_its_own_actor():
    model = CompiledTD3("MlpPolicy", PointEnv(), **SMALL)
    model.learn(25)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.actor.parameters():
            parameter.zero_()
    twin.num_timesteps = 1000
    assert twin._sample_action(0)[1] == pytest.approx(np.zeros((1, 2)))


def test_what_an_extractor_does_is_explored_with():
    class Zero(FlattenExtractor):
        def forward(self, observations):
            return super().forward(observations) * 0

    kwargs = {"features_extractor_class": Zero}
    model = CompiledTD3("MlpPolicy", PointEnv(), policy_kwargs=kwargs, **SMALL)
    model.learn(25)
    expected = model.predict(model._last_obs, deterministic=True)[0]
    sampled = model.policy.unscale_action(model._sample_action(0)[1])
    np.testing.assert_allclose(sampled, expected, rtol=1e-5)


def test_the_packed_buffer_also_works_with_psutil(monkeypatch):
    import stable_baselines3.common.buffers as buffers

    class Memory:
        @staticmethod
        def virtual_memory():
            return type("Available", (), {"available": 1e12})

    monkeypatch.setattr(buffers, "psutil", Memory)
    assert isinstance(build(CompiledTD3).replay_buffer, PackedReplayBuffer)


def test_assigned_arrays_reach_the_packed_buffer():
    buffer = build(CompiledTD3).replay_buffer
    buffer.rewards = np.full_like(buffer.rewards, 7)
    assert set(buffer.sample(8).rewards.flatten().tolist()) == {7.0}


def test_the_packed_buffer_refuses_to_save_memory():
    space = spaces.Box(-1, 1, (3,), np.float32)
    with pytest.raises(ConfigError, match="leave out optimize_memory_usage"):
        PackedReplayBuffer(10, space, space, optimize_memory_usage=True, handle_timeout_termination=False)


def test_normalised_observations_keep_their_precision():
    env = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    assert type(CompiledTD3("MlpPolicy", env, **SMALL).replay_buffer) is ReplayBuffer


def test_a_loaded_agent_is_checked_when_it_learns(tmp_path):
    build(CompiledTD3).save(tmp_path / "model")
    with pytest.raises(ConfigError, match="compile must be"):
        CompiledTD3.load(tmp_path / "model", env=SpacesOnly(), compile="no").learn(1)
    with pytest.raises(UnknownNameError, match="precision"):
        CompiledTD3.load(tmp_path / "model", env=SpacesOnly(), precision="low").learn(1)
