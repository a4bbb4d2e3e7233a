"""The MuJoCo tasks of Gymnasium that the agents are meant for, with their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from hyperrl_envs.quadrotor.ids import QUADROTOR


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        env_id: Gymnasium id.
        observation_size: Number of observation dimensions.
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
    Task(QUADROTOR, 18, 4, "hover, or follow a trajectory, with the four motors of a Crazyflie 2.1"),
)
