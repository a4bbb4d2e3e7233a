"""Agents with every kind of network learn, count their parameters and become plain policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch as th

from hyperrl import ContextPPO, ContextSAC, ContextTD3, specialise
from hyperrl.errors import UnknownNameError
from hyperrl.sb3.contexts import KINDS
from hyperrl.testing import check_agent
from tests.agents.contexts.building import AGENTS, build, every_agent, parameters, stirred
from tests.sb3.contexts.toys import CONTEXTS, SPACE, ContextTask

OFTEN = {
    *((ContextPPO, "dict", kind) for kind in KINDS),
    *((ContextPPO, "flat", "adapter"), (ContextSAC, "flat", "hyper"), (ContextSAC, "dict", "adapter")),
    *((ContextTD3, "flat", "cgate"), (ContextTD3, "dict", "film")),
}
COMBINATIONS = [
    pytest.param(*one, marks=() if one in OFTEN else pytest.mark.slow)
    for one in itertools.product(AGENTS, ("dict", "flat"), KINDS)
]


@pytest.mark.parametrize(("cls", "append", "kind"), COMBINATIONS)
def test_every_kind_learns_and_becomes_a_plain_policy(cls, append, kind):
    model = build(cls, append, kind, kind)
    before = parameters(model)
    model.learn(64)
    assert th.isfinite(parameters(model)).all()
    assert not th.equal(parameters(model), before)
    stirred(model)
    states = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    for context in ({"sign": -0.3, "scale": 3.0}, {"sign": 1.5}, CONTEXTS[2]):
        policy = specialise(model, context=context)
        raw = SPACE.array(context)
        code = np.tile(SPACE.normalise(raw).astype(np.float32), (32, 1))
        whole = {"observation": states, "context": code} if append == "dict" else np.hstack([states, code])
        expected, _ = model.predict(whole, deterministic=True)
        assert policy.sizes[0] == 3
        assert np.abs(policy(states) - expected).max() < 1e-5


@every_agent
def test_parameters_are_matched_and_counted(cls):
    counts = build(cls, policy_kwargs={"match_params": {"actor": 9000, "critic": 5000}}).parameter_counts
    for part, wanted in (("actor", 9000), ("critic", 5000)):
        assert abs(counts[part]["trainable"] - wanted) / wanted < 0.03
    assert counts["actor"]["kind"] == "hyper"
    assert counts["actor"]["generated"] > 0 == counts["critic"]["generated"]
    with pytest.raises(UnknownNameError, match="did you mean 'actor'"):
        build(cls, policy_kwargs={"match_params": {"actr": 9000}})


@every_agent
def test_the_promises_of_agents_hold_with_contexts(cls):
    small = {"policy_kwargs": {"net_arch": [8]}}
    if cls is not ContextPPO:
        small |= {"batch_size": 16, "contexts_per_batch": 4, "balance": "contexts"}
    check_agent(cls, ContextTask, policy="MultiInputPolicy", agent_kwargs=small)
