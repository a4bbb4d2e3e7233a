"""A packed replay buffer whose rows also lie where the networks run, so that nothing is sent to sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from hyperrl.errors import ConfigError
from hyperrl.sb3.packed_buffer import PackedReplayBuffer


class DeviceReplayBuffer(PackedReplayBuffer):
    """`PackedReplayBuffer` with the same rows on the device: one small copy per step, none per batch.

    On the CPU both are the same memory. On a GPU the rows here are what checkpoints read and what a restored
    run fills; those on the device follow before the next sample. Takes the arguments of
    `PackedReplayBuffer`. Each row has ``4 n_envs (2 S + A + 3)`` bytes on either side, page-locked on the
    CPU's side if there is a GPU: a million transitions of HalfCheetah-v5 172 MB.

    Attributes:
        rows: All transitions on the device, ``[buffer_size, n_envs, 2 S + A + 3]``. Call `synchronise` before
            reading them.
    """

    derived = ("rows", "_columns", "_sent")
    """What checkpoints leave out."""

    rows: Tensor
    _columns: dict[str, slice]
    _sent: tuple[int, bool] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place_rows()

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition of each environment; the arguments are those of Stable-Baselines3's.

        Args:
            obs: ``[n_envs, S]``.
            next_obs: ``[n_envs, S]``.
            action: ``[n_envs, A]``.
            reward: ``[n_envs]``.
            done: ``[n_envs]``.
            infos: One for each environment, read for ``TimeLimit.truncated``.
        """
        in_step = self._sent == (self.pos, self.full)
        row, columns = self.packed[self.pos], self._columns
        row[:, columns["observations"]] = obs
        row[:, columns["next_observations"]] = next_obs
        row[:, columns["actions"]] = action
        row[:, columns["rewards"].start] = reward
        row[:, columns["dones"].start] = done
        if self.handle_timeout_termination:
            row[:, columns["timeouts"].start] = [info.get("TimeLimit.truncated", False) for info in infos]
        if in_step and self.device.type == "cuda":
            self.rows[self.pos].copy_(torch.from_numpy(row), non_blocking=True)
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0
        if in_step:
            self._sent = self.pos, self.full

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what follows from the rest, in copies and files."""
        return {name: value for name, value in vars(self).items() if name not in self.derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the rows where the networks run."""
        vars(self).update(state)
        self._place_rows()

    def reset(self) -> None:
        """Forget all transitions."""
        super().reset()
        self._sent = self.pos, self.full

    def synchronise(self) -> None:
        """Send all rows to the device if they were written by other means than `add`."""
        if self._sent != (self.pos, self.full):
            if self.device.type == "cuda":
                self.rows.copy_(torch.from_numpy(self.packed))
            self._sent = self.pos, self.full

    def gather(self, index: Tensor) -> dict[str, Tensor]:
        """Return the transitions at some places.

        Args:
            index: Whole numbers ``position * n_envs + environment`` on the device, of any shape ``[...]``.

        Returns:
            ``observations [..., S]``, ``next_observations``, ``actions [..., A]``, ``rewards [..., 1]`` and
            ``dones [..., 1]``, which are 0 where only a time limit ended the episode.
        """
        return gather(self.rows, index, self._columns)

    def _place_rows(self) -> None:
        self._columns = self._slices()
        self._sent = None
        if self.device.type == "cuda":
            # Page-locked memory, so that rows are sent while the program goes on.
            self.packed = torch.from_numpy(self.packed).pin_memory().numpy()
            self.rows = torch.zeros(self.packed.shape, device=self.device)
        else:
            self.rows = torch.from_numpy(self.packed)
        self.synchronise()

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        if env is not None:
            raise ConfigError(
                "DeviceReplayBuffer keeps what is sampled on the device: leave out VecNormalize"
            )
        self.synchronise()
        # Drawn as in the base class, so that both draw the same transitions.
        env_indices = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))
        index = torch.from_numpy(batch_inds * self.n_envs + env_indices)
        if self.device.type == "cuda":
            index = index.pin_memory().to(self.device, non_blocking=True)
        return ReplayBufferSamples(**self.gather(index))


def gather(rows: Tensor, index: Tensor, columns: dict[str, slice]) -> dict[str, Tensor]:
    """Return the transitions at some places of packed rows, see `DeviceReplayBuffer.gather`.

    Args:
        rows: ``[buffer_size, n_envs, W]``.
        index: ``[...]``.
        columns: Where in a row the parts are.
    """
    picked = rows.view(-1, rows.shape[-1]).index_select(0, index.flatten()).unflatten(0, index.shape)
    parts = {name: picked[..., columns[name]] for name in ("observations", "next_observations", "actions")}
    ends = picked[..., columns["dones"]] * (1 - picked[..., columns["timeouts"]])
    return {**parts, "rewards": picked[..., columns["rewards"]], "dones": ends}
