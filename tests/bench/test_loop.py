import io

import pytest
from stable_baselines3 import TD3

from hyperrl.bench import loop, processes
from hyperrl.cli import main
from hyperrl_agents.hyper_td3 import HyperTD3


def test_what_is_compared():
    for variants, name in ((loop._td3(), "td3"), (loop._sac(), "sac")):
        assert next(iter(variants)) == f"sb3 {name.upper()}"
        assert {f"hyper-{name}", f"compiled-{name}"} <= variants.keys()
    plain, hyper = loop._td3()["sb3 TD3"](0), loop._td3()["hyper-td3, eager"](0)
    assert type(plain) is TD3
    assert type(hyper) is HyperTD3
    assert (plain.gradient_steps, plain.train_freq, plain.batch_size) == (
        1,
        hyper.train_freq,
        hyper.batch_size,
    )
    assert hyper.compile is False
    assert loop._td3()["hyper-td3"](0).compile is True


def test_rows_are_relative_to_the_first(monkeypatch):
    monkeypatch.setattr(loop, "_WARM_UP", 2)
    variants = {name: loop._td3()[name] for name in ("sb3 TD3", "hyper-td3, eager")}
    base, other = loop.measure(variants, rounds=2, steps=3)
    assert base["speedup"] == 1
    assert other["speedup_min"] <= other["speedup"] <= other["speedup_max"]
    assert other["steps_per_cpu_second"] > 0


# A process that says of itself how fast it is: three times as fast with torch's own threads.
PRETEND = """
import sys
print("ready", flush=True)
sys.stdin.readline()
print({updates} if {threads!r} else 3 * {updates})
"""


def test_two_processes_are_measured_together(monkeypatch):
    monkeypatch.setattr(processes, "_SEED", PRETEND)
    rows = processes.seeds(1, updates=2)
    assert [row["processes"].split()[0] for row in rows] == ["one", "two", "one", "two"]
    assert [row["updates_per_second"] for row in rows] == [2, 4, 6, 12]
    assert [row["times_one"] for row in rows] == [1, 2, 3, 6]
    assert [row["met"] for row in rows] == [None, True, None, None]


def test_what_a_process_measures(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    exec(processes._SEED.format(threads=processes._PINNED, updates=2), {})
    ready, rate = capsys.readouterr().out.split()
    assert ready == "ready"
    assert float(rate) > 0


@pytest.mark.slow
def test_start_up_is_published(tmp_path):
    assert main(["bench", "startup", "--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "startup.csv").read_text().count("\n") == 3
    assert (tmp_path / "seeds.csv").read_text().count("\n") == 5
