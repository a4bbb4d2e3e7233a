"""The state of another agent is refused."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3 import SAC, TD3

from hyperrl.errors import CheckpointError
from hyperrl.run import state
from tests.run.small_agents import (
    FOUR,
    ONE,
    build,
    ou_noise,
    several,
)
from tests.sb3.toys import PointEnv

REFUSED = {
    "another class": (lambda: build(SAC, ONE, 2), "its class was .*TD3 and is .*SAC here"),
    "more environments": (lambda: build(TD3, FOUR, 2), "its environments was 1 and is 4 here"),
    "another space": (lambda: build(TD3, lambda: several(PointEnv, 1), 2), "its observations was Box"),
    "another optimiser": (
        lambda: build(TD3, ONE, 2, policy_kwargs={"net_arch": [16], "optimizer_class": torch.optim.SGD}),
        "does not fit actor.optimizer: it was a .*Adam and is a .*SGD",
    ),
    "another net": (lambda: build(TD3, ONE, 2, policy_kwargs={"net_arch": [8, 8]}), "does not fit actor"),
    "no noise": (lambda: build(TD3, ONE, 2, action_noise=None), "and this one has None"),
    "other noise": (
        lambda: build(TD3, ONE, 2, action_noise=ou_noise()),
        "NormalActionNoise and this one has",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_agent_is_refused(case):
    make_agent, sentence = REFUSED[case]
    captured = state.capture(build(TD3, ONE, 1).learn(30))
    with pytest.raises(CheckpointError, match=sentence):
        state.restore(make_agent().learn(2), captured)


def test_other_trained_parts_and_another_exploration_are_refused():
    captured = state.capture(build(SAC, ONE, 1).learn(30))
    with pytest.raises(
        CheckpointError, match=r"optimizers \['actor.optimizer', .* has \['actor.optimizer', 'critic"
    ):
        state.restore(build(SAC, ONE, 1, ent_coef=0.1).learn(2), captured)
    with pytest.raises(CheckpointError, match="build it with the use_sde that it had"):
        state.restore(build(SAC, ONE, 1, use_sde=True).learn(2), captured)
    captured["variables"]["log_ent_coef"] = torch.zeros(3)
    with pytest.raises(
        CheckpointError, match=r"log_ent_coef is of shape \(3,\), that of this agent of \(1,\)"
    ):
        state.restore(build(SAC, ONE, 1).learn(2), captured)
