"""RecurrentHyper learns what no policy without a memory can, and a run of it is resumed bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from hyperrl import evaluate, resume, train
from hyperrl.config import RunConfig
from hyperrl.presets import resolve
from hyperrl.train import check, restore_agent
from tests.agents.recurrent_hyper.small import SMALL, SignEnv, build
from tests.sb3.toys import same_parameters


@pytest.mark.parametrize("encoder", ["rl2", pytest.param("varibad", marks=pytest.mark.slow)])
def test_it_finds_out_what_the_reward_means(encoder):
    policy_kwargs = {
        **{"hidden_size": 16, "state_features": 16, "latent_features": 8, "latent_dim": 5, "net_arch": [16]},
        **{"output_gain": 0.1, "log_std_init": -0.5},
    }
    agent = build(
        make_vec_env(SignEnv, 16, 0),
        learning_rate=2e-3,
        n_steps=24,
        n_epochs=4,
        clip_range=0.2,
        ent_coef=0.0,
        episodes_per_trial=1,
        encoder=encoder,
        policy_kwargs=policy_kwargs,
    )
    agent.learn(24 * 16 * (14 if encoder == "rl2" else 40))
    mean, _ = evaluate_policy(agent, agent.get_env(), n_eval_episodes=64)
    # Without a memory 0 is the most; with one 5, since the first of six actions is blind.
    assert mean > 4


@pytest.mark.parametrize("preset", ["default", "fast", "paper"])
def test_every_preset_can_be_trained(preset):
    given = {"preset": preset, "steps": 1000}
    if preset == "default":
        given["env"] = "hyperrl/ContextualCartPole-v0"
    config = resolve("recurrent-hyper", given).config
    assert config.env_kwargs["mode"] == "hidden"
    check(config)


def test_a_resumed_run_is_the_run(tmp_path):
    config = RunConfig(
        "recurrent-hyper",
        "hyperrl/ContextualCartPole-v0",
        steps=160,
        n_envs=2,
        eval_episodes=1,
        eval_every=0,
        checkpoint_every=48,
        normalize=True,
        env_kwargs={"mode": "hidden", "max_episode_steps": 20},
        agent_kwargs={"n_steps": 8, "encoder": "varibad", "policy_kwargs": SMALL},
    )
    whole = train(replace(config, out=str(tmp_path / "whole")))
    # In the middle of an episode and of a trial.
    part = train(replace(config, steps=112, out=str(tmp_path / "part")))
    ended = resume(part.folder.path, steps=160)
    agents = [restore_agent(run.folder.path) for run in (whole, ended)]
    assert same_parameters(*agents)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(agents[0]._last_obs.values(), agents[1]._last_obs.values(), strict=True)
    )
    assert th.equal(agents[0]._hidden, agents[1]._hidden)
    played = evaluate(ended.folder.path, 3)
    assert len(played.episodes) == 3
    for agent in agents:
        agent.env.close()
