"""Environments in processes of their own, whose failures reach the parent with their cause."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any, cast

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from hyperrl.env_process.batches import common_spaces, stacked
from hyperrl.env_process.episodes import Episode, without_episode
from hyperrl.env_process.failures import EnvironmentFailedError
from hyperrl.env_process.fork_server import worker_context
from hyperrl.env_process.gathering import gather
from hyperrl.env_process.handle import Worker, end_all
from hyperrl.env_process.settings import check_settings, chosen_start_method
from hyperrl.errors import ConfigError, ShapeError, StateError, UnsupportedEnvError, WorkerError

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 2.0  # For all environments together to close; who takes longer is killed.
_FAILED_SECONDS = 0.2  # The same when the constructor fails.
_STATE_ERRORS = {"UnsupportedEnvError": UnsupportedEnvError, "StateError": StateError}


class WorkerVecEnv(SubprocVecEnv):
    """Environments in one process each, which can fail without taking the run along unexplained.

    It is used like Stable-Baselines3's `SubprocVecEnv`, under Linux and macOS. Steps return bit for bit what
    `DummyVecEnv` does. Beyond that:

    - An exception in an environment, and anything else it returns than its interface allows, is a
      `WorkerError` in the parent at once. Its sentence names the environment, the call and the cause; the
      traceback of the worker is its attribute `worker_traceback` and is shown below it.
    - A worker that dies is a `WorkerError` with the exit code or the signal, one that does not answer within
      `step_timeout` is killed and is a `WorkerError` with the Python stack on which it hung.
    - No call waits for ever, `close` included, whatever the start method.
    - Workers end when this process ends, also by SIGKILL and in the middle of a step. Under Linux the kernel
      sees to it; elsewhere (and for workers that were started from another than the main thread) a thread of
      the worker does, which cannot act while compiled code holds the interpreter's lock. Programs that an
      environment starts are its own affair.
    - SIGINT, SIGTERM and the user signals do not end workers: a terminal or a batch system sends them to all
      processes of a run, and this one decides what to do. Workers still run when it wants their state.
    - With `restarts`, a failed worker is replaced. Its episode is lost, and that is said: the step returns it
      as truncated after the last observation seen, with reward 0 and `info["worker_restarted"]`. The new
      process starts from `env_fn` and a reset with a seed derived from the old one; attributes that were set
      later are not set again. What fails in another call than `step` and `reset` is raised. With a state
      that is captured and restored, here or in another process, go the seed and the last observation of each
      environment and the count of its restarts: a worker that fails after that is replaced like any other.
      Where the state came from environments without `restarts`, the lost episode is truncated after the
      first observation of the next one, as the last is unknown.

    Args:
        env_fns: Functions that make one environment each; `cloudpickle` must be able to send them.
        start_method: "forkserver" (the default where there is one), "spawn" or "fork". A script that uses one
            of the first two has to start below `if __name__ == "__main__":`. "fork" is only right as long as
            this process has no other threads.
        step_timeout: Seconds in which a worker has to answer anything.
        start_timeout: Seconds in which an environment has to be built, imports included.
        restarts: How often, over the whole life, a failed worker may be replaced. The life goes on where a
            state is restored.
        capture: Takes an environment and returns its state as a dict, for `capture_env_states`; runs in the
            workers.
        restore: Takes an environment and such a state and puts it back; runs in the workers.

    Raises:
        ConfigError: A setting is out of its range.
        UnknownNameError: There is no such start method.
        WorkerError: An environment cannot be built, or environments have different spaces.
        UnsupportedSpaceError: Observations cannot become a batch.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env[Any, Any]]],
        start_method: str | None = None,
        step_timeout: float = 60.0,
        start_timeout: float = 120.0,
        restarts: int = 0,
        capture: Callable[[Any], Any] | None = None,
        restore: Callable[[Any, Any], None] | None = None,
    ) -> None:
        check_settings(env_fns, step_timeout, start_timeout, restarts)
        self.waiting = False
        self.closed = False
        self.restarts = restarts
        self._episodes = [Episode() for _ in env_fns]
        self._context = worker_context(chosen_start_method(start_method))
        self._timeouts = (start_timeout, step_timeout)
        self._functions = [{"env_fn": fn, "capture": capture, "restore": restore} for fn in env_fns]
        # The handles stand where SubprocVecEnv has its pipes: what it does with them works with these.
        self._workers: list[Worker] = []
        self.remotes = self._workers
        # When this object or the interpreter goes away without `close`.
        self._finalizer = Finalize(self, end_all, (self._workers, _CLOSE_SECONDS), exitpriority=10)
        try:
            for index in range(len(env_fns)):
                self._workers.append(self._worker(index))
            self.processes = [worker.process for worker in self._workers]
            observation_space, action_space = common_spaces(gather(self._workers))
            VecEnv.__init__(self, len(env_fns), observation_space, action_space)
        except BaseException:
            # The siblings may still be importing; nobody needs them any more.
            end_all(self._workers, _FAILED_SECONDS)
            self.close()
            raise

    @property
    def restarted(self) -> int:
        """How often a worker was replaced so far; each time one episode was lost."""
        return sum(episode.restarts for episode in self._episodes)

    def reset(self) -> VecEnvObs:
        """Reset all environments, see `VecEnv.reset`.

        Returns:
            The observations, stacked.

        Raises:
            WorkerError: An environment failed and there is no restart left.
        """
        self.waiting = False
        for index, worker in enumerate(self._workers):
            seed, options = self._seeds[index], self._options[index]
            if seed is not None:
                self._episodes[index].seed = seed
            self._episodes[index].options = options
            worker.send(("reset", (seed, options)))
        results = gather(self._workers, self._replace)
        self._reset_seeds()
        self._reset_options()
        observations, reset_infos = zip(*results, strict=True)
        self._see(observations)
        self.reset_infos = list(reset_infos)
        return cast(VecEnvObs, stacked(observations, self.observation_space))

    def step_async(self, actions: np.ndarray) -> None:
        """Let all environments take a step, see `VecEnv.step_async`.

        Args:
            actions: One action for each environment.

        Raises:
            ShapeError: There are more or fewer actions than environments.
            WorkerError: The environments are closed, or a step is under way.
        """
        self._check_idle("step_async")
        if len(actions) != self.num_envs:
            raise ShapeError(
                f"step got {len(actions)} actions, where {self.num_envs} environments need one each"
            )
        for worker, action in zip(self._workers, actions, strict=True):
            worker.send(("step", action))
        self.waiting = True

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step that `step_async` began.

        Returns:
            The observations, the rewards (float32), whether each episode ended, and the infos.

        Raises:
            WorkerError: An environment failed and there is no restart left, or no step has begun.
        """
        if not self.waiting:
            raise WorkerError("step_wait was called without a step under way: call step_async first")
        self.waiting = False
        results = gather(self._workers, self._lose_episode)
        observations, rewards, dones, infos, reset_infos = zip(*results, strict=True)
        for index, reset_info in enumerate(reset_infos):
            if reset_info is not None:
                self.reset_infos[index] = reset_info
        self._see(observations)
        batch = stacked(observations, self.observation_space)
        return batch, np.array(rewards, np.float32), np.array(dones, bool), list(infos)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Render all environments, see `VecEnv.get_images`.

        Raises:
            WorkerError: An environment failed, or a step is under way.
        """
        self._check_idle("get_images")
        return super().get_images()

    def close(self) -> None:
        """Close the environments and end their processes, which takes a few seconds at most."""
        if self.closed:
            return
        self.closed = True
        self.waiting = False
        self._finalizer()

    def capture_env_states(self) -> list[dict[str, Any]]:
        """Return the state of every environment, made by `capture` in its process.

        Raises:
            UnsupportedEnvError: There is no `capture`, or an environment's state cannot be captured.
            StateError: A state has parts that cannot be kept.
            WorkerError: An environment failed, or a step is under way.
        """
        self._check_between_steps("capture_env_states", "capture")
        states: list[dict[str, Any]] = self._ask_for_states([("capture", None)] * self.num_envs)
        if not self.restarts and not self.restarted:
            return states  # Nobody will ask, and the states are those of environments in one process.
        return [episode.added_to(state) for episode, state in zip(self._episodes, states, strict=True)]

    def restore_env_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Put the state of every environment back, by `restore` in its process.

        Args:
            states: One state for each environment, as `capture_env_states` returned them.

        Raises:
            UnsupportedEnvError: There is no `restore`, or an environment refuses its state.
            StateError: A state is not one of this environment's.
            ConfigError: There are more or fewer states than environments.
            WorkerError: An environment failed, or a step is under way.
        """
        self._check_between_steps("restore_env_states", "restore")
        if len(states) != self.num_envs:
            raise ConfigError(
                f"restore_env_states got {len(states)} states, where {self.num_envs} environments need one "
                f"each"
            )
        episodes = [
            episode.recalled(state, seed)
            for episode, state, seed in zip(self._episodes, states, self._seeds, strict=True)
        ]
        self._ask_for_states([("restore", without_episode(state)) for state in states])
        self._episodes = episodes

    def _get_target_remotes(self, indices: VecEnvIndices) -> list[Any]:
        # The answer to the step would be taken for lost, and `step_wait` would wait for it in vain.
        self._check_idle("an attribute or a method of the environments")
        return super()._get_target_remotes(indices)

    def _check_between_steps(self, call: str, function: str) -> None:
        if self._functions[0][function] is None:
            raise UnsupportedEnvError(f"{call} needs a WorkerVecEnv that was made with {function}=...")
        self._check_idle(call)

    def _check_idle(self, call: str) -> None:
        if self.waiting:
            raise WorkerError(f"{call} was called while a step is under way: call step_wait first")

    def _see(self, observations: Sequence[Any]) -> None:
        for episode, observation in zip(self._episodes, observations, strict=True):
            episode.see(observation)

    def _ask_for_states(self, requests: Sequence[tuple[str, Any]]) -> list[Any]:
        for worker, request in zip(self._workers, requests, strict=True):
            worker.send(request)
        try:
            return gather(self._workers)
        except EnvironmentFailedError as error:
            kind = _STATE_ERRORS.get(error.exception)
            if kind is None:
                raise
            raise kind(str(error)) from error

    def _lose_episode(self, index: int, error: EnvironmentFailedError) -> tuple[Any, ...]:
        """Replace a worker that failed in a step, and return what the step returns for it."""
        episode = self._episodes[index]
        if not episode.under_way:
            raise error  # None has begun here, so none can be ended.
        return episode.step_that_lost_it(*self._replace(index, error), str(error))

    def _replace(self, index: int, error: EnvironmentFailedError) -> tuple[Any, dict[str, Any]]:
        """Put a fresh process in the place of a failed one, and return what its first reset returns."""
        while True:
            if self.restarted >= self.restarts:
                raise error
            self._episodes[index].restarts += 1
            text = (
                f"{error}; it goes on in a new process (restart {self.restarted} of at most {self.restarts})"
            )
            warnings.warn(text, stacklevel=2)
            if error.worker_traceback:
                _LOG.warning("in the worker process of environment %d:\n%s", index, error.worker_traceback)
            end_all([self._workers[index]], _CLOSE_SECONDS)
            self._workers[index] = self._worker(index)
            self.processes[index] = self._workers[index].process
            try:
                self._workers[index].recv()
                self._workers[index].send(("reset", self._episodes[index].next_reset()))
                return cast("tuple[Any, dict[str, Any]]", self._workers[index].recv())
            except EnvironmentFailedError as again:
                error = again

    def _worker(self, index: int) -> Worker:
        return Worker(self._context, index, self._functions[index], *self._timeouts)
