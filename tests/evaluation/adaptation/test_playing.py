"""Playing with agents that adapt: natively as one by one, what agents draw with, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hyperrl.environments import make_vec_env
from hyperrl.errors import NonFiniteError, ShapeError
from hyperrl.evaluation.adaptation.playing import Session
from hyperrl.evaluation.zero_shot.lanes import NativeLanes, SingleLanes, contexts_of, make_lanes
from hyperrl.evaluation.zero_shot.together import acts_by_history, play_together
from hyperrl.sb3.meta.adaptation import Adaptation
from hyperrl.sb3.meta.trials import TrialVecEnv
from tests.evaluation.adaptation.knowing import KnowingAdaptation

CART_POLE = "hyperrl/ContextualCartPole-v0"


class Watching(Adaptation):
    """Acts by what it sees, and keeps all steps."""

    def __init__(self, tasks, actions=None):
        super().__init__(tasks)
        self.actions = actions
        self.steps = []

    def act(self, observations, *, explore):
        if self.actions is not None:
            return self.actions
        states = observations["observation"] if isinstance(observations, dict) else observations
        return np.sin(7 * states.sum(axis=1, keepdims=True)).astype(np.float32)

    def observe(self, transition):
        self.steps.append(transition)

    def end_episode(self):
        """Learn nothing."""

    def snapshot(self):
        return None

    def restore(self, snapshot):
        """Change nothing."""

    def specialise(self, task):
        raise NotImplementedError


def parts_of(observations):
    return observations if isinstance(observations, dict) else {"all": observations}


@pytest.mark.parametrize("mode", ["visible", "hidden"])
def test_native_episodes_are_those_that_are_stepped_one_by_one(mode):
    kwargs = {"context": ["length", "force"], "mode": mode}
    splits, _ = contexts_of(CART_POLE, kwargs)
    contexts = splits.contexts("interpolation")[:5]
    found = []
    for native in (True, False):
        lanes = make_lanes(CART_POLE, kwargs, 5, native=native)
        assert isinstance(lanes, NativeLanes if native else SingleLanes)
        adaptation = Watching(5)
        outcomes = play_together(adaptation, lanes, contexts, [3] * 5, explore=False)
        lanes.close()
        found.append((outcomes, adaptation.steps))
    (outcomes, steps), (others, other_steps) = found
    assert outcomes == others
    lengths = [one.length for one in outcomes]
    assert len(set(lengths)) > 2, "episodes should end at different times"
    assert len(steps) == len(other_steps) == max(lengths)
    for one, other in zip(steps, other_steps, strict=True):
        for name, mine in parts_of(one.next_observations).items():
            np.testing.assert_allclose(mine, parts_of(other.next_observations)[name], rtol=1e-6, atol=1e-6)
        for field in ("actions", "rewards", "terminated", "playing"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    for earlier, later in pairwise(steps):
        for name, after in parts_of(earlier.next_observations).items():
            np.testing.assert_array_equal(after, parts_of(later.observations)[name])
    # The last observation of an episode is one in which the pole has fallen, not the first of another.
    last = parts_of(steps[lengths[0] - 1].next_observations)
    states = last.get("observation", last.get("all"))
    assert steps[lengths[0] - 1].terminated[0]
    assert np.abs(states[0, :2]).max() > 0.19


class Stub:
    """Notes what it is seeded with."""

    def __init__(self):
        self.seed, self.begun, self.drawn = None, [], []

    def set_random_seed(self, seed):
        self.drawn.append(seed)

    def adaptation(self, contexts):
        self.begun.append(self.seed)
        return KnowingAdaptation(len(contexts), 2, 0.0)


def test_agents_draw_by_the_seed_and_their_tasks_alone(env_id):
    kwargs = {"mode": "hidden", "cost": 0.0}
    contexts = contexts_of(env_id, kwargs)[0].contexts("train")
    lanes = make_lanes(env_id, kwargs, len(contexts))
    data = []
    agents = [Stub() for _ in range(4)]
    for agent, seed, first, evaluations in zip(
        agents, (0, 0, 1, 0), (0, 0, 0, 64), (1, 3, 1, 1), strict=True
    ):
        session = Session(agent, lanes, contexts, seed, first)
        agent.drawn.clear()
        for known in range(2):
            session.evaluate(known, evaluations)
            assert len(agent.drawn) == evaluations
            assert len(set(agent.drawn)) == evaluations
            agent.drawn.clear()
            session.learn(known)
            data.append(agent.drawn.pop())
    lanes.close()
    # Evaluations more or less, and the same seeds for data; other seeds or tasks, other ones.
    assert data[:2] == data[2:4]
    assert len(set(data)) == 6
    begun = [agent.begun[0] for agent in agents]
    assert begun[0] == begun[1]
    assert len(set(begun)) == 3


def test_agents_of_trials_act_by_history(env_id):
    agent = Stub()
    agent.env = make_vec_env(env_id, {"mode": "hidden"}, 1, 0)
    assert not acts_by_history(agent)
    agent.env = TrialVecEnv(agent.env)
    assert acts_by_history(agent)
    agent.env.close()


@pytest.mark.parametrize(
    ("actions", "error", "words"),
    [
        (np.full((4, 1), np.nan, np.float32), NonFiniteError, r"an action is not finite in the context \["),
        (np.zeros(4, np.float32), ShapeError, r"4 tasks need actions of shape \[4, 1\]"),
    ],
)
def test_broken_actions_are_refused(env_id, actions, error, words):
    kwargs = {"mode": "hidden"}
    contexts = contexts_of(env_id, kwargs)[0].contexts("train")
    lanes = make_lanes(env_id, kwargs, 4)
    with pytest.raises(error, match=words):
        play_together(Watching(4, actions), lanes, contexts, [0] * 4, explore=True)
    lanes.close()


def test_actions_are_kept_within_their_bounds(env_id):
    kwargs = {"mode": "hidden", "cost": 0.0}
    contexts = contexts_of(env_id, kwargs)[0].contexts("train")
    lanes = make_lanes(env_id, kwargs, 4)
    adaptation = Watching(4, np.full((4, 1), 7.0))
    outcomes = play_together(adaptation, lanes, contexts, [0] * 4, explore=True)
    lanes.close()
    for context, outcome in zip(contexts, outcomes, strict=True):
        total = -outcome.length * (1 - context[0]) ** 2
        assert outcome.episode_return == pytest.approx(total, abs=1e-5)
    assert adaptation.steps[0].actions.tolist() == [[1.0]] * 4
