"""`hyperrl import`: make a run folder of a model that Stable-Baselines3 saved."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError
from hyperrl.registry import agents


@dataclass(frozen=True)
class ImportArguments:
    """Make a run folder of a model that Stable-Baselines3 saved; its path is printed last."""

    model: tyro.conf.Positional[Annotated[str, flag("MODEL.zip")]] = ""
    """What model.save wrote."""
    agent: Annotated[str | None, flag("AGENT")] = None
    """Name of its algorithm, see `hyperrl list agents`."""
    env: Annotated[str | None, flag("ID")] = None
    """Gymnasium id of its environment."""
    out: Annotated[str | None, flag("DIR")] = None
    """Run folder, new or empty ($HYPERRL_RUNS or ./runs, then ENV/AGENT/TIME-sSEED)."""
    steps: Annotated[str | None, flag("N")] = None
    """A length of the whole run, in environment steps (what the model was to be trained for)."""
    preset: Annotated[str | None, flag("NAME")] = None
    """One of the agent's presets (default)."""
    set: Annotated[tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]], flag("KEY=VALUE")] = ()
    """Arguments that the model was trained with where they differ from the preset's, in TOML."""
    policy: Annotated[str | None, flag("NAME")] = None
    """MlpPolicy, CnnPolicy or MultiInputPolicy (MlpPolicy)."""
    trust_pickle: tyro.conf.FlagCreatePairsOff[bool] = False
    """Open the file, although such files can run code when they are loaded."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, or the file cannot be imported.
    """
    arguments = parse(ImportArguments, argv, "import")
    if not arguments.model:
        raise UsageError("import needs a model file, for example hyperrl import model.zip --agent td3 ...")
    if arguments.agent is None or arguments.env is None:
        raise UsageError("import needs --agent and --env: a model file does not say how it was trained")
    agents.module(arguments.agent)

    from hyperrl.import_model import import_model
    from hyperrl.presets import resolve

    names = ("env", "out", "preset", "policy")
    flags: dict[str, Any] = {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }
    if arguments.steps is not None:
        flags["steps"] = parse_value(arguments.steps)
    settings = [setting for group in arguments.set for setting in group]
    resolved = resolve(arguments.agent, flags, file=None, settings=settings)
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    steps = None if arguments.steps is None else resolved.config.steps
    folder = import_model(arguments.model, resolved.config, trust_pickle=arguments.trust_pickle, steps=steps)
    print(folder.path)
    return 0
