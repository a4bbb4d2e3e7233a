"""RecurrentHyper as an algorithm of Stable-Baselines3: returns, acting, saving, and what it refuses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import RecurrentHyper
from hyperrl.errors import ConfigError, ExportError, NonFiniteError, ShapeError, UnsupportedSpaceError
from hyperrl.run.health import HealthCallback
from hyperrl.sb3.meta.trials import TrialVecEnv, trials_of
from hyperrl.testing import check_agent
from hyperrl_agents.recurrent_hyper.update import policy_loss
from tests.agents.recurrent_hyper.small import HIDDEN, SMALL, build, moved
from tests.faults.injection import make_envs
from tests.sb3.meta.reaching import ReachEnv
from tests.sb3.toys import DictEnv, PointEnv, same_parameters


class Recorder(BaseCallback):
    """Keeps what the environments gave."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def _on_step(self):
        self.steps.append(
            (
                self.locals["rewards"].copy(),
                self.locals["dones"],
                self.locals["infos"],
                self.locals["new_obs"],
            )
        )
        return True


@pytest.mark.parametrize("across", [True, False])
def test_returns_and_advantages_are_those_of_a_loop_over_trials(across):
    agent = build(discount_across_episodes=across, normalize_advantage=False)
    agent.train = lambda: None
    moved(agent.policy)
    recorder = Recorder()
    agent.learn(2 * 16 * 4, callback=recorder)
    buffer, policy = agent.rollout_buffer, agent.policy
    steps = recorder.steps[-16:]
    for env in range(4):
        hidden, values, ends, rewards = agent._first_hidden[env : env + 1], [], [], []
        for step, (given, dones, infos, _) in enumerate(steps):
            features = th.from_numpy(buffer.observations[step, env : env + 1])
            with th.no_grad():
                values.append(float(policy.values_of(features, hidden)))
                hidden = policy.encoder.step(features, hidden)
            end = dones[env] and (infos[env]["trial"]["over"] or not across)
            reward = given[env]
            if end and infos[env]["TimeLimit.truncated"]:
                last = {key: value[None] for key, value in infos[env]["terminal_observation"].items()}
                with th.no_grad():
                    reward += 0.9 * float(policy.values_of(th.from_numpy(agent._as_array(last)), hidden))
            rewards.append(reward)
            ends.append(end)
        last = th.from_numpy(agent._as_array(steps[-1][3])[env : env + 1])
        with th.no_grad():
            values.append(float(policy.values_of(last, hidden)))
        advantage = 0.0
        for step in reversed(range(16)):
            following = 0.0 if ends[step] else values[step + 1]
            error = rewards[step] + 0.9 * following - values[step]
            advantage = error + (0.0 if ends[step] else 0.9 * 0.9 * advantage)
            assert buffer.advantages[step, env] == pytest.approx(advantage, abs=1e-4)
            assert buffer.returns[step, env] == pytest.approx(advantage + values[step], abs=1e-4)
    assert any(dones.any() for _, dones, _, _ in steps)


@pytest.mark.parametrize("encoder", ["rl2", "varibad"])
def test_the_first_minibatch_has_the_probabilities_and_values_of_the_rollout(encoder):
    agent = build(encoder=encoder)
    agent.learn(2 * 16 * 4)
    agent.train = lambda: None
    agent.learn(16 * 4, reset_num_timesteps=False)
    for batch in agent._rollout().minibatches(3):
        latents = batch.latents
        if latents is None:
            latents = agent.policy.latents_of(batch.features, batch.hidden, batch.segments)
        values, log_probs, _ = agent.policy.evaluate(
            batch.features.flatten(0, 1), latents.flatten(0, 1), batch.actions
        )
        assert th.allclose(values, batch.values, atol=1e-5)
        assert th.allclose(log_probs, batch.log_probs, atol=1e-4)
        _, metrics = policy_loss(agent.policy, batch, 0.1, 0.1, 0.0, 0.5)
        assert metrics[3] == 0


def test_advantages_are_normalised_over_the_whole_rollout():
    agent = build()
    agent.train = lambda: None
    agent.learn(16 * 4)
    rollout = agent._rollout()
    batches = list(rollout.minibatches(1))
    assert len(batches) == 4
    advantages = th.cat([batch.advantages for batch in batches])
    raw = th.from_numpy(agent.rollout_buffer.advantages).flatten()
    expected = (raw - raw.mean()) / (raw.std() + 1e-8)
    assert th.allclose(advantages.sort()[0], expected.sort()[0], atol=1e-6)
    assert abs(float(batches[0].advantages.mean())) > 1e-3


def test_memory_and_networks_are_clipped_apart():
    agent = build(max_grad_norm=0.01)
    moved(agent.policy)
    agent.learn(16 * 4)
    policy = agent.policy
    # Gradients are those of the last minibatch.
    for part in (policy.encoder.parameters(), [*policy.networks.parameters(), policy.log_std]):
        norm = th.cat([one.grad.flatten() for one in part]).norm()
        assert 0.0099 < float(norm) <= 0.01 + 1e-6


def test_it_keeps_the_promises_of_agents():
    check_agent(RecurrentHyper, partial(HIDDEN, append="dict"), agent_kwargs={"policy_kwargs": SMALL})


def test_varibad_keeps_them_too():
    elbo = {"reward_decoder": [4], "state_decoder": [4]}
    settings = {"policy_kwargs": SMALL, "encoder": "varibad", "elbo_kwargs": elbo, "episodes_per_trial": 3}
    check_agent(RecurrentHyper, HIDDEN, agent_kwargs=settings)


def test_dicts_of_observations_and_their_contexts_are_the_state():
    agent = build(make_vec_env(DictEnv, 2))
    assert agent.policy.columns.state_size == sum(
        spaces.flatdim(part) for part in DictEnv().observation_space.spaces.values()
    )
    visible = build(make_vec_env(partial(ReachEnv, mode="visible", append="dict"), 2))
    assert visible.policy.columns.own == ("observation", "context")
    assert visible.learn(32).num_timesteps == 32


def test_predict_remembers_by_its_state_and_nothing_else():
    agent = build(n_envs=1)
    policy = moved(agent.policy)
    env = trials_of(agent.get_env())
    observations = [env.reset()] + [env.step(np.array([[0.5, 0.1]], np.float32))[0] for _ in range(3)]
    state, actions = None, []
    for observation in observations:
        action, state = agent.predict(observation, state, np.zeros(1, bool), deterministic=True)
        actions.append(action[0])
    features = th.from_numpy(np.stack([agent._as_array(one) for one in observations]))
    latents = policy.latents_of(features, policy.encoder.nothing(1))
    means, _ = policy.networks(policy.columns.state(features).flatten(0, 1), latents.flatten(0, 1))
    assert np.allclose(actions, np.clip(means.detach().numpy(), -1, 2), atol=1e-5)
    alone, _ = agent.predict(observations[-1], None, deterministic=True)
    assert not np.allclose(alone[0], actions[-1])
    with pytest.raises(ShapeError, match="must have the shape"):
        agent.predict(observations[0], (np.zeros((2, 6), np.float32),))


def test_evaluate_policy_plays_trials():
    agent = build()
    mean, deviation = evaluate_policy(agent, agent.get_env(), n_eval_episodes=6)
    assert np.isfinite([mean, deviation]).all()


def test_a_loaded_agent_is_the_saved_one_and_knows_its_trials(tmp_path):
    agent = build(encoder="varibad", episodes_per_trial=3).learn(64)
    agent.save(tmp_path / "agent")
    loaded = RecurrentHyper.load(tmp_path / "agent", env=make_vec_env(HIDDEN, 2), device="cpu")
    assert same_parameters(agent, loaded)
    assert trials_of(loaded.get_env()).episodes == 3
    optimisers = [one.policy.elbo_optimizer.state_dict()["state"] for one in (agent, loaded)]
    assert all(
        th.equal(one[name], other[name])
        for one, other in zip(optimisers[0].values(), optimisers[1].values(), strict=True)
        for name in one
    )
    loaded.learn(64)
    acting = RecurrentHyper.load(tmp_path / "agent", device="cpu")
    observation = {key: space.sample() for key, space in agent.observation_space.spaces.items()}
    given, expected = (one.predict(observation, deterministic=True)[0] for one in (acting, agent))
    assert np.array_equal(given, expected)


def test_other_environments_get_the_agents_trials():
    agent = build(episodes_per_trial=3)
    agent.set_env(make_vec_env(HIDDEN, 4))
    assert trials_of(agent.get_env()).episodes == 3
    with pytest.raises(ConfigError, match="trials of 2 episodes, and 3"):
        agent.set_env(TrialVecEnv(make_vec_env(HIDDEN, 4), 2))


def test_returns_are_logged_by_the_place_of_the_episode():
    agent = build(episodes_per_trial=3)
    recorder = Recorder()
    agent.learn(64, callback=recorder)
    sums = {1: [], 2: [], 3: []}
    for _, dones, infos, _ in recorder.steps:
        for env in np.flatnonzero(dones):
            sums[infos[env]["trial"]["episode"] + 1].append(infos[env]["episode"]["r"])
    told = agent.logger.name_to_value
    for place, returns in sums.items():
        assert told[f"trials/ep_rew_mean_episode_{place}"] == pytest.approx(np.mean(returns))


SOURCES = {
    "obs": r"environment 1 gave an observation of nan \('observation', column 2\)",
    "obs in dict": r"environment 1 gave an observation of nan \('sense', column 2\)",
    "terminal": r"environment 1 gave a last observation of nan \('observation', column 2\)",
    "reward": r"environment 1 gave a reward of nan",
}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_a_value_that_is_not_finite_is_found_where_it_came_from(source, normalised):
    fault, _, kind = source.partition(" in ")
    env = make_envs(fault, in_dict=kind == "dict")
    agent = build(VecNormalize(env) if normalised else env, n_steps=4)
    expected = SOURCES[source].replace(r"'observation', ", "") if normalised else SOURCES[source]
    if not (normalised and source == "terminal"):
        with pytest.raises(NonFiniteError, match=expected):
            agent.learn(60, callback=HealthCallback())


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"batch_size": 24}, ConfigError, "a multiple of n_steps = 16"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        ({"n_steps": 1}, ConfigError, "n_steps must be a whole number"),
        ({"episodes_per_trial": 0}, ConfigError, "episodes_per_trial"),
        ({"use_sde": True}, ConfigError, "use_sde"),
        ({"env": "CartPole-v1"}, UnsupportedSpaceError, "a Box, got Discrete"),
        ({"env": make_vec_env(partial(ReachEnv, mode="privileged"), 1)}, ConfigError, "not 'privileged'"),
        ({"env": VecNormalize(TrialVecEnv(make_vec_env(PointEnv, 1)))}, ConfigError, "norm_obs_keys without"),
    ],
)
def test_wrong_settings(setting, error, words):
    with pytest.raises(error, match=words):
        build(**setting)


def test_a_normaliser_above_trials_may_leave_them_alone():
    env = VecNormalize(TrialVecEnv(make_vec_env(PointEnv, 2)), norm_obs_keys=["observation"])
    assert build(env).learn(32).num_timesteps == 32


def test_minibatches_are_a_quarter_of_the_environments_or_what_is_asked_for():
    assert build(n_envs=8).sequences_per_batch == 2
    assert build(n_envs=2).sequences_per_batch == 1
    assert build(n_envs=8, batch_size=48).sequences_per_batch == 3
    assert build(n_envs=2, batch_size=500).sequences_per_batch == 2


def test_a_memory_is_no_plain_policy():
    with pytest.raises(ExportError, match="a plain policy remembers nothing"):
        build().specialise()
