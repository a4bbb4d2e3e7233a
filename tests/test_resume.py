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


def test_a_finished_run_needs_more_steps(run):
    with pytest.raises(RunFolderError, match=r"has all of its 300 steps: .* --steps 600"):
        resume(run.path)
    with pytest.raises(RunFolderError, match="has all of its 300 steps"):
        resume(run.path, 200)
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
    with pytest.raises(RunFolderError, match="does not fit the policy of its run"):
        resume(run.path, 400)
    assert run.checkpoint().steps == before
