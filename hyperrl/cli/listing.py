"""`hyperrl list`: show the agents, environments, context parameters or hypernetwork kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from hyperrl.cli.arguments import parse
from hyperrl.errors import PluginError, UsageError, unknown_name
from hyperrl.registry import Registry, agents, exporters, generators, kinds

_FEW = 4  # From as many choices on, the range is shown in their place.
_WHAT = ("agents", "envs", "contexts", "kinds", "generators", "exporters")


@dataclass(frozen=True)
class ListArguments:
    """Show what can be named on the command line."""

    what: tyro.conf.Positional[
        Annotated[
            str,
            tyro.conf.arg(metavar="agents|envs|contexts|kinds|generators|exporters", help_behavior_hint=""),
        ]
    ] = ""
    """Which list."""
    env: Annotated[str, tyro.conf.arg(metavar="ID", help_behavior_hint="")] = ""
    """Only the context parameters of this environment."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong.
    """
    arguments = parse(ListArguments, argv, "list")
    what = arguments.what
    if not what:
        raise UsageError(f"list needs one of {', '.join(_WHAT)}")
    if what not in _WHAT:
        raise unknown_name("list", what, _WHAT)
    if arguments.env and what != "contexts":
        raise UsageError("--env belongs to `hyperrl list contexts`")
    if what == "agents":
        rows = _agent_rows()
    elif what == "kinds":
        rows = _registry_rows(kinds)
    elif what == "generators":
        rows = _registry_rows(generators)
    elif what == "exporters":
        rows = _registry_rows(exporters)
    elif what == "contexts":
        rows = _context_rows(arguments.env)
    else:
        rows = _env_rows()
    print(table(rows))
    return 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of texts in columns.

    Args:
        rows: The rows, all of the same length, the headings first.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _registry_rows(registry: Registry) -> list[tuple[str, ...]]:
    return [("name", "class"), *((name, registry.location(name)) for name in registry.names())]


def _agent_rows() -> list[tuple[str, ...]]:
    from hyperrl.presets import DEFAULT_PRESET, read_presets

    rows = [("name", "presets", "class")]
    for name in agents.names():
        try:
            presets = ", ".join(sorted({DEFAULT_PRESET, *read_presets(name)}))
        except PluginError:
            presets = "(cannot be imported)"
        rows.append((name, presets, agents.location(name)))
    return list(rows)


def _env_rows() -> list[tuple[str, ...]]:
    from hyperrl_envs.catalogue import TASKS

    rows = [("id", "observations", "actions", "task")]
    rows += [(task.env_id, str(task.observation_size), str(task.action_size), task.summary) for task in TASKS]
    return list(rows)


def _context_rows(env_id: str) -> list[tuple[str, ...]]:
    from hyperrl_envs.contextual import suite_of
    from hyperrl_envs.contextual.ids import CONTEXTUAL

    rows: list[tuple[str, ...]] = [("id", "parameter", "values", "trained on", "default", "what it is")]
    for name in [env_id] if env_id else sorted(CONTEXTUAL):
        for param in suite_of(name).params:
            unit = "" if param.unit == "1" else f" {param.unit}"
            values = f"{param.low:g} to {param.high:g}{unit}"
            if len(param.choices) in range(1, _FEW):
                values = " or ".join(f"{choice:g}" for choice in sorted(param.choices))
            trained = f"{param.train_low:g} to {param.train_high:g}" if param.train else "all"
            rows.append((name, param.name, values, trained, f"{param.default:g}", param.summary))
    return rows
