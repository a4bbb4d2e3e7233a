"""Faults in the middle of a save: the process is killed, or the disk is full."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from hyperrl.bench.fault_cases import Lost, Scale
from hyperrl.bench.fault_libraries import Job, Library
from hyperrl.bench.fault_process import wait_for

# TD3 as it comes, with 400 and 300 hidden units: about 6 MB with its optimisers.
_JOB = Job("td3", "Pendulum-v1", 20, settings={"buffer_size": 1000, "learning_starts": 10})
_TIMED_SAVES = 5


def kills(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Kill processes that save, from outside, at evenly spaced moments of a save.

    Each process overwrites the last checkpoint until it dies. "gone": afterwards no checkpoint can be loaded
    that is whole and at least as new as the last save that ended.
    """
    subject = _Subject(library, folder)
    duration = statistics.median([subject.timed_save(count) for count in range(_TIMED_SAVES)][1:])
    last = _TIMED_SAVES - 1
    for point in range(scale.kills):
        ended = _strike(subject, last + 1, duration * point / scale.kills)
        found = subject.loaded()
        lost = found is None or found < last + ended
        yield {"gone"} if lost else ()
        # What a killed process has left is what the next one overwrites, if there is anything left.
        if found is None or lost:
            found = last + ended + 1
            subject.save(found)
        last = found


def limits(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Save where no file may grow beyond a size (RLIMIT_FSIZE), as on a disk that is full.

    The sizes are evenly spaced up to that of the largest file of a checkpoint. "gone": afterwards neither the
    checkpoint before nor the new one can be loaded.
    """
    subject = _Subject(library, folder)
    subject.save(0)
    largest = max(path.stat().st_size for path in library.files(folder))
    for index in range(scale.limits):
        count = 2 * index
        subject.save(count)
        _save_within(subject, count + 1, largest * index // scale.limits)
        yield () if subject.loaded() in (count, count + 1) else {"gone"}


class _Subject:
    """An agent that is saved again and again; all its weights are the number of the save."""

    def __init__(self, library: Library, folder: Path) -> None:
        self._library = library
        self._folder = folder
        self._agent = _agent_with_optimisers(library)
        folder.mkdir(exist_ok=True)
        self._save = library.saver(self._agent, folder)

    def save(self, count: int) -> None:
        """Take a step, and save for the time number `count`."""
        _add_row(self._agent)
        with torch.no_grad():
            for parameter in self._agent.policy.parameters():
                parameter.fill_(float(count))
        self._save()

    def timed_save(self, count: int) -> float:
        """Save and return how many seconds it took."""
        start = time.perf_counter()
        self.save(count)
        return time.perf_counter() - start

    def loaded(self) -> int | None:
        """Return the number of the save that can be loaded; None if there is none that is whole."""
        try:
            weights = self._library.weights(self._folder)
        except Exception:  # What is left of a file can fail to load in any way.
            return None
        values = torch.cat([tensor.flatten() for tensor in weights.values()]).unique()
        return int(values) if len(values) == 1 else None


def _agent_with_optimisers(library: Library) -> BaseAlgorithm:
    """Build an agent whose optimisers have the moments of their first update."""
    agent: Any = library.build(_JOB)
    agent._setup_learn(_JOB.steps)
    for _ in range(_JOB.steps):
        _add_row(agent)
    agent.train(gradient_steps=agent.policy_delay, batch_size=16)
    return agent  # type: ignore[no-any-return]


def _add_row(agent: Any) -> None:
    observation = agent.observation_space.sample()
    rewards, dones = np.zeros(1, np.float32), np.zeros(1, bool)
    agent.replay_buffer.add(observation, observation, agent.action_space.sample(), rewards, dones, [{}])
    agent.num_timesteps += 1


def _strike(subject: _Subject, first: int, seconds: float) -> int:
    """Kill a process so many seconds after its first save has begun, and return how many saves ended."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _save_for_ever(subject, first, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as marks:
        marks.read(1)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        status = wait_for(pid)
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the process that saves ended by itself, with status {status}")
        return marks.read().count(b"d")


def _save_for_ever(subject: _Subject, first: int, writer: int) -> None:
    try:
        for count in itertools.count(first):
            os.write(writer, b"s")
            subject.save(count)
            os.write(writer, b"d")
    finally:
        os._exit(1)


def _save_within(subject: _Subject, count: int, size: int) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            # The limit is then an error of the write, as with a full disk, and not the end of the process.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            subject.save(count)
        finally:
            os._exit(0)
    wait_for(pid)
