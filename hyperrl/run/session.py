"""One process's part of a run: from a built agent to a folder that says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import CallbackList

from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError, RunStoppedError
from hyperrl.run.callbacks import RunCallback
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.evaluations import Evaluations
from hyperrl.run.folder import RunFolder
from hyperrl.run.health import HealthCallback
from hyperrl.run.log import run_logger
from hyperrl.run.result import Run
from hyperrl.run.settings import about
from hyperrl.run.signals import StopRequestedError, StopSignals
from hyperrl.run.store import Checkpoint

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    ReturnsOf = Callable[[BaseAlgorithm, Callable[[], None]], Sequence[float]]
    Finish = Callable[[BaseAlgorithm, Mapping[str, Any]], None]

_UPDATES_BETWEEN_READS = 100


def run_session(
    agent: BaseAlgorithm,
    config: RunConfig,
    folder: RunFolder,
    returns_of: ReturnsOf,
    resume_from: Checkpoint | None = None,
    finish: Finish | None = None,
) -> Run:
    """Train until the run's steps are done, a signal comes or something fails; the folder says which.

    Args:
        agent: The algorithm, built for this run and not trained yet.
        config: The run's configuration.
        folder: Its folder, whose lock the caller holds.
        returns_of: Plays the evaluation episodes with an agent and gives their returns. Before each step it
            calls the function that it is given besides, and lets pass what that raises.
        resume_from: Where to continue; None for a new run. One that has all steps of the run is evaluated,
            unless it has been.
        finish: What is to be done with the agent at the end before the run counts as finished.

    Returns:
        What the run came to.

    Raises:
        RunStoppedError: A signal asked the run to stop; a checkpoint has what it reached.
        HyperRLError: A value became NaN or infinite, an environment failed, or the last checkpoint could not
            be written.
    """
    # From here to the last file: what comes in the middle of a save, and at the end, is no reason to lose it.
    with StopSignals() as signals:
        return _session(agent, config, folder, returns_of, signals, resume_from, finish)


def _session(
    agent: BaseAlgorithm,
    config: RunConfig,
    folder: RunFolder,
    returns_of: ReturnsOf,
    signals: StopSignals,
    resume_from: Checkpoint | None,
    finish: Finish | None,
) -> Run:
    # With `tensorboard_log` Stable-Baselines3 would add a folder of its own below.
    logger = run_logger(folder.tensorboard, None if resume_from is None else resume_from.steps + 1)
    folder.try_status("running", 0 if resume_from is None else resume_from.steps)
    agent.set_logger(logger)
    try:
        return _learn(agent, config, folder, returns_of, signals, resume_from, finish)
    except RunStoppedError as stop:
        stop.add_note(f"continue it with: hyperrl resume {folder.path}")
        folder.try_status("stopped", agent.num_timesteps)
        raise
    except KeyboardInterrupt as stop:
        stop.add_note(f"the run up to its last checkpoint lies in {folder.path}")
        folder.try_status("stopped", agent.num_timesteps)
        raise
    except BaseException as error:
        error.add_note(f"the failed run lies in {folder.path}")
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        folder.try_status("failed", agent.num_timesteps, sentence)
        raise
    finally:
        logger.close()
        folder.close_manifest()


def _learn(
    agent: BaseAlgorithm,
    config: RunConfig,
    folder: RunFolder,
    returns_of: ReturnsOf,
    signals: StopSignals,
    resume_from: Checkpoint | None,
    finish: Finish | None,
) -> Run:
    seeds = range(config.seed, config.seed + config.seeds) if config.seeds > 1 else ()
    evaluations = Evaluations(folder, lambda agent: returns_of(agent, signals.check), seeds)
    checkpoints = Checkpoints(agent, folder.store, about(config))
    callback = RunCallback(
        folder,
        evaluations,
        checkpoints,
        signals,
        steps=config.steps,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        resume_from=resume_from,
    )
    ended = True
    try:
        if resume_from is not None and resume_from.steps >= config.steps:
            # Stopped in its last evaluation: `learn` would take another step.
            agent._setup_learn(config.steps, callback)
            ended = callback.restore(resume_from)
        else:
            # Reading a value from a GPU ends what can be computed meanwhile.
            health = HealthCallback(1 if agent.device.type == "cpu" else _UPDATES_BETWEEN_READS)
            agent.learn(config.steps, callback=CallbackList([health, callback]))
        seconds = evaluations.seconds_of_learning()
        done = resume_from is not None and evaluations.last_steps == agent.num_timesteps == resume_from.steps
        best = False if done else evaluations.run(agent)
    except StopRequestedError:
        if checkpoints.saved_steps != agent.num_timesteps:
            callback.save(ended=ended)
        raise callback.stopped() from None
    finally:
        callback.close()
    if not done and not callback.save(best, ended):
        raise RunFolderError(
            f"the run is at its end, but its last checkpoint could not be written: {checkpoints.problem}; "
            f"make room, then: hyperrl resume {folder.path}"
        )
    if finish is not None:
        finish(agent, evaluations.state())
    folder.try_status("finished", agent.num_timesteps)
    return Run(
        folder, config, agent.num_timesteps, seconds, evaluations.first_return, evaluations.last_return
    )
