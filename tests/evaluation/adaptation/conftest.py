"""Runs of agents whose adaptation is known."""

from __future__ import annotations

import pytest

from hyperrl.config import RunConfig
from hyperrl.registry import agents
from hyperrl.train import train
from tests.evaluation.adaptation.knowing import Knowing, Remembering, registered

_SMALL = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}


@pytest.fixture(scope="session", autouse=True)
def env_id():
    yield from registered()


@pytest.fixture(scope="session", autouse=True)
def known_agents():
    for name, member in {"knowing": Knowing, "remembering": Remembering}.items():
        agents.register(name, member)
    yield
    for name in ("knowing", "remembering"):
        agents._registered.pop(name)


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, env_id):
    """Build finished runs of a few steps."""

    def make(agent="knowing", seed=0, **settings):
        env = settings.pop("env", env_id)
        env_kwargs = settings.pop("env_kwargs", {})
        if env == env_id:
            env_kwargs = {"mode": "hidden", "cost": 0.0, **env_kwargs}
        known = {"steps": 32, "eval_episodes": 1, "eval_every": 0, "policy": "MlpPolicy"}
        if env_kwargs.get("mode") == "visible":
            known["policy"] = "MultiInputPolicy"
        kwargs = _SMALL | settings.pop("agent_kwargs", {})
        out = str(tmp_path_factory.mktemp("adapting") / "run")
        config = RunConfig(
            agent,
            env,
            seed=seed,
            out=out,
            env_kwargs=env_kwargs,
            agent_kwargs=kwargs,
            **{**known, **settings},
        )
        return train(config).folder.path

    return make
