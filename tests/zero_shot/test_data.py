"""Data sets of solved tasks: what is written is what is read, and what is damaged is refused."""

import json
import shutil

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from hyperrl.context import make_splits
from hyperrl.errors import DatasetError, HyperRLError, NonFiniteError, ShapeError
from hyperrl.run.sealed import seal
from hyperrl.zero_shot_data import Dataset, TaskRecord, Transitions
from hyperrl.zero_shot_data.labels import discounted_returns
from hyperrl.zero_shot_data.recording import CRITIC, RETURNS, play, transitions_of
from tests.agents.hyper_zero.lines import ENV, GAMMA, line_dataset, line_space, line_transitions

ROWS = 16


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return line_dataset(tmp_path_factory.mktemp("lines"), rows=ROWS).folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "data")


def rewrite(folder, change):
    """Change the manifest and seal it again."""
    path = folder / "dataset.json"
    table = json.loads(path.read_text())
    del table["sha256"], table["format"]
    change(table)
    path.write_bytes(seal(table))


def test_what_is_written_is_read(whole):
    dataset = Dataset(whole)
    manifest = dataset.manifest()
    splits = make_splits(line_space(), "tasks", grid=20)
    assert (manifest.env, manifest.gamma) == (ENV, GAMMA)
    assert manifest.splits.to_json() == splits.to_json()
    assert [task.split for task in manifest.tasks] == ["train"] * 17 + ["tasks"] * 3
    rng = np.random.default_rng(0)
    loaded = dataset.load("train") + dataset.load("tasks")
    for task, transitions in zip(manifest.tasks, loaded, strict=True):
        expected = line_transitions(task.context[0], ROWS, rng)
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(transitions, name), value)
            assert getattr(transitions, name).dtype == np.float32
        assert task.rows == len(transitions) == ROWS
        assert task.mean_return == pytest.approx(float(expected.rewards.sum()))


def test_training_reads_no_file_of_a_test(folder):
    manifest = Dataset(folder).manifest()
    for task in manifest.of_split("tasks"):
        (folder / task.file).unlink()
    assert len(Dataset(folder).load("train")) == 17
    with pytest.raises(DatasetError, match="is missing"):
        Dataset(folder).load("tasks")


def test_a_test_task_that_is_said_to_be_trained_on_is_refused(folder):
    rewrite(folder, lambda table: table["tasks"][-1].update(split="train"))
    with pytest.raises(DatasetError, match="says that task-019 is trained on, but its context"):
        Dataset(folder).load("train")


def test_a_test_task_cannot_be_written_as_one_of_training(whole, tmp_path):
    manifest = Dataset(whole).manifest()
    test = manifest.of_split("tasks")[0]
    mine = TaskRecord(**{**vars(test), "split": "train"})
    with pytest.raises(DatasetError, match="is trained on, but its context"):
        Dataset(tmp_path).finish(
            env=ENV, env_kwargs={}, splits=manifest.splits, gamma=GAMMA, tasks=[*manifest.tasks, mine]
        )
    assert not (tmp_path / "dataset.json").exists()


@pytest.mark.parametrize("place", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["tasks/task-003.safetensors", "dataset.json"])
def test_a_single_flipped_bit_is_noticed(folder, name, place):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=path.name):
        Dataset(folder).load("train")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda folder: (folder / "tasks" / "task-003.safetensors").unlink(),
            "task-003.safetensors is missing",
        ),
        (lambda folder: (folder / "dataset.json").unlink(), "has no dataset.json; make one with hyperrl"),
        (lambda folder: (folder / "dataset.json").write_bytes(b""), "damaged"),
        (lambda folder: rewrite(folder, lambda table: table.pop("gamma")), "damaged"),
        (lambda folder: rewrite(folder, lambda table: table["tasks"][0].pop("rows")), "a task needs"),
        (
            lambda folder: rewrite(folder, lambda table: table["tasks"][0].update(name="../x")),
            "name of a task",
        ),
        (
            lambda folder: rewrite(folder, lambda table: table.update(tasks=[])),
            "no task of the split 'train'",
        ),
    ],
)
def test_damage_is_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(DatasetError, match=sentence) as caught:
        Dataset(folder).load("train")
    assert "\n" not in str(caught.value)


def test_a_task_that_is_whole_is_known_again(folder):
    dataset = Dataset(folder)
    first = dataset.manifest().tasks[0]
    assert dataset.added(first.name) == first
    (folder / first.file).write_bytes(b"")
    assert dataset.added(first.name) is None
    assert dataset.added("task-999") is None


def arrays(rows=4):
    ones = np.ones(rows, np.float32)
    return {
        "states": np.zeros((rows, 3)),
        "actions": np.zeros((rows, 2)),
        "rewards": ones,
        "next_states": np.zeros((rows, 3)),
        "terminated": 0 * ones,
        "values": ones,
    }


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        ({"values": np.array([1, np.nan, 1, 1])}, NonFiniteError, "the values of a task"),
        ({"states": np.full((4, 3), np.inf)}, NonFiniteError, "the states of a task"),
        ({"actions": np.full((4, 2), 1.5)}, DatasetError, r"rescaled to \[-1, 1\]"),
        ({"terminated": np.full(4, 0.5)}, DatasetError, "0 or 1"),
        ({"rewards": np.ones(3)}, ShapeError, "same number of rows"),
        ({"next_states": np.zeros((4, 2))}, ShapeError, "same number of rows"),
    ],
)
def test_transitions_that_cannot_be_learned_from_are_refused(change, kind, sentence):
    with pytest.raises(kind, match=sentence):
        Transitions(**{**arrays(), **change})
    with pytest.raises(HyperRLError):
        Transitions(**arrays(0))


def test_discounted_returns_are_the_sum_of_what_follows():
    rewards = np.array([1.0, -2.0, 3.0, 0.5])
    expected = [
        sum(0.9 ** (k - t) * rewards[k] for k in range(t, 4)) + 0.9 ** (4 - t) * 7.0 for t in range(4)
    ]
    np.testing.assert_allclose(discounted_returns(rewards, 0.9, 7.0), expected)
    np.testing.assert_allclose(discounted_returns(rewards, 0.9)[-1], 0.5)
    with pytest.raises(ShapeError):
        discounted_returns(np.zeros((2, 2)), 0.9)


class Count(gym.Env):
    """The state counts steps; the episode ends by itself after 3 steps, or by time after 5."""

    def __init__(self, ends=False):
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = spaces.Box(np.float32([-2]), np.float32([4]), dtype=np.float32)
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return np.float32([seed]), {}

    def step(self, action):
        self.at += 1
        reward = float(self.at)
        ended = self.ends and self.at == 3
        return np.float32([self.at]), reward, ended, self.at == 5, {"action": action}


class Expert:
    """Acts by the state: 4, the highest action, at first, and 1, the middle, later."""

    gamma, device = 0.5, "cpu"

    def get_vec_normalize_env(self):
        return None

    get_env = get_vec_normalize_env

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert deterministic
        return np.where(observation > 5, 4.0, 1.0).astype(np.float32), None


class Judge(Expert):
    """Has critics: the first gives ten times the state and the action."""

    def critic(self, states, actions):
        return 10 * states + actions, 0 * states


class Valuer(Expert):
    """Has values of states."""

    class policy:  # noqa: N801
        @staticmethod
        def predict_values(states):
            return 100 * states


@pytest.mark.parametrize("ends", [False, True])
def test_episodes_are_played_side_by_side_and_labelled_by_returns(ends):
    episodes = play(Valuer(), lambda: Count(ends), [10, 20])
    steps = 3 if ends else 5
    assert [episode.observations[:, 0].tolist() for episode in episodes] == [
        [10.0, *range(1, steps + 1)],
        [20.0, *range(1, steps + 1)],
    ]
    assert episodes[0].episode_return == sum(range(1, steps + 1))
    data, label = transitions_of(Valuer(), episodes, Count().action_space)
    assert label == RETURNS
    assert data.actions[:, 0].tolist() == [1.0, *[0.0] * (steps - 1)] * 2
    assert data.terminated.tolist() == [*[0.0] * (steps - 1), float(ends)] * 2
    last = 0.0 if ends else 500.0
    expected = discounted_returns(np.arange(1.0, steps + 1), 0.5, last)
    np.testing.assert_allclose(data.values, np.tile(expected, 2))
    np.testing.assert_array_equal(data.next_states[:-1][: steps - 1], data.states[1:steps])


def test_the_first_critic_labels_where_there_is_one():
    data, label = transitions_of(Judge(), play(Judge(), Count, [10]), Count().action_space)
    assert label == CRITIC
    np.testing.assert_allclose(data.values, 10 * data.states[:, 0] + data.actions[:, 0])
