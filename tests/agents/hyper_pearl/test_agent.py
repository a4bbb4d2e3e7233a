"""HyperPEARL visits tasks, keeps their data apart, saves, resumes, and refuses what it cannot learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl import HyperPEARL
from hyperrl.errors import ConfigError, ContextError, UnknownNameError, UnsupportedEnvError
from hyperrl.presets import read_presets, resolve
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.replay import ReplayLog
from hyperrl.run.store import CheckpointStore
from hyperrl.testing import check_agent
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import check
from hyperrl_agents.hyper_pearl.update import gradient_step
from tests.agents.hyper_pearl.building import LENGTH, NETWORKS, SMALL, build, env, oracle
from tests.sb3.toys import PointEnv


def rows_of(agent, task):
    replay = agent.replay_buffer
    return replay.packed[replay.rows_of(task) % replay.buffer_size, 0]


def test_it_is_an_algorithm_as_stable_baselines_has_them():
    check_agent(
        HyperPEARL,
        env(mode="visible"),
        agent_kwargs={**SMALL, "infer": "oracle", "policy_kwargs": {**NETWORKS, "networks": "mlp"}},
    )


@pytest.mark.parametrize("n_envs", [1, 4])
def test_first_all_tasks_are_played_then_some_are_visited(n_envs):
    agent = build(n_envs, n_train=5, initial_steps=2 * LENGTH, prior_steps=LENGTH, posterior_steps=2 * LENGTH)
    told = []

    class Rollouts(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            replay = agent.replay_buffer
            counts = [(len(replay.rows_of(task)), len(replay.context_of(task))) for task in range(5)]
            told.append((agent.num_timesteps, agent._n_updates, counts))

    # A visit of two tasks is of eight episodes: one begins at 60 steps, one at 108.
    agent.learn(110, callback=Rollouts())
    # Two tasks at a time, two episodes each.
    assert [steps for steps, _, _ in told[:4]] == [0, 4 * LENGTH, 8 * LENGTH, 10 * LENGTH]
    assert [updates for _, updates, _ in told] == [0, 0, 0, 0, 2]
    before, after = told[3][2], told[4][2]
    assert before == [(2 * LENGTH, 2 * LENGTH)] * 5
    visited = [task for task in range(5) if after[task] != before[task]]
    assert len(visited) == 2
    for task in visited:
        # One episode by the prior, two by the posterior, one only to learn from.
        assert after[task] == (6 * LENGTH, 3 * LENGTH)
    assert agent.num_timesteps == agent.replay_buffer.added


def test_each_task_keeps_its_own_data():
    agent = build(3, n_train=4).learn(60)
    for task, goal in enumerate(agent._pool):
        rows = rows_of(agent, task)
        # The reward is minus the squared distance of the next state from the goal.
        expected = -np.square(rows[:, 2:4] - goal).sum(1)
        np.testing.assert_allclose(rows[:, 6], expected, atol=1e-5)


def test_steps_last_ones_and_terminals_are_stored_as_they_happened():
    agent = build(2, env_kwargs={"reach": 0.9}, initial_steps=60).learn(200)
    replay, goals, terminals = agent.replay_buffer, agent._pool, 0
    for task, goal in enumerate(goals):
        rows = rows_of(agent, task)
        states, after, actions = rows[:, :2], rows[:, 2:4], rows[:, 4:6]
        # Actions are kept in [-1, 1]; the environment's are from -1 to 2.
        np.testing.assert_allclose(after, states + 0.3 * ((actions + 1) * 1.5 - 1), atol=1e-5)
        near = np.linalg.norm(after - goal, axis=1) < 0.9
        done, timeout = rows[:, 7], rows[:, 8]
        np.testing.assert_array_equal(done * (1 - timeout), near)
        terminals += int(near.sum())
        # An episode goes on where its last step ended.
        going_on = done[:-1] == 0
        np.testing.assert_allclose(after[:-1][going_on], states[1:][going_on], atol=1e-6)
        assert done[-1] == 1
    assert terminals > 3
    assert replay.added == agent.num_timesteps
    # Episodes that end early are made up for by others.
    assert all(len(replay.rows_of(task)) >= 60 for task in range(len(goals)))


def test_a_batch_takes_its_context_from_what_the_encoder_may_see(monkeypatch):
    agent, seen = build(n_train=3, tasks_per_iteration=1), []

    def spy(policy, batch, context, *args):
        replay = agent.replay_buffer
        for own, rows in zip(batch.rewards, context, strict=True):
            (task,) = [
                task for task in range(3) if set(own.tolist()) <= set(rows_of(agent, task)[:, 6].tolist())
            ]
            informing = replay.packed[replay.context_of(task) % replay.buffer_size, 0, 6]
            assert set(rows[:, 4].tolist()) <= set(informing.tolist())
            seen.append(task)
        return gradient_step(policy, batch, context, *args)

    monkeypatch.setattr("hyperrl_agents.hyper_pearl.learner.gradient_step", spy)
    agent.learn(90)
    assert len(seen) == agent._n_updates * SMALL["meta_batch_size"]
    assert set(seen) == {0, 1, 2}


def test_all_parts_learn_each_at_its_own_rate():
    agent = build(critic_learning_rate=2e-4, encoder_learning_rate=lambda left: 1e-3 * left)
    before = {name: value.clone() for name, value in agent.policy.named_parameters()}
    agent.learn(3 * LENGTH + 8 * LENGTH)
    moved = {
        name.split(".")[0] for name, value in agent.policy.named_parameters() if (value != before[name]).any()
    }
    assert moved == {"actor", "q1", "q2", "v", "v_target", "encoder"}
    rates = {name: one.param_groups[0]["lr"] for name, one in agent.policy.optimizers.items()}
    assert rates["actor"] == 1e-4
    assert rates["critic"] == rates["value"] == 2e-4
    assert 0 <= rates["encoder"] < 5e-4


def test_an_oracle_has_no_encoder_and_conditions_on_the_normalised_context():
    agent = oracle(n_envs=2).learn(60)
    assert "encoder" not in agent.policy.optimizers
    assert agent.policy.encoder is None
    np.testing.assert_allclose(agent._told_latents(np.arange(3)), agent._pool, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"policy_kwargs": {"networks": "mlp", "next_states": True}}])
def test_a_saved_agent_is_the_same(tmp_path, settings):
    agent = build(**settings).learn(60)
    agent.save(tmp_path / "agent")
    venv = make_vec_env(env(), n_envs=1, seed=3)
    loaded = HyperPEARL.load(tmp_path / "agent", env=venv, device="cpu")
    for name, value in agent.policy.state_dict().items():
        assert torch.equal(value, loaded.policy.state_dict()[name]), name
    for name, optimizer in agent.policy.optimizers.items():
        own = loaded.policy.optimizers[name].state_dict()["state"]
        for key, state in optimizer.state_dict()["state"].items():
            assert all(
                torch.equal(torch.as_tensor(v), torch.as_tensor(own[key][k])) for k, v in state.items()
            )
    assert loaded.weights == agent.weights
    loaded.learn(60, reset_num_timesteps=False)
    assert loaded.num_timesteps >= agent.num_timesteps + 60


class Save(BaseCallback):
    """Saves at every rollout; keeps how many rows each checkpoint wrote."""

    def __init__(self, folder, at):
        super().__init__()
        self.store, self.at, self.rows = CheckpointStore(folder), at, []
        self.checkpoints = None

    def _on_rollout_start(self):
        if self.num_timesteps > self.at:
            return
        self.checkpoints = self.checkpoints or Checkpoints(self.model, self.store, {})
        assert self.checkpoints.save({})
        log: ReplayLog = self.checkpoints._replay
        self.rows.append(sum(span.rows for span in log._spans))
        self.spans = [(span.first, span.rows) for span in log._spans]

    def _on_step(self):
        return True


class Restore(BaseCallback):
    """Restores the newest checkpoint at the first rollout."""

    def __init__(self, store):
        super().__init__()
        self.store, self.notes = store, None

    def _on_rollout_start(self):
        if self.notes is None:
            _, self.notes = Checkpoints(self.model, self.store, {}).restore(self.store.load())

    def _on_step(self):
        return True


@pytest.mark.parametrize("at", [LENGTH, 45])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_a_continued_run_ends_as_the_one_that_never_stopped(tmp_path, n_envs, at):
    """In the middle of the first data of tasks, and after visits that forgot what the encoder had seen."""
    # Early ends leave environments idle whose steps nobody learns from; the ring overwrites its oldest rows.
    settings = {"env_kwargs": {"reach": 0.9}, "buffer_size": 40, "tasks_per_iteration": 1}
    saver = Save(tmp_path, at)
    straight = build(n_envs, **settings).learn(110, callback=saver)
    expected = state_digests(straight)
    restorer = Restore(saver.store)
    continued = build(n_envs, seed=5, **settings).learn(110, callback=restorer)
    assert restorer.notes == []
    assert first_difference(expected, state_digests(continued)) is None
    for task in range(3):
        np.testing.assert_array_equal(rows_of(straight, task), rows_of(continued, task))


def test_a_checkpoint_writes_only_rows_that_are_new(tmp_path):
    saver = Save(tmp_path, 10_000)
    agent = build(3, env_kwargs={"reach": 0.9}).learn(120, callback=saver)
    # Pieces follow one another from row 0 on: no row was written twice.
    ends = [first + rows for first, rows in saver.spans if rows]
    assert [first for first, rows in saver.spans if rows] == [0, *ends[:-1]]
    assert saver.rows == sorted(set(saver.rows))
    assert agent.replay_buffer.added > ends[-1]


def test_a_callback_can_end_learning_in_the_middle_of_an_episode():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 20

    agent = build().learn(100, callback=Stop())
    assert agent.num_timesteps == 20
    agent.learn(40, reset_num_timesteps=False)
    assert agent.num_timesteps >= 60


def test_equal_seeds_learn_alike_whatever_else_is_drawn():
    class Draw(BaseCallback):
        def _on_step(self):
            np.random.rand(3)
            torch.rand(3)
            return True

    first, second = build().learn(60), build().learn(60, callback=Draw())
    for one, other in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_environments_without_finitely_many_tasks_are_refused():
    with pytest.raises(UnsupportedEnvError, match="learns from many tasks, and these environments have no"):
        HyperPEARL("MlpPolicy", PointEnv(), device="cpu").learn(100)
    with pytest.raises(ContextError, match="infinitely many here: set env_kwargs n_train"):
        build(n_train=None).learn(100)
    with pytest.raises(ContextError, match="training has one task only"):
        build(n_train=1).learn(100)


def test_contexts_that_are_seen_and_must_not_be_are_refused_and_the_reverse():
    with pytest.raises(ConfigError, match="these observations tell it: set env_kwargs mode='hidden'"):
        build(mode="visible")
    for mode in ("hidden", "privileged"):
        with pytest.raises(ConfigError, match="do not show it: set env_kwargs mode='visible'"):
            build(mode=mode, infer="oracle")
    with pytest.raises(UnknownNameError, match="did you mean 'oracle'"):
        build(infer="oracl")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gradient_steps": 0}, "gradient_steps must be a whole number from 1 to"),
        ({"prior_steps": 0}, "prior_steps must be a whole number from 1 to"),
        ({"meta_batch_size": 1.5}, "meta_batch_size must be a whole number"),
        ({"reward_scale": 0}, "reward_scale must be a number above 0"),
        ({"kl_weight": float("nan")}, "kl_weight must be a number"),
        ({"policy_kwargs": {"latent": 0}}, "policy_kwargs.latent must be a whole number"),
        ({"policy_kwargs": {"encoder_arch": [0]}}, "policy_kwargs.encoder_arch must be a whole number"),
    ],
)
def test_wrong_numbers_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(**settings)


def test_lengths_that_teach_nothing_are_refused():
    with pytest.raises(
        ConfigError, match="18 steps are over before anything is learned: each of 3 tasks begins"
    ):
        build().learn(18)
    with pytest.raises(
        ConfigError, match="buffer_size must hold the first 6 steps of each of 3 tasks, at least 18"
    ):
        build(buffer_size=17).learn(100)
    venv = make_vec_env("hyperrl/ContextualCartPole-v0", env_kwargs={"mode": "hidden", "n_train": 3})
    with pytest.raises(ConfigError, match="prior_steps must hold an episode of 500 steps, got 100"):
        HyperPEARL("MlpPolicy", venv, device="cpu", prior_steps=100).learn(10_000)


def test_normalised_observations_are_refused():
    venv = VecNormalize(DummyVecEnv([env()]))
    with pytest.raises(ConfigError, match="leave normalize out"):
        HyperPEARL("MlpPolicy", venv, device="cpu", policy_kwargs=dict(NETWORKS), **SMALL).learn(100)


def test_data_of_other_tasks_are_not_mixed():
    agent = build().learn(40)
    others = make_vec_env(env(n_train=4), n_envs=1)
    with pytest.raises(ContextError, match="has data of other tasks"):
        agent.set_env(others)
    fresh = build()
    fresh.set_env(others)
    fresh.learn(60)
    assert fresh.replay_buffer.n_tasks == 4
    with pytest.raises(ContextError, match="other mode"):
        fresh.set_env(make_vec_env(env(n_train=4, mode="visible"), n_envs=1))


def test_the_presets_can_be_trained_and_paper_has_the_published_constants():
    presets = read_presets("hyper-pearl")
    assert {"default", "fast", "paper"} <= set(presets)
    for name in presets:
        assert presets[name]["description"]
        given = {"preset": name, "env": "hyperrl/HalfCheetahVel-v0", "steps": 10_000_000}
        shrunk = ["policy_kwargs.primary=[8, 16]"] if name == "paper" else []
        check(resolve("hyper-pearl", given, settings=shrunk).config)
    paper = resolve(
        "hyper-pearl", {"preset": "paper", "env": "hyperrl/HalfCheetahVel-v0", "steps": 10**6}
    ).config.agent_kwargs
    expected = {
        "learning_rate": 1e-4,
        "critic_learning_rate": 5e-5,
        "encoder_learning_rate": 3e-4,
        "batch_size": 256,
        "meta_batch_size": 16,
        "context_batch_size": 100,
        "initial_steps": 2000,
        "tasks_per_iteration": 5,
        "prior_steps": 400,
        "posterior_steps": 0,
        "extra_steps": 600,
        "gradient_steps": 2000,
        "reward_scale": 5.0,
        "kl_weight": 0.1,
        "tau": 0.005,
        "gamma": 0.99,
    }
    assert {name: paper[name] for name in expected} == expected
    assert paper["policy_kwargs"] == {"primary": [256, 512, 1024]}
