"""What is saved knows its contexts; copies act as the agent does."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import ContextPPO, ContextSAC
from hyperrl.context import ContextSpace
from hyperrl.errors import ContextError
from tests.agents.contexts.building import build, every_agent, stirred
from tests.sb3.contexts.toys import SPACE, ContextTask
from tests.sb3.toys import same_parameters


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
def test_a_loaded_agent_is_the_saved_one_and_knows_its_contexts(cls, append, tmp_path):
    model = build(cls, append, "adapter", "hyper").learn(64)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    assert same_parameters(model, loaded)
    assert loaded.observed == model.observed
    assert loaded.observed.space == SPACE
    observation = model.env.reset()
    expected, _ = model.predict(observation, deterministic=True)
    assert np.array_equal(loaded.predict(observation, deterministic=True)[0], expected)
    assert loaded.specialise({"sign": 0.5}).fingerprint == model.specialise({"sign": 0.5}).fingerprint
    again = cls.load(tmp_path / "model", env=make_vec_env(lambda: ContextTask(append), 2), device="cpu")
    assert again.learn(64, reset_num_timesteps=False).num_timesteps == model.num_timesteps + 64


OTHERS = {
    "contexts": ContextSpace(SPACE.params[::-1]),
    "ranges of training": SPACE.with_train({"scale": (0.5, 2.0)}),
}


@every_agent
@pytest.mark.parametrize("noun", OTHERS)
def test_contexts_of_another_meaning_are_refused(cls, noun, tmp_path):
    model = build(cls)
    other = make_vec_env(lambda: ContextTask(space=OTHERS[noun]), 2)
    model.save(tmp_path / "model")
    with pytest.raises(ContextError, match=f"trained with other {noun} than this environment has") as caught:
        cls.load(tmp_path / "model", env=other)
    assert "\n" not in str(caught.value)
    with pytest.raises(ContextError, match=f"other {noun}"):
        model.set_env(other)
    # Files of weights alone, as runs have them, know it too.
    with pytest.raises(ContextError, match="trained for other contexts"):
        build(cls, env=other).policy.load_state_dict(model.policy.state_dict())
    wider = dataclasses.replace(SPACE.params[0], low=-3.0)
    model.set_env(make_vec_env(lambda: ContextTask(space=ContextSpace((wider, SPACE.params[1]))), 2))


@pytest.mark.parametrize("cls", [ContextPPO, ContextSAC])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_policy_that_has_acted_can_be_copied(cls, copied):
    model = stirred(build(cls))
    seen = model.env.reset()
    before = model.predict(seen, deterministic=True)[0]
    policy = copied(model.policy)
    assert np.array_equal(policy.predict(seen, deterministic=True)[0], before)
    stirred_weights(policy)
    assert not np.array_equal(policy.predict(seen, deterministic=True)[0], before)
    assert np.array_equal(model.predict(seen, deterministic=True)[0], before)


def stirred_weights(policy):
    with th.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)
