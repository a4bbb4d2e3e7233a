"""Checks of what contexts do to an environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import mujoco

from hyperrl.errors import ContextError
from hyperrl.testing.context_cases import ContextCase, Episode
from hyperrl.testing.promises import require
from hyperrl_envs.contextual.arrays import differing, read_arrays
from hyperrl_envs.contextual.verify import matches_the_compiler, verify

_RANDOM_CONTEXTS = 25


def _effects(case: ContextCase) -> None:
    try:
        verify(case.env, seed=case.seed, actions=case.given)
    except ContextError as error:
        require(False, str(error))


def _compiler(case: ContextCase) -> None:
    """Compare the models of random contexts, of all parameters at once, with those from the compiler."""
    for context in case.contexts(5):
        case.env.reset(seed=case.seed, options={"context": context})
        try:
            matches_the_compiler(case.layer, context)
        except ContextError as error:
            require(False, str(error))


def _constants(case: ContextCase) -> None:
    """Let MuJoCo derive again what it derives from a model: nothing may change."""
    base: Any = case.env.unwrapped
    if not _has_model(base):
        return
    case.env.reset(seed=case.seed, options={"context": case.layer.context_space.default})
    published = _derived_anew(base.model)
    for context in case.contexts(3):
        case.env.reset(seed=case.seed, options={"context": context})
        stale = [name for name in _derived_anew(base.model) if name not in published]
        require(not stale, f"a context leaves {', '.join(stale[:1])} as it was: it needs mj_setConst")


def _history(case: ContextCase) -> None:
    """An episode depends on its own context alone, whatever came before."""
    default = case.layer.context_space.default
    own = case.contexts(2)[1]
    first = _state(case, default)
    in_context = _state(case, own)
    for context in case.contexts(_RANDOM_CONTEXTS):
        case.env.reset(options={"context": context})
    _require_equal(_state(case, own), in_context, "an episode depends on the contexts before it")
    for context in case.contexts(_RANDOM_CONTEXTS):
        case.env.reset(options={"context": context})
    _require_equal(_state(case, default), first, "the default context does not bring back the published task")


def _published(case: ContextCase) -> None:
    if case.reference is None or not case.layer.default_is_published:
        return
    found = case.episode(case.layer.context_space.default, 30)
    # A time limit is not the task's own.
    published = case.published(len(found.rewards))
    require(found.is_equal(published), "the default context is not the task without contexts")


def _state(case: ContextCase, context: Any) -> tuple[Episode, dict[str, Any]]:
    episode = case.episode(context)
    base: Any = case.env.unwrapped
    return episode, read_arrays(base.model) if _has_model(base) else {}


def _require_equal(
    found: tuple[Episode, dict[str, Any]], expected: tuple[Episode, dict[str, Any]], otherwise: str
) -> None:
    changed = differing(expected[1], found[1])
    require(not changed, f"{otherwise}: {', '.join(changed[:1])} of the model differs")
    require(found[0].is_equal(expected[0]), otherwise)


def _derived_anew(model: Any) -> tuple[str, ...]:
    other = copy.copy(model)
    mujoco.mj_setConst(other, mujoco.MjData(other))
    return differing(read_arrays(model), read_arrays(other))


def _has_model(base: Any) -> bool:
    return isinstance(getattr(base, "model", None), mujoco.MjModel)


CHECKS_OF_MODELS: Mapping[str, Callable[[ContextCase], None]] = {
    "history": _history,
    "derived values": _constants,
    "effects": _effects,
    "compiler": _compiler,
    "published task": _published,
}
