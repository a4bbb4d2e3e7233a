"""The tasks that the agents are meant for, with their sizes: Gymnasium's MuJoCo tasks and our own."""

from __future__ import annotations

from dataclasses import dataclass

from hyperrl_envs.quadrotor.ids import QUADROTOR


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        env_id: Gymnasium id.
        observation_size: Number of observation dimensions, those of its default context included.
        action_size: Number of action dimensions.
        summary: What the agent has to do, in one line.
    """

    env_id: str
    observation_size: int
    action_size: int
    summary: str


TASKS = (
    Task("Ant-v5", 105, 8, "run forward on four legs"),
    Task("HalfCheetah-v5", 17, 6, "run forward in the plane on two legs"),
    Task("Hopper-v5", 11, 3, "hop forward on one leg without falling"),
    Task("Humanoid-v5", 348, 17, "walk forward on two legs without falling"),
    Task("HumanoidStandup-v5", 348, 17, "stand up from lying"),
    Task("InvertedDoublePendulum-v5", 9, 1, "balance two poles on a cart"),
    Task("InvertedPendulum-v5", 4, 1, "balance a pole on a cart"),
    Task("Pusher-v5", 23, 7, "push a cylinder to a place with an arm"),
    Task("Reacher-v5", 10, 2, "move the tip of an arm to a place in the plane"),
    Task("Swimmer-v5", 8, 2, "swim forward with three links"),
    Task("Walker2d-v5", 17, 6, "walk forward in the plane without falling"),
    Task("hyperrl/AntDir-v0", 29, 8, "Ant: run in a direction of the plane"),
    Task("hyperrl/AntDirLegacy-v0", 28, 8, "Ant: run in one of two directions 1 rad off forward"),
    Task("hyperrl/AntGoal-v0", 116, 8, "Ant: go to a place in a disc"),
    Task("hyperrl/AntPos-v0", 31, 8, "Ant: go to a place in a square"),
    Task("hyperrl/AntVel-v0", 28, 8, "Ant: run at a velocity"),
    Task("hyperrl/CheetahRun-v0", 18, 6, "HyperZero's cheetah: signed target speed, torso length"),
    Task("hyperrl/ContextualAnt-v0", 107, 8, "Ant with contexts of dynamics, reward or both"),
    Task("hyperrl/ContextualCartPole-v0", 5, 1, "balance a pole of some length with a continuous force"),
    Task("hyperrl/ContextualHalfCheetah-v0", 19, 6, "HalfCheetah with contexts of dynamics, reward or both"),
    Task("hyperrl/ContextualHopper-v0", 13, 3, "Hopper with contexts of dynamics, reward or both"),
    Task("hyperrl/ContextualODE-v0", 2, 2, "steer an unknown polynomial differential equation to nought"),
    Task("hyperrl/ContextualQuadrotor-v0", 20, 4, "the quadrotor with another mass, motors or a payload"),
    Task("hyperrl/ContextualWalker2d-v0", 19, 6, "Walker2d with contexts of dynamics, reward or both"),
    Task("hyperrl/FingerSpin-v0", 10, 2, "HyperZero's finger: signed speed of spinning, link length"),
    Task("hyperrl/HalfCheetahDir-v0", 21, 6, "HalfCheetah: run forward or backward"),
    Task("hyperrl/HalfCheetahVel-v0", 21, 6, "HalfCheetah: run at a velocity"),
    Task("hyperrl/HalfCheetahVelMedium-v0", 21, 6, "HalfCheetah: run at a velocity, faster in tests"),
    Task("hyperrl/HopperRandParams-v0", 23, 3, "Hopper with factors of its parts"),
    Task("hyperrl/HumanoidDir-v0", 350, 17, "Humanoid: walk in a direction of the plane"),
    Task("hyperrl/Navigation2D-v0", 3, 2, "move a point to a goal in the plane"),
    Task(QUADROTOR, 18, 4, "hover, or follow a trajectory, with the four motors of a Crazyflie 2.1"),
    Task("hyperrl/SparseNavigation2D-v0", 3, 2, "find a goal in the plane that is felt only nearby"),
    Task("hyperrl/Walker2dRandParams-v0", 38, 6, "Walker2d with factors of its parts"),
    Task("hyperrl/WalkerWalk-v0", 25, 6, "HyperZero's walker: signed target speed, torso length"),
)
