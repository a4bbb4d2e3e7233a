"""Humanoid-v5 with another constraint solver, as an ordinary Gymnasium environment."""

from __future__ import annotations

from typing import Any

import mujoco
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv


def use_newton(model: Any) -> None:
    """Let a `mujoco.MjModel` be simulated with the Newton solver."""
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON


class HumanoidNewtonEnv(HumanoidEnv):
    """Gymnasium's Humanoid-v5, simulated with MuJoCo's Newton solver rather than PGS.

    It is what MuJoCo Warp simulates, so returns of the one can be checked with the other. They are not those
    of Humanoid-v5: its solver stops before contacts are solved exactly.
    """

    def _initialize_simulation(self) -> tuple[Any, Any]:
        model, data = super()._initialize_simulation()
        use_newton(model)
        return model, data
