"""An environment that fails on purpose; it imports little, because worker processes load it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

ENV_ID = "FaultyForBenchmark-v0"
EPISODE = 20
MESSAGE = "the mass of the left leg is negative"
"""What the environment says when it raises."""

_FOREVER = 1000.0


class FaultyEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Random observations ``[3]``, episodes of twenty steps, and one fault.

    Args:
        fault: "reward" or "observation" (that becomes `value`), "raise", "kill" or "hang"; empty for none.
        value: NaN or infinity.
        call: Where "raise", "kill" and "hang" happen, "reset" or "step".
        at: In which call of it, from 1 on.
        steps_file: A file whose first 8 bytes are kept at the largest number of steps that one environment
            has begun, little-endian; empty for none.

    Attributes:
        steps_of_all: Steps of all environments in this process.
    """

    steps_of_all: ClassVar[int] = 0

    def __init__(
        self,
        fault: str = "",
        value: float = float("nan"),
        call: str = "step",
        at: int = 1,
        steps_file: str = "",
    ) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._fault, self._value, self._call, self._at = fault, value, call, at
        self._steps_file = steps_file
        self._calls = {"reset": 0, "step": 0}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._begin("reset")
        return self._observation(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take a step, perhaps the one with the fault."""
        if self._steps_file:
            self._note_steps()
        FaultyEnv.steps_of_all += 1
        self._begin("step")
        steps = self._calls["step"]
        observation, reward = self._observation(), float(np.sin(steps))
        if steps == self._at and self._fault == "observation":
            observation[1] = self._value
        if steps == self._at and self._fault == "reward":
            reward = self._value
        return observation, reward, False, steps % EPISODE == 0, {}

    def _observation(self) -> NDArray[np.float32]:
        return self.np_random.normal(size=3).astype(np.float32)

    def _begin(self, call: str) -> None:
        self._calls[call] += 1
        if call != self._call or self._calls[call] != self._at:
            return
        if self._fault == "raise":
            raise ValueError(MESSAGE)
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault == "hang":
            time.sleep(_FOREVER)

    def _note_steps(self) -> None:
        # The step that begins now is not done; those before it are.
        done = self._calls["step"]
        descriptor = os.open(self._steps_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if done > int.from_bytes(os.pread(descriptor, 8, 0), "little"):
                os.pwrite(descriptor, done.to_bytes(8, "little"), 0)
        finally:
            os.close(descriptor)


def register() -> None:
    """Make the environment known to Gymnasium as `ENV_ID`; a second call does nothing."""
    if ENV_ID not in gym.registry:
        gym.register(ENV_ID, f"{__name__}:FaultyEnv")
