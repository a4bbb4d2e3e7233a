"""A buffer filled from its segments must equal the one that wrote them, and cost only what is new."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from hyperrl.errors import CheckpointError, HyperRLError, StateError
from hyperrl.run.replay import ReplayLog
from hyperrl.run.store import CheckpointStore
from tests.run.doubles import MemoryStore, through_a_file

CAPACITY = 23
GOALS = spaces.Dict(
    {name: spaces.Box(-1, 1, (2,)) for name in ("observation", "achieved_goal", "desired_goal")}
)
PARTS = spaces.Dict({"image": spaces.Box(0, 255, (2, 2, 1), np.uint8), "mode.x": spaces.Discrete(4)})


def plain(n_envs, dtype=np.float32, **kwargs):
    low, high = (-9, 9) if np.dtype(dtype).kind != "u" else (0, 200)
    box = spaces.Box(low, high, (3,), dtype)
    return ReplayBuffer(CAPACITY * n_envs, box, spaces.Box(-1, 1, (2,)), "cpu", n_envs, **kwargs)


def n_step(n_envs):
    box = spaces.Box(-9, 9, (3,), np.float64)
    return NStepReplayBuffer(
        CAPACITY * n_envs, box, spaces.Box(-1, 1, (2,)), "cpu", n_envs, n_steps=3, gamma=0.9
    )


def of_parts(n_envs):
    return DictReplayBuffer(CAPACITY * n_envs, PARTS, spaces.Discrete(3), "cpu", n_envs)


def hindsight(n_envs, **kwargs):
    return HerReplayBuffer(CAPACITY * n_envs, GOALS, spaces.Box(-1, 1, (2,)), None, "cpu", n_envs, **kwargs)


MAKERS = {
    "plain": plain,
    "without timeouts": lambda n: plain(n, handle_timeout_termination=False),
    "int8": lambda n: plain(n, np.int8),
    "uint8": lambda n: plain(n, np.uint8),
    "one array": lambda n: plain(n, optimize_memory_usage=True, handle_timeout_termination=False),
    "n-step": n_step,
    "parts": of_parts,
    "hindsight": hindsight,
}


def add(buffer, count, rng):
    """Add transitions of episodes that end at random, some by a time limit."""

    def sample(space):
        if isinstance(space, spaces.Dict):
            return {name: sample(part) for name, part in space.spaces.items()}
        if isinstance(space, spaces.Discrete):
            return rng.integers(0, 3, buffer.n_envs)
        return rng.integers(0, 9, (buffer.n_envs, *space.shape)).astype(space.dtype)

    for _ in range(count):
        done = rng.random(buffer.n_envs) < 0.2
        infos = [{"TimeLimit.truncated": bool(one and rng.random() < 0.5)} for one in done]
        buffer.add(
            sample(buffer.observation_space),
            sample(buffer.observation_space),
            sample(buffer.action_space),
            rng.random(buffer.n_envs),
            done,
            infos,
        )


def contents(buffer):
    flat = {}
    for name, value in vars(buffer).items():
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(part, np.ndarray) and part.dtype != object:
                flat[f"{name}.{key}"] = part
    return {**flat, "pos": buffer.pos, "full": buffer.full}


def assert_same(left, right):
    one, other = contents(left), contents(right)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


class Run:
    """A buffer that is filled and saved, and the counts that belong to it."""

    def __init__(self, make, n_envs):
        self.make = lambda: make(n_envs)
        self.buffer, self.store = self.make(), MemoryStore()
        self.log = ReplayLog(self.buffer)
        self.added = 0

    def add(self, count, rng):
        add(self.buffer, count, rng)
        self.added += count

    def save(self):
        segments, state = self.log.append(self.store, self.added)
        return segments, through_a_file(state)

    def resumed(self, saved):
        """Continue in a new buffer, as after a crash."""
        self.buffer = self.make()
        self.log = ReplayLog(self.buffer)
        self.log.restore(self.store, *saved)
        self.added = saved[1]["added"]


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("kind", MAKERS)
def test_every_checkpoint_fills_a_new_buffer_bit_for_bit(kind, n_envs):
    rng = np.random.default_rng(0)
    for seed in range(6):
        counts = np.random.default_rng(seed).choice([0, 1, 2, 5, 11, CAPACITY - 1, CAPACITY, 60], 12)
        run = Run(MAKERS[kind], n_envs)
        for index, count in enumerate(counts):
            run.add(int(count), rng)
            saved = run.save()
            straight = run.buffer
            if index % 3 == 2:
                run.resumed(saved)
            else:
                fresh = run.make()
                ReplayLog(fresh).restore(run.store, *saved)
                assert_same(fresh, straight)
            assert_same(run.buffer, straight)


def test_a_checkpoint_writes_each_row_once_and_drops_what_the_ring_overwrote():
    run, rng = Run(plain, 2), np.random.default_rng(0)
    for total in range(7, 141, 7):
        run.add(7, rng)
        before = len(run.store.segments)
        segments, state = run.save()
        assert run.store.rows_written == total
        # Seven rows in one piece, or in two where the ring ends between them.
        assert len(run.store.segments) - before in (1, 2)
        assert state["total"] == total
        oldest = min(first + rows for _, first, rows in state["spans"])
        assert oldest > total - CAPACITY
        assert len(segments) <= 7
    # New rows are not among what changed in older ones.
    assert not [name for arrays in run.store.segments.values() for name in arrays if "changed" in name]
    before = run.store.rows_written
    assert run.save()[0] == segments
    assert run.store.rows_written == before


def test_more_rows_than_the_ring_has_are_written_as_one_ring():
    run, rng = Run(plain, 1), np.random.default_rng(0)
    run.add(5, rng)
    run.save()
    run.add(4 * CAPACITY + 3, rng)
    before = run.store.rows_written
    segments, _ = run.save()
    assert run.store.rows_written - before == CAPACITY
    assert len(segments) <= 2


def test_a_buffer_that_was_filled_before_is_written_at_once():
    rng = np.random.default_rng(0)
    for count in (9, CAPACITY + 4):
        buffer, store, fresh = plain(1), MemoryStore(), plain(1)
        add(buffer, count, rng)
        saved = ReplayLog(buffer).append(store, 0)
        assert store.rows_written == min(count, CAPACITY)
        ReplayLog(fresh).restore(store, *saved)
        assert_same(fresh, buffer)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_end_of_an_episode_set_later_is_written(kind):
    run, rng = Run(MAKERS[kind], 2), np.random.default_rng(5)
    run.add(CAPACITY + 6, rng)
    first = run.save()
    last = run.buffer.pos - 1
    before = run.store.rows_written
    run.buffer.dones[last] = 1 - run.buffer.dones[last]
    if isinstance(run.buffer, HerReplayBuffer):
        run.buffer._compute_episode_length(0)
    again = run.save()
    assert run.store.rows_written == before
    assert again[0] != first[0]
    straight = run.buffer
    run.resumed(again)
    assert_same(run.buffer, straight)
    run.add(4, rng)
    saved, straight = run.save(), run.buffer
    run.resumed(saved)
    assert_same(run.buffer, straight)


def test_an_episode_longer_than_several_checkpoints_gets_its_length():
    run, rng = Run(hindsight, 1), np.random.default_rng(0)

    def step(done):
        goals = {name: rng.random((1, 2)).astype(np.float32) for name in GOALS.spaces}
        run.buffer.add(goals, goals, np.zeros((1, 2)), np.zeros(1), np.array([done]), [{}])
        run.added += 1

    for index in range(60):
        step(index % 14 == 13)
        if index % 3 == 0:
            saved, straight = run.save(), run.buffer
            run.resumed(saved)
            assert_same(run.buffer, straight)
    assert sorted(set(run.buffer.ep_length.ravel())) == [0, 14]


def test_rows_added_beside_the_agent_are_written_all_the_same():
    run, rng = Run(plain, 1), np.random.default_rng(0)
    run.add(4, rng)
    run.save()
    add(run.buffer, 3, rng)  # Nobody counts these.
    run.add(2, rng)
    saved, straight = run.save(), run.buffer
    assert saved[1]["total"] == 9
    run.resumed(saved)
    assert_same(run.buffer, straight)
    run.buffer.reset()
    run.add(3, rng)
    saved = run.save()
    assert len(saved[0]) == 1
    assert saved[1]["total"] == 3


@pytest.mark.parametrize("allowed", [0, 1])
def test_what_could_not_be_written_is_written_next_time(allowed):
    run, rng = Run(hindsight, 1), np.random.default_rng(0)
    run.add(CAPACITY - 3, rng)
    run.save()
    run.add(8, rng)
    run.store.refuse_after = allowed
    with pytest.raises(OSError, match="No space left"):
        run.save()
    run.add(2, rng)
    run.store.refuse_after = None
    saved, straight = run.save(), run.buffer
    run.resumed(saved)
    assert_same(run.buffer, straight)


def test_an_older_checkpoint_can_be_continued():
    run, rng = Run(n_step, 2), np.random.default_rng(0)
    run.add(8, rng)
    older = run.save()
    run.add(6, rng)
    run.save()
    run.resumed(older)
    run.add(9, rng)
    saved, straight = run.save(), run.buffer
    run.resumed(saved)
    assert_same(run.buffer, straight)


def test_a_buffer_that_is_not_empty_is_filled_anew():
    run, rng = Run(plain, 1), np.random.default_rng(0)
    run.add(4, rng)
    saved, used = run.save(), plain(1)
    add(used, CAPACITY + 2, rng)
    ReplayLog(used).restore(run.store, *saved)
    assert_same(used, run.buffer)


@pytest.mark.parametrize("kind", MAKERS)
def test_samples_are_the_same_afterwards(kind):
    run, rng = Run(MAKERS[kind], 2), np.random.default_rng(0)
    run.add(CAPACITY + 9, rng)
    if kind == "hindsight":

        class Rewards:
            def env_method(self, name, achieved, desired, infos, indices):
                return [np.abs(achieved - desired).sum(1)]

        run.buffer.env = Rewards()
    saved, straight = run.save(), run.buffer
    run.resumed(saved)
    if kind == "hindsight":
        run.buffer.env = straight.env
    drawn = []
    for buffer in (straight, run.buffer):
        np.random.seed(3)
        drawn.append(buffer.sample(40))
    for left, right in zip(*drawn, strict=True):
        if isinstance(left, dict):
            assert all((left[name] == right[name]).all() for name in left)
        elif left is not None:
            assert (left == right).all()


def test_another_size_another_kind_and_a_missing_segment_are_refused():
    run, rng = Run(plain, 1), np.random.default_rng(0)
    run.add(4, rng)
    segments, state = run.save()
    with pytest.raises(
        CheckpointError, match=r"observations was \['<f4', 23, 1, 3\] and is \['<f4', 23, 2, 3\]"
    ):
        ReplayLog(plain(2)).restore(run.store, segments, state)
    with pytest.raises(CheckpointError, match="next_observations was"):
        ReplayLog(MAKERS["one array"](1)).restore(run.store, segments, state)
    with pytest.raises(CheckpointError, match=r"does not list its replay segment '0\.safetensors'"):
        ReplayLog(plain(1)).restore(run.store, (), state)


class Weighted(ReplayBuffer):
    """A buffer with a row, a number and a table of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.weights = np.zeros((self.buffer_size, self.n_envs), np.float64)
        self.largest = 1.0
        self.table = np.arange(5)

    def add(self, *args):
        self.weights[self.pos] = self.largest
        self.largest += 0.5
        self.table += 1
        super().add(*args)


def test_numbers_and_arrays_of_a_subclass_are_part_of_it_and_objects_are_refused():
    def make(n_envs):
        return Weighted(CAPACITY, spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)), "cpu", n_envs)

    run, rng = Run(make, 1), np.random.default_rng(0)
    run.add(30, rng)
    saved, straight = run.save(), run.buffer
    run.resumed(saved)
    assert_same(run.buffer, straight)
    assert run.buffer.largest == straight.largest == 16.0
    run.add(1, rng)
    assert straight.table[0] == 30
    run.buffer.tree = object()
    with pytest.raises(StateError, match="attribute tree is a object and cannot be part"):
        ReplayLog(run.buffer)
    with pytest.raises(CheckpointError, match=r"weights was \['<f8', 23, 1\] and is missing here"):
        ReplayLog(plain(1)).restore(run.store, *saved)


def test_info_dictionaries_are_refused_in_one_sentence():
    with pytest.raises(
        HyperRLError, match=r"info dictionary.*build HerReplayBuffer with copy_info_dict=False"
    ):
        ReplayLog(hindsight(1, copy_info_dict=True))


def test_it_works_with_files(tmp_path):
    run, rng = Run(hindsight, 2), np.random.default_rng(0)
    run.store = CheckpointStore(tmp_path / "ckpt", keep=1)
    for steps in range(6):
        run.add(10, rng)
        segments, state = run.log.append(run.store, run.added)
        run.store.save(steps, weights={}, state=state, about={}, segments=segments)
    files = {path.name for path in (tmp_path / "ckpt" / "replay").iterdir()}
    assert files == {segment.name for segment in segments}
    checkpoint = run.store.load()
    fresh = run.make()
    ReplayLog(fresh).restore(run.store, checkpoint.segments, checkpoint.state())
    assert_same(fresh, run.buffer)
