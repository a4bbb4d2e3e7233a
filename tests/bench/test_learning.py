"""Learning curves: the protocol number for number, resuming, refusals."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

from hyperrl.bench import learning
from hyperrl.bench.learning import COLUMNS, LearningRun, learn
from hyperrl.bench.sweep import Sweep, sweep
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, RunFolderError, UnknownNameError

STEPS, EVERY, EPISODES = 250, 100, 2
SMALL = ("buffer_size=1000", "learning_starts=50", "batch_size=16", "policy_kwargs.net_arch=[8]")


def plan(**changes) -> Sweep:
    settings = dict(settings=SMALL, eval_every=EVERY, eval_episodes=EPISODES)
    return dataclasses.replace(Sweep(["td3"], ["Pendulum-v1"], [3], STEPS, **settings), **changes)


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Reference(BaseCallback):
    """The protocol again, in as few lines as it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int, float, int]] = []

    def _on_training_start(self) -> None:
        self.evaluate()

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY == 0:
            self.evaluate()
        return True

    def evaluate(self) -> None:
        env = gym.make("Pendulum-v1")
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=10_000 + episode)
            total, length, done = 0.0, 0, False
            while not done:
                action, _ = self.model.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                total, length, done = total + float(reward), length + 1, terminated or truncated
            self.found.append((self.num_timesteps, episode, round(total, 3), length))


def test_a_curve_is_what_plain_stable_baselines_gives(tmp_path):
    (run,) = plan().runs(tmp_path)
    learn(run)
    reference = Reference()
    TD3(
        "MlpPolicy",
        gym.make("Pendulum-v1"),
        learning_rate=1e-3,
        batch_size=16,
        learning_starts=50,
        buffer_size=1000,
        action_noise=NormalActionNoise(np.zeros(1), 0.1 * np.ones(1)),
        policy_kwargs=dict(net_arch=[8]),
        seed=3,
        device="cpu",
    ).learn(STEPS, callback=reference)
    rows = rows_of(run.path)
    assert tuple(rows[0]) == COLUMNS
    assert {(row["agent"], row["env"], row["seed"]) for row in rows} == {("td3", "Pendulum-v1", "3")}
    found = [(int(r["step"]), int(r["episode"]), float(r["return"]), int(r["length"])) for r in rows]
    assert found == reference.found
    assert sorted({row[0] for row in found}) == [0, 100, 200]
    assert not run.part.exists()


def test_the_clocks_stand_still_in_evaluations(tmp_path, monkeypatch):
    ticks = iter(range(0, 10_000, 10))

    def clocks() -> tuple[float, float]:
        now = float(next(ticks))
        return now, 2 * now

    monkeypatch.setattr(learning, "_clocks", clocks)
    (run,) = plan().runs(tmp_path)
    learn(run)
    # Start, then before and after each of three evaluations: 10 seconds pass between any two readings, and
    # every second one of these stretches is an evaluation.
    times = [
        (float(r["wall_seconds"]), float(r["cpu_seconds"])) for r in rows_of(run.path) if r["episode"] == "0"
    ]
    assert times == [(10.0, 20.0), (20.0, 40.0), (30.0, 60.0)]


def test_a_run_cut_short_leaves_its_part_alone(tmp_path, monkeypatch):
    (run,) = plan().runs(tmp_path)
    once = learning.CurveCallback._evaluate

    def cut(self) -> None:
        if self.num_timesteps > 0:
            raise KeyboardInterrupt
        once(self)

    monkeypatch.setattr(learning.CurveCallback, "_evaluate", cut)
    with pytest.raises(KeyboardInterrupt):
        learn(run)
    assert len(rows_of(run.part)) == EPISODES
    assert not run.path.exists()


@pytest.fixture
def threads(monkeypatch):
    """Runs are done in threads: that each has a process of its own is what a sweep that is killed shows."""
    monkeypatch.setattr(
        "hyperrl.bench.sweep.ProcessPoolExecutor", lambda workers, **_: ThreadPoolExecutor(workers)
    )


@pytest.mark.usefixtures("threads")
def test_a_sweep_does_what_is_missing_and_only_that(tmp_path):
    first, second = plan(seeds=[0, 1]).runs(tmp_path)
    first.path.write_text("finished before")
    assert sweep(plan(seeds=[0, 1]), tmp_path, workers=1) == [first, second]
    assert first.path.read_text() == "finished before"
    assert len(rows_of(second.path)) == 3 * EPISODES
    before = second.path.stat().st_mtime_ns
    sweep(plan(seeds=[0, 1]), tmp_path, workers=1)
    assert second.path.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="made with other steps"):
        sweep(plan(seeds=[1], steps=STEPS + 1), tmp_path, workers=1)


@pytest.mark.usefixtures("threads")
def test_a_failed_run_is_named_and_does_not_stop_the_others(tmp_path):
    bad, good = plan(seeds=[0, 1]).runs(tmp_path)
    bad.part.mkdir()
    with pytest.raises(RunFolderError, match=r"1 of 2 runs failed, the first was td3-Pendulum-v1-0\.csv"):
        sweep(plan(seeds=[0, 1]), tmp_path, workers=1)
    assert good.path.exists()


def test_wrong_plans_are_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "new"
    for change, error, message in [
        ({"agents": ["td4"]}, UnknownNameError, "did you mean 'td3'"),
        ({"envs": ["Pendulum-v2"]}, UnknownNameError, "did you mean 'Pendulum-v1'"),
        ({"preset": "defualt"}, UnknownNameError, "did you mean 'default'"),
        ({"agents": []}, ConfigError, "needs agents"),
        ({"eval_every": 0}, ConfigError, "eval_every"),
        ({"steps": 0}, ConfigError, "steps"),
        ({"envs": ["CartPole-v1"]}, ValueError, "Box action space"),
    ]:
        with pytest.raises(error, match=message):
            sweep(plan(**change), folder, workers=1)
    with pytest.raises(ConfigError, match="workers"):
        sweep(plan(), folder, workers=0)
    assert not folder.exists()


def test_a_preset_is_part_of_the_label_and_odd_names_make_files(tmp_path):
    assert [run.label for run in plan(agents=["hyper-td3"], preset="compact").runs(tmp_path)] == [
        "hyper-td3@compact"
    ]
    config = RunConfig("td3", "space/Env:v0", seed=4)
    assert LearningRun("td3", config, tmp_path).path.name == "td3-space_Env_v0-4.csv"


def test_a_sweep_that_is_killed_leaves_no_run_behind(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from hyperrl.cli import main; main()",
        "bench",
        "learning",
        "--agents",
        "td3",
    ]
    command += ["--envs", "Pendulum-v1", "--steps", "1000000", "--seeds", "0", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while not list(tmp_path.glob("*.part")):
        assert time.monotonic() < end
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    assert len(children) >= 2  # Multiprocessing's own tracker, and the run.
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.05)
