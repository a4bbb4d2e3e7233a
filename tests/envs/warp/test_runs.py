"""Runs whose environments are simulated with MuJoCo Warp: trained, killed and continued like all others."""

from __future__ import annotations

import dataclasses

import pytest

from hyperrl.config import RunConfig
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume, train
from hyperrl_envs.warp import WarpVecEnv
from tests.envs.warp.cases import NEEDS_WARP

pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Kernels are compiled when first needed.

SMALL = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "policy_kwargs": {"net_arch": [16, 16]}}
CONFIG = RunConfig(
    "ppo",
    "Hopper-v5",
    steps=768,
    n_envs=4,
    simulator="warp",
    device="cpu",
    eval_every=0,
    eval_episodes=1,
    checkpoint_every=128,
    env_kwargs={"max_episode_steps": 50},
    agent_kwargs=SMALL,
)


def digests(path):
    agent = restore_agent(path)
    assert isinstance(agent.get_env().unwrapped, WarpVecEnv)
    return state_digests(agent)


def test_a_continued_run_is_the_run_bit_for_bit(tmp_path):
    whole = train(dataclasses.replace(CONFIG, out=str(tmp_path / "whole")))
    train(dataclasses.replace(CONFIG, steps=384, out=str(tmp_path / "parts")))
    parts = resume(tmp_path / "parts", 768)
    assert (whole.steps, parts.steps) == (768, 768)
    assert first_difference(digests(whole.folder.path), digests(parts.folder.path)) is None
    assert whole.return_after == parts.return_after


def test_the_variant_of_humanoid_is_trained_and_evaluated_by_its_id(tmp_path):
    config = dataclasses.replace(
        CONFIG,
        env="hyperrl/HumanoidNewton-v5",
        steps=128,
        out=str(tmp_path / "run"),
        env_kwargs={},
        agent_kwargs=SMALL,
    )
    run = train(config)
    assert run.steps == 128
    assert run.folder.config().simulator == "warp"
    assert run.return_after > 0
