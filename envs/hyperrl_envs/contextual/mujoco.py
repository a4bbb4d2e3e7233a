"""Contexts for Gymnasium's MuJoCo environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace, Splits
from hyperrl.errors import UnsupportedEnvError
from hyperrl_envs.contextual.arrays import write_arrays
from hyperrl_envs.contextual.base import ContextualEnv
from hyperrl_envs.contextual.edits import EDITS
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.model_writer import ModelWriter
from hyperrl_envs.contextual.recompiling import Edit
from hyperrl_envs.contextual.respecify import published_specification
from hyperrl_envs.contextual.rewards import REWARDS, ContextReward, Reward


class ContextualMujoco(ContextualEnv):
    """A MuJoCo environment whose robot, world or reward the context changes.

    Each reset writes all that contexts act upon from the published values, so that an episode depends on its
    own context alone. Models are changed in place: pictures and views of them stay valid.

        ContextualMujoco(gym.make("Hopper-v5"), [ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",))])

    Args:
        env: An environment with `unwrapped.model` and `unwrapped.data`, as it was built.
        space: The contexts, or their parameters.
        splits: See `ContextualEnv`.
        edits: Edits of the model's specification, for parameters of level "recompile".
        rewards: Rewards, for parameters of level "reward".
        healthy: How the heights between which the robot counts as healthy follow its size.
        **settings: `mode`, `append`, `units`, `sampler` and `fixed` of `ContextualEnv`.

    Attributes:
        writer: Writes contexts into the model.

    Raises:
        UnsupportedEnvError: The environment has no MuJoCo simulation.
        ContextError: A parameter has no effect on this model, needs another level, or the environment itself
            changes what it acts upon.
        HyperRLError: As `ContextualEnv`.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        space: ContextSpace | Sequence[ContextParam],
        splits: Splits | None = None,
        *,
        edits: Mapping[str, Edit] = EDITS,
        rewards: Mapping[str, Reward] = REWARDS,
        healthy: HealthyHeight | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(space, ContextSpace):
            space = ContextSpace(tuple(space))
        # Before the base class does: the first call counts.
        recorded: dict[str, Any] = {"space": space, "splits": splits, "edits": edits, "rewards": rewards}
        RecordConstructorArgs.__init__(self, **recorded, healthy=healthy, **settings)
        super().__init__(env, space, splits, **settings)
        base: Any = env.unwrapped
        if not isinstance(getattr(base, "model", None), mujoco.MjModel):
            raise UnsupportedEnvError(f"{type(base).__name__} has no MuJoCo model that contexts could change")
        self._base = base
        needs_source = any(param.level == "recompile" for param in space)
        source = published_specification(base) if needs_source else None
        self.writer = ModelWriter(base.model, space, source=source, edits=edits)
        self._redrawn = tuple(getattr(base, "redrawn_parameters", ()))
        # For what saves states; see `simulator_state`.
        base.redrawn_parameters = self.writer.redrawn_with(self._redrawn)
        self._reward = ContextReward(space, rewards)
        self._healthy = healthy if self.writer.recompiles else None
        if self._healthy is not None:
            self._healthy_range = self._healthy.published(base)
        self._init_qpos = np.array(base.init_qpos) if self.writer.recompiles else None
        self._qpos0 = base.model.qpos0.copy()
        self._values = self._reward.values(self._context[None])

    @property
    def default_is_published(self) -> bool:
        """Whether the default context is the task that this one is made from, to the last bit."""
        return self._reward.default_is_published

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles are built from: each has to write into the model of its own."""
        published: dict[str, Any] = {"redrawn_parameters": self._redrawn}
        if self._init_qpos is not None:
            published["init_qpos"] = self._init_qpos
        if self._healthy is not None:
            published["_healthy_z_range"] = self._healthy_range
        return {
            "env": self.env,
            "arguments": self._saved_kwargs,
            "model": self.writer.nominal(),
            "published": published,
            "source": self._source.state(),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Build the layer again around a copy of its environment, whose model may be in any context."""
        base: Any = state["env"].unwrapped
        write_arrays(base.model, state["model"])
        for name, value in state["published"].items():
            setattr(base, name, value.copy() if isinstance(value, np.ndarray) else value)
        self.__init__(state["env"], **state["arguments"])  # type: ignore[misc]
        self._source.restore(state["source"])

    def _apply(self, context: NDArray[np.float64]) -> None:
        self.writer.write(context)
        if self._init_qpos is not None:
            qpos0 = self._base.model.qpos0
            moved = self._init_qpos + (qpos0 - self._qpos0)
            self._base.init_qpos[:] = np.where(self._init_qpos == self._qpos0, qpos0, moved)
        if self._healthy is not None:
            self._healthy.set(self._base, self._healthy_range, self._base.model.qpos0, self._qpos0)
        if self._reward.is_needed:
            self._values = self._reward.values(context[None])

    def _judge(self, reward: SupportsFloat, info: dict[str, Any], action: Any) -> SupportsFloat:
        if not self._reward.is_needed:
            return reward
        terms = {name: np.asarray([info[name]]) for name in self._reward.terms if name in info}
        judged = self._reward.judge(
            terms,
            np.array([float(reward)]),
            self._values,
            np.asarray(action)[None],
            np.array([self._base.dt]),
        )
        return float(judged[0])
