import errno
import warnings

import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from hyperrl.errors import CheckpointError, NonFiniteError, StateError
from hyperrl.run import members
from hyperrl.run.checkpoint import Checkpoints, conditions, differences, load_weights
from hyperrl.run.reading import UnreadableError
from hyperrl.run.store import CheckpointStore
from tests.faults.disk import FailingFiles


def make(cls=TD3, seed=0, width=8):
    settings = {"n_steps": 16, "batch_size": 8} if cls is PPO else {"buffer_size": 50, "learning_starts": 5}
    agent = cls(
        "MlpPolicy", "Pendulum-v1", seed=seed, policy_kwargs={"net_arch": [width]}, device="cpu", **settings
    )
    agent.set_logger(configure(None, []))
    return agent


class AtRolloutStart(BaseCallback):
    """Calls a function at the top of the rollout that begins at a number of steps."""

    def __init__(self, steps, call):
        super().__init__()
        self.at, self.call = steps, call

    def _on_rollout_start(self):
        if self.call is not None and self.model.num_timesteps >= self.at:
            self.call()
            self.call = None

    def _on_step(self):
        return True


def saved(agent, store, steps=32, run=None):
    checkpoints = Checkpoints(agent, store, {"agent": "x", "env": "y"})
    call = AtRolloutStart(steps, lambda: checkpoints.save(run or {"n": 1}))
    agent.learn(steps + 16, callback=call)
    return checkpoints


@pytest.mark.parametrize("cls", [TD3, SAC, PPO])
def test_weights_survive_bit_by_bit_and_what_the_run_remembers_too(tmp_path, cls):
    store = CheckpointStore(tmp_path)
    first, second = make(cls, 0), make(cls, 1)
    before = {}
    checkpoints = Checkpoints(first, store, {"agent": "x"})

    def save():
        before.update({name: t.clone() for name, t in first.policy.state_dict().items()})
        assert checkpoints.save({"rows": [1, 2]})

    first.learn(48, callback=AtRolloutStart(32, save))
    checkpoint = store.load()
    assert (checkpoint.steps, checkpoint.about["agent"]) == (32, "x")
    other = Checkpoints(second, store, {})
    found = []
    second.learn(48, callback=AtRolloutStart(0, lambda: found.append(other.restore(checkpoint))))
    assert found == [({"rows": [1, 2]}, [])]
    load_weights(second.policy, checkpoint)
    for name, tensor in before.items():
        assert torch.equal(second.policy.state_dict()[name], tensor)


def test_weights_that_are_not_finite_are_named_and_the_older_checkpoint_stays(tmp_path):
    agent = make()
    checkpoints = saved(agent, CheckpointStore(tmp_path))
    with torch.no_grad():
        agent.critic.qf0[0].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"critic\.qf0\.0\.weight"):
        checkpoints.save({})
    assert CheckpointStore(tmp_path).load().steps == 32


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make(width=9), r"actor\.mu\.0\.bias is \(8,\) in the file and \(9,\) in the policy"),
        (lambda: make(SAC), "actor.latent_pi.0.bias is missing in the file"),
    ],
)
def test_another_policy_is_refused(tmp_path, other, message):
    store = CheckpointStore(tmp_path)
    saved(make(), store)
    with pytest.raises(CheckpointError, match=message):
        load_weights(other().policy, store.load())


def test_a_full_disk_is_a_warning_and_training_goes_on(tmp_path, monkeypatch):
    agent = make()
    store = CheckpointStore(tmp_path)
    checkpoints = saved(agent, store)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", full)
    with pytest.warns(UserWarning, match="No space left on device; training goes on, .* of 32 steps"):
        assert not checkpoints.save({})
    assert checkpoints.problem == "No space left on device"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # There is no second warning within the minute.
        assert not checkpoints.save({})
    monkeypatch.undo()
    assert checkpoints.save({})
    assert checkpoints.problem is None
    assert store.load().steps == agent.num_timesteps


def test_other_versions_and_threads_are_said():
    now = conditions(make())
    assert differences(now, now) == []
    then = {**now, "threads": 7, "packages": {**now["packages"], "torch": "1.0"}}
    sentences = differences(then, now)
    assert [sentence.split(" was ")[0] for sentence in sentences] == ["torch", "threads"]
    assert all("not bit for bit" in sentence for sentence in sentences)


def test_pieces_of_the_buffer_that_somebody_removed_are_written_again(tmp_path):
    agent, other = make(), make(seed=1)
    store = CheckpointStore(tmp_path)
    checkpoints = Checkpoints(agent, store, {})

    def save_again():
        for segment in (tmp_path / "replay").iterdir():
            segment.unlink()
        assert checkpoints.save({})

    calls = [AtRolloutStart(32, lambda: checkpoints.save({})), AtRolloutStart(40, save_again)]
    with pytest.warns(UserWarning, match="the whole replay buffer is written again"):
        agent.learn(48, callback=calls)
    checkpoint = store.load()
    restorer = Checkpoints(other, store, {})
    rows = {}

    def restore():
        restorer.restore(checkpoint)
        rows["rewards"] = other.replay_buffer.rewards[: other.replay_buffer.pos].copy()

    other.learn(48, callback=AtRolloutStart(0, restore))
    assert len(rows["rewards"]) == 40
    assert (rows["rewards"] == agent.replay_buffer.rewards[:40]).all()


def test_a_mask_of_infinity_is_no_broken_weight(tmp_path):
    agent = make()
    agent.policy.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    saved(agent, CheckpointStore(tmp_path))
    assert CheckpointStore(tmp_path).load().weights()["mask"].tolist() == [0.0, -torch.inf]


def at_32(agent, checkpoints, then):
    """Save at 32 steps, and at 40 do something else; return what that returned."""
    found = []
    calls = [
        AtRolloutStart(32, lambda: checkpoints.save({})),
        AtRolloutStart(40, lambda: found.append(then())),
    ]
    agent.learn(48, callback=calls)
    return found[0]


@pytest.mark.parametrize("damage", ["cut short", "a link"])
def test_a_piece_of_the_buffer_that_is_another_file_is_written_again(tmp_path, damage):
    agent, store = make(), CheckpointStore(tmp_path)
    checkpoints = Checkpoints(agent, store, {})

    def save_again():
        (segment,) = (tmp_path / "replay").iterdir()
        data = segment.read_bytes()
        segment.unlink()
        segment.symlink_to("nowhere") if damage == "a link" else segment.write_bytes(data[:-1])
        return checkpoints.save({})

    with pytest.warns(UserWarning, match="the whole replay buffer is written again"):
        assert at_32(agent, checkpoints, save_again)
    assert store.load().state()["replay"]["spans"][0][1:] == [0, 40]


def test_a_piece_of_the_buffer_that_cannot_be_read_now_is_not_written_again(tmp_path, monkeypatch):
    agent, store = make(), CheckpointStore(tmp_path)
    checkpoints = Checkpoints(agent, store, {})

    def save_again():
        def refuse(*_):
            raise UnreadableError("the piece cannot be read: Input/output error")

        monkeypatch.setattr("hyperrl.run.members.check_member_size", refuse)
        return checkpoints.save({})

    with pytest.warns(UserWarning, match=r"no checkpoint could be .*Input/output error") as caught:
        assert not at_32(agent, checkpoints, save_again)
    assert not [warning for warning in caught if "written again" in str(warning.message)]
    monkeypatch.undo()
    assert store.load().steps == 32
    # The next one has all rows, those of the failed attempt in pieces of their own.
    assert checkpoints.save({})
    assert store.load().state()["replay"]["spans"][0][1:] == [0, 32]


def test_a_piece_of_the_buffer_that_stays_unreadable_is_written_again(tmp_path, monkeypatch):
    agent, store = make(), CheckpointStore(tmp_path)
    checkpoints = Checkpoints(agent, store, {})
    check, lost = members.check_member_size, set()

    def refuse(folder, member):
        if member.name in lost:
            raise UnreadableError(f"{member.name} cannot be read: Input/output error")
        check(folder, member)

    def save_again():
        lost.update(path.name for path in (tmp_path / "replay").iterdir())
        monkeypatch.setattr("hyperrl.run.members.check_member_size", refuse)
        # The first time it may be a matter of a minute.
        return checkpoints.save({}), checkpoints.save({})

    with pytest.warns(UserWarning, match="Input/output error") as told:
        assert at_32(agent, checkpoints, save_again) == (False, True)
    first, second = (str(warning.message) for warning in told)
    assert "no checkpoint could be written" in first
    assert second.endswith("cannot be read: Input/output error; the whole replay buffer is written again")
    assert store.load().state()["replay"]["spans"][0][1:] == [0, 40]
    assert checkpoints.problem is None


@pytest.mark.parametrize(
    "error", [CheckpointError("it is of another run"), StateError("a socket"), TypeError()]
)
def test_what_is_not_the_disks_fault_ends_the_run(tmp_path, monkeypatch, error):
    agent, store = make(), CheckpointStore(tmp_path)
    checkpoints = Checkpoints(agent, store, {})

    def save_again():
        def refuse(*_, **__):
            raise error

        monkeypatch.setattr(store, "save", refuse)
        checkpoints.save({})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(type(error)) as caught:
            at_32(agent, checkpoints, save_again)
    assert caught.value is error


def test_an_environment_that_fails_while_it_is_saved_is_not_a_full_disk(tmp_path, monkeypatch):
    agent = make()
    checkpoints = Checkpoints(agent, CheckpointStore(tmp_path), {})

    def broken(_):
        raise BrokenPipeError("the simulator is gone")

    monkeypatch.setattr("hyperrl.run.state.env_state.capture", broken)
    with pytest.raises(BrokenPipeError, match="simulator"):
        agent.learn(10, callback=AtRolloutStart(5, lambda: checkpoints.save({})))


def test_a_checkpoint_counts_although_older_ones_cannot_be_removed(tmp_path):
    agent = make()
    files = FailingFiles(errno.EACCES, "remove", lasting=True)
    store = CheckpointStore(tmp_path, 1, files)
    checkpoints = Checkpoints(agent, store, {})
    with pytest.warns(UserWarning, match="older checkpoints cannot be removed: Permission denied; training"):
        assert at_32(agent, checkpoints, lambda: checkpoints.save({}, best=True))
    assert files.failed
    assert (checkpoints.saved_steps, checkpoints.best_steps) == (40, 40)
    assert "older checkpoints cannot be removed" in checkpoints.problem
    assert (store.load().steps, store.load("best").steps) == (40, 40)
