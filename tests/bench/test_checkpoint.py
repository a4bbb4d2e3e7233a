"""The benchmark of checkpoints: what it counts, and how it judges."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from stable_baselines3 import TD3

from hyperrl.bench import checkpoint
from hyperrl.bench.checkpoint import FIRST, LATER, SB3, Meter, MeteredStore, Save, add_rows, measure, own_time
from hyperrl.bench.update import SpacesOnly
from hyperrl.cli import main
from hyperrl.errors import RunFolderError
from hyperrl.run.replay import ReplayLog

TRANSITIONS = 10_000
# Observations of 17 float64, twice, 6 actions and three more float32.
ROW_BYTES = (2 * 17 + 6 + 3) * 4


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_NET_ARCH", (8,))
        patch.setattr(checkpoint, "_BATCH", 16)
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    found = measure(TRANSITIONS, folder, rounds=2)
    assert list(folder.iterdir()) == []
    return found


def test_a_row_for_the_first_checkpoint_the_later_ones_and_the_other_library(rows):
    assert [(row["checkpoint"], row["new_transitions"], row["rounds"]) for row in rows] == [
        (FIRST, TRANSITIONS, 1),
        (LATER, 0, 2),
        (LATER, 1_000, 2),
        (LATER, 10_000, 2),
        (SB3, TRANSITIONS, 2),
    ]
    assert [row["limit_of_other_ms"] for row in rows] == [None, 100.0, 100.0, 100.0, None]


def test_a_later_checkpoint_writes_what_is_new(rows):
    first, *later, sb3 = (row["megabytes_written"] * 1e6 for row in rows)
    assert sb3 > TRANSITIONS * ROW_BYTES
    assert first - later[0] == pytest.approx(TRANSITIONS * ROW_BYTES, rel=0.01)
    assert later[1] - later[0] == pytest.approx(1_000 * ROW_BYTES, rel=0.02)
    assert later[2] - later[0] == pytest.approx(10_000 * ROW_BYTES, rel=0.01)


def test_the_parts_of_a_time_fit_together(rows):
    for row in rows[:-1]:
        assert row["new_rows_ms"] + row["other_ms"] == pytest.approx(row["ms"], rel=0.5)
        assert row["ms_min"] <= row["ms"] <= row["ms_max"]
        assert 0 < row["disk_wait_ms"] < row["ms"]
    assert rows[1]["new_rows_ms"] == 0
    assert rows[-1]["other_ms"] is rows[-1]["met"] is None


def test_a_log_that_writes_everything_anew_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(ReplayLog, "_count", lambda self, added: (self._buffer.buffer_size, False))
    monkeypatch.setattr(checkpoint, "NEW", (0,))
    first, later, _ = measure(TRANSITIONS, tmp_path, rounds=1)
    assert later["megabytes_written"] == pytest.approx(first["megabytes_written"], rel=0.01)
    assert later["new_rows_ms"] > 0


def test_a_missed_limit_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "NEW", (0,))
    monkeypatch.setattr(checkpoint, "LIMIT_MS", 0.0)
    argv = ["bench", "checkpoint", "--transitions", "10000", "--rounds", "1", "--out", str(tmp_path)]
    assert main(argv) == 1
    monkeypatch.setattr(checkpoint, "LIMIT_MS", 1e9)
    assert main(argv) == 0
    with (tmp_path / "checkpoint.csv").open(newline="") as file:
        assert [row["met"] for row in csv.DictReader(file)] == ["", "True", ""]
    assert '"transitions": 10000' in (tmp_path / "manifest.json").read_text()
    assert "10,000 transitions" in capsys.readouterr().out


def test_a_disk_that_refuses_is_no_measurement(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MeteredStore, "append_segment", refuse)
    with (
        pytest.warns(UserWarning, match="no checkpoint could be written"),
        pytest.raises(RunFolderError, match="No space left on device"),
    ):
        measure(TRANSITIONS, tmp_path, rounds=1)


def test_all_bytes_on_the_disk_are_counted(tmp_path):
    meter = Meter()
    store = MeteredStore(tmp_path / "ckpt", meter)
    segment = store.append_segment({"rows": np.ones((10, 3))})
    assert meter.appending > 0
    store.save(1, weights={}, state={"a": 1}, about={}, segments=[segment])
    assert meter.written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert meter.syncing > 0


def test_new_rows_are_those_of_so_many_steps():
    agents = [
        TD3("MlpPolicy", SpacesOnly(), buffer_size=10, policy_kwargs={"net_arch": [4]}, device="cpu")
        for _ in range(2)
    ]
    for count in (0, 4, 6, 3):
        add_rows(agents[0], count, np.random.default_rng(0))
        for _ in range(count):
            row = np.ones((1, 17)), np.ones((1, 17)), np.zeros((1, 6)), np.ones(1), np.zeros(1), [{}]
            agents[1].replay_buffer.add(*row)
            agents[1].num_timesteps += 1
        one, other = (agent.replay_buffer for agent in agents)
        assert (one.pos, one.full) == (other.pos, other.full)
        assert agents[0].num_timesteps == agents[1].num_timesteps
        assert np.array_equal(one.observations != 0, other.observations != 0)


def test_waiting_for_a_processor_is_left_out(tmp_path, monkeypatch):
    path = tmp_path / "schedstat"
    monkeypatch.setattr(checkpoint, "_SCHEDULER", path)
    # Run time, then waiting time, in nanoseconds.
    path.write_text("5 0 1")
    meter = Meter(written=3)
    saved = Save.timed(lambda: path.write_text("5 9000000000 2"), meter)
    assert -9.0 <= saved.seconds < -8.0
    assert 0 <= saved.wall_seconds < 1
    meter.written = 4
    assert saved.meter.written == 3
    path.unlink()
    begin = own_time()
    assert 0 <= own_time() - begin < 1
