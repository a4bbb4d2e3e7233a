"""Rollouts against returns that are known in closed form, whatever is stepped together."""

from __future__ import annotations

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from hyperrl import HyperZero
from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, ContextError, NonFiniteError
from hyperrl.evaluation.rollout import play_episode
from hyperrl.evaluation.zero_shot.actors import WIDTH, PolicyActor, RandomActor
from hyperrl.evaluation.zero_shot.lanes import SingleLanes, contexts_of, make_lanes
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.rollouts import play
from tests.evaluation.zero_shot.toy import STEPS, PullPolicy


def planned(env_id, kwargs, **settings):
    splits, view = contexts_of(env_id, kwargs)
    plan = Plan(splits, splits.names, settings.pop("episodes", 3), **settings)
    return plan.cases(), view


def expected(case):
    """The return and length, from the definition of the task."""
    pull, limit = case.context[:2]
    told = case.context if case.told is None else case.told
    x = 0.1 * int(gym.utils.seeding.np_random(case.reset_seed)[0].integers(10))
    steps = min(STEPS, int(np.ceil(limit)))
    return -steps * ((told[0] - pull) ** 2 + 0.01 * x), steps


@pytest.mark.parametrize("kwargs", [{}, {"append": "flat"}, {"units": "raw"}, {"dims": 3, "append": "flat"}])
@pytest.mark.parametrize("ablations", [(), ("shuffled", "mean")])
def test_returns_are_those_of_the_definition(env_id, kwargs, ablations):
    cases, view = planned(env_id, kwargs, ablations=ablations)
    lanes = make_lanes(env_id, kwargs, 7)
    played = play(PolicyActor(PullPolicy(view.space, view.units), view), lanes, cases)
    lanes.close()
    assert [one.case for one in played] == cases
    for case, one in zip(cases, played, strict=True):
        total, steps = expected(case)
        assert one.ended.episode_return == pytest.approx(total, abs=2e-5)
        assert one.ended.length == steps
        assert one.ended.terminated == (steps < STEPS)
        assert one.ended.success is None


def test_every_context_has_exactly_its_quota_though_episodes_end_early(env_id):
    """Acceptance test (g): short episodes do not crowd out long ones."""
    cases, view = planned(env_id, {}, episodes=5, seeds=(0, 1))
    lanes = make_lanes(env_id, {}, 3)
    played = play(PolicyActor(PullPolicy(view.space), view), lanes, cases)
    counts = Counter((one.case.split, one.case.number) for one in played)
    assert set(counts.values()) == {10}
    lengths = {(one.case.split, one.case.number): one.ended.length for one in played}
    assert len(set(lengths.values())) > 2, "the episodes should be of different lengths"
    pairs = {(one.case.split, one.case.number, one.case.reset_seed) for one in played}
    assert len(pairs) == len(played)


class Network:
    """A network in float32, whose rounding may depend on the shape of a batch."""

    def __init__(self, inputs):
        rng = np.random.default_rng(0)
        self.first = rng.normal(size=(inputs, 64)).astype(np.float32)
        self.second = rng.normal(size=(64, 1)).astype(np.float32)
        self.shapes = set()

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.shapes.add(observation.shape)
        return np.tanh(np.tanh(observation @ self.first) @ self.second), None


def test_results_do_not_depend_on_how_many_are_stepped_together(env_id):
    kwargs = {"append": "flat"}
    cases, view = planned(env_id, kwargs, ablations=("shuffled",))
    results = []
    for count in (1, 2, 5, 64, 100):
        network = Network(4)
        lanes = make_lanes(env_id, kwargs, count)
        results.append([one.ended for one in play(PolicyActor(network, view), lanes, cases)])
        lanes.close()
        assert network.shapes == {(WIDTH, 4)}
    assert all(one == results[0] for one in results)


class Remembering:
    """Acts by how many steps it has seen of the episode, in a state whose rows are the second axis."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        count = np.zeros((1, len(observation), 1)) if state is None else state[0]
        count = np.where(episode_start[None, :, None], 0.0, count)
        return (count[0] / 10).astype(np.float32), (count + 1,)


@pytest.mark.parametrize("count", [1, 3, 70])
def test_what_a_policy_remembers_stays_with_its_episode(env_id, count):
    kwargs = {"append": "flat", "cost": 0.0}
    cases, view = planned(env_id, kwargs, episodes=5)
    assert len({case.context[1] for case in cases}) > 3, "episodes should end at different times"
    lanes = make_lanes(env_id, kwargs, count)
    for one in play(PolicyActor(Remembering(), view), lanes, cases):
        pull, steps = one.case.context[0], one.ended.length
        total = -sum((step / 10 - pull) ** 2 for step in range(steps))
        assert one.ended.episode_return == pytest.approx(total, abs=2e-5)


def test_a_policy_that_infers_its_task_acts_as_it_does_alone(env_id):
    cases, view = planned(env_id, {}, episodes=1)
    env = make_env(env_id, {})
    small = {"latent": 4, "net_arch": [8]}
    agent = HyperZero("MultiInputPolicy", env, method="pearl", policy_kwargs=small, seed=0, device="cpu")
    played = play(PolicyActor(agent, view), make_lanes(env_id, {}, 3), cases)
    without_state = []
    for one in played:
        env.unwrapped.fixed = dict(zip(view.space.names, one.case.context.tolist(), strict=True))
        alone = play_episode(agent, env, one.case.reset_seed)
        assert one.ended.episode_return == pytest.approx(alone.episode_return, abs=2e-5)
        observation, ended, total = env.reset(seed=one.case.reset_seed)[0], False, 0.0
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(agent.predict(observation)[0])
            total, ended = total + reward, terminated or truncated
        without_state.append(total)
    assert not np.allclose(without_state, [one.ended.episode_return for one in played], atol=1e-3)


def test_a_lane_that_is_told_another_context_tells_the_truth_in_its_next_episode(env_id):
    cases, view = planned(env_id, {}, ablations=("mean",))
    mixed = [
        case for pair in zip(cases[: len(cases) // 2], cases[len(cases) // 2 :], strict=True) for case in pair
    ]
    lanes = make_lanes(env_id, {}, 3)
    for one in play(PolicyActor(PullPolicy(view.space), view), lanes, mixed):
        assert one.ended.episode_return == pytest.approx(expected(one.case)[0], abs=2e-5)


def test_random_actions_are_the_same_for_the_same_reset_and_cover_the_space(env_id):
    cases = [case for case in planned(env_id, {"cost": 0.0}, random=True)[0] if case.ablation == "random"]
    by_count = []
    for count in (2, 9):
        lanes = SingleLanes(env_id, {"cost": 0.0}, count)
        by_count.append(play(RandomActor(lanes.action_space, count), lanes, cases))
    assert by_count[0] == by_count[1]
    # The mean of (a - p)^2 for a even in [-1, 1] is 1/3 + p^2.
    own = [one.ended.episode_return / one.ended.length + one.case.context[0] ** 2 for one in by_count[0]]
    assert np.mean(own) == pytest.approx(-1 / 3, abs=0.05)


@pytest.mark.parametrize(
    "kwargs", [{}, {"append": "flat"}, {"units": "raw"}, {"append": "flat", "units": "raw"}]
)
def test_telling_the_truth_changes_no_bit(env_id, kwargs):
    splits, view = contexts_of(env_id, kwargs)
    env = make_env(env_id, kwargs)
    contexts = splits.contexts("extrapolation")
    names = splits.space.names
    rows = [env.reset(seed=0, options={"context": dict(zip(names, row, strict=True))})[0] for row in contexts]
    if isinstance(rows[0], dict):
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        told = view.replaced(batch, list(range(len(rows))), contexts)
        assert told.keys() == batch.keys()
        assert all((told[name] == batch[name]).all() and told[name].dtype == np.float32 for name in batch)
        changed = view.replaced(batch, [1], contexts[:1])
        np.testing.assert_array_equal(changed["observation"], batch["observation"])
        np.testing.assert_array_equal(changed["context"][1], batch["context"][0])
        np.testing.assert_array_equal(changed["context"][2:], batch["context"][2:])
    else:
        batch = np.stack(rows)
        np.testing.assert_array_equal(view.replaced(batch, list(range(len(rows))), contexts), batch)
        changed = view.replaced(batch, [1], contexts[:1])
        np.testing.assert_array_equal(changed[:, :2], batch[:, :2])
        np.testing.assert_array_equal(changed[1, 2:], batch[0, 2:])


def test_hidden_contexts_cannot_be_told(env_id):
    _, view = contexts_of(env_id, {"mode": "hidden"})
    assert not view.is_visible
    with pytest.raises(ContextError, match="hidden from the policy"):
        view.replaced(np.zeros((1, 2), np.float32), [0], np.zeros((1, 2)))


@pytest.mark.filterwarnings("ignore:.*The reward is an inf value.*")
def test_what_is_not_finite_is_refused(env_id):
    cases, view = planned(env_id, {})
    policy = PullPolicy(view.space)
    policy.predict = lambda *args, **kwargs: (np.full((WIDTH, 1), np.nan, np.float32), None)
    with pytest.raises(NonFiniteError, match="an action of the policy is not finite in context 0 of 'train'"):
        play(PolicyActor(policy, view), make_lanes(env_id, {}, 2), cases)
    endless = make_lanes(env_id, {"cost": 1e400}, 2)
    with pytest.raises(NonFiniteError, match="a reward is not finite"):
        play(PolicyActor(PullPolicy(view.space), view), endless, cases)
    with pytest.raises(ConfigError, match="at least one episode"):
        play(PolicyActor(policy, view), make_lanes(env_id, {}, 2), [])


def test_an_environment_without_contexts_is_refused():
    with pytest.raises(ContextError, match="Pendulum-v1 has no contexts"):
        contexts_of("Pendulum-v1", {})
