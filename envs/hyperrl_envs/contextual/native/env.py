"""One contextual environment among those that are stepped together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.contextual.model_writer import ModelWriter
from hyperrl_envs.contextual.native.contexts import ChosenContexts
from hyperrl_envs.native.env import NativeEnv

if TYPE_CHECKING:
    from hyperrl_envs.contextual.native.simulations import ContextualSimulations


class ContextualNativeEnv(ChosenContexts, NativeEnv):
    """One of several environments, with contexts of its own; see `NativeEnv` and `ChosenContexts`.

    It has what `ContextualEnv` shows to its users, for `get_attr` and `env_method`.

    Args:
        owner: The simulations that it is one of.
        index: Its number among them.
        model: The `mujoco.MjModel`, which it shares with nobody.

    Attributes:
        writer: Writes contexts into the model.
    """

    _owner: ContextualSimulations

    def __init__(self, owner: ContextualSimulations, index: int, model: Any) -> None:
        super().__init__(owner, index, model)
        self._plan_contexts(owner.plan)
        self.writer: ModelWriter = owner.writer(model)
        self.redrawn_parameters = self.writer.redrawn_with(self.redrawn_parameters)

    def seed(self, seed: int) -> None:
        """Let the environment draw from a new generator, and contexts from another one."""
        super().seed(seed)
        self._source.seed(seed)

    def begin(self) -> None:
        """Put the simulation at the start of a new episode in its context; see `NativeEnv.begin`."""
        self.apply(self._choose())
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
        return {**super().snapshot_state(), "contexts": self._contexts_state()}

    def restore_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Go back to what `snapshot_state` returned."""
        contexts = snapshot["contexts"]
        self.apply(np.array(contexts["context"]))
        self._source.restore(contexts["source"])
        super().restore_snapshot(snapshot)
