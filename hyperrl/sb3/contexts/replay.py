"""A replay buffer whose batches have as many transitions of each of a few contexts, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from hyperrl.errors import ConfigError, ContextError, unknown_name
from hyperrl.sb3.contexts.extractor import flat_observations, ordered_keys
from hyperrl.sb3.packed_buffer import PackedReplayBuffer

BALANCES = ("transitions", "contexts")


class ContextReplayBuffer(PackedReplayBuffer):
    """A packed replay buffer, also for dicts of vectors, that draws batches context by context.

    A batch has G groups, in each n transitions of one context. Weights are then generated for G contexts
    whatever the batch's size is; the groups always have the same form, so that updates can be compiled.

    Takes the arguments of `PackedReplayBuffer`, and:

    Args:
        context_size: Numbers of the context d, the last ones of an observation.
        groups: G.
        balance: "transitions" draws each context as often as it has transitions, so that each transition is
            as likely as in an ordinary buffer; "contexts" draws all contexts alike, whose episodes may be of
            very different length.

    Raises:
        ConfigError: A size is wrong, or observations are more than vectors.
        UnknownNameError: There is no such balance.
    """

    derived = ("keys", "parts", "_index", "_seen", "context_size", "groups", "balance")
    """What checkpoints leave out."""

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        context_size: int,
        groups: int,
        balance: str = "transitions",
        **kwargs: Any,
    ) -> None:
        if balance not in BALANCES:
            raise unknown_name("balance of contexts", balance, BALANCES)
        if context_size < 1:
            raise ConfigError("batches can have groups of contexts only where observations have a context")
        self.keys = ordered_keys(observation_space) if isinstance(observation_space, spaces.Dict) else None
        self.parts = [] if self.keys is None else _sizes(observation_space, self.keys)
        flat = observation_space
        if self.keys is not None:
            flat = spaces.Box(-np.inf, np.inf, (sum(self.parts),), np.float32)
        super().__init__(buffer_size, flat, action_space, *args, **kwargs)
        self.context_size = context_size
        self.groups = groups
        self.balance = balance
        self._index = _ContextIndex(self.buffer_size * self.n_envs)
        self._seen = self.pos, self.full

    @staticmethod
    def takes_dict(space: spaces.Space[Any]) -> bool:
        """Whether observations are a dict of vectors of floating-point numbers.

        Args:
            space: The observation space.
        """
        return isinstance(space, spaces.Dict) and all(
            isinstance(part, spaces.Box) and len(part.shape) == 1 and part.dtype.kind == "f"
            for part in space.spaces.values()
        )

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition of each environment; the arguments are those of Stable-Baselines3's.

        Raises:
            ContextError: A context changed within an episode.
        """
        self._follow()
        if self.keys is not None:
            obs, next_obs = flat_observations(obs, self.keys), flat_observations(next_obs, self.keys)
        self._check_contexts(obs, next_obs)
        position = self.pos
        if self.full:
            self._index.drop(position * self.n_envs + np.arange(self.n_envs))
        super().add(obs, next_obs, action, reward, done, infos)
        self._index.push(position * self.n_envs, self._contexts(position))
        self._seen = self.pos, self.full

    def reset(self) -> None:
        """Forget all transitions."""
        super().reset()
        self._index = _ContextIndex(self.buffer_size * self.n_envs)
        self._seen = self.pos, self.full

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Draw a batch.

        Args:
            batch_size: B, a multiple of the number of groups.
            env: What normalises observations and rewards, if anything does.

        Raises:
            ConfigError: B is no multiple.
        """
        if batch_size % self.groups:
            raise ConfigError(
                f"batch_size must be a multiple of the {self.groups} contexts of a batch, got {batch_size}"
            )
        self._follow()
        index = self._index.draw(self.groups, batch_size // self.groups, self.balance)
        rows = torch.from_numpy(self.packed).view(-1, self.packed.shape[-1])
        picked = rows.index_select(0, torch.from_numpy(index))
        columns = self._slices()
        parts = {name: picked[:, columns[name]] for name in columns}
        rewards = parts["rewards"].numpy()
        values: dict[str, Any] = {
            "observations": self._seen_as(parts["observations"], env),
            "actions": parts["actions"].to(self.device),
            "next_observations": self._seen_as(parts["next_observations"], env),
            "dones": (parts["dones"] * (1 - parts["timeouts"])).to(self.device),
            "rewards": self.to_torch(self._normalize_reward(rewards, env).astype(np.float32, copy=False)),
        }
        kind = ReplayBufferSamples if self.keys is None else DictReplayBufferSamples
        return kind(**values)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index, which follows from the rows."""
        return {name: value for name, value in vars(self).items() if name not in ("_index", "_seen")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Have the index made anew."""
        vars(self).update(state)
        self._seen = (-1, False)

    def _seen_as(self, rows: Tensor, env: VecNormalize | None) -> Any:
        """Return rows ``[B, S + d]`` as the policy sees observations."""
        if self.keys is None:
            normalised = rows if env is None else self._normalize_obs(rows.numpy(), env)
            return torch.as_tensor(normalised, device=self.device)
        parts = dict(zip(self.keys, rows.split(self.parts, dim=1), strict=True))
        if env is None:
            return {key: part.to(self.device) for key, part in parts.items()}
        arrays: Any = self._normalize_obs({key: part.numpy() for key, part in parts.items()}, env)
        return {key: self.to_torch(array) for key, array in arrays.items()}

    def _check_contexts(self, obs: NDArray[Any], next_obs: NDArray[Any]) -> None:
        """Refuse next observations that would not have their group's context."""
        before, after = (array[:, -self.context_size :] for array in (obs, next_obs))
        if not np.array_equal(before, after, equal_nan=True):
            index = int(np.flatnonzero((before != after).any(1))[0])
            raise ContextError(
                f"the context of environment {index} changed from {before[index].tolist()} to "
                f"{after[index].tolist()} within an episode: leave out contexts_per_batch, which needs one "
                "that stays"
            )

    def _contexts(self, positions: Any) -> NDArray[np.float32]:
        size = int(self.obs_shape[0])
        context: NDArray[np.float32] = self.packed[positions][..., size - self.context_size : size]
        return np.ascontiguousarray(context)

    def _follow(self) -> None:
        """Make the index anew where rows were written by other means than `add`, by a checkpoint for one."""
        if self._seen == (self.pos, self.full):
            return
        self._index = _ContextIndex(self.buffer_size * self.n_envs)
        oldest = range(self.pos, self.buffer_size) if self.full else range(0)
        for position in (*oldest, *range(self.pos)):
            self._index.push(position * self.n_envs, self._contexts(position))
        self._seen = self.pos, self.full


class _ContextIndex:
    """Where the transitions of each context are, the oldest first.

    Rows are dropped in the order in which they came, so that a context's rows are a queue. A context without
    rows is forgotten: there may be a new one in every episode.

    Args:
        size: Places of transitions.
    """

    def __init__(self, size: int) -> None:
        self._owner = np.full(size, -1, np.int64)
        self._numbers: dict[bytes, int] = {}
        self._queues: list[_Queue] = []
        self._free: list[int] = []
        self._listed: NDArray[np.int64] | None = None
        # Places in use: all of them from the first one on until the ring is full.
        self._used = 0

    def push(self, first: int, contexts: NDArray[np.float32]) -> None:
        """Add places ``first``, ``first + 1``, ... with contexts ``[n, d]``."""
        for place, context in enumerate(contexts, first):
            key = context.tobytes()
            number = self._numbers.get(key)
            if number is None:
                number = self._enter(key)
            self._queues[number].push(place)
            self._owner[place] = number
            self._used = max(self._used, place + 1)

    def drop(self, places: NDArray[np.int64]) -> None:
        """Take out the oldest places."""
        for number in self._owner[places]:
            queue = self._queues[number]
            queue.drop()
            if not queue.count:
                del self._numbers[queue.key]
                self._free.append(int(number))
                self._listed = None

    def draw(self, groups: int, each: int, balance: str) -> NDArray[np.int64]:
        """Draw places, ``each`` of a context, one context after the other, ``[groups * each]``."""
        if balance == "contexts":
            if self._listed is None:
                # In an order that does not depend on which came first: a restored index draws the same.
                self._listed = np.array([self._numbers[key] for key in sorted(self._numbers)])
            chosen = self._listed[np.random.randint(0, len(self._listed), groups)]
        else:
            chosen = self._owner[np.random.randint(0, self._used, groups)]
        counts = np.array([self._queues[number].count for number in chosen])
        offsets = np.random.randint(0, counts[:, None], (groups, each))
        return np.concatenate(
            [self._queues[number].at(offset) for number, offset in zip(chosen, offsets, strict=True)]
        )

    def _enter(self, key: bytes) -> int:
        """Make room for a context that has no rows yet, and return its number."""
        number = self._free.pop() if self._free else len(self._queues)
        self._queues[number : number + 1] = [_Queue(key)]
        self._numbers[key] = number
        self._listed = None
        return number


class _Queue:
    """Whole numbers, added at the end and dropped at the beginning."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._values = np.zeros(16, np.int64)
        self._start = 0
        self.count = 0

    def push(self, value: int) -> None:
        end = self._start + self.count
        if end == len(self._values):
            # What was dropped makes room, if it is at least half.
            size = len(self._values) if self.count <= len(self._values) // 2 else 2 * len(self._values)
            grown = np.zeros(size, np.int64)
            grown[: self.count] = self._values[self._start : end]
            self._values, self._start, end = grown, 0, self.count
        self._values[end] = value
        self.count += 1

    def drop(self) -> None:
        self._start += 1
        self.count -= 1

    def at(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._values[self._start + offsets]


def _sizes(space: Any, keys: list[str]) -> list[int]:
    if not ContextReplayBuffer.takes_dict(space):
        raise ConfigError(f"groups of contexts need observations that are vectors, got {space}")
    return [int(space.spaces[key].shape[0]) for key in keys]
