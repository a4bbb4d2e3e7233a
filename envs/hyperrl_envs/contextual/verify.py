"""Proving that each parameter of a context takes effect, as it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam
from hyperrl.errors import ContextError, UnsupportedEnvError
from hyperrl_envs.contextual.arrays import read_arrays
from hyperrl_envs.contextual.base import ContextualEnv
from hyperrl_envs.contextual.fields import rows_of, split_field
from hyperrl_envs.contextual.respecify import has_equivalent, published_specification, respecify

__all__ = ["Proof", "contextual_layer", "matches_the_compiler", "verify"]

_LEAST_EFFECT = 1e-6
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Proof:
    """What was found for one parameter.

    Attributes:
        parameter: Its name.
        values: The values that were tried, others than the default.
        effect: Largest difference of the task's own observations from those in the default context, in their
            units, in episodes with the same seed and the same actions, as long as both last.
        reward_effect: The same of rewards.
        other_length: Whether an episode has another length.
        recompiled: Whether the model was compared with the one that the compiler makes of the same context,
            and is equal; None where specifications cannot say what the parameter changes.
        contacts: How many contacts had exactly the friction that was asked for; None for other parameters.
    """

    parameter: str
    values: tuple[float, ...]
    effect: float
    reward_effect: float
    other_length: bool
    recompiled: bool | None
    contacts: int | None


@dataclass
class _Episode:
    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    contacts: int


def contextual_layer(env: gym.Env[Any, Any]) -> ContextualEnv:
    """Return the layer of an environment that has the contexts.

    Raises:
        UnsupportedEnvError: It has none.
    """
    layer: Any = env
    while not isinstance(layer, ContextualEnv):
        if not isinstance(layer, gym.Wrapper):
            raise UnsupportedEnvError(
                f"{type(env.unwrapped).__name__} has no contexts: wrap it in a ContextualEnv"
            )
        layer = layer.env
    return layer


def verify(
    env: gym.Env[Any, Any], *, steps: int = 100, seed: int = 0, actions: NDArray[Any] | None = None
) -> list[Proof]:
    """Prove for every parameter of an environment's contexts that it takes effect.

    Each parameter is set to the ends of its range (of a circle, to a quarter and half of it), one after the
    other, while the others are default. Observations or rewards must differ from those of the default
    context, contacts must have the friction that was asked for, and the model must be the one that the
    compiler makes of the same context. Episodes are begun; the sequence of contexts that comes next stays as
    it was.

    Args:
        env: An environment with a `ContextualEnv` among its layers.
        steps: Steps of an episode at most.
        seed: Of the episodes and of the actions.
        actions: What is done in them, over and over, shape [k, nu]; random by default.

    Returns:
        One proof for each parameter, in the order of the space.

    Raises:
        ContextError: A parameter has no effect, or another one than it says.
        UnsupportedEnvError: The environment has no contexts.
    """
    layer = contextual_layer(env)
    source = layer._source.state()
    try:
        done = _actions(env, steps, seed, actions)
        plain = _episode(env, layer, None, 0.0, done, seed)
        return [_prove(env, layer, param, plain, done, seed) for param in layer.context_space]
    finally:
        layer._source.restore(source)


def matches_the_compiler(layer: ContextualEnv, context: NDArray[np.float64]) -> bool | None:
    """Return whether the model in use is the one that the compiler makes of a context.

    Args:
        layer: The layer with the contexts, after a reset in this context.
        context: Shape [d].

    Returns:
        None where there is no MuJoCo model, or specifications cannot say what the context changes.

    Raises:
        ContextError: It is another one; the sentence names an array that differs.
    """
    base: Any = layer.unwrapped
    spec = _specification(layer, context)
    if spec is None:
        return None
    live, compiled = read_arrays(base.model), read_arrays(respecify(spec, layer.context_space, context))
    others = [name for name, values in compiled.items() if not _is_close(name, live[name], values)]
    if others:
        acted_upon = {split_field(field)[0] for param in layer.context_space for field in param.fields}
        name = next((name for name in others if name in acted_upon), others[0])
        raise ContextError(
            f"in the context {layer.context_space.text(context)} the model has another {name} than the one "
            "that is compiled for it"
        )
    return True


def _prove(
    env: gym.Env[Any, Any],
    layer: ContextualEnv,
    param: ContextParam,
    plain: _Episode,
    actions: NDArray[Any],
    seed: int,
) -> Proof:
    ends = (param.low, param.high) if not param.choices else (min(param.choices), max(param.choices))
    if param.periodic and not param.choices:
        # Both ends are one place: a quarter and half of the circle instead.
        ends = (0.75 * param.low + 0.25 * param.high, 0.5 * (param.low + param.high))
    values = tuple(value for value in ends if value != param.default)
    episodes = [_episode(env, layer, param, value, actions, seed) for value in values]
    effect = max(_difference(plain.observations, episode.observations) for episode in episodes)
    reward_effect = max(_difference(plain.rewards, episode.rewards) for episode in episodes)
    other_length = any(len(episode.rewards) != len(plain.rewards) for episode in episodes)
    if max(effect, reward_effect) < _LEAST_EFFECT and not other_length:
        raise ContextError(
            f"the context {param.name} has no effect: with {' and '.join(f'{value:g}' for value in values)} "
            "episodes are those of the default"
        )
    contacts = sum(episode.contacts for episode in episodes) if _is_friction(param) else None
    recompiled: bool | None = None
    for value in values:
        env.reset(seed=seed, options={"context": {param.name: value}})
        recompiled = matches_the_compiler(layer, layer.context)
    return Proof(param.name, values, effect, reward_effect, other_length, recompiled, contacts)


def _episode(
    env: gym.Env[Any, Any],
    layer: ContextualEnv,
    param: ContextParam | None,
    value: float,
    actions: NDArray[Any],
    seed: int,
) -> _Episode:
    context = {} if param is None else {param.name: value}
    observation, _ = env.reset(seed=seed, options={"context": context})
    observations, rewards, contacts = [layer.observer.split(observation)], [], 0
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(layer.observer.split(observation))
        rewards.append(float(reward))
        if param is not None and _is_friction(param):
            contacts += _check_contacts(layer, param, value)
        if terminated or truncated:
            break
    return _Episode(np.stack(observations), np.array(rewards), contacts)


def _actions(env: gym.Env[Any, Any], steps: int, seed: int, given: NDArray[Any] | None) -> NDArray[Any]:
    if given is not None:
        return given[np.arange(steps) % len(given)].astype(np.float32)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    return np.random.default_rng(seed).uniform(low, high, (steps, *low.shape)).astype(np.float32)


def _is_close(name: str, found: NDArray[Any], expected: NDArray[Any]) -> bool:
    # Statistics, cameras and lights do not reach the simulation, but for the tolerance of its solver.
    if name.startswith(("stat.", "cam_", "light_")):
        return True
    if found.shape != expected.shape or expected.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    return bool(np.allclose(found, expected, rtol=_TOLERANCE, atol=1e-12, equal_nan=True))


def _difference(some: NDArray[Any], others: NDArray[Any]) -> float:
    common = min(len(some), len(others))
    return float(np.abs(some[:common] - others[:common]).max(initial=0.0))


def _is_friction(param: ContextParam) -> bool:
    return param.level in ("data", "setconst") and any(
        split_field(field)[0] == "geom_friction" and split_field(field)[1] in (None, 0)
        for field in param.fields
    )


def _check_contacts(layer: ContextualEnv, param: ContextParam, value: float) -> int:
    """Return how many contacts have the friction that a value asks for, and refuse any other one."""
    checked = 0
    for friction, published in _contacts(layer, param):
        asked = {"scale": published * value, "set": value, "add": published + value}[param.op]
        if not np.isclose(friction, max(asked, _LEAST_FRICTION), rtol=1e-9):
            raise ContextError(
                f"the context {param.name} asks for a friction of {asked:g} in a contact that has "
                f"{friction:g}: MuJoCo takes the larger one of the two geoms, so change both"
            )
        checked += 1
    return checked


_LEAST_FRICTION = 1e-5  # What MuJoCo raises smaller ones to.


def _contacts(layer: ContextualEnv, param: ContextParam) -> Iterator[tuple[float, float]]:
    """Yield the friction of each contact that a parameter concerns, and that of the published geoms."""
    base: Any = layer.unwrapped
    writer = getattr(layer, "writer", None)
    spec = published_specification(base)
    if writer is None and spec is None:
        return
    published = writer.nominal()["geom_friction"] if writer else spec.compile().geom_friction
    rows = rows_of(base.model, "geom_friction", param)
    for contact in base.data.contact:
        pair = contact.geom
        if base.model.npair or (rows is not None and not set(pair.tolist()) & set(rows.tolist())):
            continue  # Pairs that a model lists have frictions of their own.
        priority = base.model.geom_priority[pair]
        deciding = pair if priority[0] == priority[1] else pair[[int(np.argmax(priority))]]
        yield float(contact.friction[0]), float(published[deciding, 0].max())


def _specification(layer: ContextualEnv, context: NDArray[np.float64]) -> Any:
    base: Any = layer.unwrapped
    published = published_specification(base)
    if published is None or not has_equivalent(layer.context_space):
        return None
    writer = getattr(layer, "writer", None)
    if any(param.level == "recompile" for param in layer.context_space):
        return None if writer is None else writer.edited(context)
    return published
