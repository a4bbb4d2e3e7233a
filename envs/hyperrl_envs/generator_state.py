"""The states of random generators: of environments, of their own attributes and of their spaces."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from hyperrl.errors import UnsupportedEnvError


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return an independent copy of the state of a generator, made of numbers, strings and arrays."""
    return copy.deepcopy(dict(generator.bit_generator.state))


def set_generator_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Let a generator continue from a state.

    Args:
        generator: A generator of the same kind as the one that the state came from.
        state: What `generator_state` returned; it is not changed.

    Raises:
        UnsupportedEnvError: The generator is of another kind.
    """
    own = generator.bit_generator.state["bit_generator"]
    if own != state["bit_generator"]:
        raise UnsupportedEnvError(
            f"the state of a {state['bit_generator']} generator cannot be restored to a {own} generator: "
            "both environments must draw from the same kind"
        )
    generator.bit_generator.state = copy.deepcopy(dict(state))


def capture_spaces(spaces: Iterable[gym.Space[Any]]) -> list[dict[str, Any] | None]:
    """Return the states of the generators of spaces and of the spaces within them, each space once.

    Args:
        spaces: Action and observation spaces; the same object may come several times.

    Returns:
        One state for each distinct space, None for a space that has no generator yet.
    """
    return [
        None if space._np_random is None else generator_state(space.np_random) for space in _distinct(spaces)
    ]


def restore_spaces(spaces: Iterable[gym.Space[Any]], states: Sequence[Mapping[str, Any] | None]) -> None:
    """Let the generators of spaces continue from captured states.

    Args:
        spaces: Spaces built alike, in the same order.
        states: What `capture_spaces` returned.

    Raises:
        UnsupportedEnvError: There are more or fewer spaces.
    """
    distinct = list(_distinct(spaces))
    if len(distinct) != len(states):
        raise UnsupportedEnvError(
            f"the state was captured from an environment with {len(states)} spaces and cannot be restored to "
            f"one with {len(distinct)}: both must be built in the same way"
        )
    for space, state in zip(distinct, states, strict=True):
        if state is None:
            space._np_random = None  # type: ignore[assignment]
        else:
            set_generator_state(space.np_random, state)


def _distinct(spaces: Iterable[gym.Space[Any]]) -> Iterator[gym.Space[Any]]:
    seen: set[int] = set()
    for space in spaces:
        for part in _with_parts(space):
            if id(part) not in seen:
                seen.add(id(part))
                yield part


def _with_parts(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    """Yield a space and the spaces that it is made of, whatever kind of composite it is."""
    yield space
    for value in vars(space).values():
        if isinstance(value, dict):
            parts = list(value.values())
        else:
            parts = list(value) if isinstance(value, list | tuple) else [value]
        for part in parts:
            if isinstance(part, gym.Space):
                yield from _with_parts(part)
