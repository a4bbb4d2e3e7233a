"""Logs that cannot be written, or were written twice (group L of the fault list)."""

import dataclasses
import os
import subprocess
import sys
import warnings

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hyperrl.errors import RunStoppedError
from hyperrl.run import RunFolder
from hyperrl.run.log import run_logger
from hyperrl.train import resume, train


def scalars(folder, tag):
    log = EventAccumulator(str(folder))
    log.Reload()
    return [event.step for event in log.Scalars(tag)]


@pytest.mark.parametrize("number", [28, 5, 13, 30, 122])
def test_an_event_file_that_cannot_be_written_is_one_warning(tmp_path, monkeypatch, number):
    logger = run_logger(tmp_path)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(logger.output_formats[0].writer, "add_scalar", refuse)
    logger.record("a", 1.0)
    with pytest.warns(UserWarning, match=f"{os.strerror(number)}.*goes on without"):
        logger.dump(1)
    with warnings.catch_warnings(record=True) as more:
        warnings.simplefilter("always")
        for step in range(2, 5):
            logger.record("a", 1.0)
            logger.dump(step)
        logger.close()
    assert more == []


def test_a_real_full_disk_under_the_event_file(tmp_path):
    code = f"""
import resource, signal, warnings
from pathlib import Path
from hyperrl.run.log import run_logger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
logger = run_logger(Path({str(tmp_path)!r}))
for step in range(300):
    logger.record("a", 1.0)
    logger.dump(step)
logger.close()
print("survived")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "survived\n", done.stderr
    assert "TensorBoard's log cannot be written (File too large)" in done.stderr


@pytest.fixture
def stopped(small_config, tmp_path, monkeypatch):
    """A run that was stopped after an evaluation at 100 steps, and had logged further."""
    config = dataclasses.replace(small_config, out=str(tmp_path / "run"), checkpoint_every=100)
    from hyperrl.run.callbacks import RunCallback

    start = RunCallback._on_rollout_start

    def stop(self):
        start(self)
        if self.model.num_timesteps == 230:
            raise RunStoppedError("stopped")

    monkeypatch.setattr(RunCallback, "_on_rollout_start", stop)
    with pytest.raises(RunStoppedError):
        train(config)
    monkeypatch.undo()
    return RunFolder(tmp_path / "run")


def test_a_resumed_run_has_every_step_once(stopped):
    assert scalars(stopped.tensorboard, "eval/mean_return") == [0, 100, 200]
    resume(stopped.path)
    assert scalars(stopped.tensorboard, "eval/mean_return") == [0, 100, 200, 300]
    lines = (stopped.evaluation / "evaluations.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "0", "100", "100", "200", "200", "300", "300"]


def test_an_event_file_that_a_kill_has_cut_short_is_no_problem(stopped):
    (file,) = stopped.tensorboard.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    resume(stopped.path)
    assert scalars(stopped.tensorboard, "eval/mean_return")[-1] == 300


def test_a_run_without_its_logs_continues(stopped):
    for file in stopped.tensorboard.iterdir():
        file.unlink()
    stopped.tensorboard.rmdir()
    resume(stopped.path)
    assert scalars(stopped.tensorboard, "eval/mean_return") == [300]


@pytest.mark.parametrize("number", [1, 2], ids=["stdout", "stderr"])
def test_a_closed_stream_does_not_end_a_run(server, command, tmp_path, number):
    server.run(*command("td3", "Pendulum-v1", 1, tmp_path / "run", steps=60), closed=(number,))
    assert RunFolder.open(tmp_path / "run").status()["state"] == "finished"


def test_a_place_for_logs_that_cannot_be_used_is_a_warning(stopped):
    for file in stopped.tensorboard.iterdir():
        file.unlink()
    stopped.tensorboard.rmdir()
    stopped.tensorboard.write_text("no folder")
    with pytest.warns(
        UserWarning, match="TensorBoard's log cannot be written to .*: training goes on without"
    ):
        resume(stopped.path)
    assert stopped.status()["state"] == "finished"
