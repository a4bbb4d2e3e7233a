"""`hyperrl train`: train an agent and leave a run folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError
from hyperrl.registry import agents

if TYPE_CHECKING:
    from hyperrl.run import Run

_TEXTS = ("env", "out", "preset", "device", "policy")


@dataclass(frozen=True)
class TrainArguments:
    """Train an agent and leave a run folder, whose path is printed last.

    Settings come from the agent's preset, then from --config, then from --set, then from the other flags; the
    later win.
    """

    # Numbers stay text here: the configuration checks them, in the same words as those of a file.
    agent: tyro.conf.Positional[Annotated[str, flag("AGENT")]] = ""
    """Name of the agent, see `hyperrl list agents`."""
    env: Annotated[str | None, flag("ID")] = None
    """Gymnasium id of the environment, see `hyperrl list envs`."""
    steps: Annotated[str | None, flag("N")] = None
    """Environment steps to train for (1000000)."""
    seed: Annotated[str | None, flag("S")] = None
    """Seed of the run (0)."""
    seeds: Annotated[str | None, flag("N")] = None
    """Seeds trained at once on one device, from --seed on (1)."""
    out: Annotated[str | None, flag("DIR")] = None
    """Run folder, new or empty ($HYPERRL_RUNS or ./runs, then ENV/AGENT/TIME-sSEED)."""
    preset: Annotated[str | None, flag("NAME")] = None
    """One of the agent's presets (default)."""
    config: Annotated[str | None, flag("FILE.toml")] = None
    """Settings in the form of a preset or of a run's run.toml."""
    set: Annotated[tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]], flag("KEY=VALUE")] = ()
    """Single settings, in TOML: arguments of the agent such as batch_size=128 or
    policy_kwargs.net_arch=[64,64], or of the run such as eval_every=5000."""
    device: Annotated[str | None, flag("auto|cpu|cuda")] = None
    """Where the networks run (auto)."""
    n_envs: Annotated[str | None, flag("N")] = None
    """Environments stepped together (1)."""
    threads: Annotated[str | None, flag("N")] = None
    """CPU threads of torch (1)."""
    policy: Annotated[str | None, flag("NAME")] = None
    """MlpPolicy, CnnPolicy or MultiInputPolicy (MlpPolicy)."""
    eval_every: Annotated[str | None, flag("N")] = None
    """Steps between evaluations; 0 evaluates before and after only (10000)."""
    eval_episodes: Annotated[str | None, flag("N")] = None
    """Episodes of each evaluation (5)."""
    checkpoint_every: Annotated[str | None, flag("N")] = None
    """Steps between checkpoints; 0 writes them at the best evaluations and at the end only (10000)."""
    normalize: tyro.conf.FlagCreatePairsOff[bool] = False
    """Normalise observations and rewards by running statistics, as Stable-Baselines3's VecNormalize does."""
    workers: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run each environment in a process of its own."""
    print_config: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the resolved settings as TOML and stop."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the run failed.
    """
    arguments = parse(TrainArguments, argv, "train")
    if not arguments.agent:
        raise UsageError(f"train needs the name of an agent: {', '.join(agents.names())}")
    agents.module(arguments.agent)

    from hyperrl.presets import resolve
    from hyperrl.train import check, train

    resolved = resolve(
        arguments.agent,
        _flags(arguments),
        file=Path(arguments.config) if arguments.config is not None else None,
        settings=[setting for group in arguments.set for setting in group],
    )
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.print_config:
        check(resolved.config)
        print(resolved.config.to_toml(), end="")
        return 0
    print(summary(train(resolved.config)))
    return 0


def summary(run: Run) -> str:
    """Return the last screen of a run: what was reached, what to do next, and the folder in the last line.

    Args:
        run: The finished run.
    """
    folder = shlex.quote(str(run.folder.path))
    config = run.config
    of = f"{config.eval_episodes} episodes" + (
        f" of each of {config.seeds} seeds" if config.seeds > 1 else ""
    )
    one = shlex.quote(str(run.folder.path / "seeds" / str(config.seed))) if config.seeds > 1 else folder
    speed = f"({run.steps_per_second:.0f} steps/s)"
    returns = f"{run.return_before:.1f} before training, {run.return_after:.1f} after"
    lines = [
        f"{config.agent} on {config.env}, {run.steps:,} steps in {run.seconds:.0f} s {speed}",
        f"mean return of {of}: {returns}",
        "",
        "next:",
        f"  tensorboard --logdir {shlex.quote(str(run.folder.tensorboard))}",
        f"  hyperrl resume {folder} --steps {10 * config.steps}",
        f"  hyperrl evaluate {one} --episodes 20",
        "",
        str(run.folder.path),
    ]
    return "\n".join(lines)


def _flags(arguments: TrainArguments) -> dict[str, Any]:
    """Return the settings given by flags, numbers read."""
    flags: dict[str, Any] = {}
    for field in fields(arguments):
        value = getattr(arguments, field.name)
        if value is None or field.name in ("agent", "config", "set", "print_config"):
            continue
        if isinstance(value, bool):
            # A switch that is not set says nothing, so that it does not overrule a file.
            flags |= {field.name: True} if value else {}
            continue
        flags[field.name] = value if field.name in _TEXTS else parse_value(value)
    return flags
