"""Ant and Humanoid as meta-learning has them: going in a direction, at a velocity or to a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.contextual.families.envs import FamilyEnv
from hyperrl_envs.native.ant import Ant
from hyperrl_envs.native.humanoid import Humanoid
from hyperrl_envs.native.task import Array, Batch, Outcome, joined


@dataclass(frozen=True, kw_only=True)
class MetaAnt(Ant):
    """Ant that sees positions and velocities, 27 numbers, with the small costs of HypeRL's code.

    PEARL's code has ``ctrl_cost_weight=0.5, healthy_reward=1.0``. As in both of them the reward of being
    healthy is also given in the step that ends an episode.
    """

    ctrl_cost_weight: float = 0.005
    healthy_reward: float = 0.05
    include_cfrc_ext_in_observation: bool = False

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity, less the costs of control and contact; see `Task.outcome`."""
        outcome = _with_bonus(super().outcome(before, after, actions), self)
        places = {"torso_x": after["place"][:, 0], "torso_y": after["place"][:, 1]}
        return outcome._replace(terms={**outcome.terms, **places})


@dataclass(frozen=True, kw_only=True)
class MetaAntPos(MetaAnt):
    """Ant that also sees where it is, 29 numbers: otherwise it could not know how far a goal still is."""

    exclude_current_positions_from_observation: bool = False


@dataclass(frozen=True, kw_only=True)
class MetaAntGoal(MetaAntPos):
    """Ant that sees all positions, velocities and contact forces, 113 numbers; it never ends."""

    include_cfrc_ext_in_observation: bool = True
    terminate_when_unhealthy: bool = False

    def observation(self, batch: Batch) -> Array:
        """Return positions, velocities and the clipped contact forces, those of the world among them."""
        parts = [self.seen_positions(batch), batch["qvel"]]
        if self.include_cfrc_ext_in_observation:
            parts.append(np.clip(batch["cfrc_ext"], *self.contact_force_range))
        return joined(parts)


@dataclass(frozen=True, kw_only=True)
class MetaHumanoid(Humanoid):
    """Humanoid whose reward of being upright is also given in the step that ends an episode.

    PEARL's code weighs the displacement of a step with 0.25 over the time of a simulation step, five of which
    are a step: that is Gymnasium's weight of 1.25 for the velocity.
    """

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity, less the costs of control and contact; see `Task.outcome`."""
        return _with_bonus(super().outcome(before, after, actions), self)


class MetaAntEnv(FamilyEnv):
    """The ant, see `MetaAnt`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(MetaAnt, "MetaAnt", camera_name=camera_name, **kwargs)


class MetaAntPosEnv(FamilyEnv):
    """The ant that sees where it is, see `MetaAntPos`; the arguments are as those of `MetaAntEnv`."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(MetaAntPos, "MetaAntPos", camera_name=camera_name, **kwargs)


class MetaAntGoalEnv(FamilyEnv):
    """The ant that never ends, see `MetaAntGoal`; the arguments are as those of `MetaAntEnv`."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(MetaAntGoal, "MetaAntGoal", camera_name=camera_name, **kwargs)


class MetaHumanoidEnv(FamilyEnv):
    """The humanoid, see `MetaHumanoid`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(MetaHumanoid, "MetaHumanoid", camera_name=camera_name, **kwargs)


def _with_bonus(outcome: Outcome, task: MetaAnt | MetaHumanoid) -> Outcome:
    """Give the reward of being healthy in every step, and tell what moving sideways would be worth."""
    survive = outcome.terms["reward_survive"]
    terms = {
        **outcome.terms,
        "reward_survive": np.full(len(survive), float(task.healthy_reward)),
        "reward_sideways": outcome.terms["y_velocity"] * task.forward_reward_weight,
    }
    # Nought but in that last step.
    return outcome._replace(rewards=outcome.rewards + (task.healthy_reward - survive), terms=terms)
