"""A family of tasks: a body, the parameters that its contexts can have, and how it is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from hyperrl.context import ContextSpace, Splits, make_splits
from hyperrl.errors import ContextError, unknown_name
from hyperrl_envs.contextual.base import ContextualEnv
from hyperrl_envs.contextual.edits import EDITS
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.mujoco import ContextualMujoco
from hyperrl_envs.contextual.recompiling import Edit
from hyperrl_envs.contextual.rewards import REWARDS, Reward


@dataclass(frozen=True)
class Plan:
    """What the keyword arguments of a suite come to, before anything is built.

    Attributes:
        space: The contexts.
        splits: Those of training and of tests.
        settings: Keyword arguments of `ContextualEnv`: mode, append, units, sampler, fixed.
        base: Keyword arguments of the task's own environment.
    """

    space: ContextSpace
    splits: Splits
    settings: Mapping[str, Any]
    base: Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """A family of tasks, called with keyword arguments to build one of its environments.

    Attributes:
        env_id: The id that it is registered with.
        make_base: Builds the task's own environment, without `TimeLimit`.
        params: All parameters that a context can have.
        default: Names of those that it has unless others are asked for.
        edits: Edits of the model's specification that parameters name.
        rewards: Rewards that parameters name.
        healthy: How healthy heights follow the size of the robot.
        wrap: Builds the contextual environment from base environment, plan and suite; None for
            `ContextualMujoco`.
        native_id: Id of the task that steps the same natively, in `hyperrl_envs.native` or here; None where
            there is none.
    """

    env_id: str
    make_base: Callable[..., gym.Env[Any, Any]]
    params: ContextSpace
    default: tuple[str, ...]
    edits: Mapping[str, Edit] = field(default_factory=lambda: EDITS)
    rewards: Mapping[str, Reward] = field(default_factory=lambda: REWARDS)
    healthy: HealthyHeight | None = None
    wrap: Callable[[gym.Env[Any, Any], Plan, Suite], ContextualEnv] | None = None
    native_id: str | None = None

    def plan(
        self,
        *,
        context: Sequence[str] | None = None,
        ranges: Mapping[str, Sequence[float]] | None = None,
        split: str = "box",
        n_train: int | None = None,
        n_test: int = 32,
        grid: int = 20,
        test_fraction: float = 0.15,
        points: Sequence[Any] | None = None,
        split_seed: int = 0,
        mode: str = "visible",
        append: str = "dict",
        units: str = "normalised",
        sampler: str = "random",
        fixed: Any = None,
        **base: Any,
    ) -> Plan:
        """Work out what keyword arguments mean. All are plain data, as in a file of settings.

        Args:
            context: Names of the context's parameters, in its order.
            ranges: Training ranges by name, low and high, other than the parameters' own.
            split: How contexts are divided into training and tests, one of `hyperrl.context.MODES`.
            n_train: See `hyperrl.context.make_splits`, as the following.
            n_test: See there.
            grid: See there.
            test_fraction: See there.
            points: See there.
            split_seed: Seed of the division.
            mode: See `ContextualEnv`, as the following.
            append: See there.
            units: See there.
            sampler: See there.
            fixed: See there.
            **base: Of the task's own environment, such as `render_mode`.

        Raises:
            UnknownNameError: There is no such parameter or way to divide.
            ContextError: Values contradict each other.
            ConfigError: A number is out of range.
        """
        names = self.default if context is None else context
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise ContextError(
                f"context must be a list of names such as [{self.default[0]!r}], got {context!r}"
            )
        space = self.params.subset(names).with_train(ranges or {})
        splits = make_splits(
            space,
            split,
            n_train=n_train,
            n_test=n_test,
            grid=grid,
            test_fraction=test_fraction,
            points=points,
            seed=split_seed,
        )
        settings = {"mode": mode, "append": append, "units": units, "sampler": sampler, "fixed": fixed}
        return Plan(space, splits, settings, base)

    def check_base(self, plan: Plan) -> None:
        """Refuse keyword arguments of the task's own environment that it does not have.

        Args:
            plan: What they are part of. Tasks that hand arguments on to others check them by themselves.

        Raises:
            UnknownNameError: There is no such argument.
        """
        taken = inspect.signature(self.make_base).parameters
        if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
            return
        own = inspect.signature(Suite.plan).parameters.values()
        known = [*(one.name for one in own if one.kind is one.KEYWORD_ONLY), *taken]
        for name in plan.base:
            # Stable-Baselines3 tries every task with a render_mode, and takes a TypeError for an answer.
            if name not in taken and name != "render_mode":
                raise unknown_name(f"keyword argument of {self.env_id}", name, known)

    def __call__(self, **arguments: Any) -> ContextualEnv:
        """Build an environment.

        Args:
            **arguments: Of `plan`.

        Raises:
            HyperRLError: As `plan`, or the context cannot be used with this body.
        """
        plan = self.plan(**arguments)
        self.check_base(plan)
        env = self.make_base(**plan.base)
        if self.wrap is not None:
            return self.wrap(env, plan, self)
        return ContextualMujoco(
            env,
            plan.space,
            plan.splits,
            edits=self.edits,
            rewards=self.rewards,
            healthy=self.healthy,
            **plan.settings,
        )


def suite_of(env_id: str) -> Suite:
    """Return the suite of an id.

    Args:
        env_id: One of `hyperrl_envs.contextual.ids.CONTEXTUAL`.

    Raises:
        UnknownNameError: There is none.
    """
    import importlib

    from hyperrl_envs.contextual.ids import CONTEXTUAL

    if env_id not in CONTEXTUAL:
        raise unknown_name("contextual task", env_id, CONTEXTUAL)
    module, _, name = CONTEXTUAL[env_id][0].partition(":")
    found: Suite = getattr(importlib.import_module(f"hyperrl_envs.contextual.{module}"), name)
    return found
