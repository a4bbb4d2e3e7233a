"""A family of tasks whose returns are known, and a run of it."""

from __future__ import annotations

import pytest

from hyperrl.config import RunConfig
from hyperrl.train import train
from tests.evaluation.zero_shot.toy import registered


@pytest.fixture(scope="session", autouse=True)
def env_id():
    yield from registered()


SMALL_PPO = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, env_id):
    """Build finished runs of a few steps of PPO."""

    def make(name="run", seed=0, out=None, **settings):
        path = out or tmp_path_factory.mktemp("toys") / name
        env_kwargs = settings.pop("env_kwargs", {})
        is_plain = env_kwargs.get("append") == "flat" or env_kwargs.get("mode") == "hidden"
        policy = "MlpPolicy" if is_plain else "MultiInputPolicy"
        known = {
            "steps": 32,
            "eval_episodes": 1,
            "eval_every": 0,
            "policy": policy,
            "agent_kwargs": SMALL_PPO,
        }
        config = RunConfig(
            "ppo", env_id, seed=seed, out=str(path), env_kwargs=env_kwargs, **{**known, **settings}
        )
        return train(config).folder.path

    return make
