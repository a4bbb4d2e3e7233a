"""A signal in the middle of an evaluation: the run stops at once and continues as if there had been none."""

import csv
import dataclasses
import functools
import os
import signal

import pytest

from hyperrl.errors import RunStoppedError
from hyperrl.evaluation import rollout
from hyperrl.run import RunFolder
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume, train

SDE = {
    "learning_rate": 1e-3,
    "buffer_size": 1000,
    "learning_starts": 50,
    "batch_size": 16,
    "use_sde": True,
    "policy_kwargs": {"net_arch": [16]},
}


@pytest.fixture(scope="module")
def config_of(small_config):
    """The configuration of an agent's small run, with episodes that do not take much longer than a strike."""
    small_config = dataclasses.replace(small_config, env_kwargs={"max_episode_steps": 60})
    sde = dataclasses.replace(small_config, agent="sac", steps=200, agent_kwargs=SDE)
    return {"td3": small_config, "sac sde": sde}.__getitem__


@pytest.fixture(scope="module")
def straight(config_of, tmp_path_factory):
    """The state and the table of a run that nothing disturbs."""

    @functools.cache
    def run(agent):
        out = tmp_path_factory.mktemp("straight") / "run"
        train(dataclasses.replace(config_of(agent), out=str(out)))
        return digests(out), table(out)

    return run


def digests(out):
    agent = restore_agent(out)
    try:
        return state_digests(agent)
    finally:
        agent.env.close()


def table(out):
    with (out / "eval" / "evaluations.csv").open(newline="") as file:
        return [(row["steps"], row["episode"], row["return"]) for row in csv.DictReader(file)]


@pytest.fixture
def strike(monkeypatch):
    """Sends a signal to this process in the middle of the n-th episode of evaluations, from 0 on."""

    def prepare(number, name):
        episodes, play = [], rollout.play_episode

        def struck(policy, env, seed, *, before_step, **settings):
            steps = []

            def before():
                steps.append(None)
                if len(episodes) == number + 1 and len(steps) == 50:
                    os.kill(os.getpid(), signal.Signals[name])
                before_step()

            episodes.append(steps)
            return play(policy, env, seed, before_step=before, **settings)

        monkeypatch.setattr(rollout, "play_episode", struck)
        return episodes

    return prepare


# Each evaluation has two episodes; the last one of 300 steps is the fourth, that of 200 steps the third.
@pytest.mark.parametrize(
    ("agent", "episode", "steps", "name"),
    [
        ("td3", 0, 0, "SIGTERM"),
        ("td3", 3, 100, "SIGINT"),
        ("td3", 7, 300, "SIGTERM"),
        ("sac sde", 2, 100, "SIGUSR1"),
        ("sac sde", 5, 200, "SIGTERM"),
    ],
)
def test_an_evaluation_is_given_up_and_made_again_by_the_resumed_run(
    config_of, straight, strike, monkeypatch, tmp_path, capfd, agent, episode, steps, name
):
    out = tmp_path / "run"
    status = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 75}[name]
    episodes = strike(episode, name)
    with pytest.raises(RunStoppedError, match=f"by {name} after {steps} steps, with a checkpoint") as caught:
        train(dataclasses.replace(config_of(agent), out=str(out)))
    assert caught.value.exit_status == status
    assert (len(episodes), len(episodes[-1])) == (episode + 1, 50)
    folder = RunFolder.open(out)
    assert (folder.status()["state"], folder.checkpoint().steps) == ("stopped", steps)
    expected_state, expected_table = straight(agent)
    if steps:
        assert table(out) == [row for row in expected_table if int(row[0]) < steps]
    else:
        assert not (out / "eval" / "evaluations.csv").exists()
    monkeypatch.undo()
    run = resume(out)
    assert not run.was_finished
    assert first_difference(digests(out), expected_state) is None
    assert table(out) == expected_table
    assert folder.status()["state"] == "finished"
    best = max(expected_table[::2], key=lambda row: mean_of(expected_table, row[0]))[0]
    assert folder.checkpoint("best").steps == int(best)


def mean_of(rows, steps):
    return sum(float(row[2]) for row in rows if row[0] == steps)


def test_a_run_that_is_lengthened_instead_makes_up_for_the_evaluation(
    config_of, straight, strike, monkeypatch, tmp_path
):
    config = dataclasses.replace(config_of("td3"), steps=200, out=str(tmp_path / "run"))
    strike(5, "SIGTERM")
    with pytest.raises(RunStoppedError, match="after 200 steps"):
        train(config)
    monkeypatch.undo()
    resume(config.out, 300)
    assert digests(tmp_path / "run") == straight("td3")[0]
    assert table(tmp_path / "run") == straight("td3")[1]


def test_a_signal_after_the_last_evaluation_lets_the_run_finish(config_of, monkeypatch, tmp_path):
    config = dataclasses.replace(config_of("td3"), steps=60, eval_every=0, out=str(tmp_path / "run"))
    close = RunFolder.close_manifest

    def struck(folder):
        os.kill(os.getpid(), signal.SIGTERM)
        close(folder)

    monkeypatch.setattr(RunFolder, "close_manifest", struck)
    assert train(config).steps == 60
    assert RunFolder.open(config.out).manifest()["finished"] is not None
