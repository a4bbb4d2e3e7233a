"""A resumed training must equal the straight one bit for bit."""

from __future__ import annotations

import functools

import pytest
import torch
from stable_baselines3 import PPO, TD3
from torch import nn

from hyperrl.errors import StateError
from hyperrl.run import state
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.run.resuming import Continue, Interrupt, assert_equal, assert_resumes, digests, resume, train
from tests.run.small_agents import (
    AGENTS,
    BOUNDARY,
    LENGTH,
    MIDDLE,
    ONE,
    STEPS,
    TASKS,
    build,
    task_env,
)


@functools.cache
def straight_run(cls, task, count):
    builder = functools.partial(build, cls, functools.partial(task_env, task, count))
    return builder, *train(builder, STEPS * count, MIDDLE * count, BOUNDARY * count)


# Every day each agent with one environment and with several, and in each task; the rest is slow.
DAILY = {"Pendulum-v1": (4,), "HalfCheetah-v5": (4,), "Hopper-v5": (1,)}
CASES = [
    pytest.param(cls, task, count, marks=() if count in DAILY[task] else pytest.mark.slow)
    for cls in AGENTS
    for task in TASKS
    for count in (1, 4)
]


@pytest.mark.parametrize("where", ["middle", "boundary"])
@pytest.mark.parametrize(("cls", "task", "count"), CASES)
def test_resumed_equals_straight(cls, task, count, where):
    builder, expected, interrupt = straight_run(cls, task, count)
    index = ["middle", "boundary"].index(where)
    envs = interrupt.saved[index][2]["env"]["envs"]
    elapsed = [
        memory["_elapsed_steps"] for env in envs for memory in env["memories"] if "_elapsed_steps" in memory
    ]
    assert len(elapsed) == count
    if task != "Hopper-v5":  # It ends its episodes earlier by itself.
        assert elapsed == [{"middle": MIDDLE % LENGTH, "boundary": 0}[where]] * count
    resumed, sentences, _ = resume(builder, STEPS * count, interrupt, index)
    assert sentences == []
    assert_equal(resumed, expected)


@pytest.mark.parametrize("cls", AGENTS)
def test_saving_changes_nothing(cls):
    builder, expected, _ = straight_run(cls, "Pendulum-v1", 1)
    assert_equal(digests(builder(seed=1).learn(STEPS)), expected)


def test_another_seed_is_another_run_and_every_part_is_compared():
    builder, expected, _ = straight_run(HyperTD3, "Pendulum-v1", 1)
    agent = builder(seed=2).learn(STEPS)
    others = digests(agent)
    with pytest.raises(AssertionError, match="parts differ, the first is"):
        assert_equal(others, expected)
    same = {name for name, value in expected.items() if others[name] == value}
    for part in ("weight ", "buffer ", "state optimizers", "state env", "state generators", "state last"):
        assert {name for name in expected if name.startswith(part)} - same, part


def test_several_interruptions_one_after_another():
    builder, expected, interrupt = straight_run(HyperSAC, "Pendulum-v1", 1)
    for at in (44, 50, 58, 66):
        onward = Interrupt(at)
        onward.store = interrupt.store
        back = Continue(interrupt.saved[0], interrupt.store)
        agent = builder(seed=at)
        agent.learn(STEPS, callback=[back, onward])
        interrupt = onward
        assert_equal(digests(agent), expected)


class Counting(TD3):
    """Remembers something that Stable-Baselines3 does not know."""

    def _setup_model(self):
        super()._setup_model()
        self.scale = nn.Linear(1, 1)
        self.moments = {"mean": torch.zeros(2), "history": []}

    def _get_torch_save_params(self):
        names, variables = super()._get_torch_save_params()
        return [*names, "scale"], variables

    def train(self, gradient_steps, batch_size=100):
        self.moments["mean"] += torch.rand(2)
        self.moments["history"].append(float(self.moments["mean"][0]))
        with torch.no_grad():
            self.scale.weight += self.moments["mean"].sum()
            self.actor.mu[0].bias += 1e-3 * self.scale.weight[0, 0]
        super().train(gradient_steps, batch_size)

    def checkpoint_state(self):
        return {"mean": self.moments["mean"].clone(), "history": list(self.moments["history"])}

    def restore_checkpoint_state(self, saved):
        self.moments = dict(saved)


def test_an_algorithm_with_a_memory_of_its_own_continues():
    builder = functools.partial(build, Counting, ONE)
    agent = assert_resumes(builder, 60, 40)
    assert len(agent.moments["history"]) > 15


def test_capturing_in_the_middle_of_a_rollout_is_refused():
    agent = build(PPO, ONE, 1)

    def capture(*_):
        if agent.num_timesteps % 8 == 3:
            with pytest.raises(StateError, match=r"after 2 of the 8 steps of a rollout, which would be lost"):
                state.capture(agent)
        return True

    agent.learn(16, callback=capture)
    assert state.capture(agent)["counters"]["num_timesteps"] == 16
    agent.env = None
    with pytest.raises(StateError, match="this PPO has no environment"):
        state.capture(agent)


def test_what_a_user_adds_to_episode_records_may_be_anything():
    agent = build(TD3, ONE, 1).learn(30)
    agent.ep_info_buffer.append({"r": 1.0, "l": 3, "t": 0.1, "extra": object()})
    agent.ep_success_buffer.extend([True, object()])
    captured = state.capture(agent)
    assert captured["episodes"][-1] == {"r": 1.0, "l": 3, "t": 0.1}
    assert captured["successes"] == [True]
