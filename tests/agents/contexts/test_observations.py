"""What of an observation is the context, who sees it, and what it may not be."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import ContextPPO, specialise
from hyperrl.errors import (
    BoundsError,
    ConfigError,
    ContextError,
    NonFiniteError,
    UnknownNameError,
    UnsupportedSpaceError,
)
from hyperrl.sb3.normalising import ContextVecNormalize, normalised
from tests.agents.contexts.building import SIZES, build, every_agent, stirred
from tests.sb3.contexts.toys import CONTEXTS, SPACE, ContextTask
from tests.sb3.toys import PointEnv


@every_agent
def test_contexts_that_cannot_be_fixed(cls):
    model = build(cls)
    for context, error, words in (
        (None, ContextError, "acts by the context: give one, for example sign=1,scale=1"),
        ({"sing": 1.0}, UnknownNameError, "did you mean 'sign'"),
        ({"sign": float("nan")}, NonFiniteError, "must be finite"),
        ({"sign": 3.0}, BoundsError, "from -2 to 2, got 3"),
    ):
        with pytest.raises(error, match=words):
            specialise(model, context=context)
    plain = cls("MlpPolicy", PointEnv(), device="cpu", **SIZES[cls])
    with pytest.raises(ContextError, match="was trained without contexts"):
        specialise(plain, context={"sign": 1.0})
    assert specialise(plain).sizes[0] == 3
    with pytest.raises(ContextError, match="does not act by a context"):
        specialise(PPO("MlpPolicy", PointEnv(), device="cpu"), context={"sign": 1.0})


@every_agent
def test_hidden_and_privileged_contexts(cls):
    for actor, critic in (("hyper", "unaware"), ("unaware", "film")):
        with pytest.raises(ConfigError, match="hides its context"):
            build(cls, actor=actor, critic=critic, mode="hidden")
    hidden = build(cls, actor="unaware", critic="unaware", mode="hidden").learn(64)
    assert hidden.observed.size == 0
    with pytest.raises(ConfigError, match="shows its context to critics alone"):
        build(cls, mode="privileged")
    model = stirred(build(cls, actor="unaware", critic="hyper", mode="privileged").learn(64))
    states = np.zeros((4, 3), np.float32)
    low, high = (
        {"observation": states, "context": np.full((4, 2), value, np.float32)} for value in (-1.0, 1.0)
    )
    assert np.array_equal(*(model.predict(one, deterministic=True)[0] for one in (low, high)))
    tensors = [model.policy.obs_to_tensor(one)[0] for one in (low, high)]
    if cls is ContextPPO:
        values = [model.policy.predict_values(one) for one in tensors]
    else:
        values = [model.critic(one, th.zeros(4, 2))[0] for one in tensors]
    assert not th.allclose(*values)
    assert specialise(model).sizes[0] == 3


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
def test_the_context_is_not_normalised_by_statistics(cls, append):
    env = normalised(make_vec_env(lambda: ContextTask(append), 2, seed=0), {"norm_reward": False})
    assert type(env) is (VecNormalize if append == "dict" else ContextVecNormalize)
    model = stirred(build(cls, append, env=env).learn(64))
    seen = env.reset()
    codes = seen["context"] if append == "dict" else seen[:, 3:]
    allowed = {tuple(row) for row in SPACE.normalise(CONTEXTS).astype(np.float32).tolist()}
    assert {tuple(row) for row in codes.tolist()} <= allowed
    raw = env.get_original_obs()
    policy = specialise(model, context={"sign": 0.5})
    states = raw["observation"] if append == "dict" else raw[:, :3]
    code = np.tile(SPACE.normalise(SPACE.array({"sign": 0.5})).astype(np.float32), (2, 1))
    whole = {"observation": states, "context": code} if append == "dict" else np.hstack([states, code])
    expected, _ = model.predict(env.normalize_obs(whole), deterministic=True)
    assert np.abs(policy(states) - expected).max() < 1e-5
    if append == "dict":
        with pytest.raises(ConfigError, match="must leave the context as it is"):
            normalised(env.venv, {"norm_obs_keys": ["context", "observation"]})


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
def test_statistics_that_would_change_the_context_are_refused(cls, append):
    env = VecNormalize(make_vec_env(lambda: ContextTask(append), 2))
    with pytest.raises(ContextError, match="would change what the numbers of the context mean"):
        build(cls, append, env=env)
    model = build(cls, append)
    with pytest.raises(ContextError, match="would change what the numbers of the context mean"):
        model.set_env(env)
    # Rewards alone, and environments without contexts, are nobody's business.
    model.set_env(VecNormalize(make_vec_env(lambda: ContextTask(append), 2), norm_obs=False))
    hidden = VecNormalize(make_vec_env(lambda: ContextTask(mode="hidden"), 2))
    build(cls, mode="hidden", actor="unaware", critic="unaware", env=hidden)


class WithPart(gym.ObservationWrapper):
    """A task whose observations have another part."""

    def __init__(self, part):
        super().__init__(ContextTask())
        self.part = part
        self.observation_space = spaces.Dict({**self.env.observation_space.spaces, "another": part})

    def observation(self, observation):
        return {**observation, "another": self.part.sample()}


@every_agent
def test_other_parts_of_an_observation_stand_before_the_context(cls):
    part = spaces.Box(-1, 1, (2, 3), np.float64)
    model = build(cls, actor="concat", env=make_vec_env(lambda: WithPart(part), 2)).learn(40)
    assert model.policy.networks()["actor"].input_dim == 3 + 6
    with pytest.raises(UnsupportedSpaceError, match="another, observation cannot be exported"):
        model.specialise({"sign": 1.0})


@pytest.mark.parametrize("part", [spaces.Discrete(3), spaces.Box(0, 255, (36, 36, 3), np.uint8)], ids=str)
def test_ppo_refuses_what_is_no_vector(part):
    with pytest.raises(UnsupportedSpaceError, match="ContextPPO takes observations that are vectors"):
        build(ContextPPO, env=make_vec_env(lambda: WithPart(part), 2))


def test_ppo_keeps_dicts_in_a_buffer_of_its_own():
    with pytest.raises(ConfigError, match="leave rollout_buffer_class out"):
        build(ContextPPO, rollout_buffer_class=DictRolloutBuffer)
