"""What an agent knows of contexts: which there are, and where in its observations they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.context import ContextSpace, shown, shown_size
from hyperrl.errors import ConfigError, ContextError, NonFiniteError, ShapeError

KEY = "context"
"""The key of the context in observations that are dicts."""

OBSERVATION = "observation"
"""The key of the rest."""

Context = Mapping[str, float] | ArrayLike


@dataclass(frozen=True)
class Observed:
    """The contexts of a family of tasks, as an agent sees them.

    Attributes:
        space: The contexts; None where the environment does not say, or has none.
        mode: "visible", "hidden" (not in observations), "privileged" (for critics alone), or "none".
        units: "normalised" or "raw", see `hyperrl.context.shown`.
        size: Numbers of the context in an observation d, the last ones of its features; 0 for none.
    """

    space: ContextSpace | None = None
    mode: str = "none"
    units: str = "normalised"
    size: int = 0

    @classmethod
    def of_env(cls, env: VecEnv | gym.Env[Any, Any]) -> Observed:
        """Ask environments for their contexts.

        Args:
            env: The environments, or one; the attributes ``context_space``, ``context_mode`` and ``units``
                are those of `hyperrl_envs.contextual`.
        """
        space = attribute(env, "context_space")
        if not isinstance(space, ContextSpace):
            return cls.of_space(env.observation_space)
        mode, units = attribute(env, "context_mode") or "visible", attribute(env, "units") or "normalised"
        size = 0 if mode == "hidden" else shown_size(space, units)
        given = env.observation_space
        if isinstance(given, spaces.Dict) and size and _size_of(given) != size:
            raise ContextError(
                f"the environment's observations have a context of {_size_of(given)} numbers, but its "
                f"context_space has {', '.join(space.names)}"
            )
        return cls(space, str(mode), str(units), size)

    @classmethod
    def of_space(cls, observation_space: spaces.Space[Any]) -> Observed:
        """Tell what observations alone say: a dict may have a context, of which the names are unknown.

        Args:
            observation_space: The observation space.
        """
        size = _size_of(observation_space)
        return cls(None, "visible" if size else "none", "raw", size)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Observed:
        """Build it from what `to_plain` returned."""
        given = values["space"]
        space = None if given is None else ContextSpace.from_json(given)
        return cls(space, values["mode"], values["units"], values["size"])

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        space = None if self.space is None else self.space.to_json()
        return {"space": space, "mode": self.mode, "units": self.units, "size": self.size}

    def check_kinds(self, actor_sees: bool, critic_sees: bool) -> None:
        """Refuse networks that want to see a context which is not there for them.

        Args:
            actor_sees: Whether the actor's kind depends on the context.
            critic_sees: Whether the critic's does.

        Raises:
            ConfigError: One does, and must not.
        """
        if self.mode == "hidden" and (actor_sees or critic_sees):
            raise ConfigError(
                "this environment hides its context, so that no network can see it: use actor='unaware' and "
                "critic='unaware', or the mode 'visible'"
            )
        if self.mode == "privileged" and actor_sees:
            raise ConfigError(
                "this environment shows its context to critics alone (mode 'privileged'): use "
                "actor='unaware', or the mode 'visible'"
            )

    def check_same(self, other: Observed) -> None:
        """Refuse contexts that mean something else than these.

        Args:
            other: The contexts of the environment that an agent is to act in.

        Raises:
            ContextError: Names, order, normalisation or mode differ.
        """
        for noun, mine, theirs in zip(
            ("contexts", "ranges of training", "mode", "units"), self.meaning(), other.meaning(), strict=True
        ):
            if mine != theirs:
                raise ContextError(
                    f"the agent was trained with other {noun} than this environment has: {mine} against "
                    f"{theirs}; give it the environment that it was trained in"
                )

    def vector(self, context: Context) -> NDArray[np.float32]:
        """Return a context as observations have it, shape [d].

        Args:
            context: Values by name, where what is missing takes its default, or all values in order, raw.

        Raises:
            HyperRLError: As `ContextSpace.array`; names are not known, or the shape is wrong.
        """
        if self.space is not None:
            raw = self.space.array(context)
            return shown(self.space, raw, self.units)
        if isinstance(context, Mapping):
            raise ContextError(
                f"the environment does not name its context: give its {self.size} numbers in a list"
            )
        values = np.asarray(context, np.float32)
        if values.shape != (self.size,):
            raise ShapeError(f"the context has {self.size} numbers, got shape {values.shape}")
        if not np.isfinite(values).all():
            raise NonFiniteError(f"the context must be finite, got {values.tolist()}")
        return values

    def example(self) -> str:
        """Return how a context is written, for messages."""
        return f"{self.size} numbers" if self.space is None else self.space.text(self.space.default)

    def meaning(self) -> tuple[str, str, str, str]:
        """Return names, ranges of training, mode and units as text: what the numbers mean."""
        if self.space is None:
            return f"{self.size} numbers", "none", self.mode, self.units
        ranges = ", ".join(
            f"{'log ' if param.log else 'circular ' if param.periodic else ''}{param.train_low:g} to "
            f"{param.train_high:g}"
            for param in self.space
        )
        return ", ".join(self.space.names), ranges, self.mode, self.units


def attribute(env: VecEnv | gym.Env[Any, Any], name: str) -> Any:
    """Return an attribute of the first environment, None where it has none of this name.

    Args:
        env: The environments, or one.
        name: The name.
    """
    try:
        return env.get_attr(name, indices=[0])[0] if isinstance(env, VecEnv) else env.get_wrapper_attr(name)
    except AttributeError:
        return None


def _size_of(space: spaces.Space[Any]) -> int:
    part = space.spaces.get(KEY) if isinstance(space, spaces.Dict) else None
    return int(np.prod(part.shape)) if isinstance(part, spaces.Box) else 0
