"""Runs of the command line in real processes that can be killed, without the seconds that imports take.

One process imports everything and forks a child for each command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_SERVER = """
import json, os, sys, traceback
import torch
torch.set_num_threads(1)
import hyperrl.train, hyperrl.evaluate, hyperrl.import_model, hyperrl.cli.train, hyperrl.cli.resume
import hyperrl_agents.hyper_td3, hyperrl_agents.hyper_sac, stable_baselines3, mujoco
# What every run would load by itself, which takes it longer than all it does.
import hyperrl.presets, hyperrl_agents.baselines.td3, hyperrl_agents.baselines.sac, torch._dynamo
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        _, status = os.waitpid(request["wait"], 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(json.dumps(pid), flush=True)
        continue
    status = 1
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        for stream in request["unread"]:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, stream)
            os.close(writer)
        for stream in request["closed"]:
            os.close(stream)
        os.chdir(request["cwd"])
        for limit, value in request.get("limits", {}).items():
            import resource, signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(getattr(resource, limit), (value, value))
        status = hyperrl.cli.main(request["argv"])
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush(), sys.stderr.flush()
        except OSError:
            status = 120  # As at the end of an interpreter.
        finally:
            os._exit(status)
"""


class Process:
    """One command that runs, or ran.

    Attributes:
        pid: Its process id.
        log: Where its output goes.
    """

    def __init__(self, server: ForkServer, pid: int, log: Path) -> None:
        self._server = server
        self.pid = pid
        self.log = log
        self._status: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit status, negative for a signal's number."""
        if self._status is None:
            self._status = self._server.ask({"wait": self.pid})
        return self._status

    def output(self) -> str:
        """Return what it has printed so far, on both streams."""
        return self.log.read_text() if self.log.exists() else ""


class ForkServer:
    """The process that forks the commands."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    def ask(self, request: dict[str, object]) -> int:
        """Send a request, and return its answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(json.loads(self._server.stdout.readline()))

    def start(
        self,
        *argv: str | Path,
        cwd: Path | None = None,
        limits: dict[str, int] | None = None,
        unread: tuple[int, ...] = (),
        closed: tuple[int, ...] = (),
    ) -> Process:
        """Start `hyperrl ARGV`, whose streams of the numbers given are read by nobody, or closed."""
        self._count += 1
        log = self._folder / f"log-{self._count}.txt"
        request = {
            "argv": [str(word) for word in argv],
            "log": str(log),
            "cwd": str(cwd or self._folder),
            "limits": limits or {},
            "unread": unread,
            "closed": closed,
        }
        return Process(self, self.ask(request), log)

    def run(self, *argv: str | Path, cwd: Path | None = None, closed: tuple[int, ...] = ()) -> Process:
        """Do as `start` does, and wait for the end."""
        process = self.start(*argv, cwd=cwd, closed=closed)
        process.wait()
        return process

    def close(self) -> None:
        """End the server."""
        self._server.communicate()


def wait_for(condition, seconds: float = 60.0) -> None:
    """Wait until something is true; fail after a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.005)
