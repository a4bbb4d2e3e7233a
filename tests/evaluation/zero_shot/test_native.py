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


@pytest.mark.parametrize(
    ("agent", "policy", "kwargs"),
    [
        (PPO, "MlpPolicy", {"n_test": 2, "append": "flat", "units": "raw"}),
        (ContextSAC, "MultiInputPolicy", {"n_test": 2}),
    ],
)
def test_native_and_single_lanes_agree_bit_for_bit(agent, policy, kwargs):
    splits, view = contexts_of(ENV_ID, kwargs)
    acting = agent(policy, make_vec_env(ENV_ID, kwargs, 1, 0), seed=0)
    cases = Plan(splits, ("train", "extrapolation"), 2, ablations=("shuffled",)).cases()
    results = []
    for native, count in ((True, 16), (False, 5), (True, 3)):
        lanes = make_lanes(ENV_ID, kwargs, count, native=native)
        assert isinstance(lanes, NativeLanes if native else SingleLanes)
        actor = PolicyActor(acting, view, by_context=agent is ContextSAC)
        results.append([one.ended for one in play(actor, lanes, cases)])
        lanes.close()
    assert len({one.length for one in results[0]}) > 2
    assert results[0] == results[1] == results[2]


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
