"""The plain policy of every supported algorithm is the model's own `predict`; others are refused."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from hyperrl import CompiledPPO, HyperSAC, HyperTD3, PlainPolicy, specialise
from hyperrl.errors import ConfigError, ExportError, NonFiniteError, UnsupportedSpaceError
from hyperrl.sb3.plain import acting, head_of, normaliser_of, plain_policy


class Task(gym.Env):
    """Observations and actions of any kind."""

    def __init__(self, observations=None, actions=None):
        self.observation_space = observations or spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = actions or spaces.Box(np.float32([-0.3, -0.1]), np.float32([2.0, 0.5]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, True, {}


def normalised():
    env = VecNormalize(DummyVecEnv([Task]), clip_obs=1.0)
    env.reset()
    for _ in range(50):
        env.step(np.zeros((1, 2)))
    return env


def small(**more):
    return {"policy_kwargs": {"net_arch": [8, 5], **more}, "device": "cpu", "seed": 0}


MODELS = {
    "ppo": lambda: PPO("MlpPolicy", Task(), **small()),
    "ppo, normalised": lambda: PPO("MlpPolicy", normalised(), **small()),
    "ppo, own value network": lambda: PPO("MlpPolicy", Task(), **small(net_arch={"pi": [6], "vf": [9, 9]})),
    "ppo, linear": lambda: PPO("MlpPolicy", Task(), **small(net_arch=[])),
    "ppo, features apart": lambda: PPO("MlpPolicy", Task(), **small(share_features_extractor=False)),
    "ppo, squashed": lambda: PPO("MlpPolicy", Task(), use_sde=True, **small(squash_output=True)),
    "a2c, elu": lambda: A2C("MlpPolicy", Task(), **small(activation_fn=nn.ELU)),
    "sac": lambda: SAC("MlpPolicy", Task(), **small()),
    "sac, normalised": lambda: SAC("MlpPolicy", normalised(), **small()),
    "sac, gsde": lambda: SAC("MlpPolicy", Task(), use_sde=True, **small(clip_mean=0.05)),
    "td3": lambda: TD3("MlpPolicy", Task(), **small()),
    "ddpg, gelu": lambda: DDPG("MlpPolicy", normalised(), **small(activation_fn=nn.GELU)),
    "hyper-td3": lambda: HyperTD3("MlpPolicy", Task(), **small()),
    "hyper-sac": lambda: HyperSAC("MlpPolicy", normalised(), **small()),
    "compiled-ppo": lambda: CompiledPPO("MlpPolicy", Task(), **small()),
    "ppo, whole numbers": lambda: PPO(
        "MlpPolicy", Task(observations=spaces.Box(-3, 3, (4,), np.int64)), **small()
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_predict_returns(name):
    model = MODELS[name]()
    # Trained policies have larger outputs than new ones; so large that clips and squashes are at work.
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(2.0).add_(0.05)
        if hasattr(model.policy, "action_net"):  # which begins at a hundredth of that
            model.policy.action_net.weight.mul_(50.0)
    policy = specialise(model)
    observations = (np.random.default_rng(0).normal(size=(64, policy.sizes[0])) * 3).astype(np.float32)
    expected = acting(model)(observations)
    np.testing.assert_allclose(policy(observations), expected, atol=3e-6)
    np.testing.assert_allclose(policy(observations, np.float64), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.01
    one, _ = policy.predict(observations[0])
    np.testing.assert_allclose(one, acting(model)(observations[:1])[0], atol=3e-6)


def test_clips_and_limits_are_at_work_in_these_models():
    ppo, sac = MODELS["ppo"](), MODELS["sac, gsde"]()
    assert specialise(ppo).head.bound == "clip"
    assert specialise(sac).head.mean_clip == pytest.approx(0.05)
    normaliser = specialise(MODELS["ppo, normalised"]()).normaliser
    assert normaliser.clip == 1.0
    assert normaliser.clips(np.random.default_rng(0).normal(size=(64, 3)) * 3).mean() > 0.2


def test_a_normaliser_can_be_given_and_rewards_alone_need_none():
    model, env = MODELS["ppo"](), normalised()
    assert specialise(model).normaliser is None
    policy = plain_policy(model, env)
    np.testing.assert_array_equal(policy.normaliser.mean, env.obs_rms.mean)
    env.obs_rms.mean += 1
    assert not np.array_equal(policy.normaliser.mean, env.obs_rms.mean)  # a copy
    assert normaliser_of(VecNormalize(DummyVecEnv([Task]), norm_obs=False)) is None
    assert normaliser_of(None) is None


@pytest.mark.parametrize("name", ["hyper-td3", "hyper-sac", "compiled-ppo"])
def test_every_agent_of_ours_has_the_method(name):
    policy = MODELS[name]().specialise()
    assert isinstance(policy, PlainPolicy)
    assert policy.architecture == (8, 5)


class ManyArchitectures:
    """An agent with a policy for each of many architectures, as far as `specialise` looks at it."""

    def specialise(self, *, architecture):
        sizes = (3, *architecture, 2)
        shapes = pairwise(sizes)
        return PlainPolicy.from_arrays([np.ones((b, a)) for a, b in shapes], [np.ones(b) for b in sizes[1:]])


def test_architectures():
    assert specialise(ManyArchitectures(), architecture=(4, 4)).architecture == (4, 4)
    with pytest.raises(ConfigError, match="say which one, for example 16,16"):
        specialise(ManyArchitectures())
    model = MODELS["td3"]()
    assert specialise(model, architecture=[8, 5]).architecture == (8, 5)
    with pytest.raises(ConfigError, match=r"TD3 has the one architecture \[8, 5\]"):
        specialise(model, architecture=[16])


def test_heads():
    space = spaces.Box(np.float32([-1]), np.float32([3]))
    limited = head_of(space, mean_limit=2.0)
    assert (limited.squash, limited.scale, limited.bound) == ("scaled_tanh", 2.0, "clip")
    with pytest.raises(ConfigError, match="not both"):
        head_of(space, squashed=True, mean_limit=2.0)
    with pytest.raises(UnsupportedSpaceError, match="Discrete"):
        head_of(spaces.Discrete(3))


class Doubling(ActorCriticPolicy):
    """Acts in a way of its own."""

    def _predict(self, observation, deterministic=False):
        return super()._predict(observation, deterministic) * 2 + 1


class Scaled(FlattenExtractor):
    """Not only flat."""

    def forward(self, observations):
        return super().forward(observations) * 2


class Normed(nn.Module):
    """An activation with a LayerNorm."""

    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[-1:])


IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
DICT = spaces.Dict({"a": spaces.Box(-1, 1, (2,))})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PPO("MlpPolicy", Task(actions=spaces.Discrete(3))), UnsupportedSpaceError, "Discrete"),
        (lambda: PPO("CnnPolicy", Task(IMAGE)), UnsupportedSpaceError, r"\[3, 36, 36\]"),
        (lambda: PPO("MultiInputPolicy", Task(DICT)), UnsupportedSpaceError, "Dict"),
        (lambda: PPO("MlpPolicy", Task(spaces.Discrete(4))), UnsupportedSpaceError, "Discrete"),
        (lambda: PPO(Doubling, Task()), ExportError, "does not act as its dense layers alone do"),
        (
            lambda: PPO("MlpPolicy", Task(), policy_kwargs={"features_extractor_class": Scaled}),
            ExportError,
            "Scaled",
        ),
        (lambda: TD3("MlpPolicy", Task(), **small(activation_fn=Normed)), ExportError, "Normed"),
        (
            lambda: SAC("MlpPolicy", Task(), **small(activation_fn=lambda: nn.ELU(alpha=0.5))),
            ExportError,
            "alpha=0.5",
        ),
    ],
)
def test_others_are_refused_with_what_is_supported(make, error, words):
    with pytest.raises(error, match=words) as caught:
        specialise(make())
    text = str(caught.value)
    assert "supported are PPO, A2C, SAC, TD3, DDPG" in text or "ReLU, Tanh, ELU" in text
    assert "\n" not in text


def test_weights_that_are_not_finite_are_refused():
    model = MODELS["td3"]()
    with torch.no_grad():
        model.policy.actor.mu[0].weight[1, 2] = float("nan")
    with pytest.raises(NonFiniteError, match=r"weight must be finite, but element \[1, 2\] is nan"):
        specialise(model)
