"""Environments that are simulated together give the bits of Gymnasium's, whatever acts in them."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO

from hyperrl import ContextSAC
from hyperrl.environments import make_vec_env
from hyperrl.evaluation.zero_shot.actors import PolicyActor
from hyperrl.evaluation.zero_shot.lanes import NativeLanes, SingleLanes, contexts_of, make_lanes
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.rollouts import play

ENV_ID = "hyperrl/ContextualHopper-v0"


def test_native_and_single_lanes_agree_bit_for_bit():
    kwargs = {"n_test": 2, "append": "flat", "units": "raw"}
    splits, view = contexts_of(ENV_ID, kwargs)
    acting = PPO("MlpPolicy", make_vec_env(ENV_ID, kwargs, 1, 0), seed=0)
    cases = Plan(splits, ("train", "extrapolation"), 1, ablations=("shuffled",)).cases()
    results = []
    for native, count in ((True, 8), (False, 5), (True, 3)):
        lanes = make_lanes(ENV_ID, kwargs, count, native=native)
        assert isinstance(lanes, NativeLanes if native else SingleLanes)
        results.append([one.ended for one in play(PolicyActor(acting, view), lanes, cases)])
        lanes.close()
    assert len({one.length for one in results[0]}) > 2
    assert results[0] == results[1] == results[2]


def test_generated_policies_are_asked_for_all_contexts_at_once_and_differ_in_last_bits_alone():
    kwargs = {"n_test": 4, "max_episode_steps": 10}
    splits, view = contexts_of(ENV_ID, kwargs)
    acting = ContextSAC("MultiInputPolicy", make_vec_env(ENV_ID, kwargs, 1, 0), seed=0)
    cases = Plan(splits, ("train", "extrapolation"), 2, ablations=("shuffled",)).cases()
    results = []
    for count in (64, 1):
        lanes, counted = make_lanes(ENV_ID, kwargs, count), Counted(acting)
        played = play(PolicyActor(counted, view), lanes, cases)
        results.append([one.ended.episode_return for one in played])
        assert count == 1 or counted.queries == max(one.ended.length for one in played)
        lanes.close()
    np.testing.assert_allclose(*results, rtol=1e-4)


class Counted:
    """A policy that counts how often it is asked."""

    def __init__(self, policy):
        self.policy, self.queries = policy, 0

    def predict(self, *args, **kwargs):
        self.queries += 1
        return self.policy.predict(*args, **kwargs)


@pytest.mark.parametrize(
    "kwargs", [{}, {"append": "flat"}, {"units": "raw"}, {"context": ["actuator_sign", "gravity"]}]
)
def test_telling_the_truth_changes_no_bit(kwargs):
    kwargs = {"n_test": 2, **kwargs}
    splits, view = contexts_of(ENV_ID, kwargs)
    contexts = splits.contexts("train")
    lanes = make_lanes(ENV_ID, kwargs, len(contexts))
    rows = list(range(len(contexts)))
    observations = lanes.begin(rows, rows, contexts)
    told = view.replaced(observations, rows, contexts)
    if isinstance(observations, dict):
        observations, told = observations["context"], told["context"]
    np.testing.assert_array_equal(told, observations)
