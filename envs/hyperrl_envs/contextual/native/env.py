"""One contextual environment among those that are stepped together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl_envs.contextual.model_writer import ModelWriter
from hyperrl_envs.contextual.source import ContextSource
from hyperrl_envs.native.env import NativeEnv

if TYPE_CHECKING:
    from hyperrl_envs.contextual.native.simulations import ContextualSimulations


class ContextualNativeEnv(NativeEnv):
    """One of several environments, with contexts of its own; see `NativeEnv`.

    It has what `ContextualEnv` shows to its users, for `get_attr` and `env_method`.

    Args:
        owner: The simulations that it is one of.
        index: Its number among them.
        model: The `mujoco.MjModel`, which it shares with nobody.

    Attributes:
        context_space: See `ContextualEnv`, as the following.
        splits: See there.
        context_mode: See there.
        append: See there.
        units: See there.
        writer: Writes contexts into the model.
    """

    _owner: ContextualSimulations

    def __init__(self, owner: ContextualSimulations, index: int, model: Any) -> None:
        super().__init__(owner, index, model)
        plan = owner.plan
        self.context_space, self.splits = plan.space, plan.splits
        self.context_mode, self.append, self.units = (
            plan.settings[name] for name in ("mode", "append", "units")
        )
        self.writer: ModelWriter = owner.writer(model)
        self.redrawn_parameters = self.writer.redrawn_with(self.redrawn_parameters)
        self._source = ContextSource(plan.splits, plan.settings["sampler"], plan.settings["fixed"])
        self._given: NDArray[np.float64] | None = None
        self._context = plan.space.default

    @property
    def context(self) -> NDArray[np.float64]:
        """The context of this episode, raw, shape [d]; the default one before the first."""
        return self._context.copy()

    def set_next_context(self, context: Mapping[str, float] | ArrayLike) -> None:
        """Set the context of the next episode, once; see `ContextualEnv.set_next_context`."""
        self._source.set_next(context)

    def set_fixed_context(self, context: Mapping[str, float] | ArrayLike | None) -> None:
        """Set the context of all episodes; see `ContextualEnv.set_fixed_context`."""
        self._source.set_fixed(context)

    def set_sampler(self, name: str, rank: int = 0, count: int = 1) -> None:
        """Choose how contexts are sampled; see `ContextSource.set_sampler`."""
        self._source.set_sampler(name, rank, count)

    def seed(self, seed: int) -> None:
        """Let the environment draw from a new generator, and contexts from another one."""
        super().seed(seed)
        self._source.seed(seed)

    def give(self, context: NDArray[np.float64] | None) -> None:
        """Set the context of the next episode, before all others.

        Args:
            context: Checked, shape [d]; None for what comes otherwise.
        """
        self._given = context

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode of this environment alone.

        Args:
            seed: Seeds the generators; None lets them go on.
            options: `context`: that of the episode, by name or as an array.

        Returns:
            The observation with its context, and the info.

        Raises:
            HyperRLError: The context is not in the space.
        """
        self.give(self.context_of(options))
        observations, infos = self._owner.reset([seed], [self.index])
        return self._owner.observer.join(observations[0], self._owner.codes[self.index]), infos[0]

    def context_of(self, options: Mapping[str, Any] | None) -> NDArray[np.float64] | None:
        """Return the context that options of a reset name, checked, or None.

        Raises:
            HyperRLError: It is not in the space.
        """
        context = None if options is None else options.get("context")
        return None if context is None else self.context_space.array(context)

    def begin(self) -> None:
        """Put the simulation at the start of a new episode in its context; see `NativeEnv.begin`."""
        given, self._given = self._given, None
        self.apply(self._source.choose(given))
        super().begin()

    def apply(self, context: NDArray[np.float64]) -> None:
        """Let a context take effect.

        Args:
            context: Values in the space, shape [d].
        """
        self.writer.write(context)
        if self.writer.recompiles:
            self.init_qpos[:] = self.model.qpos0
        self._context = context
        self._owner.note(self.index, context)

    def snapshot_state(self) -> dict[str, Any]:
        """Return what is remembered from step to step, with the context and where the next is from."""
        contexts = {"context": self._context.copy(), "source": self._source.state()}
        return {**super().snapshot_state(), "contexts": contexts}

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        contexts = snapshot["contexts"]
        self.apply(np.array(contexts["context"]))
        self._source.restore(contexts["source"])
        super().restore_snapshot(snapshot)
