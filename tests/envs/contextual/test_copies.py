"""Copies have contexts of their own, and what the compiler rounds otherwise is still the same model."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

from hyperrl.context import ContextParam
from hyperrl_envs.contextual import ContextualMujoco, HealthyHeight, Reward, suite_of
from hyperrl_envs.contextual.arrays import differing
from hyperrl_envs.contextual.verify import contextual_layer
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.envs.contextual.suite_cases import make, model_of, same, trajectory

HOPPER = "hyperrl/ContextualHopper-v0"
COPIES = (copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env)))
DENSITY = ContextParam("density", 500.0, 2000.0, 1000.0, op="set", fields=("density",), level="recompile")


class PlainHopper(HopperEnv):
    """A task whose copies are copies of all it has, its model as it is now among them."""

    def __getstate__(self):
        return dict(self.__dict__)

    def __setstate__(self, state):
        self.__dict__.update(state)


def own(limbs):
    """An environment around a user's task."""
    suite = suite_of(HOPPER)
    param = suite.params["limb_length" if limbs else "mass"]
    return ContextualMujoco(PlainHopper(), [param], edits=suite.edits, healthy=suite.healthy, mode="hidden")


@pytest.mark.parametrize("duplicate", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: make(HOPPER, "mass", mode="hidden"),
        lambda: make(HOPPER, "limb_length", mode="hidden"),
        lambda: make("hyperrl/FingerSpin-v0", "length", mode="hidden"),
        lambda: make("hyperrl/ContextualODE-v0", "c1", mode="hidden"),
        lambda: own(limbs=False),
        lambda: own(limbs=True),
    ],
    ids=["written", "compiled", "family", "formula", "own-written", "own-compiled"],
)
def test_a_copy_has_a_model_of_its_own(build, duplicate):
    """A copy that wrote into the model of the first would have no contexts at all."""
    env, expected = build(), build()
    space = contextual_layer(env).context_space
    env.reset(seed=0, options={"context": space.low})
    other = duplicate(env)
    for context in (space.high, space.default, space.low):
        assert same(trajectory(other, 1, context), trajectory(expected, 1, context))
    assert same(trajectory(env, 1, space.high), trajectory(expected, 1, space.high))


def test_a_copy_goes_on_with_the_same_contexts():
    env = make(HOPPER, "mass")
    env.reset(seed=3)
    contextual_layer(env).set_next_context([1.4])
    other = copy.deepcopy(env)
    found, expected = ([one.reset()[1]["context"] for _ in range(3)] for one in (other, env))
    assert np.array_equal(found, expected)
    assert expected[0] == [1.4]


def _paid(terms, rewards, values, actions, dt):
    return values[:, 0]


def test_edits_and_rewards_of_ones_own_are_in_the_spec():
    suite = suite_of(HOPPER)
    params = [
        suite.params["limb_length"],
        ContextParam("pay", 0.0, 9.0, 4.0, op="set", fields=("own.pay",), level="reward"),
    ]
    env = ContextualMujoco(
        gym.make("Hopper-v5"),
        params,
        edits=suite.edits,
        rewards={"own": Reward(_paid, {"pay": np.nan})},
        healthy=HealthyHeight(position=1),
    )
    again = env.spec.make()
    again.reset(options={"context": {"limb_length": 1.5, "pay": 7.0}})
    assert again.step(np.zeros(3, np.float32))[1] == 7.0
    assert np.isclose(again.unwrapped._healthy_z_range[0], 0.7 * 1.725 / 1.25)


@pytest.mark.parametrize("task", ["Pusher-v5", "Humanoid-v5"])
def test_states_of_models_that_the_compiler_rounds_otherwise_are_restored(task):
    """The ends of the range are powers of two, at which nothing is rounded."""
    first, other = (ContextualMujoco(gym.make(task).unwrapped, [DENSITY]) for _ in range(2))
    first.reset(seed=0, options={"context": [1234.5]})
    state = capture_plain(first)
    restore_plain(other, state)
    action = np.full(first.action_space.shape, 0.1, np.float32)
    for found, expected in zip(other.step(action)[:2], first.step(action)[:2], strict=True):
        assert str(found) == str(expected)


def test_an_episode_does_not_depend_on_a_neighbour_that_came_first():
    """Two contexts that have one name are compiled one by one."""
    env, alone = (make(HOPPER, "limb_length", mode="hidden") for _ in range(2))
    context = np.array([1.2 + 1e-11])
    env.reset(options={"context": [1.2]})
    assert same(trajectory(env, 0, context), trajectory(alone, 0, context))
    assert not differing(model_of(env), model_of(alone))
