"""Checks of which contexts an environment takes, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.context import Splits
from hyperrl.errors import HyperRLError
from hyperrl.testing.context_cases import Array, ContextCase
from hyperrl.testing.promises import require
from hyperrl_envs.saved_state import capture_plain, restore_plain


def _samples(case: ContextCase) -> None:
    layer = case.layer
    layer.set_fixed_context(None)
    layer.set_sampler("random")
    first, again, other = case.sampled(6), case.sampled(6), case.sampled(6, case.seed + 1)
    require(_same(first, again), "one seed gives different contexts")
    if _count(layer.splits) > 1:
        keys = [[layer.context_space.key(row) for row in rows] for rows in (first, other)]
        require(len({*keys[0], *keys[1]}) > 1, "the random sampler always gives the same context")
    require(float(layer.splits.distance(np.stack(first)).max()) == 0, "a sample is no context of training")
    given = case.contexts(1)[0]
    case.env.reset(seed=case.seed)
    case.env.reset(options={"context": given})
    require(
        _same([case.env.reset()[1]["context"]], first[2:3]),
        "a context in options changes which samples come after it",
    )
    layer.set_sampler("round_robin", 1, 2)
    rows = layer.splits.contexts("train")
    expected = [rows[(1 + 2 * index) % len(rows)] for index in range(4)]
    require(_same(case.sampled(4), expected), "the round-robin sampler leaves out contexts of training")
    layer.set_sampler("default")
    require(_same(case.sampled(2), [layer.context_space.default] * 2), "the default sampler is not default")
    layer.set_sampler("random")


def _precedence(case: ContextCase) -> None:
    layer, env = case.layer, case.env
    in_options, pending, fixed = case.contexts(3)
    samples = case.sampled(5)
    layer.set_fixed_context(fixed)
    layer.set_next_context(pending)
    found = [env.reset(seed=case.seed, options={"context": in_options})[1]["context"]]
    found += [env.reset()[1]["context"] for _ in range(2)]
    require(_same(found[:1], [in_options]), "the context in options is ignored")
    require(_same(found[1:2], [pending]), "the next context that was set is ignored")
    require(_same(found[2:], [fixed]), "the fixed context is ignored, or the one set before it stays")
    layer.set_fixed_context(None)
    require(_same([env.reset()[1]["context"]], samples[3:4]), "after a fixed context samples do not go on")
    name = layer.context_space.names[0]
    by_name = {name: float(in_options[0])}
    expected = layer.context_space.array(by_name)
    found = [env.reset(options={"context": by_name})[1]["context"]]
    require(_same(found, [expected]), "what a context in options leaves out is not default")


def _noise(case: ContextCase) -> None:
    """Compare the generator with that of the task alone: a context must not draw from it."""
    base = case.env.unwrapped
    base.reset(seed=case.seed)
    alone = repr(base.np_random.bit_generator.state)
    case.env.reset(seed=case.seed)
    require(repr(base.np_random.bit_generator.state) == alone, "contexts are drawn from the task's generator")
    for context in case.contexts(3):
        case.env.reset(seed=case.seed, options={"context": context})
        require(
            repr(base.np_random.bit_generator.state) == alone,
            "the initial noise of one seed is not the same in all contexts",
        )


def _auto_reset(case: ContextCase) -> None:
    own, following = case.contexts(2)
    vec_env = DummyVecEnv([lambda: _Short(case.env)])
    vec_env.env_method("set_next_context", own)
    vec_env.seed(case.seed)
    vec_env.reset()
    vec_env.env_method("set_next_context", following)
    for action in case.actions(_Short.STEPS):
        _, _, dones, infos = vec_env.step(action[None])
        if dones[0]:
            break
    require(bool(dones[0]), "an episode did not end with its limit of steps")
    require(_same([infos[0].get("context")], [own]), "the last step does not tell the context of its episode")
    require(
        _same([vec_env.reset_infos[0].get("context")], [following]),
        "a context that is set for the next episode is lost when a vectorised environment begins it",
    )
    require(_same(vec_env.get_attr("context"), [following]), "get_attr does not reach the context")


class _Short:
    """An environment whose episodes end after a few steps, whatever else ends them."""

    STEPS = 5

    def __new__(cls, env: Any) -> Any:
        from gymnasium.wrappers import TimeLimit

        return TimeLimit(env, cls.STEPS)


def _splits(case: ContextCase) -> None:
    splits, space = case.layer.splits, case.layer.context_space
    require(splits.space == space, "the splits are of another space")
    rows = {name: splits.contexts(name) for name in splits.names}
    for name, contexts in rows.items():
        require(len(contexts) > 0, f"the split {name} is empty")
        for context in contexts:
            space.array(context)
    trained = {space.key(row) for row in rows["train"]}
    for name in splits.tests:
        common = trained & {space.key(row) for row in rows[name]}
        require(not common, f"the split {name} has contexts of training")
    again = Splits.from_json(json.loads(splits.text()))
    require(again.text() == splits.text() and again.space == space, "splits change on their way through JSON")
    for context in case.contexts(3):
        back = space.parse(space.text(context))
        require(space.key(back) == space.key(context), "a context changes on its way through text")


def _refusals(case: ContextCase) -> None:
    layer, env = case.layer, case.env
    space = layer.context_space
    case.sampled(2)
    before, expected = layer.context, layer._source.state()
    nan, beyond, short = space.default.copy(), space.high.copy(), space.default[:-1]
    nan[0], beyond[-1] = np.nan, space.high[-1] + 1.0
    name = space.names[0]
    wrong = {
        "an unknown name": {f"no_{name}": 1.0},
        "NaN": nan,
        "a value out of range": beyond,
        "too few values": short,
        "too many values": np.append(space.default, 0.0),
        "a text": {name: "1.0"},
        "infinity": {name: float("inf")},
    }
    for what, context in wrong.items():
        calls: tuple[Callable[[], object], ...] = (
            lambda context=context: env.reset(options={"context": context}),  # type: ignore[misc]
            lambda context=context: layer.set_next_context(context),  # type: ignore[misc]
            lambda context=context: layer.set_fixed_context(context),  # type: ignore[misc]
        )
        for call in calls:
            try:
                call()
            except HyperRLError:
                continue
            require(False, f"{what} is taken for a context")
    require(_same([layer.context], [before]), "a context that is refused replaces that of the episode")
    require(
        repr(layer._source.state()) == repr(expected), "a context that is refused changes what comes next"
    )


def _states(case: ContextCase) -> None:
    env, layer = case.env, case.layer
    first, following = case.contexts(2)
    env.reset(seed=case.seed, options={"context": first})
    actions = case.actions(8)
    for action in actions[:2]:
        env.step(action)
    layer.set_next_context(following)
    state = capture_plain(env)
    expected = _goes_on(case, actions[2:])
    env.reset(options={"context": layer.context_space.high})
    restore_plain(env, state)
    found = _goes_on(case, actions[2:])
    require(len(found) == len(expected) and all(map(np.array_equal, found, expected)), _LOST)


_LOST = "an environment does not go on from a saved state as it did the first time"


def _goes_on(case: ContextCase, actions: Any) -> list[Any]:
    """Return what steps show, and two resets after them."""
    shown: list[Any] = []
    for action in actions:
        observation, reward, terminated, truncated, info = case.env.step(action)
        shown += [case.layer.observer.split(observation), float(reward), info["context"]]
        if terminated or truncated:
            break
    for _ in range(2):
        observation, info = case.env.reset()
        shown += [case.layer.observer.split(observation), info["context"]]
    return shown


def _count(splits: Splits) -> int:
    return len(splits.contexts("train"))


def _same(some: list[Any], others: list[Any] | Array) -> bool:
    return len(some) == len(others) and all(
        one is not None and np.array_equal(one, other) for one, other in zip(some, others, strict=True)
    )


CHECKS_OF_ORDER: Mapping[str, Callable[[ContextCase], None]] = {
    "samples": _samples,
    "precedence": _precedence,
    "initial noise": _noise,
    "resets by themselves": _auto_reset,
    "splits": _splits,
    "refusals": _refusals,
    "saved states": _states,
}
