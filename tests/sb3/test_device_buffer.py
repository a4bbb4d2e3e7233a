"""The buffer on the device against the packed one, which is held against Stable-Baselines3's elsewhere."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from hyperrl.errors import ConfigError
from hyperrl.run.replay import ReplayLog
from hyperrl.sb3.device_buffer import DeviceReplayBuffer
from hyperrl.sb3.packed_buffer import PackedReplayBuffer
from tests.run.doubles import MemoryStore

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def filled(cls, rows, n_envs=2, **kwargs):
    buffer = cls(10 * n_envs, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs, **kwargs)
    generator = np.random.default_rng(0)
    for _ in range(rows):
        buffer.add(
            generator.standard_normal((n_envs, 3)),
            generator.standard_normal((n_envs, 3)),
            generator.uniform(-1, 1, (n_envs, 2)),
            generator.standard_normal(n_envs),
            generator.random(n_envs) < 0.5,
            [{"TimeLimit.truncated": bool(generator.random() < 0.5)} for _ in range(n_envs)],
        )
    return buffer


@pytest.mark.parametrize("handle", [True, False])
@pytest.mark.parametrize("rows", [4, 10, 27])
def test_it_holds_and_samples_what_the_packed_buffer_does(rows, handle):
    ours, theirs = (
        filled(cls, rows, handle_timeout_termination=handle)
        for cls in (DeviceReplayBuffer, PackedReplayBuffer)
    )
    np.testing.assert_array_equal(ours.packed, theirs.packed)
    assert (ours.pos, ours.full, ours.size()) == (theirs.pos, theirs.full, theirs.size())
    samples = []
    for buffer in (ours, theirs):
        np.random.seed(3)
        samples.append(buffer.sample(50))
    for found, expected in zip(*samples, strict=True):
        if expected is not None:
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_gather_gives_single_transitions_in_any_shape():
    buffer = filled(DeviceReplayBuffer, 27)
    index = torch.tensor([[0, 19, 7], [3, 3, 12]])
    found = buffer.gather(index)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "observations": (2, 3, 3),
        "next_observations": (2, 3, 3),
        "actions": (2, 3, 2),
        "rewards": (2, 3, 1),
        "dones": (2, 3, 1),
    }
    for place in np.ndindex(2, 3):
        row, env = divmod(int(index[place]), 2)
        for name in ("observations", "next_observations", "actions"):
            np.testing.assert_array_equal(found[name][place], getattr(buffer, name)[row, env])
        ended = buffer.dones[row, env] * (1 - buffer.timeouts[row, env])
        assert (found["rewards"][place].item(), found["dones"][place].item()) == (
            buffer.rewards[row, env],
            ended,
        )


def test_a_checkpoint_has_each_row_once_and_fills_another_buffer():
    buffer, store = filled(DeviceReplayBuffer, 27), MemoryStore()
    segments, state = ReplayLog(buffer).append(store, 27)
    other = DeviceReplayBuffer(20, OBSERVATIONS, ACTIONS, device="cpu", n_envs=2)
    ReplayLog(other).restore(store, segments, state)
    other.synchronise()
    assert torch.equal(other.rows, buffer.rows)
    assert other._sent == (other.pos, other.full) == (buffer.pos, buffer.full)


def test_rows_are_sent_again_after_they_were_written_by_other_means():
    buffer = filled(DeviceReplayBuffer, 4)
    assert buffer._sent == (4, False)
    buffer.packed[5], buffer.pos = 1.0, 6
    assert buffer._sent != (buffer.pos, buffer.full)
    buffer.synchronise()
    assert buffer._sent == (6, False)
    buffer.reset()
    assert buffer._sent == (buffer.pos, buffer.full) == (0, False)


def test_a_normaliser_is_refused():
    with pytest.raises(ConfigError, match="leave out VecNormalize"):
        filled(DeviceReplayBuffer, 4).sample(2, env=object())
