"""Environments in processes of their own, whose failures reach the parent with their cause."""

from __future__ import annotations

import logging
import multiprocessing
import select
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.util import Finalize
from typing import Any, cast

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn

from hyperrl.env_process.batches import common_spaces, stacked
from hyperrl.env_process.guards import start_fork_server
from hyperrl.env_process.handle import BEAT, EnvironmentFailedError, Worker, end_all
from hyperrl.env_process.settings import check_settings, chosen_start_method
from hyperrl.errors import ConfigError, ShapeError, StateError, UnsupportedEnvError, WorkerError

_LOG = logging.getLogger(__name__)
_CLOSE_SECONDS = 2.0  # For all environments together to close; who takes longer is killed.
_FAILED_SECONDS = 0.2  # The same when the constructor fails.
_STATE_ERRORS = {"UnsupportedEnvError": UnsupportedEnvError, "StateError": StateError}

Recover = Callable[[int, EnvironmentFailedError], Any]


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
      later are not set again. What fails in another call than `step` and `reset` is raised.

    Args:
        env_fns: Functions that make one environment each; `cloudpickle` must be able to send them.
        start_method: "forkserver" (the default where there is one), "spawn" or "fork". A script that uses one
            of the first two has to start below `if __name__ == "__main__":`. "fork" is only right as long as
            this process has no other threads.
        step_timeout: Seconds in which a worker has to answer anything.
        start_timeout: Seconds in which an environment has to be built, imports included.
        restarts: How often, over the whole life, a failed worker may be replaced.
        capture: Takes an environment and returns its state, for `capture_env_states`; runs in the workers.
        restore: Takes an environment and such a state and puts it back; runs in the workers.

    Attributes:
        restarted: How often a worker was replaced so far; each time one episode was lost.

    Raises:
        ConfigError: A setting is out of its range.
        UnknownNameError: There is no such start method.
        WorkerError: An environment cannot be built, or environments have different spaces.
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
        self.restarted = 0
        self._restarts_of = [0] * len(env_fns)
        self._resets: list[tuple[int | None, dict[str, Any]]] = [(None, {}) for _ in env_fns]
        self._last: list[Any] = [None] * len(env_fns)
        method = chosen_start_method(start_method)
        if method == "forkserver":
            start_fork_server()
        self._context = multiprocessing.get_context(method)
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
            observation_space, action_space = common_spaces(self._gather())
            VecEnv.__init__(self, len(env_fns), observation_space, action_space)
        except BaseException:
            # The siblings may still be importing; nobody needs them any more.
            end_all(self._workers, _FAILED_SECONDS)
            self.close()
            raise

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
            last_seed = self._resets[index][0] if seed is None else seed
            self._resets[index] = (last_seed, options)
            worker.send(("reset", (seed, options)))
        results = self._gather(self._replace)
        self._reset_seeds()
        self._reset_options()
        observations, reset_infos = zip(*results, strict=True)
        self._last = list(observations)
        self.reset_infos = list(reset_infos)
        return cast(VecEnvObs, stacked(observations, self.observation_space))

    def step_async(self, actions: np.ndarray) -> None:
        """Let all environments take a step, see `VecEnv.step_async`.

        Args:
            actions: One action for each environment.

        Raises:
            ShapeError: There are more or fewer actions than environments.
            WorkerError: The environments are closed.
        """
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
        results = self._gather(self._lose_episode)
        observations, rewards, dones, infos, reset_infos = zip(*results, strict=True)
        for index, reset_info in enumerate(reset_infos):
            if reset_info is not None:
                self.reset_infos[index] = reset_info
        self._last = list(observations)
        batch = stacked(observations, self.observation_space)
        return batch, np.array(rewards, np.float32), np.array(dones, bool), list(infos)

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
        return cast("list[dict[str, Any]]", self._ask_for_states([("capture", None)] * self.num_envs))

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
        self._ask_for_states([("restore", state) for state in states])
        # The observation before the next step is not the one that was last seen here.
        self._last = [None] * self.num_envs

    def _check_between_steps(self, call: str, function: str) -> None:
        if self._functions[0][function] is None:
            raise UnsupportedEnvError(f"{call} needs a WorkerVecEnv that was made with {function}=...")
        if self.waiting:
            raise WorkerError(f"{call} was called while a step is under way: call step_wait first")

    def _ask_for_states(self, requests: Sequence[tuple[str, Any]]) -> list[Any]:
        for worker, request in zip(self._workers, requests, strict=True):
            worker.send(request)
        try:
            return self._gather()
        except EnvironmentFailedError as error:
            kind = _STATE_ERRORS.get(error.exception)
            if kind is None:
                raise
            raise kind(str(error)) from error

    def _gather(self, recover: Recover | None = None) -> list[Any]:
        """Collect one answer of each worker, whichever comes first, so that a failure is known at once.

        Args:
            recover: Takes the index and the error of a worker that failed, and returns what stands for its
                answer; without it the error is raised.
        """
        answers: list[Any] = [None] * len(self._workers)
        pending = {worker.channel.fileno(): worker for worker in self._workers}
        poll = select.poll()
        for file in pending:
            poll.register(file, select.POLLIN)
        while pending:
            readable = poll.poll(BEAT * 1000.0)
            # Only where nobody has anything to say it is worth a look at who is dead or late.
            for file in [file for file, _ in readable] or list(pending):
                worker = pending[file]
                try:
                    answer = worker.poll(bool(readable))
                except EnvironmentFailedError as error:
                    if recover is None:
                        raise
                    answer = (recover(worker.index, error),)
                if answer is not None:
                    answers[worker.index] = answer[0]
                    del pending[file]
                    poll.unregister(file)
        return answers

    def _lose_episode(self, index: int, error: EnvironmentFailedError) -> tuple[Any, ...]:
        """Replace a worker that failed in a step, and return what the step returns for it."""
        last = self._last[index]
        if last is None:
            raise error  # No episode has begun here, so none can be ended.
        observation, reset_info = self._replace(index, error)
        info = {
            "TimeLimit.truncated": True,
            "terminal_observation": last,
            "worker_restarted": str(error),
        }
        return observation, 0.0, True, info, reset_info

    def _replace(self, index: int, error: EnvironmentFailedError) -> tuple[Any, dict[str, Any]]:
        """Put a fresh process in the place of a failed one, and return what its first reset returns."""
        while True:
            if self.restarted >= self.restarts:
                raise error
            self.restarted += 1
            self._restarts_of[index] += 1
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
                seed, options = self._resets[index]
                self._workers[index].send(("reset", (_derived(seed, self._restarts_of[index]), options)))
                return cast("tuple[Any, dict[str, Any]]", self._workers[index].recv())
            except EnvironmentFailedError as again:
                error = again

    def _worker(self, index: int) -> Worker:
        return Worker(self._context, index, self._functions[index], *self._timeouts)


def _derived(seed: int | None, restarts: int) -> int | None:
    """Return a seed that differs from the old one in a reproducible way; None stays unseeded."""
    if seed is None:
        return None
    return int(np.random.SeedSequence([abs(seed), restarts]).generate_state(1)[0])
