"""A resumed training must equal the straight one bit for bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import nn

from hyperrl.environments import make_env
from hyperrl.errors import CheckpointError, StateError
from hyperrl.run import state
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.run.resuming import Continue, Interrupt, assert_equal, assert_resumes, digests, resume, train
from tests.sb3.toys import TINY, TINY_PAPER, DictEnv, PointEnv

LENGTH = 24
STEPS, BOUNDARY, MIDDLE = 72, 48, 40
AGENTS = (HyperTD3, HyperSAC, TD3, SAC, PPO)
TASKS = ("Pendulum-v1", "HalfCheetah-v5", "Hopper-v5")
OFF_POLICY = {"learning_starts": 20, "batch_size": 16, "buffer_size": 400, "train_freq": 2}


def several(make, count):
    return DummyVecEnv([lambda: Monitor(make())] * count)


def task_env(task, count=1):
    return several(lambda: make_env(task, {"max_episode_steps": LENGTH}), count)


def build(cls, make_vec_env, seed, policy="MlpPolicy", **kwargs):
    """Build a tiny agent of any class."""
    arguments = {"policy_kwargs": {"net_arch": [16]}, "device": "cpu"}
    if issubclass(cls, HyperTD3 | HyperSAC):
        arguments["policy_kwargs"] = {"net_arch": [16], "critic": TINY}
    if issubclass(cls, PPO | A2C):
        arguments["n_steps"] = 8
        if cls is PPO:
            arguments |= {"batch_size": 16, "n_epochs": 2}
    else:
        arguments |= OFF_POLICY
        if issubclass(cls, TD3):
            arguments["action_noise"] = normal_noise(make_vec_env)
    return cls(policy, make_vec_env(), seed=seed, **{**arguments, **kwargs})


@functools.cache
def _actions(make_vec_env):
    return int(np.prod(make_vec_env().action_space.shape))


def normal_noise(make_vec_env):
    size = _actions(make_vec_env)
    return NormalActionNoise(np.zeros(size), 0.1 * np.ones(size))


@functools.cache
def straight_run(cls, task, count):
    builder = functools.partial(build, cls, functools.partial(task_env, task, count))
    return builder, *train(builder, STEPS * count, MIDDLE * count, BOUNDARY * count)


@pytest.mark.parametrize("where", ["middle", "boundary"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cls", AGENTS)
def test_resumed_equals_straight(cls, task, count, where):
    builder, expected, interrupt = straight_run(cls, task, count)
    index = ["middle", "boundary"].index(where)
    envs = interrupt.saved[index][2]["env"]["envs"]
    elapsed = [
        memory["_elapsed_steps"] for env in envs for memory in env["memories"] if "_elapsed_steps" in memory
    ]
    assert len(elapsed) == count
    if task != "Hopper-v5":  # It ends its episodes earlier by itself.
        assert elapsed == [{"middle": MIDDLE % LENGTH, "boundary": 0}[where]] * count
    resumed, sentences, _ = resume(builder, STEPS * count, interrupt, index)
    assert sentences == []
    assert_equal(resumed, expected)


@pytest.mark.parametrize("cls", AGENTS)
def test_saving_changes_nothing(cls):
    builder, expected, _ = straight_run(cls, "Pendulum-v1", 1)
    assert_equal(digests(builder(seed=1).learn(STEPS)), expected)


def test_another_seed_is_another_run_and_every_part_is_compared():
    builder, expected, _ = straight_run(HyperTD3, "Pendulum-v1", 1)
    agent = builder(seed=2).learn(STEPS)
    others = digests(agent)
    with pytest.raises(AssertionError, match="parts differ, the first is"):
        assert_equal(others, expected)
    same = {name for name, value in expected.items() if others[name] == value}
    for part in ("weight ", "buffer ", "state optimizers", "state env", "state generators", "state last"):
        assert {name for name in expected if name.startswith(part)} - same, part


PENDULUM = functools.partial(task_env, "Pendulum-v1")
ONE, FOUR = functools.partial(PENDULUM, 1), functools.partial(PENDULUM, 4)


def normalised():
    return VecNormalize(task_env("Pendulum-v1", 2), gamma=0.9)


def goals():
    return several(lambda: BitFlippingEnv(n_bits=3, continuous=True, max_steps=9), 2)


def flipping():
    return several(lambda: make_env("CartPole-v1"), 2)


def ou_noise():
    return OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.3 * np.ones(1), initial_noise=np.full(1, 0.2))


def falling(progress):
    return 5e-4 * (1 + progress)


class Batched(FlattenExtractor):
    """Has running statistics, which are part of the weights."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)
        self.drop = nn.Dropout(0.3)

    def forward(self, observations):
        return self.drop(self.norm(super().forward(observations)))


BATCHED = {"net_arch": [16], "features_extractor_class": Batched}
HINDSIGHT = {
    "policy": "MultiInputPolicy",
    "replay_buffer_class": HerReplayBuffer,
    "replay_buffer_kwargs": {"n_sampled_goal": 2},
}
PAPER = {"policy_kwargs": {"net_arch": [16], "critic": {**TINY_PAPER, "learning_rate": 5e-4}}}
SDE = {"use_sde": True, "sde_sample_freq": 5}
SHORT = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}

VARIANTS = {
    "td3 normalised": (HyperTD3, normalised, {}),
    "sac normalised": (SAC, normalised, {}),
    "ppo normalised": (PPO, normalised, {}),
    "td3 n-step": (HyperTD3, FOUR, {"n_steps": 3}),
    "sac n-step, ring overwritten": (HyperSAC, ONE, {"n_steps": 3, "buffer_size": 17}),
    "td3 ou noise": (TD3, ONE, {"action_noise": ou_noise}),
    "td3 ou noise, several": (HyperTD3, FOUR, {"action_noise": ou_noise}),
    "sac sde": (SAC, ONE, SDE),
    "hyper-sac sde, several": (HyperSAC, FOUR, {"use_sde": True, "use_sde_at_warmup": True}),
    "ppo sde": (PPO, FOUR, SDE),
    "a2c": (A2C, ONE, {}),
    "a2c sde": (A2C, FOUR, {"use_sde": True}),
    "ddpg": (DDPG, ONE, {}),
    "dqn": (DQN, flipping, {"target_update_interval": 7, "exploration_fraction": 0.9}),
    "ppo discrete": (PPO, flipping, {}),
    "sac hindsight": (SAC, goals, HINDSIGHT),
    "hyper-td3 hindsight": (HyperTD3, goals, {**HINDSIGHT, "buffer_size": 50}),
    "td3 parts": (HyperTD3, lambda: several(DictEnv, 2), {"policy": "MultiInputPolicy"}),
    "ppo parts": (PPO, lambda: several(DictEnv, 2), {"policy": "MultiInputPolicy"}),
    "td3 episodes": (HyperTD3, ONE, {"train_freq": (1, "episode"), "gradient_steps": -1}),
    "sac many updates": (HyperSAC, FOUR, {"train_freq": 5, "gradient_steps": -1}),
    "td3 one array": (TD3, ONE, {**SHORT, "buffer_size": 30}),
    "td3 critic's own rate": (HyperTD3, ONE, {**PAPER, "learning_rate": falling}),
    "sac fixed temperature": (SAC, ONE, {"ent_coef": 0.1}),
    "sac falling rate": (SAC, ONE, {"learning_rate": falling, "target_update_interval": 3}),
    "td3 batch norm": (TD3, ONE, {"policy_kwargs": BATCHED}),
    "sac batch norm": (SAC, ONE, {"policy_kwargs": BATCHED}),
    "ppo frames": (PPO, lambda: VecFrameStack(task_env("Pendulum-v1", 2), 3), {}),
    "td3 frames normalised": (TD3, lambda: VecNormalize(VecFrameStack(task_env("Pendulum-v1", 2), 2)), {}),
    "td3 sgd": (TD3, ONE, {"policy_kwargs": {"net_arch": [16], "optimizer_class": torch.optim.SGD}}),
}


def variant(cls, make_vec_env, seed, kwargs):
    made = {name: value() if value is ou_noise else value for name, value in kwargs.items()}
    return build(cls, make_vec_env, seed, **made)


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_equals_straight_in_other_settings(name):
    cls, make_vec_env, kwargs = VARIANTS[name]
    count = make_vec_env().num_envs
    builder = functools.partial(variant, cls, make_vec_env, kwargs=kwargs)
    assert_resumes(builder, 72 * count, 40 * count)


def test_several_interruptions_one_after_another():
    builder, expected, interrupt = straight_run(HyperSAC, "Pendulum-v1", 1)
    for at in (44, 50, 58, 66):
        onward = Interrupt(at)
        onward.store = interrupt.store
        back = Continue(interrupt.saved[0], interrupt.store)
        agent = builder(seed=at)
        agent.learn(STEPS, callback=[back, onward])
        interrupt = onward
        assert_equal(digests(agent), expected)


def test_optimisers_keep_the_kind_of_their_tensors_and_the_rate_of_their_groups():
    cls, make_vec_env, kwargs = VARIANTS["td3 critic's own rate"]
    builder = functools.partial(variant, cls, make_vec_env, kwargs=kwargs)
    agent = assert_resumes(builder, 60, 40)
    optimizer = agent.critic.optimizer
    group = optimizer.param_groups[0]
    assert group["fused"] is True
    assert type(group).__name__ == "ScaledGroup"
    assert group["lr"] == pytest.approx(falling(agent._current_progress_remaining) / 2)
    steps = {entry["step"] for entry in optimizer.state.values()}
    assert all(step.dtype == torch.float32 and step.device.type == "cpu" for step in steps)


class Opaque(PointEnv):
    def __init__(self):
        super().__init__()
        self.opaque = object()


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (HyperTD3, {}),
        (SAC, {"n_steps": 3}),
        (TD3, SHORT),
        (PPO, {}),
        (TD3, {"action_noise": lambda: OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2))}),
    ],
    ids=["td3", "n-step", "one array", "ppo", "ou noise"],
)
def test_where_environments_cannot_be_captured_new_episodes_begin(cls, kwargs):
    def make_agent(seed):
        made = {name: value() if callable(value) else value for name, value in kwargs.items()}
        return build(cls, lambda: VecNormalize(several(Opaque, 2)), seed, **made)

    _, interrupt = train(make_agent, 80, 36)
    looks, ends = [], []
    for seed in (2, 3):
        back = Continue(interrupt.saved[0], interrupt.store, look=lambda agent: looks.append(look(agent)))
        agent = make_agent(seed).learn(80, callback=back)
        (sentence,) = back.sentences
        assert sentence.startswith("all environments begin a new episode, since the state of Opaque cannot")
        assert agent.num_timesteps == 80
        ends.append(digests(agent))
    # What goes on does not depend on the agent that was built, nor on its seed.
    assert_equal(*looks)
    assert_equal(*ends)


def look(agent):
    """Check what belongs to an episode at its beginning, and return the digests of all."""
    assert agent._last_episode_starts.all()
    original = agent._vec_normalize_env.get_original_obs()
    np.testing.assert_array_equal(agent._last_original_obs, original)
    np.testing.assert_array_equal(agent._last_obs, agent._vec_normalize_env.normalize_obs(original))
    assert not any(env.rewards for env in agent.env.unwrapped.envs)
    for noise in getattr(agent.action_noise, "noises", ()):
        assert not np.any(vars(noise).get("noise_prev", 0.0))
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is not None:
        assert buffer.dones[buffer.pos - 1].all()
        # Without the distinction it counts as a terminal state, as in Stable-Baselines3.
        assert buffer.timeouts[buffer.pos - 1].all() == buffer.handle_timeout_termination
    return digests(agent)


def test_a_real_end_of_an_episode_stays_one_where_new_episodes_begin():
    agent = build(TD3, ONE, 1).learn(30)
    buffer, observations = agent.replay_buffer, agent.env.reset()
    buffer.dones[buffer.pos - 1], buffer.timeouts[buffer.pos - 1] = 1.0, 0.0
    state._begin_episodes(agent, observations)
    assert buffer.dones[buffer.pos - 1] == 1.0
    assert buffer.timeouts[buffer.pos - 1] == 0.0


def test_hindsight_forgets_no_step_where_new_episodes_begin():
    class OpaqueGoals(BitFlippingEnv):
        def __init__(self):
            super().__init__(n_bits=3, continuous=True, max_steps=9)
            self.opaque = object()

    def make_agent(seed):
        return build(SAC, lambda: several(OpaqueGoals, 2), seed, **HINDSIGHT)

    _, interrupt = train(make_agent, 90, 40)
    lengths = []

    def look_at_lengths(agent):
        buffer = agent.replay_buffer
        lengths.append((buffer.ep_length[: buffer.pos] > 0).all())
        assert (buffer._current_ep_start == buffer.pos).all()

    back = Continue(interrupt.saved[0], interrupt.store, look=look_at_lengths)
    make_agent(2).learn(90, callback=back)
    assert lengths == [True]


class Counting(TD3):
    """Remembers something that Stable-Baselines3 does not know."""

    def _setup_model(self):
        super()._setup_model()
        self.scale = nn.Linear(1, 1)
        self.moments = {"mean": torch.zeros(2), "history": []}

    def _get_torch_save_params(self):
        names, variables = super()._get_torch_save_params()
        return [*names, "scale"], variables

    def train(self, gradient_steps, batch_size=100):
        self.moments["mean"] += torch.rand(2)
        self.moments["history"].append(float(self.moments["mean"][0]))
        with torch.no_grad():
            self.scale.weight += self.moments["mean"].sum()
            self.actor.mu[0].bias += 1e-3 * self.scale.weight[0, 0]
        super().train(gradient_steps, batch_size)

    def checkpoint_state(self):
        return {"mean": self.moments["mean"].clone(), "history": list(self.moments["history"])}

    def restore_checkpoint_state(self, saved):
        self.moments = dict(saved)


def test_an_algorithm_with_a_memory_of_its_own_continues():
    builder = functools.partial(build, Counting, ONE)
    agent = assert_resumes(builder, 60, 40)
    assert len(agent.moments["history"]) > 15


def test_capturing_in_the_middle_of_a_rollout_is_refused():
    agent = build(PPO, ONE, 1)

    def capture(*_):
        if agent.num_timesteps % 8 == 3:
            with pytest.raises(StateError, match=r"after 2 of the 8 steps of a rollout, which would be lost"):
                state.capture(agent)
        return True

    agent.learn(16, callback=capture)
    assert state.capture(agent)["counters"]["num_timesteps"] == 16
    agent.env = None
    with pytest.raises(StateError, match="this PPO has no environment"):
        state.capture(agent)


def test_what_a_user_adds_to_episode_records_may_be_anything():
    agent = build(TD3, ONE, 1).learn(30)
    agent.ep_info_buffer.append({"r": 1.0, "l": 3, "t": 0.1, "extra": object()})
    agent.ep_success_buffer.extend([True, object()])
    captured = state.capture(agent)
    assert captured["episodes"][-1] == {"r": 1.0, "l": 3, "t": 0.1}
    assert captured["successes"] == [True]


REFUSED = {
    "another class": (lambda: build(SAC, ONE, 2), "its class was .*TD3 and is .*SAC here"),
    "more environments": (lambda: build(TD3, FOUR, 2), "its environments was 1 and is 4 here"),
    "another space": (lambda: build(TD3, lambda: several(PointEnv, 1), 2), "its observations was Box"),
    "another optimiser": (
        lambda: build(TD3, ONE, 2, policy_kwargs={"net_arch": [16], "optimizer_class": torch.optim.SGD}),
        "does not fit actor.optimizer: it was a .*Adam and is a .*SGD",
    ),
    "another net": (lambda: build(TD3, ONE, 2, policy_kwargs={"net_arch": [8, 8]}), "does not fit actor"),
    "no noise": (lambda: build(TD3, ONE, 2, action_noise=None), "and this one has None"),
    "other noise": (
        lambda: build(TD3, ONE, 2, action_noise=ou_noise()),
        "NormalActionNoise and this one has",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_agent_is_refused(case):
    make_agent, sentence = REFUSED[case]
    captured = state.capture(build(TD3, ONE, 1).learn(30))
    with pytest.raises(CheckpointError, match=sentence):
        state.restore(make_agent().learn(2), captured)


def test_other_trained_parts_and_another_exploration_are_refused():
    captured = state.capture(build(SAC, ONE, 1).learn(30))
    with pytest.raises(
        CheckpointError, match=r"optimizers \['actor.optimizer', .* has \['actor.optimizer', 'critic"
    ):
        state.restore(build(SAC, ONE, 1, ent_coef=0.1).learn(2), captured)
    with pytest.raises(CheckpointError, match="build it with the use_sde that it had"):
        state.restore(build(SAC, ONE, 1, use_sde=True).learn(2), captured)
    captured["variables"]["log_ent_coef"] = torch.zeros(3)
    with pytest.raises(
        CheckpointError, match=r"log_ent_coef is of shape \(3,\), that of this agent of \(1,\)"
    ):
        state.restore(build(SAC, ONE, 1).learn(2), captured)
