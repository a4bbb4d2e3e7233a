"""The policies alone and in Stable-Baselines3's own algorithms."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy

from hyperrl import HyperSAC, HyperTD3
from hyperrl.nets import HyperNet, TargetMLP, TargetSpec
from hyperrl.sb3 import (
    HyperContinuousCritic,
    HyperSACCnnPolicy,
    HyperSACMultiInputPolicy,
    HyperSACPolicy,
    HyperTD3CnnPolicy,
    HyperTD3MultiInputPolicy,
    HyperTD3Policy,
)
from tests.sb3.toys import SMALL, TINY, TINY_PAPER, DictEnv, ImageEnv, PointEnv, same_parameters


@pytest.mark.parametrize(
    ("cls", "policy", "env"),
    [
        (TD3, HyperTD3Policy, PointEnv),
        (TD3, HyperTD3MultiInputPolicy, DictEnv),
        (TD3, HyperTD3CnnPolicy, ImageEnv),
        (SAC, HyperSACPolicy, PointEnv),
        (SAC, HyperSACMultiInputPolicy, DictEnv),
        (SAC, HyperSACCnnPolicy, ImageEnv),
        (DDPG, HyperTD3Policy, PointEnv),
    ],
)
def test_they_train_save_and_load_in_stable_baselines3(cls, policy, env, tmp_path):
    model = cls(policy, env(), policy_kwargs={"critic": TINY}, **SMALL)
    before = [parameter.detach().clone() for parameter in model.critic.parameters()]
    model.learn(40)
    assert isinstance(model.critic, HyperContinuousCritic)
    assert any(not th.equal(p, b) for p, b in zip(model.critic.parameters(), before, strict=True))
    model.save(tmp_path / "model")
    assert same_parameters(cls.load(tmp_path / "model"), model)


@pytest.mark.parametrize("critic", [TINY, TINY_PAPER, "compact"])
@pytest.mark.parametrize("cls", [HyperTD3, HyperSAC])
def test_a_policy_saved_alone_acts_the_same(cls, critic, tmp_path):
    model = cls("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic, "net_arch": [8]}, **SMALL)
    model.policy.save(tmp_path / "policy.pt")
    loaded = type(model.policy).load(tmp_path / "policy.pt")
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    states, actions = th.randn(5, 3), th.rand(5, 2)
    for one, other in zip(loaded.critic(states, actions), model.critic(states, actions), strict=True):
        assert th.equal(one, other)


def test_the_critics_shape_is_the_configs_and_the_actors_is_net_archs():
    kwargs = {"critic": TINY, "net_arch": {"pi": [5], "qf": [99]}, "activation_fn": th.nn.Tanh}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs=kwargs, **SMALL)
    assert [tuple(p.shape) for p in model.actor.mu.parameters()] == [(5, 3), (5,), (2, 5), (2,)]
    spec = model.critic.q_networks[0].hyper.spec
    assert [layer.out_features for layer in spec.layers] == [16, 1]


@pytest.mark.parametrize(
    ("optimizer", "fused"),
    [(th.optim.Adam, True), (th.optim.AdamW, True), (th.optim.SGD, True), (th.optim.RMSprop, None)],
)
def test_optimisers_are_fused_where_they_can_be(optimizer, fused):
    kwargs = {"critic": TINY_PAPER, "optimizer_class": optimizer}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs=kwargs, **SMALL).learn(40)
    assert type(model.critic.optimizer) is optimizer
    assert model.critic.optimizer.defaults.get("fused") is fused


@pytest.mark.parametrize("given", [{"fused": False}, {"foreach": True}])
def test_a_choice_of_the_user_is_left_alone(given):
    kwargs = {"critic": TINY, "optimizer_kwargs": given}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs=kwargs, **SMALL).learn(30)
    for key, value in given.items():
        assert model.critic.optimizer.defaults[key] is value
    assert not model.critic.optimizer.defaults["fused"]
    assert kwargs["optimizer_kwargs"] == given


@pytest.mark.parametrize("cls", [HyperTD3, HyperSAC])
def test_a_shared_features_extractor_is_trained_by_the_actor_alone(cls):
    kwargs = {"critic": TINY, "share_features_extractor": True}
    model = cls("CnnPolicy", ImageEnv(), policy_kwargs=kwargs, **SMALL)
    assert model.critic.features_extractor is model.actor.features_extractor
    images, actions = th.randint(0, 255, (4, 1, 36, 36), dtype=th.uint8), th.rand(4, 2)
    sum(value.sum() for value in model.critic(images, actions)).backward()
    assert all(p.grad is None for p in model.critic.features_extractor.parameters())
    assert any(p.grad is not None for p in model.critic.q_networks[0].parameters())
    model.learn(30)


class HyperExtractor(th.nn.Module):
    """Latents of an on-policy agent, computed by a network that is generated from the observation."""

    def __init__(self, features_dim):
        super().__init__()
        spec = TargetSpec.mlp(features_dim, (6,), 4)
        self.hyper = HyperNet(spec, features_dim, hidden=(16,), features=8, init="bias_hyper")
        self.target = TargetMLP(spec)
        self.latent_dim_pi = self.latent_dim_vf = 4
        self.start = {name: value.clone() for name, value in self.hyper.state_dict().items()}

    def forward(self, features):
        latent = self.forward_actor(features)
        return latent, latent

    def forward_actor(self, features):
        return self.target(self.hyper(features), features)

    forward_critic = forward_actor


class HyperActorCriticPolicy(ActorCriticPolicy):
    """Stable-Baselines3's on-policy policy around the network above."""

    def _build_mlp_extractor(self):
        self.mlp_extractor = HyperExtractor(self.features_dim)


def test_ortho_init_leaves_heads_and_theta0_as_they_were_initialised():
    model = PPO(HyperActorCriticPolicy, PointEnv(), n_steps=32, batch_size=16, n_epochs=1, device="cpu")
    assert model.policy.ortho_init
    extractor = model.policy.mlp_extractor
    now = {name: value.clone() for name, value in extractor.hyper.state_dict().items()}
    changed = {name for name, value in extractor.start.items() if not th.equal(value, now[name])}
    # It did run: the dense layers of the primary network are its own business.
    assert changed == {name for name in now if name.startswith("trunk.")}
    assert any(name.startswith("head.") for name in now)
    assert extractor.hyper.theta0().abs().max() > 0
    model.learn(32)
    later = extractor.hyper.state_dict()
    assert any(not th.equal(later[name], now[name]) for name in now if name.startswith("head."))
