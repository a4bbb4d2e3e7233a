"""Continuing runs from Python; what happens after real kills is in `tests/faults/test_resume.py`."""

import dataclasses
import shutil

import pytest
import torch

from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.run import RunFolder
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume, train


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run, in another place."""
    path = tmp_path / "moved run"
    shutil.copytree(finished_run.folder.path, path)
    return RunFolder(path)


def digests(path):
    agent = restore_agent(path)
    try:
        return state_digests(agent)
    finally:
        agent.env.close()


@pytest.mark.parametrize("steps", [None, 300])
def test_a_finished_run_stays_as_it_is(run, finished_run, steps):
    before = contents(run.path)
    result = resume(run.path, steps)
    assert result.was_finished
    for name in ("steps", "return_before", "return_after"):
        assert getattr(result, name) == getattr(finished_run, name), name
    assert 0 < result.seconds <= finished_run.seconds + 60
    after = contents(run.path)
    assert {path for path in after if after[path] != before.get(path)} <= {"status.json", "run.lock"}
    assert not finished_run.was_finished


def contents(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_finished_run_that_could_not_say_so_says_so(run):
    run.set_status("running", 290)
    assert resume(run.path).was_finished
    assert (run.status()["state"], run.status()["steps"]) == ("finished", 300)


def test_a_run_that_went_a_little_further_than_asked_is_finished(small_config, tmp_path):
    config = dataclasses.replace(small_config, n_envs=7, eval_every=0, steps=60, out=str(tmp_path / "run"))
    assert train(config).steps == 63
    for steps in (None, 60, 63):
        assert resume(config.out, steps).was_finished
    with pytest.raises(RunFolderError, match="63 steps already"):
        resume(config.out, 62)


def test_a_run_that_was_killed_can_be_ended_where_it_is(run, small_config, tmp_path):
    shutil.rmtree(run.checkpoints / "step-000000000300")
    (run.checkpoints / "latest.json").unlink()
    with pytest.warns(UserWarning, match="the checkpoint step-000000000100 is used instead"):
        result = resume(run.path, 100)
    assert result.steps == 100
    assert run.config().steps == 100
    short = train(dataclasses.replace(small_config, steps=100, out=str(tmp_path / "short")))
    assert result.return_after == short.return_after


def test_a_run_cannot_be_shortened(run):
    with pytest.raises(RunFolderError, match=r"300 steps already, more than 200: .* --steps 600"):
        resume(run.path, 200)
    assert run.config().steps == 300
    with pytest.raises(ConfigError, match="steps must be a whole number"):
        resume(run.path, -1)


def test_a_lengthened_run_is_the_long_run(run, small_config, tmp_path):
    # Its last evaluation and the end of learning lie where the long run has an evaluation, too.
    long = train(dataclasses.replace(small_config, steps=500, out=str(tmp_path / "long")))
    result = resume(run.path, 500)
    assert result.steps == 500
    assert run.config().steps == 500
    assert result.return_before == long.return_before
    assert result.return_after == long.return_after
    assert first_difference(digests(run.path), digests(long.folder.path)) is None
    table = (run.evaluation / "evaluations.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1::2]] == ["0", "100", "200", "300", "400", "500"]


def test_other_versions_are_said(run, monkeypatch):
    monkeypatch.setattr("hyperrl.run.checkpoint.package_versions", lambda: {"torch": "0.1"})
    with pytest.warns(UserWarning, match="torch was .* and is 0.1 now: .* not bit for bit"):
        resume(run.path, 301)


def test_a_restored_agent_has_what_it_had_learned_and_its_buffer(run):
    agent = restore_agent(run.path)
    weights = run.checkpoint().weights()
    assert all(torch.equal(weights[name], tensor) for name, tensor in agent.policy.state_dict().items())
    assert (agent.num_timesteps, agent.replay_buffer.pos) == (300, 300)
    agent.env.close()


def test_looking_at_a_run_changes_nothing(run):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    digests(run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_whose_agent_was_changed_is_refused(run):
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace("net_arch = [\n    16,\n    16,\n]", "net_arch = [8]"))
    assert run.config().agent_kwargs["policy_kwargs"]["net_arch"] == [8]
    before = run.checkpoint().steps
    sentence = r"run.toml is not what .*: agent_kwargs.policy_kwargs.net_arch was \[16, 16\] when .* is \[8\]"
    for steps in (None, 400):
        with pytest.raises(RunFolderError, match=sentence):
            resume(run.path, steps)
    assert run.checkpoint().steps == before


def test_settings_that_may_change_are_said(run):
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace("threads = 1", "threads = 2"))
    with pytest.warns(UserWarning, match=r"threads was 1 when the .*-000000000300 .* is 2 now in .*run.toml"):
        assert resume(run.path).was_finished
