"""What runs in a worker process: one environment, which does what the parent asks and tells how it failed."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import gymnasium as gym

from hyperrl.env_process import channel as channels
from hyperrl.env_process import guards
from hyperrl.env_process.returns import MalformedReturnError, checked_reset, checked_step
from hyperrl.env_process.task import Task

_LONGEST = 300  # Characters of an exception's text in a sentence; the traceback has all of it.
_CALLS = {
    "start": "its constructor",
    "is_wrapped": "env_is_wrapped",
    "capture": "capture_env_states",
    "restore": "restore_env_states",
}


class Failure(NamedTuple):
    """How an environment failed: a sentence, the traceback, and the name of the exception's class."""

    sentence: str
    traceback: str
    exception: str


def run(task: Task, end: socket.socket, stacks: Connection) -> None:
    """Run one environment until the parent closes the connection: the main function of a worker process.

    Args:
        task: What to run.
        end: This side of the connection to the parent.
        stacks: Takes the stack of a process that crashes or hangs.
    """
    guards.settle_signals()
    guards.write_stacks(stacks.fileno())
    guards.release_signals()
    channels.forget_inherited()
    guards.die_with_parent(task.parent, task.start_method, task.by_kernel)
    channel = channels.Channel(end)
    server = _Server(task)
    try:
        while True:
            serial, request = channel.receive()
            answer, leaving = server.answer(request)
            channel.send(serial, answer)
            if leaving is not None:
                raise leaving
    except (EOFError, ConnectionError):
        pass  # The parent closed its side: there is nothing more to do.
    finally:
        server.close()


def call_name(command: str, argument: Any) -> str:
    """Return what a request is called in messages.

    Args:
        command: The request.
        argument: What goes with it.
    """
    if command in {"get_attr", "has_attr"}:
        return f"{command} {argument!r}"
    if command in {"env_method", "set_attr"}:
        return f"{command} {argument[0]!r}"
    return _CALLS.get(command, command)


class _Server:
    """The environment, and one method for each thing that the parent can ask."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._env: Any = None
        self._space: Any = None
        self._call = _CALLS["start"]
        self._commands: dict[str, Callable[[Any], Any]] = {
            "start": self._start,
            "step": self._step,
            "reset": self._reset,
            "render": lambda _: self._env.render(),
            "env_method": self._env_method,
            "get_attr": lambda name: self._env.get_wrapper_attr(name),
            "has_attr": self._has_attr,
            "set_attr": lambda named: setattr(self._env, *named),
            "is_wrapped": self._is_wrapped,
            "capture": lambda _: _loaded(task.capture)(self._env),
            "restore": lambda state: _loaded(task.restore)(self._env, state),
        }

    def answer(self, request: bytearray) -> tuple[bytes | memoryview, SystemExit | None]:
        """Do what is asked.

        Args:
            request: A pickled pair of a command and its argument.

        Returns:
            The pickled answer, and the exception by which the environment wants to end its process, if any.
        """
        self._call = "the reading of a request"
        leaving = None
        try:
            command, argument = pickle.loads(request)
            self._call = call_name(command, argument)
            answer = ForkingPickler.dumps(self._commands[command](argument))
        except BaseException as error:
            # Whatever it is, the parent has to hear of it: nobody reads the output of a worker.
            leaving = error if isinstance(error, SystemExit) else None
            answer = ForkingPickler.dumps(self._failure(error))
        return answer, leaving

    def close(self) -> None:
        """Close the environment, if there is one."""
        if self._env is not None:
            self._env.close()

    def _start(self, _: None) -> tuple[Any, Any]:
        env = _loaded(self._task.env_fn)()
        if not isinstance(env, gym.Env):
            raise MalformedReturnError(f"an object of type {type(env).__name__}", "a gymnasium.Env")
        self._env, self._space = env, env.observation_space
        return env.observation_space, env.action_space

    def _reset(self, argument: tuple[int | None, dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
        seed, options = argument
        keywords = {"options": options} if options else {}
        _, arrays, info = checked_reset(self._env.reset(seed=seed, **keywords), self._space)
        return arrays, info

    def _step(self, action: Any) -> tuple[Any, float, bool, dict[str, Any], dict[str, Any] | None]:
        returned = self._env.step(action)
        observation, arrays, reward, terminated, truncated, info = checked_step(returned, self._space)
        done = bool(terminated or truncated)
        info["TimeLimit.truncated"] = truncated and not terminated
        reset_info = None
        if done:
            info["terminal_observation"] = observation
            self._call = "the reset after an episode"
            _, arrays, reset_info = checked_reset(self._env.reset(), self._space)
        return arrays, reward, done, info, reset_info

    def _env_method(self, argument: tuple[str, tuple[Any, ...], dict[str, Any]]) -> Any:
        name, arguments, keywords = argument
        return self._env.get_wrapper_attr(name)(*arguments, **keywords)

    def _has_attr(self, name: str) -> bool:
        try:
            self._env.get_wrapper_attr(name)
        except AttributeError:
            return False
        return True

    def _is_wrapped(self, wrapper: type[gym.Wrapper[Any, Any, Any, Any]]) -> bool:
        env = self._env
        while isinstance(env, gym.Wrapper):
            if isinstance(env, wrapper):
                return True
            env = env.env
        return False

    def _failure(self, error: BaseException) -> Failure:
        name, place = type(error).__name__, f"environment {self._task.index}"
        if isinstance(error, MalformedReturnError):
            sentence = f"{place} returned {error.problem} from {self._call}, where {error.right} is right"
            return Failure(sentence, "", name)
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            sentence = f"{place} ended its worker process in {self._call} with exit code {code}"
        else:
            sentence = f"{place} raised {name} in {self._call}"
        text, trace = _described(error)
        return Failure(f"{sentence}: {text}" if text and name != "SystemExit" else sentence, trace, name)


def _loaded(function: Any) -> Any:
    return pickle.loads(function) if isinstance(function, bytes) else function


def _described(error: BaseException) -> tuple[str, str]:
    """Return the text of an exception, in one line, and its traceback."""
    try:
        text = " ".join(str(error).split())
        trace = "".join(traceback.format_exception(error))
    except Exception:
        # An exception with a broken `__str__`, or no memory left: its name alone is better than nothing.
        return "", ""
    return (text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."), trace
