"""Simulations of one task in several contexts, stepped together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.contextual.model_writer import ModelWriter
from hyperrl_envs.contextual.native.contexts import PresentContexts
from hyperrl_envs.contextual.native.env import ContextualNativeEnv
from hyperrl_envs.contextual.rewards import ContextReward
from hyperrl_envs.contextual.suites.suite import Plan, Suite
from hyperrl_envs.native.episodes import Step
from hyperrl_envs.native.simulations import Simulations
from hyperrl_envs.native.task import Array, Batch, Outcome, Task


class ContextualSimulations(Simulations):
    """Several environments of one task, each in a context of its own.

    Args:
        suite: The family of tasks.
        plan: Its contexts and how they are shown.
        task: The task itself.
        models: One `mujoco.MjModel` for each environment, none twice, as it was loaded.
        source: The file that they were loaded from.
        **settings: As for `Simulations`.

    Attributes:
        plan: As given.
        envs: The environments one by one, each a `ContextualNativeEnv`.
        contexts: Which context each of them is in.

    Raises:
        HyperRLError: As `Simulations` and `ModelWriter`.
    """

    def __init__(
        self, suite: Suite, plan: Plan, task: Task, models: Sequence[Any], *, source: str, **settings: Any
    ) -> None:
        self.plan = plan
        self._edits, self._file = suite.edits, source
        self._writer: ModelWriter | None = None
        self._reward = ContextReward(plan.space, suite.rewards)
        count = len(models)
        contexts = np.repeat(plan.space.default[None], count, axis=0)
        self._values = self._reward.values(contexts)
        self._healthy = suite.healthy if any(param.level == "recompile" for param in plan.space) else None
        if self._healthy is not None:
            low, high = task.healthy_z_range  # type: ignore[attr-defined]
            self._published_range = (float(low), float(high))
            self._published_height = float(models[0].qpos0[self._healthy.position])
            self._bounds = (np.full(count, float(low)), np.full(count, float(high)))
            # Bounds of each environment, which change with its context.
            task = dataclasses.replace(task, healthy_z_range=self._bounds)  # type: ignore[call-arg]
        super().__init__(task, models, make_env=ContextualNativeEnv, **settings)  # type: ignore[arg-type]
        self.contexts = PresentContexts(plan, self.observation_space, count)
        for index, context in enumerate(contexts):
            self.note(index, context)

    def writer(self, model: Any) -> ModelWriter:
        """Return what writes contexts into a model as it was loaded."""
        if self._writer is None:
            self._writer = ModelWriter(model, self.plan.space, source=self._file, edits=self._edits)
            return self._writer
        return self._writer.twin(model)

    def note(self, index: int, context: NDArray[np.float64]) -> None:
        """Take note of an environment's new context, which its model has already.

        Args:
            index: Its number.
            context: Shape [d].
        """
        self._values[index] = self._reward.values(context[None])[0]
        self.contexts.note(index, context)
        if self._healthy is not None:
            height = np.array([self.envs[index].model.qpos0[self._healthy.position]])
            bounds = self._healthy.ranges(self._published_range, height, self._published_height)[0]
            for side, bound in zip(self._bounds, bounds, strict=True):
                side[index] = bound

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all environments once, see `Simulations.step`."""
        self.contexts.keep()
        return super().step(actions)

    def restore(self, states: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> None:
        """Bring environments to states that `capture` returned, see `Simulations.restore`."""
        super().restore(states, indices)
        self._fix()
        self.refresh()

    def _judge(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        outcome = super()._judge(before, after, actions)
        if not self._reward.is_needed:
            return outcome
        rewards = self._reward.judge(outcome.terms, outcome.rewards, self._values, actions, after["dt"])
        return outcome._replace(rewards=rewards)

    def _begin(self, index: int, seed: int | None) -> tuple[Array, dict[str, Any]]:
        observation, info = super()._begin(index, seed)
        return observation, info | self.contexts.info(index)
