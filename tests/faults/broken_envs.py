"""Environments that fail on purpose. They import nothing heavy: every worker process loads this module."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FOREVER = 1000.0


def _raise():
    raise ValueError("the mass\nis negative")


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _hang():
    time.sleep(FOREVER)


def _hang_in_compiled_code():
    ctypes.PyDLL(None).sleep(int(FOREVER))  # Unlike CDLL it keeps the interpreter's lock.


def _memory():
    bytearray(1 << 62)


FAULTS = {
    "raise": _raise,
    "kill": _kill,
    "exit": lambda: sys.exit(0),
    "os_exit": lambda: os._exit(3),
    "memory": _memory,
    "hang": _hang,
    "compiled": _hang_in_compiled_code,
    "segfault": lambda: ctypes.string_at(0),
    "system_exit": lambda: sys.exit("no licence"),
}


class FaultyEnv(gym.Env):
    """Count, and fail at a chosen place.

    Args:
        fault: What happens, a name of `FAULTS`; None never fails.
        call: Where: "constructor", "reset", "step" or "close".
        at: At which call of it, from 1 on.
        once: A file that is made when it happens, after which it does not happen again.
    """

    def __init__(self, fault=None, call="step", at=1, once=None):
        self.observation_space = spaces.Box(-1e6, 1e6, (3,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.fault, self.call, self.at, self.once = fault, call, at, once
        self.calls = {"reset": 0, "step": 0, "close": 0, "constructor": 0}
        self.seeds = []
        self.returned = {}
        self._perhaps("constructor")

    def _perhaps(self, call):
        self.calls[call] += 1
        if self.fault is None or call != self.call or self.calls[call] < self.at:
            return
        if self.once is not None:
            if Path(self.once).exists():
                return
            Path(self.once).touch()
        FAULTS[self.fault]()

    def _observation(self):
        return np.full(3, self.calls["step"], np.float32)

    def return_instead(self, call, value):
        """Return something else from the next `step` or `reset`."""
        self.returned[call] = value

    def fail(self, fault):
        FAULTS[fault]()

    def loaded(self, module):
        return module in sys.modules

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append((seed, options))
        self._perhaps("reset")
        return self.returned.pop("reset", (self._observation(), {"seed": seed}))

    def step(self, action):
        self._perhaps("step")
        return self.returned.pop(
            "step", (self._observation(), 1.5, False, False, {"calls": self.calls["step"]})
        )

    def close(self):
        self._perhaps("close")


class Faulty:
    """A function that makes a `FaultyEnv`, which any start method can send to a worker."""

    def __init__(self, *arguments, **keywords):
        self.arguments, self.keywords = arguments, keywords

    def __call__(self):
        return FaultyEnv(*self.arguments, **self.keywords)


def capture_calls(env):
    """Return how often each call was made, which is all the state that there is."""
    return {"calls": dict(env.unwrapped.calls)}


def restore_calls(env, state):
    """Put back what `capture_calls` returned, and nothing else."""
    (calls,) = state.values()
    env.unwrapped.calls = dict(calls)


class Becomes:
    """Arrives in another process as what a function returns there."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return (self.function, self.arguments)


def unreadable():
    """Fail where something arrives."""
    raise RuntimeError("unreadable")
