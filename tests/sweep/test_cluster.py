"""Sweeps on a Ray cluster of two machines, both of them on this one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hyperrl.sweep.plan import read_plan
from tests.sweep.small_sweeps import TWELVE, children, environment, parent_of, wait_for
from tests.sweep.test_survives import assert_complete, middle_is_reached, rows, start

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "remove\\n":
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
cluster.shutdown()
"""


class RunningCluster:
    """Two machines of one CPU each."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment(), "RAY_USAGE_STATS_ENABLED": "0"},
        )
        self.address = self.process.stdout.readline().strip()

    def lose_one(self):
        self.process.stdin.write("remove\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "removed\n"

    def close(self):
        self.process.communicate()


@pytest.fixture(scope="module")
def cluster():
    cluster = RunningCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "twelve.toml"
    path.write_text(TWELVE)
    return path


def two_runs(tmp_path, steps):
    path = tmp_path / "two.toml"
    text = TWELVE.replace('"td3", "sac"', '"td3"').replace("count = 3", "count = 2")
    path.write_text(text.replace(', "InvertedPendulum-v5"', "").replace("steps = 300", f"steps = {steps}"))
    return path


def test_twelve_runs_killed_in_the_middle_are_completed_by_the_same_command(cluster, file, tmp_path):
    out = tmp_path / "sweep"
    engine = ("--engine", "ray", "--ray-address", cluster.address)
    sweep = start(file, out, *engine)
    machines = set()

    def watch():
        # A run's process is a child of Ray's worker, and that of the machine's raylet.
        machines.update(parent_of(parent_of(pid)) for pid in children(out))
        return len(machines) == 2 and middle_is_reached(out)

    wait_for(watch, 400)
    os.kill(sweep.pid, signal.SIGKILL)
    assert sweep.wait() == -signal.SIGKILL
    wait_for(lambda: not children(out), 30)
    assert {row["status"] for row in rows(out)} > {"finished", "running"}

    again = start(file, out, *engine)
    assert again.wait(800) == 0
    print((tmp_path / "sweep.txt").read_text())
    assert assert_complete(file, out)


def test_a_signal_saves_the_runs_and_takes_back_what_waits(cluster, tmp_path):
    file, out = two_runs(tmp_path, 5000), tmp_path / "sweep"
    file.write_text(file.read_text().replace("count = 2", "count = 4"))
    sweep = start(file, out, "--engine", "ray", "--ray-address", cluster.address, "--workers", "4")
    wait_for(lambda: len(list(out.glob("*/ckpt/step-*"))) >= 6, 300)
    # Two of the four have a CPU.
    assert len(children(out)) == 2
    os.kill(sweep.pid, signal.SIGTERM)
    assert sweep.wait(60) == 143
    assert not children(out)
    assert sorted(row["status"] for row in rows(out)) == ["stopped", "stopped", "waiting", "waiting"]
    assert not (out / ".switch").exists()


def test_a_folder_that_a_machine_does_not_see_is_refused(cluster, tmp_path):
    program = f"""
import sys
from pathlib import Path
from hyperrl.sweep.cluster import RayEngine
engine = RayEngine({cluster.address!r})
engine._switch = Path({str(tmp_path)!r}) / "elsewhere"
try:
    engine._ask_all(Path("/here"))
finally:
    engine.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert "of the cluster does not see /here: choose a folder on a file system" in done.stderr


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:9", "nothing can be reached at 127.0.0.1:9"),
        ("nowhere.invalid:6379", "nothing can be reached at nowhere.invalid:6379"),
        ("ray://127.0.0.1:10001", "the address of a Ray cluster is HOST:PORT"),
        ("127.0.0.1:99999", "the address of a Ray cluster is HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_refused(file, tmp_path, address, sentence):
    out = tmp_path / "sweep"
    assert start(file, out, "--engine", "ray", "--ray-address", address).wait(60) == 2
    text = (tmp_path / "sweep.txt").read_text()
    assert sentence in text
    assert text.count("\n") == 1
    assert not out.exists()


def test_something_else_at_the_address_is_refused_in_time(tmp_path):
    import socket

    from hyperrl.errors import ClusterError
    from hyperrl.sweep.reach import reach

    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(ClusterError, match="there is no Ray cluster at"):
            reach(f"127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 16


def test_the_runs_of_a_machine_that_is_lost_go_on_elsewhere(tmp_path):
    cluster = RunningCluster()
    try:
        file, out = two_runs(tmp_path, 1500), tmp_path / "sweep"
        names = [run.name for run in read_plan(file).runs]
        sweep = start(file, out, "--engine", "ray", "--ray-address", cluster.address)
        wait_for(lambda: all(len(list((out / name).glob("ckpt/step-*"))) >= 2 for name in names), 300)
        cluster.lose_one()
        assert sweep.wait(300) == 0
        assert [row["status"] for row in rows(out)] == ["finished"] * 2
    finally:
        cluster.close()
