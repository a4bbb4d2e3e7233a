"""The tasks that are rewarded for moving forward: HalfCheetah, Hopper, Walker2d, Swimmer."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from hyperrl_envs.native.half_cheetah import HalfCheetah
from hyperrl_envs.native.locomotion import Locomotion
from hyperrl_envs.native.planar_walkers import Hopper, PlanarWalker, Walker2d
from hyperrl_envs.native.swimmer import Swimmer
from hyperrl_envs.warp.judge import Batch, NoisyStartJudge, Outcome, joined, never, square_sum, within

LocomotionT = TypeVar("LocomotionT", bound=Locomotion)
WalkerT = TypeVar("WalkerT", bound=PlanarWalker)

_FASTEST = 10.0  # Velocities of walkers are clipped to this in the observation, in m/s and rad/s.


class LocomotionJudge(NoisyStartJudge[LocomotionT]):
    """A task with a reward for the velocity along x and a cost of control."""

    def seen_positions(self, batch: Batch) -> Tensor:
        """Return the positions that are part of the observation, shape [n, at most nq]."""
        hidden = self.task.exclude_current_positions_from_observation
        return batch["qpos"][:, self.task.positions if hidden else 0 :]

    def observation(self, batch: Batch) -> Tensor:
        """Return positions and velocities, see `Judge.observation`."""
        return joined((self.seen_positions(batch), batch["qvel"]))

    def anchor(self, batch: Batch) -> Tensor:
        """Return the place along x, see `Judge.anchor`."""
        return batch["qpos"][:, :1]

    def progress(self, before: Tensor, after: Batch, actions: Tensor) -> Tensor:
        """Return the reward of velocity less the cost of control, shape [n]."""
        velocity = (self.anchor(after) - before)[:, 0] / self.dt
        return self.task.forward_reward_weight * velocity - self.task.ctrl_cost_weight * square_sum(actions)


class HalfCheetahJudge(LocomotionJudge[HalfCheetah]):
    """HalfCheetah-v5."""

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward velocity, less the cost of control; see `Judge.outcome`."""
        return Outcome(self.progress(before, after, actions), never(after))


class SwimmerJudge(LocomotionJudge[Swimmer]):
    """Swimmer-v5."""

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward velocity, less the cost of control; see `Judge.outcome`."""
        return Outcome(self.progress(before, after, actions), never(after))


class PlanarWalkerJudge(LocomotionJudge[WalkerT]):
    """A body in a plane that must stay upright."""

    def healthy(self, batch: Batch) -> Tensor:
        """Return whether height and angle of the torso are within their ranges, shape [n]."""
        upright = within(batch["qpos"][:, 1], self.task.healthy_z_range)
        return upright & within(batch["qpos"][:, 2], self.task.healthy_angle_range)

    def observation(self, batch: Batch) -> Tensor:
        """Return positions and clipped velocities, see `Judge.observation`."""
        return joined((self.seen_positions(batch), batch["qvel"].clamp(-_FASTEST, _FASTEST)))

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward velocity and staying upright, less the cost of control; see `Judge.outcome`."""
        healthy = self.healthy(after)
        rewards = self.progress(before, after, actions) + healthy * float(self.task.healthy_reward)
        return Outcome(rewards, ~healthy & self.task.terminate_when_unhealthy)


class HopperJudge(PlanarWalkerJudge[Hopper]):
    """Hopper-v5."""

    def healthy(self, batch: Batch) -> Tensor:
        """Return whether torso and all other coordinates are within their ranges, shape [n]."""
        others = joined((batch["qpos"][:, 2:], batch["qvel"]))
        return super().healthy(batch) & within(others, self.task.healthy_state_range).all(dim=1)


class Walker2dJudge(PlanarWalkerJudge[Walker2d]):
    """Walker2d-v5."""
