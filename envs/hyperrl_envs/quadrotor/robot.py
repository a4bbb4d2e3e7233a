"""The robot of an episode: the published one, or one that is drawn about it.

Domain randomisation draws these factors anew for each episode, uniformly, and multiplies the numbers of
`crazyflie.xml` by them:

- mass 0.95 to 1.2 (a Crazyflie that carries a positioning deck weighs 29 g rather than 27 g),
- each principal moment of inertia 0.85 to 1.25, independently,
- thrust of all motors 0.9 to 1.1 (voltage, wear), and of each motor another 0.97 to 1.03,
- torque over thrust 0.8 to 1.2,
- motor time constant 0.7 to 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from hyperrl_envs.native.task import Array

MASS = (0.95, 1.2)
INERTIA = (0.85, 1.25)
THRUST = (0.9, 1.1)
MOTOR = (0.97, 1.03)
TORQUE = (0.8, 1.2)
TIME_CONSTANT = (0.7, 1.4)

REDRAWN = (
    "actuator_acc0",
    "actuator_biasprm",
    "actuator_dynprm",
    "actuator_gainprm",
    "actuator_gear",
    "body_inertia",
    "body_invweight0",
    "body_mass",
    "body_subtreemass",
    "dof_M0",
    "dof_invweight0",
)
"""Arrays of a `mujoco.MjModel` that a drawn robot changes, with those that MuJoCo derives from them."""


def draw_robot(generator: np.random.Generator, model: Any, published: Mapping[str, Array]) -> None:
    """Draw a robot and write it into a model.

    Args:
        generator: The environment's own.
        model: The `mujoco.MjModel`, which no other environment uses.
        published: The arrays of `REDRAWN` as they are in the published robot.
    """
    body = model.body("quadrotor").id
    motors = model.nu
    model.body_mass[body] = published["body_mass"][body] * generator.uniform(*MASS)
    model.body_inertia[body] = published["body_inertia"][body] * generator.uniform(*INERTIA, size=3)
    thrust = generator.uniform(*THRUST) * generator.uniform(*MOTOR, size=motors)
    for name in ("actuator_gainprm", "actuator_biasprm"):
        getattr(model, name)[:, 0] = published[name][:, 0] * thrust
    model.actuator_gear[:, 5] = published["actuator_gear"][:, 5] * generator.uniform(*TORQUE)
    model.actuator_dynprm[:, 0] = published["actuator_dynprm"][:, 0] * generator.uniform(*TIME_CONSTANT)
    # Into a simulation of its own: it would leave the model's own start in that of the environment.
    mujoco.mj_setConst(model, mujoco.MjData(model))


def hover_control(model: Any) -> float:
    """Return the control in [-1, 1] at which the motors together carry the robot's weight.

    Args:
        model: The `mujoco.MjModel`.
    """
    weight = -model.opt.gravity[2] * model.body("quadrotor").subtreemass[0]
    return float((weight - model.actuator_biasprm[:, 0].sum()) / model.actuator_gainprm[:, 0].sum())
