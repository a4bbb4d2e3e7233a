"""Every parameter of every suite does what it says (CARL #126), and nothing else."""

import functools

import numpy as np
import pytest

from hyperrl_envs.contextual import suite_of
from hyperrl_envs.contextual.ids import SUITES
from hyperrl_envs.contextual.verify import contextual_layer, verify
from tests.envs.contextual.suite_cases import PARAMETERS, make, same, shared, trajectory, values_of


def test_there_are_as_many_cases_as_the_fault_list_asks_for():
    assert len(PARAMETERS) >= 40


@pytest.mark.parametrize(("env_id", "name"), PARAMETERS)
def test_a_parameter_changes_the_episode(env_id, name):
    env, _ = shared(env_id, name)
    (proof,) = verify(env, steps=60)
    assert proof.parameter == name
    assert max(proof.effect, proof.reward_effect) > 1e-3
    param = contextual_layer(env).context_space[name]
    if param.level == "reward":
        assert proof.effect == 0.0
        assert proof.reward_effect > 1e-3
    elif suite_of(env_id).wrap is None:
        assert proof.recompiled
    if name == "friction":
        assert proof.contacts > 20


@pytest.mark.parametrize(("env_id", "name"), PARAMETERS)
def test_the_default_is_the_task_without_the_parameter(env_id, name):
    env, _ = shared(env_id, name)
    layer = contextual_layer(env)
    default = layer.context_space.default
    if not layer.default_is_published:
        assert name == "target_velocity"
        return
    found = trajectory(env, 3, default, steps=20)
    expected = published(env_id)
    assert same([part[: len(other)] for part, other in zip(found, expected, strict=True)], expected)


@functools.cache
def published(env_id):
    """An episode of the task itself, its observations in single precision."""
    shown = trajectory(suite_of(env_id).make_base(), 3, None, steps=20)
    return [shown[0].astype(np.float32)] + [
        part if index % 2 else part.astype(np.float32) for index, part in enumerate(shown[1:])
    ]


@pytest.mark.parametrize("env_id", SUITES)
def test_beside_others_at_their_defaults_a_parameter_does_the_same(env_id):
    # The target velocity has no neutral value: any one replaces the reward of the task.
    names = [name for name in suite_of(env_id).params.names if name != "target_velocity"]
    among = make(env_id, *names, mode="hidden")
    for name in names:
        alone, _ = shared(env_id, name)
        value = values_of(contextual_layer(among).context_space[name])[0]
        expected = trajectory(among, 5, {name: value})
        found = trajectory(alone, 5, {name: value})
        assert same([part[: len(other)] for part, other in zip(found, expected, strict=True)], expected), name
