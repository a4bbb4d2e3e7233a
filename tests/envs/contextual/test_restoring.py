"""Contexts don't compound (mjlab #38), are what the compiler makes of them, and leave nothing behind."""

import mujoco
import numpy as np
import pytest

from hyperrl_envs.contextual.arrays import differing, read_arrays
from hyperrl_envs.contextual.ids import SUITES
from hyperrl_envs.contextual.respecify import has_equivalent, respecify
from hyperrl_envs.contextual.verify import contextual_layer
from tests.envs.contextual.suite_cases import (
    GYMNASIUM,
    PARAMETERS,
    make,
    model_of,
    random_context,
    same,
    shared,
    trajectory,
    values_of,
)

DYNAMIC = [
    (env_id, name)
    for env_id, name in PARAMETERS
    if env_id in GYMNASIUM and name not in ("target_velocity", "direction", "control_cost")
]


@pytest.mark.parametrize(("env_id", "name"), PARAMETERS)
def test_a_hundred_resets_do_not_compound(env_id, name):
    env, _ = shared(env_id, name)
    value = values_of(contextual_layer(env).context_space[name])[-1]
    context = {"context": {name: value}}
    first = trajectory(env, 0, {name: value})
    model = model_of(env)
    for _ in range(100):
        env.reset(options=context)
    assert not differing(model, model_of(env))
    assert same(trajectory(env, 0, {name: value}), first)


@pytest.mark.parametrize(("env_id", "name"), PARAMETERS)
def test_the_default_comes_back_to_the_last_bit(env_id, name):
    env, pristine = shared(env_id, name)
    space = contextual_layer(env).context_space
    first = trajectory(env, 0, space.default)
    generator = np.random.default_rng(1)
    for _ in range(30):
        env.reset(options={"context": random_context(space, generator)})
    assert same(trajectory(env, 0, space.default), first)
    assert not differing(pristine, model_of(env))


@pytest.mark.parametrize(("env_id", "name"), DYNAMIC)
def test_a_context_is_what_the_compiler_makes_of_it(env_id, name):
    env, _ = shared(env_id, name)
    layer = contextual_layer(env)
    for value in values_of(layer.context_space[name]):
        env.reset(seed=0, options={"context": {name: value}})
        published = (
            layer.writer.edited(layer.context)
            if layer.writer.recompiles
            else mujoco.MjSpec.from_file(env.unwrapped.fullpath)
        )
        assert has_equivalent(layer.context_space)
        compiled = respecify(published, layer.context_space, layer.context)
        # Every array, also those that no simulation reads.
        assert not differing(read_arrays(compiled), model_of(env))
        assert stepped(compiled) == stepped(env.unwrapped.model)


def test_there_are_as_many_cases_as_the_fault_list_asks_for():
    assert 2 * len(PARAMETERS) + len(DYNAMIC) >= 120


@pytest.mark.parametrize("env_id", SUITES)
def test_a_thousand_contexts_of_all_parameters_leave_nothing_behind(env_id):
    env = make(env_id)
    layer = contextual_layer(env)
    pristine = model_of(env)
    first = trajectory(env, 0, layer.context_space.default)
    generator = np.random.default_rng(0)
    for number in range(1000):
        # The compiler takes a hundred times as long as all else: not every context needs it anew.
        context = random_context(layer.context_space, generator)
        if number % 25:
            for column, param in enumerate(layer.context_space):
                if param.level == "recompile":
                    context[column] = layer.context[column]
        env.reset(options={"context": context})
    assert same(trajectory(env, 0, layer.context_space.default), first)
    assert not differing(pristine, model_of(env))


def stepped(model):
    """The bytes of a simulation after some steps with random controls."""
    data = mujoco.MjData(model)
    generator = np.random.default_rng(0)
    for _ in range(100):
        data.ctrl[:] = generator.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, data)
    return data.qpos.tobytes() + data.qvel.tobytes()
