"""Faults while an agent learns or acts, and settings that cannot be right."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hyperrl.bench import fault_envs
from hyperrl.bench.fault_cases import Lost, Scale, is_finite, parameters_digest, settings_of, small_job
from hyperrl.bench.fault_libraries import Job, Library
from hyperrl.bench.fault_process import in_child, wait_for

_BAD_VALUES = (math.nan, math.inf, -math.inf)
_LONG = 1_000_000
# The first moment is far behind the evaluation with which a run begins, the last one behind two checkpoints.
_FIRST_SIGNAL, _SIGNALS_WITHIN, _CHECKPOINT_EVERY = 110, 400, 200
_WAIT_SECONDS = 120.0
_WRONG_SETTINGS: tuple[tuple[str, Any], ...] = (
    ("gamma", 2.0),
    ("gamma", -0.5),
    ("gamma", math.nan),
    ("tau", 2.0),
    ("batch_size", 0),
    ("batch_size", -16),
    ("buffer_size", 0),
    ("learning_rate", -1e-3),
    ("learning_rate", math.nan),
    ("gradient_steps", -7),
    ("steps", -5),
    ("steps", 0),
)


def non_finite(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Return NaN or infinity, once, as a reward or in an observation, while an agent learns.

    "kept": learning ends as if all were well, with weights that are not finite. "unnamed": it fails, and the
    error does not say that it was the reward, or the observation.
    """
    fault_envs.register()
    for seed in range(scale.seeds):
        for algorithm in library.algorithms:
            for source in ("reward", "observation"):
                for value in _BAD_VALUES:
                    faulty = {"fault": source, "value": value, "at": 60}
                    job = small_job(algorithm, fault_envs.ENV_ID, 120, seed=seed, env_kwargs=faulty)
                    place = folder / f"{algorithm}-{source}-{value}-{seed}"
                    yield in_child(partial(_learn_with_fault, library, job, place))


def _learn_with_fault(library: Library, job: Job, folder: Path) -> list[str]:
    try:
        library.train(job, folder)
    except Exception as error:  # Any failure is better than none, if it says what was wrong.
        return [] if job.env_kwargs["fault"] in str(error).lower() else ["unnamed"]
    return [] if is_finite(library.load(job, folder)) else ["kept"]


def resumes(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Train for 200 steps, save, load and train for 200 more in another process.

    "differs": the weights and optimisers are other than after 400 steps in one go.
    """
    for seed in range(scale.seeds):
        for env in ("Pendulum-v1", "HalfCheetah-v5"):
            for algorithm in library.algorithms:
                whole = small_job(algorithm, env, 400, seed=seed)
                half = small_job(algorithm, env, 200, seed=seed)
                straight, resumed = (folder / f"{algorithm}-{env}-{seed}-{n}" for n in (1, 2))
                in_child(partial(library.train, whole, straight))
                in_child(partial(library.train, half, resumed))
                in_child(partial(library.resume, half, resumed, 400))
                one, other = (in_child(partial(_parameters, library, whole, p)) for p in (straight, resumed))
                yield {"differs"} if one != other else ()


def _parameters(library: Library, job: Job, folder: Path) -> str:
    return parameters_digest(library.load(job, folder))


def terminations(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Send SIGTERM to a process that learns and writes a checkpoint after every 200 steps.

    "steps": the steps that were done when the signal came are in no checkpoint.
    """
    fault_envs.register()
    for number in range(scale.signals):
        steps_file = folder / f"steps-{number}"
        job = small_job(
            "td3",
            fault_envs.ENV_ID,
            _LONG,
            checkpoint_every=_CHECKPOINT_EVERY,
            env_kwargs={"steps_file": str(steps_file)},
        )
        place = folder / f"run-{number}"
        done = _terminate(library, job, place, _FIRST_SIGNAL + _SIGNALS_WITHIN * number // scale.signals)
        saved = in_child(partial(library.steps_saved, job, place))
        yield {"steps"} if saved < done else ()


def _terminate(library: Library, job: Job, folder: Path, steps: int) -> int:
    """Let a process learn, end it by SIGTERM, and return the steps that were done when it was sent."""
    pid = os.fork()
    if pid == 0:
        try:
            library.train(job, folder)
        finally:
            os._exit(1)
    steps_file, end = Path(job.env_kwargs["steps_file"]), time.monotonic() + _WAIT_SECONDS
    try:
        while (done := _steps_in(steps_file)) < steps:
            if time.monotonic() > end:
                raise RuntimeError(f"a process has learned for {done} of {steps} steps only")
            time.sleep(0.001)
        os.kill(pid, signal.SIGTERM)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        wait_for(pid)
    return done


def _steps_in(path: Path) -> int:
    return int.from_bytes(path.read_bytes(), "little") if path.exists() else 0


def predictions(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Ask a policy what to do about an observation with NaN or infinity in it, alone and in a batch.

    "action": an action that is not finite comes back.
    """
    fault_envs.register()
    for algorithm in library.acting:
        agent = library.build(Job(algorithm, fault_envs.ENV_ID, 1, settings=settings_of(algorithm)))
        for value in _BAD_VALUES:
            single = np.array([0.1, value, 0.2], np.float32)
            for observation in (single, np.stack([np.zeros(3, np.float32), single])):
                for deterministic in (True, False):
                    yield _answers_with_nan(agent, observation, deterministic)


def _answers_with_nan(agent: Any, observation: Any, deterministic: bool) -> Lost:
    try:
        action, _ = agent.predict(observation, deterministic=deterministic)
    except Exception:  # However it refuses, no robot moves.
        return ()
    return () if np.isfinite(action).all() else {"action"}


def wrong_settings(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Train with a setting that cannot be right.

    "accepted": there is no error at all, or none before the first step of the environment.
    """
    fault_envs.register()
    for algorithm in ("td3", "sac"):
        for number, (name, value) in enumerate(_WRONG_SETTINGS):
            settings = settings_of(algorithm, **({} if name == "steps" else {name: value}))
            job = Job(algorithm, fault_envs.ENV_ID, value if name == "steps" else 60, settings=settings)
            place = folder / f"{algorithm}-{number}"
            yield in_child(partial(_accepted, library, job, place))


def _accepted(library: Library, job: Job, folder: Path) -> list[str]:
    try:
        library.train(job, folder)
    except Exception:  # Any error is right that comes early enough.
        return ["accepted"] if fault_envs.FaultyEnv.steps_of_all else []
    return ["accepted"]
