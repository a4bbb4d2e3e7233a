"""What "auto" chooses, and for how long."""

import dataclasses

import pytest

from hyperrl.config import RunConfig
from hyperrl.sb3 import compiled_updates
from hyperrl.train import resume, train
from hyperrl_agents.compiled_td3 import CompiledTD3
from tests.conftest import SMALL_TD3
from tests.sb3.toys import SMALL, PointEnv

LONG, SHORT = 30_000, 100


class Graphs:
    """Stands for graphs; nothing is compiled here."""

    def refresh(self):
        """Do nothing."""


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    monkeypatch.setattr(CompiledTD3, "_make_compiled", lambda agent: Graphs())


def agent(**kwargs):
    return CompiledTD3("MlpPolicy", PointEnv(), **SMALL, **kwargs)


@pytest.mark.parametrize(("first", "then"), [(LONG, SHORT), (SHORT, LONG)])
def test_an_agent_that_goes_on_goes_on_as_it_began(first, then, tmp_path):
    model = agent()
    model._setup_learn(first)
    chose = model._updates() is not None
    assert chose is (first == LONG)
    model._setup_learn(then, reset_num_timesteps=False)
    assert (model._updates() is not None) is chose
    model.save(tmp_path / "model")
    loaded = CompiledTD3.load(tmp_path / "model", env=PointEnv())
    loaded._setup_learn(then, reset_num_timesteps=False)
    assert (loaded._updates() is not None) is chose
    # One that begins anew chooses anew.
    loaded._setup_learn(then)
    assert (loaded._updates() is not None) is not chose


@pytest.mark.parametrize("compile", [True, False])
def test_what_is_asked_for_is_done_however_the_agent_began(compile):
    model = agent()
    model._setup_learn(SHORT if compile else LONG)
    model.compile = compile
    model._setup_learn(SHORT, reset_num_timesteps=False)
    assert (model._updates() is not None) is compile


@pytest.fixture
def short_run(monkeypatch, tmp_path):
    """A run of too few updates to compile, which 100 would be enough for."""
    monkeypatch.setattr(compiled_updates, "WORTH_COMPILING", 100)
    config = RunConfig(
        "compiled-td3",
        "Pendulum-v1",
        steps=100,
        eval_episodes=1,
        eval_every=0,
        out=str(tmp_path / "run"),
        agent_kwargs=SMALL_TD3,
    )
    return train(config).folder


def test_a_run_that_is_lengthened_goes_on_as_it_began(short_run, capsys):
    # The stand-in for graphs could not make an update.
    assert resume(short_run.path, 250).steps == 250
    assert 'the updates are not compiled, as when the run began ("compile" decides' in capsys.readouterr().err


def test_a_run_can_be_told_otherwise_between_two_processes(short_run):
    config = short_run.config()
    changed = dataclasses.replace(config, agent_kwargs={**config.agent_kwargs, "compile": True})
    (short_run.path / "run.toml").write_text(changed.to_toml())
    with (
        pytest.warns(UserWarning, match=r"agent_kwargs\.compile was not there .* and is True now"),
        pytest.raises(AttributeError, match="'Graphs' object has no attribute 'critics'"),
    ):
        resume(short_run.path, 250)
