"""Sweeps of runs of a second, a run that only pretends, and a look at the processes of the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hyperrl.config import RunConfig
from hyperrl.sweep.plan import Plan, PlannedRun

# Two of them side by side need about ten seconds, most of them for imports.
SMALL = """
[run]
steps = 300
eval_every = 100
eval_episodes = 1
checkpoint_every = 25
device = "cpu"
agent_kwargs = { buffer_size = 1000, learning_starts = 50, batch_size = 16 }
"""
TWELVE = f"""{SMALL}
[grid]
agent = ["td3", "sac"]
env = ["Pendulum-v1", "InvertedPendulum-v5"]
seed = {{ count = 3 }}
agent_kwargs.policy_kwargs.net_arch = [[8]]
"""

# What it does is decided by `agent_kwargs.act` of its configuration.
PRETEND = """
import json, os, signal, sys, time, tomllib
text = sys.stdin.read()
config = tomllib.loads(text)
path, act = config["out"], config["agent_kwargs"]["act"]

def say(state, steps, **more):
    with open(f"{path}/status.json", "w") as file:
        json.dump({"state": state, "steps": steps, **more}, file)

def stop(number, frame):
    say("stopped", 5)
    sys.exit(143)

if act == "refuse":
    print("hyperrl: there is no such thing", flush=True)
    sys.exit(2)
signal.signal(signal.SIGTERM, stop)
os.makedirs(path, exist_ok=True)
with open(f"{path}/run.toml", "w") as file:
    file.write("".join(line for line in text.splitlines(keepends=True) if not line.startswith("out =")))
say("running", 1)
print("begun with threads:", os.environ["OMP_NUM_THREADS"], flush=True)
if act == "hang" and not os.path.exists(f"{path}/../go"):
    time.sleep(60)
if act == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "fail" and not os.path.exists(f"{path}/../go"):
    say("failed", 7, error="NonFiniteError: it is NaN")
    print("Traceback", "hyperrl: it is NaN", sep=chr(10), flush=True)
    sys.exit(2)
say("finished", config["steps"])
"""


def pretended(*acts: str) -> Plan:
    """Return a plan of runs that only pretend."""
    runs = [
        PlannedRun(
            f"run-{seed}",
            {"agent": "td3", "env": "Pendulum-v1", "seed": seed},
            RunConfig("td3", "Pendulum-v1", steps=10, seed=seed, agent_kwargs={"act": act}),
        )
        for seed, act in enumerate(acts)
    ]
    return Plan("pretended", "pretended.toml", {"name": "pretended"}, tuple(runs))


def children(folder: Path) -> list[int]:
    """Return the ids of the processes that do runs in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"hyperrl.sweep.child" in words and any(word.startswith(bytes(folder)) for word in words):
            found.append(int(entry.name))
    return found


def parent_of(process: int) -> int:
    """Return the id of a process's parent."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(condition, seconds: float = 120.0) -> None:
    """Wait until something is true; fail after a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


def environment() -> dict[str, str]:
    """Return the environment of commands, which find what the tests find."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
