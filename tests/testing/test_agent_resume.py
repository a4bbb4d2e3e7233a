"""`check_agent` catches agents that do not continue from a checkpoint as if they had never stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO, TD3

from hyperrl.testing import AgentCheckError, check_agent
from hyperrl.testing.agent_resume import check_resume
from hyperrl.testing.agent_subject import Subject
from tests.sb3.toys import PointEnv

SMALL = {"policy_kwargs": {"net_arch": [8]}}


def subject(agent_class):
    return Subject(agent_class, PointEnv, "MlpPolicy", SMALL, steps=48)


class Nudged(TD3):
    """Moves its actor a little in each update, by what a subclass says."""

    def train(self, gradient_steps, batch_size=100):
        super().train(gradient_steps, batch_size)
        with th.no_grad():
            next(self.actor.parameters()).add_(1e-3 * float(self.nudge()))


class Remembering(Nudged):
    """Keeps a state in an attribute that no checkpoint knows."""

    def _setup_model(self):
        super()._setup_model()
        self.memory = [0.0]

    def nudge(self):
        self.memory.append(self.memory[-1] + 1.0)
        return self.memory[-1]


class Drawing(Nudged):
    """Draws from a generator of its own, which its seed sets."""

    def _setup_model(self):
        super()._setup_model()
        self.own_generator = np.random.default_rng(self.seed)

    def nudge(self):
        return self.own_generator.normal()


class WithinEpisode(Nudged):
    """Forgets the rewards of the episode so far, so that only a stop in the middle of one shows it."""

    def _setup_model(self):
        super()._setup_model()
        self.total = np.zeros(1)

    def _store_transition(self, buffer, action, new_obs, reward, dones, infos):
        super()._store_transition(buffer, action, new_obs, reward, dones, infos)
        self.total = (self.total + reward[:1]) * ~dones[:1]

    def nudge(self):
        return self.total[0]


class InSeveral(Remembering):
    """Keeps that state where there are several environments."""

    def nudge(self):
        return super().nudge() if self.n_envs > 1 else 0.0


class LateUpdate(Remembering):
    """Keeps it where no weight shows it: in how its optimiser goes on."""

    def nudge(self):
        for group in self.actor.optimizer.param_groups:
            group["weight_decay"] = 0.0 if len(self.memory) > 12 else 1e-2
        super().nudge()
        return 0.0


class Opaque(Remembering):
    """Gives what cannot be saved."""

    def checkpoint_state(self):
        return {"memory": object()}


class OneWay(Remembering):
    """Cannot take back what it gives."""

    def checkpoint_state(self):
        return {"memory": list(self.memory)}

    def restore_checkpoint_state(self, state):
        raise ZeroDivisionError(f"of {len(state)}")


class Meddling(Nudged):
    """Draws a random number for its checkpoint."""

    def nudge(self):
        return 0.0

    def checkpoint_state(self):
        return {"id": float(th.rand(()))}

    def restore_checkpoint_state(self, state):
        pass


class LongMemory(PPO):
    """Keeps a state in an attribute, and has rollouts that are longer than a training of the check."""

    def _setup_model(self):
        super()._setup_model()
        self.memory = [0.0]

    def train(self):
        super().train()
        self.memory.append(self.memory[-1] + 1e-3)
        with th.no_grad():
            next(self.policy.parameters()).add_(self.memory[-1])


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (
            Remembering,
            "in 1 environment ends otherwise when it is continued from its checkpoint after 24 of 48",
        ),
        (Remembering, "the first part that differs is policy.actor.mu.0.weight; what it remembers by itself"),
        (Drawing, "the first part that differs is policy.actor.mu.0.weight"),
        (WithinEpisode, "the first part that differs is policy.actor"),
        (LateUpdate, "the first part that differs is policy.actor"),
        (
            InSeveral,
            "in 2 environments ends otherwise when it is continued from its checkpoint after 48 of 96",
        ),
        (Opaque, "cannot be saved while it learns: StateError"),
        (OneWay, "cannot be restored from its checkpoint: ZeroDivisionError: of 1"),
        (Meddling, "learns otherwise when it is saved on the way"),
    ],
)
def test_an_agent_that_forgets_is_caught(broken, sentence):
    with pytest.raises(AgentCheckError) as caught:
        check_resume(subject(broken), subject(broken).trained())
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(broken.__name__)
    assert "\n" not in str(caught.value)


def test_resuming_is_part_of_the_whole_check():
    with pytest.raises(AgentCheckError, match="Remembering in 1 environment ends otherwise"):
        check_agent(Remembering, PointEnv, agent_kwargs=SMALL)


def test_long_rollouts_are_followed_by_another_one():
    settings = {"n_steps": 64, "batch_size": 32, "n_epochs": 2, **SMALL}
    check_agent(PPO, PointEnv, agent_kwargs=settings)
    with pytest.raises(AgentCheckError, match=r"checkpoint after 64 of 128 steps: .* differs is policy"):
        check_agent(LongMemory, PointEnv, agent_kwargs=settings)


class Cured(Remembering):
    """Tells its memory."""

    def checkpoint_state(self):
        return {"memory": list(self.memory)}

    def restore_checkpoint_state(self, state):
        self.memory = list(state["memory"])


class CuredGenerator(Drawing):
    """Tells its generator's state."""

    def checkpoint_state(self):
        return self.own_generator.bit_generator.state

    def restore_checkpoint_state(self, state):
        self.own_generator.bit_generator.state = state


@pytest.mark.parametrize("cured", [Cured, CuredGenerator])
def test_an_agent_that_tells_what_it_remembers_passes(cured):
    check_resume(subject(cured), subject(cured).trained())


class Unknown(PointEnv):
    """An environment with a part that cannot be captured."""

    def __init__(self):
        super().__init__()
        self.part = object()


def test_an_environment_that_cannot_be_captured_is_not_the_agents_fault():
    with pytest.raises(
        AgentCheckError, match="in this environment: all environments begin a new episode"
    ) as e:
        check_agent(TD3, Unknown, agent_kwargs=SMALL)
    assert "with exact_resume=False" in str(e.value)
    check_agent(TD3, Unknown, agent_kwargs=SMALL, exact_resume=False)
    check_agent(Remembering, Unknown, agent_kwargs=SMALL, exact_resume=False)
