"""Whatever contextual environments one by one return, those that are stepped together return, bit for bit."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.ids import CONTEXTUAL, SUITES
from hyperrl_envs.contextual.native import SUPPORTED, make_contextual, supports
from hyperrl_envs.contextual.suites.suite import suite_of
from tests.envs.contextual.native.pairs import assert_same, assert_same_steps, both, random_actions

HOPPER, WALKER, ANT = (f"hyperrl/Contextual{name}-v0" for name in ("Hopper", "Walker2d", "Ant"))
CHEETAH, QUADROTOR = "hyperrl/ContextualHalfCheetah-v0", "hyperrl/ContextualQuadrotor-v0"
CART_POLE, ODE = "hyperrl/ContextualCartPole-v0", "hyperrl/ContextualODE-v0"

CASES = [
    (HOPPER, {"context": ["mass", "gravity"]}),
    (HOPPER, {"context": ["limb_length", "friction", "target_velocity"], "append": "flat"}),
    (HOPPER, {"context": ["limb_length"], "terminate_when_unhealthy": False, "max_episode_steps": 50}),
    (WALKER, {"context": ["density", "motor_strength", "direction"], "mode": "hidden"}),
    (WALKER, {"context": ["limb_length"], "units": "raw", "mode": "privileged"}),
    (CHEETAH, {"context": ["mass", "target_velocity", "control_cost", "damping"], "max_episode_steps": 40}),
    (CHEETAH, {"context": ["actuator_sign"], "max_episode_steps": 40, "sampler": "round_robin"}),
    (ANT, {"context": ["limb_length", "gravity", "actuator_sign"], "max_episode_steps": 40}),
    ("hyperrl/CheetahRun-v0", {"context": ["speed", "length"], "max_episode_steps": 40}),
    ("hyperrl/WalkerWalk-v0", {"context": ["speed", "length"], "max_episode_steps": 40}),
    ("hyperrl/FingerSpin-v0", {"context": ["speed", "length"], "max_episode_steps": 40, "append": "flat"}),
    (CART_POLE, {"context": ["length", "force", "gravity", "cart_mass", "pole_mass"]}),
    (CART_POLE, {"context": ["pole_mass"], "append": "flat", "max_episode_steps": 20}),
    (ODE, {"context": ["c1", "c2"], "mode": "privileged", "units": "raw", "max_episode_steps": 40}),
    (QUADROTOR, {"context": ["mass", "motor_strength"]}),
    (QUADROTOR, {"context": ["payload", "inertia", "motor_lag"], "task": "mixed", "mode": "hidden"}),
]


@pytest.mark.parametrize(("env_id", "settings"), CASES)
def test_steps_infos_and_contexts_are_the_same(env_id, settings):
    dummy, native = both(env_id, **settings)
    assert native.observation_space == dummy.observation_space
    assert native.action_space == dummy.action_space
    assert_same(native.reset(), dummy.reset(), "first")
    is_alike = settings.get("sampler") == "round_robin"
    assert len(set(map(str, native.get_attr("context")))) == (1 if is_alike else 3)
    for index in range(3):
        assert_same(native.reset_infos[index], dummy.reset_infos[index])
    ends, contexts = assert_same_steps(dummy, native, random_actions(dummy, 100))
    assert ends >= 4
    assert len(contexts) >= min(4, len(suite_of(env_id).params[settings["context"][0]].choices) or 4)


LARGE = {HOPPER, WALKER, ANT, CHEETAH}  # They have a dozen parameters and more.


@pytest.mark.parametrize(
    "env_id", [pytest.param(env_id, marks=[pytest.mark.slow] * (env_id in LARGE)) for env_id in SUITES]
)
def test_every_parameter_alone_is_the_same(env_id):
    suite = suite_of(env_id)
    for param in suite.params:
        dummy, native = both(env_id, 2, seed=1, context=[param.name], max_episode_steps=12)
        dummy.reset(), native.reset()
        for value, venvs in ((param.low, (dummy, native)), (param.high, (dummy, native))):
            for venv in venvs:
                venv.env_method("set_next_context", {param.name: value})
        ends, contexts = assert_same_steps(dummy, native, random_actions(dummy, 26))
        assert ends >= 2
        assert ContextSpace((param,)).text([param.high]) in contexts, param.name
        dummy.close(), native.close()


def test_all_suites_can_be_stepped_together():
    assert set(SUPPORTED) == {env_id for env_id in CONTEXTUAL if suite_of(env_id).native_id is not None}
    assert set(SUPPORTED) == set(CONTEXTUAL)
    assert not supports("Hopper-v5")


@pytest.mark.parametrize("env_id", [HOPPER, "hyperrl/CheetahRun-v0"])
def test_control_from_outside_has_the_same_effect(env_id):
    name = suite_of(env_id).default[0]
    param = suite_of(env_id).params[name]
    dummy, native = both(env_id, max_episode_steps=15)
    for venv in (dummy, native):
        venv.env_method("set_next_context", {name: param.high}, indices=1)
        venv.env_method("set_fixed_context", {name: param.low}, indices=2)
    assert_same(native.reset(), dummy.reset())
    assert_same(native.get_attr("context"), dummy.get_attr("context"))
    assert native.get_attr("context")[1][0] == param.high
    assert native.get_attr("context")[2][0] == param.low
    actions = random_actions(dummy, 40)
    assert_same_steps(dummy, native, actions[:7])
    for venv in (dummy, native):
        # Kept in the environment until its episode ends by itself.
        venv.env_method("set_next_context", {name: param.low}, indices=0)
        venv.env_method("set_sampler", "round_robin", 1, 3, indices=1)
        venv.env_method("set_fixed_context", None, indices=2)
    _, contexts = assert_same_steps(dummy, native, actions[7:])
    assert any(text.startswith(f"{name}={param.low:g}") for text in contexts)
    for venv in (dummy, native):
        venv.set_options({"context": {name: param.high}})
    assert_same(native.reset(), dummy.reset())
    assert [context[0] for context in native.get_attr("context")] == [param.high] * 3
    assert_same(native.reset(), dummy.reset())


def test_an_environment_does_not_depend_on_how_many_there_are():
    settings = {"context": ["mass", "limb_length", "target_velocity"]}
    many = make_contextual(HOPPER, 5, 3, **settings)
    actions = random_actions(many, 40)
    first = many.reset()["observation"]
    observations = [first, *(many.step(batch)[0]["observation"] for batch in actions)]
    one = make_contextual(HOPPER, 1, 3 + 2, **settings)
    alone = [one.reset()["observation"], *(one.step(batch[2:3])[0]["observation"] for batch in actions)]
    assert np.array_equal(np.array(alone)[:, 0], np.array(observations)[:, 2])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_two_threads_do_what_one_does():
    settings = {"context": ["limb_length", "friction"]}
    one, two = make_contextual(ANT, 3, 1, **settings), make_contextual(ANT, 3, 1, threads=2, **settings)
    assert_same(two.reset(), one.reset())
    assert_same_steps(one, two, random_actions(one, 30))


def test_fewer_infos_leave_the_contexts_of_ended_episodes():
    venv = make_contextual(HOPPER, 2, 0, step_infos=False, max_episode_steps=5)
    venv.reset()
    before = venv.get_attr("context")
    for step in range(5):
        *_, infos = venv.step(np.zeros((2, 3)))
        assert ("context" in infos[0]) == (step == 4)
    assert_same([info["context"] for info in infos], before)
    assert not np.array_equal(venv.get_attr("context"), before)
