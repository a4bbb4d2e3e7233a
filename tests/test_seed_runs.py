"""Runs of several seeds at once: resumed, evaluated, and taken apart into one run for each."""

import csv
import dataclasses
import os
import shutil

import numpy as np
import pytest
import torch

from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.evaluate import evaluate
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.import_model import import_model
from hyperrl.loading import load_agent
from hyperrl.run import RunFolder
from hyperrl.run.seeding import seeds_of_run
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume, train

SMALL = {
    "buffer_size": 100,
    "learning_starts": 30,
    "batch_size": 16,
    "action_noise": {"kind": "normal", "sigma": 0.1},
    "policy_kwargs": {"net_arch": [16, 16]},
}


def config(out, **changes):
    settings = {
        "steps": 60,
        "seed": 4,
        "seeds": 3,
        "eval_episodes": 2,
        "eval_every": 30,
        "checkpoint_every": 20,
    }
    kwargs = {**SMALL, **changes.pop("agent_kwargs", {})}
    agent = changes.pop("agent", "compiled-td3")
    return RunConfig(
        agent, "InvertedPendulum-v5", **{**settings, **changes}, out=str(out), agent_kwargs=kwargs
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(config(tmp_path_factory.mktemp("seeds") / "run"))


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def rows(folder):
    with (folder / "eval" / "evaluations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def digests(path):
    agent = restore_agent(path)
    try:
        return state_digests(agent)
    finally:
        agent.env.close()


def test_evaluations_are_those_of_each_seed(finished):
    table = rows(finished.folder.path)
    assert list(table[0]) == ["steps", "seconds", "seed", "episode", "return"]
    expected = [(s, str(seed), str(e)) for s in ("0", "30", "60") for seed in (4, 5, 6) for e in (0, 1)]
    assert [(row["steps"], row["seed"], row["episode"]) for row in table] == expected
    last = [float(row["return"]) for row in table if row["steps"] == "60"]
    assert finished.return_after == pytest.approx(np.mean(last))


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_each_seed_becomes_a_run_that_acts_as_it_was_evaluated(finished, seed):
    folder = RunFolder.open(finished.folder.path / "seeds" / str(seed))
    assert (folder.config().seed, folder.config().seeds) == (seed, 1)
    assert folder.status()["state"] == "finished"
    agent, steps = load_agent(folder)
    assert steps == 60
    env = make_env("InvertedPendulum-v5")
    played = play_episodes(agent, env, seeds_of_run(seed, 2).evaluation)
    own = [float(row["return"]) for row in rows(folder.path) if row["steps"] == "60"]
    assert [episode.episode_return for episode in played] == pytest.approx(own, abs=1e-6)
    together = [
        float(row["return"])
        for row in rows(finished.folder.path)
        if row["steps"] == "60" and row["seed"] == str(seed)
    ]
    assert own == together
    agent.env.close()
    env.close()


def test_a_seed_can_be_evaluated_and_continued_alone(run):
    path = run.path / "seeds" / "5"
    assert resume(path).was_finished
    assert len(evaluate(path, 2).episodes) == 2
    continued = resume(path, 110)
    assert continued.steps == 110
    assert [row["steps"] for row in rows(path)][-1] == "110"
    # The whole run keeps what was made of it.
    assert resume(run.path).was_finished
    assert RunFolder.open(path).status()["steps"] == 110


@pytest.mark.parametrize("agent", ["compiled-td3", pytest.param("hyper-sac", marks=pytest.mark.slow)])
def test_a_run_that_is_continued_ends_as_one_that_was_never_stopped(tmp_path, agent):
    changes = {"agent": agent}
    if agent == "hyper-sac":
        changes["agent_kwargs"] = {"action_noise": {"kind": "none"}}
        changes["seeds"] = 2
    train(config(tmp_path / "straight", **changes, steps=90))
    train(config(tmp_path / "parts", **changes, steps=50))
    resume(tmp_path / "parts", 90)
    assert first_difference(digests(tmp_path / "parts"), digests(tmp_path / "straight")) is None
    ends = [
        [row["return"] for row in rows(tmp_path / name) if row["steps"] == "90"]
        for name in ("parts", "straight")
    ]
    assert ends[0] == ends[1]
    names = {path.name for path in (tmp_path / "parts" / "seeds").iterdir()}
    seeds = range(4, 4 + changes.get("seeds", 3))
    assert names == {str(seed) for seed in seeds} | {f"{seed}-50-steps" for seed in seeds}
    assert RunFolder.open(tmp_path / "parts" / "seeds" / "4").status()["steps"] == 90


def test_folders_of_seeds_that_are_missing_are_made_by_resume_and_nothing_else(run):
    before, table, checkpoints = digests(run.path), rows(run.path), run.store.names()
    alone = digests(run.path / "seeds" / "6")
    shutil.rmtree(run.path / "seeds" / "6")
    (run.path / "seeds" / ".6.part").mkdir()
    resume(run.path)
    assert {path.name for path in (run.path / "seeds").iterdir()} == {"4", "5", "6"}
    assert first_difference(digests(run.path), before) is None
    assert (rows(run.path), run.store.names()) == (table, checkpoints)
    found = digests(run.path / "seeds" / "6")
    # The environments and random numbers are new ones.
    same = {name for name in alone if name.startswith(("policy", "state.optimizers", "state.modules"))}
    assert first_difference({n: found[n] for n in same}, {n: alone[n] for n in same}) is None


def test_a_disk_that_is_full_at_the_end_is_said_and_made_good(tmp_path, monkeypatch):
    made = RunFolder.create.__func__

    def create(cls, config, path=None):
        if path is not None and path.name == ".5.part":
            raise OSError(28, "No space left on device")
        return made(cls, config, path)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "create", classmethod(create))
        with pytest.raises(
            RunFolderError, match=r"of seed 5 could not be written: No space .* hyperrl resume"
        ):
            train(config(tmp_path / "run", steps=40))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status()["state"] == "failed"
    assert {path.name for path in (folder.path / "seeds").iterdir()} == {"4"}
    resume(folder.path)
    assert folder.status()["state"] == "finished"
    assert {path.name for path in (folder.path / "seeds").iterdir()} == {"4", "5", "6"}


def test_a_table_that_cannot_be_written_ends_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr("hyperrl.run.evaluations._append_whole", refuse)
    with pytest.warns(UserWarning, match="could not be written"):
        run = train(config(tmp_path / "run", steps=40, seeds=2))
    assert resume(run.folder.path / "seeds" / "4").was_finished


def refuse(path, text):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("agent", ["hyper-sac", "compiled-td3"])
def test_a_seeds_folder_has_all_that_was_learned_and_counted(tmp_path, agent):
    kwargs = {"action_noise": {"kind": "none"}}
    run = train(config(tmp_path / "run", agent=agent, seeds=2, agent_kwargs=kwargs))
    stack = restore_agent(run.folder.path)
    for seed, own in zip((4, 5), stack.agents, strict=True):
        single = restore_agent(run.folder.path / "seeds" / str(seed))
        stack._write_back()
        names = own._get_torch_save_params()
        for name in names[1]:
            assert torch.equal(getattr(single, name), getattr(own, name)), name
            assert not torch.equal(getattr(single, name), torch.zeros_like(getattr(own, name)))
        for (name, found), expected in zip(
            single.policy.state_dict().items(), own.policy.state_dict().values(), strict=True
        ):
            assert torch.equal(found, expected), name
        for name in ("actor", "critic"):
            steps = [
                {float(state["step"]) for state in getattr(each, name).optimizer.state.values()}
                for each in (single, own)
            ]
            assert steps[0] == steps[1] != {0.0}
        assert (single._n_updates, single.num_timesteps) == (30, 60)
        single.env.close()
    stack.env.close()


def test_the_best_of_a_seed_is_what_its_folder_has(finished):
    folder = RunFolder.open(finished.folder.path / "seeds" / "5")
    told = folder.checkpoint("best").state()["run"]["evaluations"]
    last = [float(row["return"]) for row in rows(folder.path) if row["steps"] == "60"]
    assert (told["best_steps"], folder.checkpoint("best").steps) == (60, 60)
    assert told["best"] == told["last_return"] == pytest.approx(np.mean(last))


def test_the_numbers_of_environments_and_threads_do_not_change_the_first_seed(tmp_path, finished):
    with_threads = train(config(tmp_path / "threads", threads=min(2, len(os.sched_getaffinity(0)))))
    assert rows(with_threads.folder.path)[-1]["return"] == rows(finished.folder.path)[-1]["return"]
    several = train(config(tmp_path / "several", n_envs=2, steps=40, eval_every=0))
    stack = restore_agent(several.folder.path)
    assert (stack.n_envs, stack.envs_per_seed, stack.num_timesteps) == (6, 2, 40)
    assert stack.replay_buffer.pos == 20
    stack.env.close()


def test_environments_without_native_simulation_can_be_trained_on(tmp_path):
    run = train(dataclasses.replace(config(tmp_path / "run", steps=40, seeds=2), env="Pendulum-v1"))
    assert len(rows(run.folder.path)) == 2 * 2 * 3


def test_arguments_that_only_gymnasium_takes_are_for_training_and_evaluation(tmp_path):
    changed = config(tmp_path / "run", steps=40, seeds=2)
    changed = dataclasses.replace(changed, env_kwargs={"disable_env_checker": True})
    with pytest.warns(UserWarning, match="native ones do not take disable_env_checker"):
        run = train(changed)
    assert len(rows(run.folder.path)) == 2 * 2 * 3


def test_wrong_uses_get_a_sentence(run, tmp_path):
    with pytest.raises(RunFolderError, match=r"trained 3 seeds at once: give the folder of one .*seeds/4"):
        evaluate(run.path, 1)
    with pytest.raises(ConfigError, match="PPO cannot be trained with several seeds"):
        train(dataclasses.replace(config(tmp_path / "x"), agent="ppo", agent_kwargs={}))
    with pytest.raises(ConfigError, match="2 seeds from 4294967295 on go beyond"):
        config(tmp_path / "x", seed=2**32 - 1, seeds=2)
    with pytest.raises(ConfigError, match="at most 65,536 environments, got 80,000"):
        config(tmp_path / "x", n_envs=800, seeds=100)
    with pytest.raises(ConfigError, match="a model file holds one agent"):
        import_model("model.zip", config(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
