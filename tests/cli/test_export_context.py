"""`hyperrl export RUN --context`: a plain policy for one known robot; what is refused in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from hyperrl import ContextPPO, export
from hyperrl.cli import main as cli
from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.errors import ContextError, ShapeError
from hyperrl.exporters.c99 import CompiledPolicy
from hyperrl.loading import load_agent
from hyperrl.train import train
from tests.sb3.contexts.toys import SPACE, ContextTask

ENV = "hyperrl/ContextualCartPole-v0"
AGENT = {
    "n_steps": 16,
    "batch_size": 32,
    "n_epochs": 2,
    "learning_rate": 0.01,
    "policy_kwargs": {"actor": "hyper", "critic": "concat", "net_arch": [8, 8]},
}


@pytest.fixture(scope="module")
def context_run(tmp_path_factory):
    """A run of two contexts whose observations are normalised, not to be changed."""
    config = RunConfig(
        "context-ppo",
        ENV,
        env_kwargs={"context": ["length", "force"]},
        policy="MultiInputPolicy",
        steps=128,
        n_envs=2,
        normalize=True,
        eval_every=0,
        agent_kwargs=AGENT,
        out=str(tmp_path_factory.mktemp("contexts") / "run"),
    )
    return train(config).folder


def refused(capsys, *arguments):
    assert cli(["export", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def test_the_policy_of_one_context_acts_as_the_agent_does_there(context_run, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--format", "c99,npz", "--context", "length=0.7", "--out", str(out), "--episodes", "1"]
    assert cli(["export", str(context_run.path), *arguments]) == 0
    place = "8x8-length=0.7-force=10"
    assert sorted(one.name for one in out.iterdir()) == [f"c99-{place}", f"npz-{place}"]
    agent, _ = load_agent(context_run)
    space = make_env(ENV, {"context": ["length", "force"]}).get_wrapper_attr("context_space")
    code = space.normalise(space.array({"length": 0.7})).astype(np.float32)
    states = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    whole = {"observation": states, "context": np.tile(code, (50, 1))}
    expected, _ = agent.predict(agent.get_vec_normalize_env().normalize_obs(whole), deterministic=True)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(CompiledPolicy(out / f"c99-{place}")(states), expected, atol=1e-5)
    manifest = json.loads((out / f"c99-{place}" / "manifest.json").read_text())
    assert manifest["provenance"]["context"] == {"length": 0.7, "force": 10.0}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("lenght=0.7", "did you mean 'length'"),
        ("length=nan", "must be finite"),
        ("length=11", "from 0.1 to 10"),
        ("length", "length"),
        ("", "acts by the context: give one, for example length=0.5,force=10"),
    ],
)
def test_wrong_contexts(context_run, tmp_path, capsys, context, words):
    arguments = ["--context", context] if context else []
    out = tmp_path / "out"
    assert words in refused(capsys, context_run.path, "--format", "npz", "--out", out, *arguments)
    assert not list(tmp_path.iterdir())


def test_an_agent_without_contexts_takes_none(finished_run, tmp_path, capsys):
    words = refused(capsys, finished_run.folder.path, "--context", "mass=1", "--out", tmp_path / "out")
    assert "does not act by a context: leave the context out" in words
    assert not list(tmp_path.iterdir())


class Unchosen(ContextTask):
    """A task whose context cannot be chosen."""

    set_fixed_context = property()


class Wider(ContextTask):
    """A task with three numbers of the context."""

    context_space = None

    def __init__(self):
        super().__init__()
        context = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.observation_space = spaces.Dict({**self.observation_space.spaces, "context": context})


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        (Unchosen, ContextError, "has no set_fixed_context"),
        (Wider, ShapeError, r"context \[3\]"),
        (lambda: ContextTask(space=SPACE.with_train({"scale": (0.5, 2.0)})), ContextError, "other ranges"),
    ],
    ids=["unchosen", "wider", "ranges"],
)
def test_environments_that_an_agent_was_not_trained_in(tmp_path, task, error, words):
    model = ContextPPO("MultiInputPolicy", ContextTask(), device="cpu", policy_kwargs={"net_arch": [8]})
    with pytest.raises(error, match=words):
        export(
            model,
            "npz",
            context={"sign": 1.0},
            env=lambda: TimeLimit(task(), 8),
            episodes=1,
            out=tmp_path / "out",
        )
    assert not list(tmp_path.iterdir())
