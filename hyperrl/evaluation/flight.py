"""Flying the simulated quadrotor through the exported controller, at the rates of the firmware."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ArtefactError
from hyperrl.exporters.crazyflie import CompiledController, Mode, Reason, Setpoint, VehicleState
from hyperrl.exporters.crazyflie.controller import MOTORS, OBSERVATIONS
from hyperrl_envs.quadrotor.trajectory import setpoints

if TYPE_CHECKING:
    from hyperrl.exporters.base import Act
    from hyperrl_envs.quadrotor.env import QuadrotorEnv

Array = NDArray[np.float64]
SETTLED_AFTER = 2.5
"""Seconds after which a flight has left its random start behind."""
EPISODE_STEPS = 500
"""Steps of an episode in training: as many are counted in a return."""
_MILLISECONDS = 1000


@dataclass(frozen=True, eq=False)
class Flight:
    """One flight, a row for each of N control periods.

    Attributes:
        seed: Seed of the start.
        period: Seconds of a control period.
        times: When each period began, in seconds ``[N]``.
        positions: Where the robot was then, in m ``[N, 3]``.
        setpoints: Where it should have been, in m ``[N, 3]``.
        errors: The distance, in m ``[N]``.
        velocities: In m/s ``[N, 3]``.
        tilts: Angles from upright, in rad ``[N]``.
        shares: Commands of M1 to M4 as shares of full thrust ``[N, 4]``.
        rewards: What the environment gives for each period ``[N]``.
        reason: Why the controller gave up, `Reason.NONE` where it did not.
        crashed: Whether the environment ended the episode.
    """

    seed: int
    period: float
    times: Array
    positions: Array
    setpoints: Array
    errors: Array
    velocities: Array
    tilts: Array
    shares: Array
    rewards: Array
    reason: Reason
    crashed: bool

    @property
    def completed(self) -> bool:
        """Whether it was flown to its end."""
        return not self.crashed and self.reason == Reason.NONE

    @property
    def settled(self) -> Array:
        """Distances from the setpoint after `SETTLED_AFTER`, in m."""
        return self.errors[self.times >= SETTLED_AFTER]

    @property
    def episode_return(self) -> float:
        """Sum of the rewards of as many periods as an episode has in training."""
        return float(self.rewards[:EPISODE_STEPS].sum())


def fly(
    controller: CompiledController,
    env: gym.Env[Any, Any],
    seed: int,
    seconds: float,
    watch: Callable[[], None] | None = None,
) -> Flight:
    """Fly once: the simulation makes its steps, and the controller its calls a thousand times a second.

    The firmware's state is the simulation's, without noise or delay, rounded to float32. A flight ends where
    the controller gives up, for the PID controller of the firmware is not simulated.

    Args:
        controller: The compiled controller.
        env: A `hyperrl/Quadrotor-v0`.
        seed: Seed of the start.
        seconds: How long.
        watch: Called at the beginning of each control period.

    Raises:
        ArtefactError: The controller's self-test fails.
    """
    env.reset(seed=seed)
    robot: QuadrotorEnv = env.unwrapped  # type: ignore[assignment]
    calls = max(1, round(robot.model.opt.timestep * _MILLISECONDS))
    controller.start()
    if not controller.self_test():
        raise ArtefactError("the self-test of the compiled controller fails")
    controller.enable(True)
    rows: list[tuple[Any, ...]] = []
    call, crashed = 0, False
    views = robot.task.views(robot.model, robot.data)
    for _ in range(max(1, round(seconds / robot.dt))):
        before = _batch(views, robot)
        if watch is not None:
            watch()
        for _ in range(robot.frame_skip):
            state, setpoint = _now(robot)
            for _ in range(calls):
                call += 1
                shares = controller.step(state, setpoint, call)
            robot.data.ctrl[:] = 2 * shares.astype(np.float64) - 1
            mujoco.mj_step(robot.model, robot.data)
        if controller.mode != Mode.POLICY:
            break
        # Held from the first call of the period to its last.
        actions = 2 * shares[None] - 1
        reward, lost, _ = robot.task.outcome(before, _batch(views, robot), actions)
        rows.append((before, shares, reward[0]))
        crashed = bool(lost[0])
        if crashed:
            break
    return _flight(robot, seed, rows, controller.reason, crashed)


def fly_in_environment(act: Act, env: gym.Env[Any, Any], seed: int, steps: int) -> Array:
    """Fly once as in training: the environment's own observations and steps, the policy alone.

    Args:
        act: The policy, from observations ``[N, in]`` to actions ``[N, out]``.
        env: A `hyperrl/Quadrotor-v0`; its time limit does not count.
        seed: Seed of the start.
        steps: How many control periods.

    Returns:
        Where the robot was at the beginning of each period, in m ``[N, 3]``.
    """
    robot: QuadrotorEnv = env.unwrapped  # type: ignore[assignment]
    observation, _ = env.reset(seed=seed)
    positions = []
    for _ in range(steps):
        positions.append(robot.data.qpos[:3].copy())
        action = act(np.asarray(observation, np.float32)[None])[0]
        observation = robot.step(action)[0]
    return np.array(positions)


def _batch(views: dict[str, Array], robot: QuadrotorEnv) -> dict[str, Array]:
    batch = {name: view[None].copy() for name, view in views.items()}
    return {**batch, "time": np.array([robot.data.time])}


def _now(robot: QuadrotorEnv) -> tuple[VehicleState, Setpoint]:
    data = robot.data
    place, speed = setpoints(np.array(data.userdata)[None], np.array([data.time]))
    state = VehicleState(
        position=tuple(data.qpos[:3]),
        velocity=tuple(data.qvel[:3]),
        quaternion=tuple(data.qpos[3:7]),
        angular_rate=tuple(data.qvel[3:6]),
    )
    return state, Setpoint(position=tuple(place[0]), velocity=tuple(speed[0]))


def _flight(
    robot: QuadrotorEnv, seed: int, rows: list[tuple[Any, ...]], reason: Reason, crashed: bool
) -> Flight:
    batches = [row[0] for row in rows]
    count = len(batches)
    times = np.array([batch["time"][0] for batch in batches])
    positions = np.array([batch["qpos"][0, :3] for batch in batches]).reshape(count, 3)
    seen = np.array([robot.task.observation(batch)[0] for batch in batches]).reshape(count, OBSERVATIONS)
    return Flight(
        seed=seed,
        period=float(robot.dt),
        times=times,
        positions=positions,
        setpoints=positions - seen[:, :3],
        errors=np.linalg.norm(seen[:, :3], axis=1),
        velocities=np.array([batch["qvel"][0, :3] for batch in batches]).reshape(count, 3),
        tilts=np.arccos(np.clip(seen[:, 14], -1, 1)),
        shares=np.array([row[1] for row in rows], np.float64).reshape(count, MOTORS),
        rewards=np.array([row[2] for row in rows], np.float64),
        reason=reason,
        crashed=crashed,
    )
