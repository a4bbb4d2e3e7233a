"""Agents that adapt in ways that are known in closed form, on the toy tasks of the zero-shot tests."""

from __future__ import annotations

import copy

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

from hyperrl.plain_policy import ActionHead, DenseLayer, PlainPolicy
from hyperrl.sb3.meta.adaptation import Adaptation
from tests.evaluation.zero_shot.toy import ToyContexts

ENV_ID = "ToyAdaptation-v0"


class Toy(ToyContexts):
    """The toy tasks, whose context can be fixed later."""

    def set_fixed_context(self, context):
        self.fixed = context


class Knowing(PPO):
    """Approaches the pull of its task in equal parts, one after each episode of data, as far as `parts` go.

    It is not told the pull but infers it from the rewards of its data, which is exact where `cost` is 0.
    """

    def __init__(self, *args, parts: int = 2, noise: float = 0.0, **kwargs):
        self.parts, self.noise = parts, noise
        super().__init__(*args, **kwargs)

    def adaptation(self, contexts):
        return KnowingAdaptation(len(contexts), self.parts, self.noise)


class KnowingAdaptation(Adaptation):
    """See `Knowing`. Whatever it observes since the last end of an episode goes into what it infers."""

    def __init__(self, tasks, parts, noise):
        super().__init__(tasks)
        self.parts, self.noise = parts, noise
        self.ended = 0
        self.pulls = np.zeros(tasks)
        self.seen = [[] for _ in range(tasks)]
        self.starts = []

    def act(self, observations, *, explore):
        if explore:
            return (1 - self.noise * torch.rand(self.tasks, 1)).numpy()
        self.starts.append(observations)
        known = min(self.ended, self.parts) / self.parts
        return (self.pulls * known)[:, None].astype(np.float32)

    def observe(self, transition):
        for task in np.flatnonzero(transition.playing):
            action, reward = float(transition.actions[task, 0]), float(transition.rewards[task])
            self.seen[task].append(action - np.sqrt(max(0.0, -reward)))

    def end_episode(self):
        self.ended += 1
        # A mean over everything seen: an evaluation that were not forgotten would spoil it.
        self.pulls = np.array([np.mean(own) for own in self.seen])

    def snapshot(self):
        return copy.deepcopy((self.ended, self.pulls, self.seen))

    def restore(self, snapshot):
        self.ended, self.pulls, self.seen = copy.deepcopy(snapshot)

    def specialise(self, task):
        head = ActionHead(np.full(1, -1, np.float32), np.ones(1, np.float32), "none", "clip")
        action = self.act(None, explore=False)[task]
        return PlainPolicy((DenseLayer(np.zeros((1, 2), np.float32), action),), head, None)


class Remembering(PPO):
    """Acts 1 in the first step of an episode, and from then on the pull that the first reward tells."""

    acts_by_history = True

    def adaptation(self, contexts):
        return RememberingAdaptation(len(contexts))


class RememberingAdaptation(KnowingAdaptation):
    """See `Remembering`; it forgets between episodes."""

    def __init__(self, tasks):
        super().__init__(tasks, 1, 0.0)

    def begin_episode(self):
        self.pulls = np.ones(self.tasks)
        self.seen = [[] for _ in range(self.tasks)]

    def act(self, observations, *, explore):
        return self.pulls[:, None].astype(np.float32)

    def observe(self, transition):
        super().observe(transition)
        self.pulls = np.array([own[0] if own else 1.0 for own in self.seen])


def expected(context, reset_seed, known, cost=0.0):
    """Return the return and length of an episode whose action is a share of the pull."""
    pull = context["pull"]
    x = 0.1 * int(gym.utils.seeding.np_random(reset_seed)[0].integers(10))
    steps = min(10, int(np.ceil(context.get("limit", 10))))
    return -steps * (((known - 1) * pull) ** 2 + cost * x), steps


def registered():
    """Register the task for the time of a fixture."""
    gym.register(ENV_ID, Toy)
    try:
        yield ENV_ID
    finally:
        del gym.registry[ENV_ID]
