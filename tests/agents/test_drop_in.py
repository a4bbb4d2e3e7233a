"""Everything around Stable-Baselines3's TD3 and SAC works around ours, with nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import HyperSAC, HyperTD3
from hyperrl.errors import ConfigError
from hyperrl.sb3 import HyperCriticConfig
from tests.sb3.toys import SMALL, TINY, TINY_LINEAR, TINY_PAPER, DictEnv, ImageEnv, PointEnv

AGENTS = [HyperTD3, HyperSAC]
agents = pytest.mark.parametrize("cls", AGENTS)


def noise(size=2):
    return NormalActionNoise(np.zeros(size), np.full(size, 0.1))


def build(cls, env=None, policy="MlpPolicy", critic=TINY, policy_kwargs=None, **kwargs):
    policy_kwargs = {"critic": critic, "net_arch": [16], **(policy_kwargs or {})}
    return cls(policy, env or PointEnv(), policy_kwargs=policy_kwargs, **{"seed": 0, **SMALL, **kwargs})


def assert_learns(model, steps=40):
    """Learn, and see that actor and critic have moved to finite numbers."""
    networks = (model.actor, model.critic)
    before = [th.nn.utils.parameters_to_vector(network.parameters()).clone() for network in networks]
    assert model.learn(steps) is model
    assert model._n_updates > 0
    for network, start in zip(networks, before, strict=True):
        now = th.nn.utils.parameters_to_vector(network.parameters())
        assert th.isfinite(now).all()
        assert not th.equal(now, start)


@agents
@pytest.mark.parametrize(
    ("policy", "env"), [("MlpPolicy", PointEnv), ("MultiInputPolicy", DictEnv), ("CnnPolicy", ImageEnv)]
)
def test_policies_by_name(cls, policy, env):
    model = build(cls, env(), policy)
    assert_learns(model)
    observation, _ = env().reset(seed=0)
    action, _ = model.predict(observation)
    assert action.shape == (2,)
    assert (action >= -1).all()
    assert (action <= 2).all()


@agents
@pytest.mark.parametrize(
    "critic",
    [
        TINY,
        TINY_PAPER,
        {**TINY, "condition": "action"},
        TINY_LINEAR,
        {**TINY, "kind": "mlp", "layer_norm": True, "feature_norm": "tanh", "encoder": "running_norm"},
        {**TINY, "kind": "lowrank"},
        {**TINY, "kind": "modular"},
        {**TINY, "kind": "film"},
        {**TINY, "kind": "concat"},
        "fast",
        HyperCriticConfig(hidden=(8, 8), trunk_hidden=(16,), features=4, gain=True),
    ],
)
def test_every_way_to_name_a_critic(cls, critic):
    assert_learns(build(cls, critic=critic), 30)


def falling(remaining):
    return 1e-3 * (0.1 + remaining)


@agents
@pytest.mark.parametrize(
    "options",
    [
        {"action_noise": noise()},
        {"n_steps": 3},
        {"train_freq": (1, "episode"), "gradient_steps": -1},
        {"train_freq": 4, "gradient_steps": 2},
        {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}},
        {"learning_rate": falling},
        {"policy_kwargs": {"n_critics": 1}},
        {"policy_kwargs": {"n_critics": 3}},
        {"policy_kwargs": {"share_features_extractor": True}},
        {"policy_kwargs": {"net_arch": {"pi": [8, 8], "qf": [4]}}},
        {"policy_kwargs": {"optimizer_class": th.optim.AdamW, "optimizer_kwargs": {"weight_decay": 1e-2}}},
        {"policy_kwargs": {"optimizer_class": th.optim.RMSprop}},
        {"policy_kwargs": {"features_extractor_kwargs": {}, "normalize_images": False}},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_of_stable_baselines3(cls, options):
    assert_learns(build(cls, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"use_sde": True, "use_sde_at_warmup": True},
        {"ent_coef": 0.2},
        {"ent_coef": "auto_0.1", "target_entropy": -1},
        {"target_update_interval": 3},
    ],
    ids=str,
)
def test_options_of_sac(options):
    assert_learns(build(HyperSAC, **options))


@agents
def test_four_environments_with_noise_of_their_own(cls):
    env = make_vec_env(PointEnv, n_envs=4, seed=0)
    model = build(cls, env, action_noise=VectorizedActionNoise(noise(), 4))
    assert_learns(model, 80)
    assert model.num_timesteps == 80
    assert model.predict(env.reset())[0].shape == (4, 2)


@agents
def test_hindsight_experience_replay(cls):
    env = BitFlippingEnv(n_bits=3, continuous=True)
    goals = {"n_sampled_goal": 2, "goal_selection_strategy": "future"}
    model = build(
        cls, env, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs=goals
    )
    assert_learns(model)
    assert isinstance(model.replay_buffer, HerReplayBuffer)


@agents
def test_normalised_observations_and_rewards(cls):
    env = VecNormalize(make_vec_env(PointEnv, n_envs=1, seed=0))
    model = build(cls, env)
    assert_learns(model)
    assert model.get_vec_normalize_env() is env


@agents
def test_callbacks_evaluate_and_save_on_the_way(cls, tmp_path):
    class Count(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 50

    evaluate = EvalCallback(
        Monitor(PointEnv()), eval_freq=20, n_eval_episodes=1, best_model_save_path=str(tmp_path), verbose=0
    )
    save = CheckpointCallback(25, str(tmp_path), "model", save_replay_buffer=True)
    model = build(cls).learn(60, callback=[evaluate, save, Count()])
    assert model.num_timesteps == 50
    assert np.isfinite(evaluate.best_mean_reward)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "best_model.zip",
        "model_25_steps.zip",
        "model_50_steps.zip",
        "model_replay_buffer_25_steps.pkl",
    }
    assert cls.load(tmp_path / "best_model").num_timesteps in (20, 40)


@agents
def test_evaluate_policy_and_the_progress_of_learn(cls):
    model = build(cls)
    mean, _ = evaluate_policy(model.learn(30, None, 4, "name", True, False), Monitor(PointEnv()), 2)
    assert np.isfinite(mean)
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 50
    model.learn(20)
    assert model.num_timesteps == 20


@agents
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.MultiBinary(2),
        spaces.MultiDiscrete([2, 3]),
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
    ],
)
def test_other_action_spaces_are_refused(cls, space):
    with pytest.raises(AssertionError, match=r"only supports|finite"):
        build(cls, PointEnv(space))


@agents
def test_the_same_seed_gives_the_same_agent_and_another_seed_another(cls):
    def run(seed):
        model = build(cls, make_vec_env(PointEnv, n_envs=2, seed=0), seed=seed, action_noise=noise())
        return th.nn.utils.parameters_to_vector(model.learn(60).policy.parameters())

    assert th.equal(run(4), run(4))
    assert not th.equal(run(4), run(5))


class CountsEnv(PointEnv):
    """The same with an observation of whole numbers, whose one-hot size NumPy counts."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.MultiDiscrete([3, 4])

    def observe(self):
        return (abs(self.state[:2]) * 2).astype(np.int64)


@agents
@pytest.mark.parametrize("condition", ["state", "action"])
def test_observations_of_whole_numbers(cls, condition):
    assert_learns(build(cls, CountsEnv(), critic={**TINY, "condition": condition}))


@agents
def test_a_critic_without_value_functions_is_refused(cls):
    with pytest.raises(ConfigError, match="n_critics = 0"):
        build(cls, policy_kwargs={"n_critics": 0})
