"""Trials: several episodes of one task, through which an agent remembers.

What a recurrent policy remembers is made of observations that have the last action and reward in them, and
say where an episode and where a trial begins. So its memory needs nothing but observations, and
Stable-Baselines3's `predict(observation, state, episode_start)` keeps its meaning.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_normalize, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from hyperrl.context import Splits
from hyperrl.errors import ConfigError, UnsupportedSpaceError
from hyperrl.ranges import whole
from hyperrl.sb3.contexts.observed import OBSERVATION, attribute
from hyperrl.sb3.meta.tasks import Tasks, assign

ACTION, REWARD, EPISODE, START = "action", "reward", "episode", "start"
"""Keys of what is added: the last action, the last reward, 1 where an episode and where a trial begins."""

ADDED = (ACTION, REWARD, EPISODE, START)

_STREAM = 0x7A  # Keeps tasks apart from everything else that is drawn with the same seed.


def trial_space(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> spaces.Dict:
    """Return the space of observations with what is added to them.

    Args:
        observations: Those of the environment: a vector, or a dict of vectors.
        actions: The actions of the environment.

    Raises:
        UnsupportedSpaceError: Actions or observations are no vectors of numbers, or the environment has a key
            of its own that is one of `ADDED`.
    """
    if not isinstance(actions, spaces.Box):
        raise UnsupportedSpaceError(
            f"trials need actions that are a Box, got {actions}: choose an environment with continuous ones"
        )
    own = observations.spaces if isinstance(observations, spaces.Dict) else {OBSERVATION: observations}
    for key, part in own.items():
        if key in ADDED:
            raise UnsupportedSpaceError(
                f"trials add {', '.join(ADDED)} to observations, and these have a part {key!r} already"
            )
        if not isinstance(part, spaces.Box | spaces.MultiBinary) or is_image_space(part):
            raise UnsupportedSpaceError(
                f"trials need observations that are vectors, or a dict of vectors, got {part}"
            )
    flag = spaces.Box(0, 1, (1,), np.float32)
    low, high = actions.low.reshape(-1), actions.high.reshape(-1)
    # Zero stands for no action.
    added = {
        ACTION: spaces.Box(np.minimum(low, 0), np.maximum(high, 0), dtype=np.float32),
        REWARD: spaces.Box(-np.inf, np.inf, (1,), np.float32),
        EPISODE: flag,
        START: spaces.Box(0, 1, (1,), np.float32),
    }
    return spaces.Dict({**own, **added})


def own_part(observation: Mapping[str, Any], space: spaces.Space[Any]) -> Any:
    """Return the part of an observation, or of a batch of them, that is the environment's own.

    Args:
        observation: With what is added.
        space: The environment's own observations.
    """
    if not isinstance(space, spaces.Dict):
        return observation[OBSERVATION]
    return {key: observation[key] for key in space.spaces}


def with_own(observation: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """Return an observation, or a batch of them, with another part of the environment's own.

    Args:
        observation: With what is added.
        own: The other part.
    """
    return {**observation, **(own if isinstance(own, Mapping) else {OBSERVATION: own})}


class TrialVecEnv(VecEnvWrapper):
    """Environments whose episodes come in trials, with observations that a memory can be made of.

    A trial is a number of episodes in one task. Where the environments have contexts, the wrapper draws the
    task of each trial from those of training and keeps it until the trial is over; a fixed context or a
    sampler of the environments themselves has no say. Where they have none, or training has one task, a trial
    is so many episodes one after the other.

    Observations are dicts of the environment's own parts (``observation`` where it is a vector) and of
    `ADDED`. The action is as it was sent, the reward as the environment gave it, also above a `VecNormalize`;
    both stay where an episode begins within a trial and are 0 where a trial begins. Infos of the last step of
    an episode have ``trial``: a table of ``episode``, its number in the trial from 0, and ``over``, whether
    the trial is over as well.

    Args:
        venv: The environments.
        episodes: Episodes of a trial; None leaves it to `set_episodes`, and is 1 until then.
        seed: Of the tasks that are drawn; `seed` gives another one.

    Raises:
        UnsupportedSpaceError: Actions or observations are no vectors of numbers.
        ConfigError: A trial has no episode.
    """

    def __init__(self, venv: VecEnv, episodes: int | None = None, seed: int | None = None) -> None:
        super().__init__(venv, observation_space=trial_space(venv.observation_space, venv.action_space))
        self._decided: int | None = None
        if episodes is not None:
            self.set_episodes(episodes)
        splits = attribute(venv, "splits")
        many = isinstance(splits, Splits) and (splits.points is None or len(splits.points) > 1)
        self._tasks = Tasks.of_env(venv, "an agent of trials", seed) if many else None
        self._normaliser = unwrap_vec_normalize(venv)
        self._actions = np.zeros((self.num_envs, spaces.flatdim(venv.action_space)), np.float32)
        self._rewards = np.zeros(self.num_envs, np.float32)
        self._ended = np.zeros(self.num_envs, np.int64)
        self._sent = self._actions

    @property
    def episodes(self) -> int:
        """Episodes of a trial."""
        return self._decided or 1

    def set_episodes(self, episodes: int) -> None:
        """Decide how many episodes a trial has.

        Args:
            episodes: How many.

        Raises:
            ConfigError: There is none, or it was decided otherwise before.
        """
        count = int(whole(1, 1e6).check("episodes of a trial", episodes))
        if self._decided not in (None, count):
            raise ConfigError(
                f"these environments have trials of {self._decided} episodes, and {count} are asked for: "
                "give both the same number"
            )
        self._decided = count

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the environments at their next reset, and the tasks that are drawn from now on.

        Args:
            seed: The seed.
        """
        if self._tasks is not None:
            generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
            self._tasks.generator.bit_generator.state = generator.bit_generator.state
        return list(self.venv.seed(seed))

    def reset(self) -> Any:
        """Begin new trials in all environments."""
        self._ended[:], self._actions[:], self._rewards[:] = 0, 0, 0
        if self._tasks is not None:
            assign(self.venv, self._tasks.draw(self.num_envs))
        observations = self.venv.reset()
        self._foretell(range(self.num_envs))
        begins = np.ones(self.num_envs, np.float32)
        return self._joined(observations, begins, begins)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Send actions to the environments."""
        self._sent = np.array(actions, np.float32).reshape(self._actions.shape)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step, and begin new trials where they are over."""
        observations, rewards, dones, infos = self.venv.step_wait()
        given = rewards if self._normaliser is None else self._normaliser.get_original_reward()
        self._actions[:] = self._sent
        # Who looks for NaN finds it in the reward, which is its source.
        self._rewards[:] = np.where(np.isfinite(given), given, 0)
        starts = np.zeros(self.num_envs, np.float32)
        over = np.flatnonzero(dones)
        for index in over:
            info = infos[index] = dict(infos[index])
            episode = int(self._ended[index])
            info["trial"] = {"episode": episode, "over": episode + 1 == self.episodes}
            info["terminal_observation"] = self._last(int(index), info["terminal_observation"])
            self._ended[index] += 1
            if info["trial"]["over"]:
                self._ended[index], self._actions[index], self._rewards[index] = 0, 0, 0
                starts[index] = 1
        self._foretell(over)
        return self._joined(observations, dones.astype(np.float32), starts), rewards, dones, infos

    def normalize(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Normalise the environment's own part as a `VecNormalize` beneath does; without one it stays.

        Args:
            observation: One observation or a batch, not normalised.
        """
        if self._normaliser is None:
            return dict(observation)
        own = own_part(observation, self.venv.observation_space)
        return with_own(observation, self._normaliser.normalize_obs(own))

    def snapshot_state(self) -> dict[str, Any]:
        """Return what is remembered beside the environments themselves."""
        drawn = None if self._tasks is None else copy.deepcopy(self._tasks.generator.bit_generator.state)
        own = {name: getattr(self, name).copy() for name in ("_actions", "_rewards", "_ended")}
        return {**own, "episodes": self.episodes, "generator": drawn}

    def restore_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Go back to what `snapshot_state` of this wrapper, or of one built alike, returned.

        Raises:
            ConfigError: It had trials of another length.
        """
        self.set_episodes(snapshot["episodes"])
        for name in ("_actions", "_rewards", "_ended"):
            getattr(self, name)[:] = snapshot[name]
        if self._tasks is not None:
            self._tasks.generator.bit_generator.state = copy.deepcopy(snapshot["generator"])

    def _foretell(self, indices: Iterable[Any]) -> None:
        """Give environments in the last episode of a trial the next task: they reset themselves."""
        if self._tasks is None:
            return
        for index in indices:
            if self._ended[index] + 1 == self.episodes:
                self.venv.env_method("set_fixed_context", self._tasks.draw(1)[0], indices=[int(index)])

    def _joined(
        self, observations: Any, begins: NDArray[np.float32], starts: NDArray[np.float32]
    ) -> dict[str, Any]:
        added = {
            ACTION: self._actions.copy(),
            REWARD: self._rewards[:, None].copy(),
            EPISODE: begins[:, None].copy(),
            START: starts[:, None].copy(),
        }
        return with_own(added, observations)

    def _last(self, index: int, observation: Any) -> dict[str, Any]:
        nothing = np.zeros(1, np.float32)
        action, reward = self._actions[index].copy(), self._rewards[index : index + 1].copy()
        return with_own({ACTION: action, REWARD: reward, EPISODE: nothing, START: nothing}, observation)


class TrialEnv(gym.Wrapper[Any, Any, Any, Any]):
    """One environment with the observations of `TrialVecEnv`; every reset begins a trial of one episode.

    Args:
        env: The environment.

    Raises:
        UnsupportedSpaceError: Actions or observations are no vectors of numbers.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = trial_space(env.observation_space, env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a trial, see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        nothing, one = np.zeros(1, np.float32), np.ones(1, np.float32)
        action = np.zeros(spaces.flatdim(self.action_space), np.float32)
        return with_own({ACTION: action, REWARD: nothing, EPISODE: one, START: one.copy()}, observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, see `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        nothing = np.zeros(1, np.float32)
        added = {
            ACTION: np.array(action, np.float32).reshape(-1),
            REWARD: np.array([reward], np.float32),
            EPISODE: nothing,
            START: nothing.copy(),
        }
        return with_own(added, observation), reward, terminated, truncated, info


def trials_of(env: VecEnv | None) -> TrialVecEnv | None:
    """Return the layer of environments that makes trials, None where there is none."""
    found = None if env is None else unwrap_vec_wrapper(env, TrialVecEnv)
    assert found is None or isinstance(found, TrialVecEnv)
    return found


def as_trained(agent: Any, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return an environment with the observations that an agent was trained on.

    Args:
        agent: The agent.
        env: An environment of its task.
    """
    return env if trials_of(agent.env) is None else TrialEnv(env)
