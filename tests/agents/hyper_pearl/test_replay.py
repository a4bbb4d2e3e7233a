"""The store of all tasks against lists of what was put into it."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from hyperrl_agents.hyper_pearl.replay import TaskReplay

ACTIONS = spaces.Box(-1, 1, (1,), np.float32)


def episode(first, length, ends=False):
    """Steps that are numbered: state, next state and reward say which it is."""
    numbers = np.arange(first, first + length, dtype=np.float32)
    terminated = np.zeros(length, bool)
    terminated[-1] = ends
    column = numbers[:, None]
    return column, np.zeros_like(column), numbers, column + 0.5, terminated


def filled(size=50, plan=(), n_tasks=3):
    """A store after a plan of (task, length, whether the encoder may see it)."""
    replay, first = TaskReplay(size, 1, ACTIONS, n_tasks), 0
    for task, length, informs in plan:
        replay.add_episode(task, *episode(first, length), informs=informs)
        first += length
    return replay


def rewards(replay, task, context, count=400):
    drawn = replay.draw(np.array([task]), count, np.random.default_rng(0), context=context)
    return set(drawn.rewards.flatten().tolist())


def test_a_batch_is_of_the_tasks_that_are_asked_for_and_keeps_rows_together():
    replay = filled(plan=[(0, 4, True), (2, 5, True), (0, 3, True)])
    batch = replay.draw(np.array([2, 0, 2]), 30, np.random.default_rng(0), context=False)
    assert batch.rewards.shape == (3, 30)
    for row, own in ((0, {4, 5, 6, 7, 8}), (1, {0, 1, 2, 3, 9, 10, 11}), (2, {4, 5, 6, 7, 8})):
        assert set(batch.rewards[row].tolist()) == own
    np.testing.assert_array_equal(batch.states[..., 0], batch.rewards)
    np.testing.assert_array_equal(batch.next_states[..., 0], batch.rewards + 0.5)


def test_draws_are_even_over_a_tasks_rows():
    replay = filled(plan=[(1, 10, True)])
    drawn = replay.draw(np.array([1]), 50_000, np.random.default_rng(0), context=False)
    _, counts = np.unique(drawn.rewards, return_counts=True)
    # Five standard deviations of a count.
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(5000 * 0.9)


def test_last_transitions_are_there_and_only_true_ends_are_terminal():
    replay = TaskReplay(50, 1, ACTIONS, 2)
    replay.add_episode(0, *episode(0, 4, ends=True), informs=True)
    replay.add_episode(1, *episode(4, 4, ends=False), informs=True)
    batch = replay.draw(np.array([0, 1]), 200, np.random.default_rng(0), context=False)
    ended = {float(reward) for reward in batch.rewards[0][batch.terminated[0] == 1]}
    assert ended == {3.0}
    assert 7.0 in batch.rewards[1].tolist()
    assert not batch.terminated[1].any()


def test_what_only_teaches_is_not_seen_by_the_encoder():
    replay = filled(plan=[(0, 4, True), (0, 4, False)])
    assert rewards(replay, 0, context=True) == {0, 1, 2, 3}
    assert rewards(replay, 0, context=False) == set(range(8))


def test_a_cleared_view_of_the_encoder_fills_again_and_learning_loses_nothing():
    replay = filled(plan=[(0, 4, True), (1, 4, True)])
    replay.clear_context(0)
    assert replay.without_context().tolist() == [0, 2]
    assert rewards(replay, 1, context=True) == {4, 5, 6, 7}
    replay.add_episode(0, *episode(8, 2), informs=True)
    assert rewards(replay, 0, context=True) == {8, 9}
    assert rewards(replay, 0, context=False) == {0, 1, 2, 3, 8, 9}


def test_a_full_store_forgets_its_oldest_rows_whosever_they_are():
    replay = filled(10, [(0, 4, True), (1, 4, True), (2, 6, True)])
    assert replay.full
    assert replay.size() == 10
    assert replay.without_context().tolist() == [0]
    assert rewards(replay, 1, context=False) == {4, 5, 6, 7}
    replay.add_episode(0, *episode(14, 3), informs=True)
    assert rewards(replay, 1, context=True) == {7}
    assert rewards(replay, 2, context=True) == set(range(8, 14))


def test_a_long_life_in_a_small_ring_is_that_of_a_list():
    rng = np.random.default_rng(0)
    replay, added = TaskReplay(300, 1, ACTIONS, 4), []
    cleared = np.zeros(4, int)
    for _ in range(800):
        task, length, informs = int(rng.integers(4)), int(rng.integers(1, 30)), bool(rng.integers(2))
        if rng.random() < 0.1:
            replay.clear_context(task)
            cleared[task] = len(added)
        replay.add_episode(task, *episode(len(added), length), informs=informs)
        added += [(len(added) + step, task, informs) for step in range(length)]
    alive = added[-300:]
    again = TaskReplay(300, 1, ACTIONS, 4)
    vars(again).update({name: vars(replay)[name] for name in vars(replay) if name not in replay.derived})
    again.index()
    for one in (replay, again):
        for task in range(4):
            assert one.rows_of(task).tolist() == [row for row, own, _ in alive if own == task]
            seen = [row for row, own, told in alive if own == task and told and row >= cleared[task]]
            assert one.context_of(task).tolist() == seen


def test_an_episode_longer_than_the_store_leaves_its_end():
    replay = filled(10, [(0, 25, True)])
    assert rewards(replay, 0, context=False) == set(range(15, 25))


def test_the_store_is_float32_once_for_all_tasks():
    replay = TaskReplay(1000, 3, ACTIONS, 100)
    assert replay.packed.dtype == np.float32
    # State, next state, action, reward, end, time limit.
    assert replay.packed.nbytes == 1000 * 4 * (3 + 3 + 1 + 1 + 1 + 1)


@pytest.mark.parametrize("next_states", [False, True])
def test_the_encoder_sees_states_actions_and_rewards(next_states):
    batch = filled(plan=[(0, 4, True)]).draw(np.array([0]), 5, np.random.default_rng(0), context=True)
    context = batch.as_context(next_states)
    columns = [batch.states[..., 0], batch.actions[..., 0], batch.rewards]
    columns += [batch.next_states[..., 0]] if next_states else []
    np.testing.assert_array_equal(context, np.stack(columns, axis=-1))
