"""`hyperrl gradient-quality`: the quality of a critic's action gradients, from the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import parse
from hyperrl.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from hyperrl.evaluation.gradient_quality import GradientQualityResult

_FILE = Path("eval", "gradient_quality.csv")


@dataclass(frozen=True)
class GradientQualityArguments:
    """Compare a critic's action gradients with estimates from simulator rollouts; write one row per state."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """The run's folder, or a model file (.zip) of Stable-Baselines3."""
    states: int = 15
    """Number of states, from episodes of a random policy."""
    actions: int = 15
    """Number of actions that are tried at each state."""
    seed: int = 0
    """Seed of states and actions."""
    checkpoint: str = "latest"
    """Which weights of a run folder: latest, best or a number of steps."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """The table to write; by default eval/gradient_quality.csv beside the model."""
    agent: Annotated[str | None, tyro.conf.arg(metavar="AGENT")] = None
    """For a model file: the name of its agent, for example td3."""
    env: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None
    """For a model file: the id of its environment."""
    vec_normalize: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """For a model file: the file of its VecNormalize, where it was trained with one."""
    trust_pickle: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """For a model file: load it, although such files can run code when they are loaded."""


@dataclass(frozen=True)
class _Subject:
    """What is measured, and how its rows are named."""

    model: BaseAlgorithm
    build_env: Callable[[], gym.Env[Any, Any]]
    names: dict[str, str | int]
    folder: Path
    vec_normalize: VecNormalize | None = None


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the agent or its environment cannot be measured.
    """
    arguments = parse(GradientQualityArguments, argv, "gradient-quality")
    from hyperrl.evaluation.gradient_quality import GradientQualityConfig, gradient_quality

    config = GradientQualityConfig(states=arguments.states, actions=arguments.actions, seed=arguments.seed)
    subject = _model_file(arguments) if arguments.run.suffix == ".zip" else _run_folder(arguments)
    try:
        out = arguments.out or subject.folder / _FILE
        _check_writable(out)
        result = gradient_quality(
            subject.model, subject.build_env, config, vec_normalize=subject.vec_normalize
        )
    finally:
        if subject.model.env is not None:
            subject.model.env.close()
    _write(out, subject, result)
    _print(result, out)
    return 0


def _run_folder(arguments: GradientQualityArguments) -> _Subject:
    for name in ("agent", "env", "vec_normalize"):
        if getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for a .zip file: the run folder {arguments.run} has its own")
    import torch

    from hyperrl.environments import make_env
    from hyperrl.loading import load_agent
    from hyperrl.run import RunFolder
    from hyperrl.run.manifest import available_cores

    folder = RunFolder.open(arguments.run)
    config = folder.config()
    torch.set_num_threads(min(config.threads, available_cores()))
    model, steps = load_agent(folder, arguments.checkpoint)
    return _Subject(
        model,
        lambda: make_env(config.env, config.env_kwargs),
        {
            "env": config.env,
            "agent": config.agent,
            "run_seed": config.seed,
            "checkpoint": arguments.checkpoint,
            "steps": steps,
        },
        folder.path,
        model.get_vec_normalize_env(),
    )


def _model_file(arguments: GradientQualityArguments) -> _Subject:
    from hyperrl.cli.model_file import load_model_file
    from hyperrl.environments import make_env

    path, agent, env = arguments.run, arguments.agent or "", arguments.env or ""
    model, vec_normalize = load_model_file(
        path,
        agent=arguments.agent,
        env=arguments.env,
        vec_normalize=arguments.vec_normalize,
        trusted=arguments.trust_pickle,
    )
    names: dict[str, str | int] = {
        "env": env,
        "agent": agent,
        "run_seed": "" if model.seed is None else model.seed,
        "checkpoint": path.name,
        "steps": model.num_timesteps,
    }
    return _Subject(model, lambda: make_env(env), names, path.absolute().parent, vec_normalize)


def _check_writable(out: Path) -> None:
    """Fail before the measurement, not after it."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder: give the name of a .csv file to write")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{out} cannot be written: {error.strerror or error}") from error


def _write(out: Path, subject: _Subject, result: GradientQualityResult) -> None:
    from hyperrl.run.files import write_text

    axes = range(result.states[0].actions.shape[1])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *subject.names,
            "seed",
            "state",
            "episode_step",
            "cosine",
            "critic_norm",
            "estimated_norm",
            "policy_return",
            *(f"critic_gradient_{axis}" for axis in axes),
            *(f"estimated_gradient_{axis}" for axis in axes),
        ]
    )
    for index, state in enumerate(result.states):
        norms = (state.cosine, state.critic_norm, state.estimated_norm, float(state.returns[0]))
        gradients = (*state.critic_gradient.tolist(), *state.estimated_gradient.tolist())
        writer.writerow([*subject.names.values(), result.config.seed, index, state.step, *norms, *gradients])
    try:
        write_text(out, text.getvalue())
    except OSError as error:
        raise RunFolderError(f"{out} cannot be written: {error.strerror or error}") from error


def _print(result: GradientQualityResult, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("state", "episode step", "cosine", "norm, critic", "norm, estimate")
    for index, state in enumerate(result.states):
        norms = (f"{state.critic_norm:.4g}", f"{state.estimated_norm:.4g}")
        table.add_row(str(index), str(state.step), f"{state.cosine:+.3f}", *norms)
    console.print(table)
    low, high = result.confidence_interval
    percent = 100 * result.config.confidence
    console.print(f"mean cosine {result.mean_cosine:+.3f} ({percent:g} % interval {low:+.3f} to {high:+.3f})")
    if result.undefined:
        console.print(f"{result.undefined} states have a zero gradient and no cosine")
    if result.underdetermined:
        count, size = result.states[0].actions.shape
        console.print(
            f"{count} actions cannot determine {size} gradient components: use --actions {size + 1} or more"
        )
    console.print(str(out), soft_wrap=True)
