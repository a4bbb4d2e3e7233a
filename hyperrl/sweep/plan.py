"""From a sweep's file to all of its runs, checked before anything starts.

```toml
[run]                                   # settings of every run
steps = 100_000
agent_kwargs.batch_size = 128
[grid]                                  # lists; every combination is a run
agent = ["hyper-td3", "td3"]
env = ["Hopper-v5", "HalfCheetah-v5"]
seed = { count = 3 }                    # or [0, 1, 2]
agent_kwargs.learning_rate = [1e-3, 3e-4]
[[exclude]]                             # combinations to leave out
agent = "td3"
agent_kwargs.learning_rate = 3e-4
```
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomli_w

from hyperrl.agent_arguments import agent_parameters
from hyperrl.config import SETTINGS, RunConfig, read_toml
from hyperrl.errors import ConfigError, HyperRLError, unknown_name
from hyperrl.presets import merge, resolve
from hyperrl.registry import agents
from hyperrl.sweep.grid import Grid, check_key, nested, read_grid
from hyperrl.sweep.names import run_name
from hyperrl.train import check

PLAN_FILE = "sweep.toml"
_PARTS = ("name", "run", "grid", "exclude")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        name: Its name, which is that of its folder.
        settings: Agent, environment, seed and the values of the grid, by dotted name.
        config: Its resolved configuration, without a folder.
    """

    name: str
    settings: Mapping[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep.

    Attributes:
        name: The sweep's name.
        source: The file that it was read from.
        table: What the file says, with the axes as plain lists.
        runs: The runs.
        notes: One sentence each about a setting that was adapted.
    """

    name: str
    source: str
    table: Mapping[str, Any]
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """Return the plan as the text of a file; reading it gives the same runs."""
        return tomli_w.dumps(self.table)


def read_plan(path: str | Path) -> Plan:
    """Read and check a sweep's file; nothing is written.

    Args:
        path: The file, or the folder of a sweep, whose `sweep.toml` is read then.

    Raises:
        HyperRLError: The file cannot be read, a name or a key is unknown, a value is wrong, two runs are the
            same, or one of them cannot be trained.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / PLAN_FILE
    table = read_toml(file)
    return build_plan(table, str(table.get("name", re.sub(r"[^\w.-]+", "-", file.stem))), str(file))


def build_plan(table: Mapping[str, Any], name: str, source: str) -> Plan:
    """Check what a sweep's file says, and everything about its runs.

    Args:
        table: The parsed file.
        name: The sweep's name.
        source: What the file is called in messages.

    Raises:
        HyperRLError: As in `read_plan`.
    """
    for key in table:
        if key not in _PARTS:
            raise unknown_name(f"part of {source}", key, _PARTS)
    if not re.fullmatch(r"[\w-][\w.-]{0,99}", name):
        raise ConfigError(f"name in {source} must be fit for a folder, got {name!r}")
    fixed = _part(table, "run", source)
    excluded = table.get("exclude", [])
    if not isinstance(excluded, list) or not all(isinstance(part, Mapping) for part in excluded):
        raise ConfigError(f"exclude in {source} must be tables, each beginning with [[exclude]]")
    try:
        grid = read_grid(_part(table, "grid", source), excluded, source)
    except HyperRLError:
        _point_out_arguments(_part(table, "grid", source), table, source)
        raise
    base = _read_fixed(fixed, grid, source)
    runs, notes = _expand(base, grid, source)
    _refuse_shared_seeds(runs, source)
    _check_all(runs, source)
    lists = {key: list(values) for key, values in grid.axes.items()}
    kept = {"name": name, "run": base, "grid": lists, "exclude": [dict(part) for part in grid.excluded]}
    return Plan(name, source, {key: value for key, value in kept.items() if value}, tuple(runs), notes)


def _part(table: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    part = table.get(name, {})
    if not isinstance(part, Mapping):
        raise ConfigError(f"{name} in {source} must be a table, beginning with [{name}]")
    return part


def _read_fixed(table: Mapping[str, Any], grid: Grid, source: str) -> dict[str, Any]:
    """Return the part `[run]` as tables within tables, checked against the grid."""
    base: dict[str, Any] = {}
    for key, value in table.items():
        try:
            check_key(key, f"[run] of {source}")
        except HyperRLError:
            _point_out_arguments({key: value}, {"run": table, "grid": grid.axes}, source)
            raise
        if key in ("agent_kwargs", "env_kwargs") and not isinstance(value, Mapping):
            raise ConfigError(f"{key} in [run] of {source} must be a table of names and values")
        base = merge(base, nested(key, value))
    for axis in grid.axes:
        found: Any = base
        for part in axis.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is not None:
            raise ConfigError(f"{axis} is both in [run] and in [grid] of {source}: keep one of them")
    for key, example in (("agent", "td3"), ("env", "Hopper-v5")):
        if key not in base and key not in grid.axes:
            raise ConfigError(
                f"the {key} is missing in {source}, for example {key} = [{example!r}] in [grid]"
            )
        if not isinstance(base.get(key, ""), str):
            raise ConfigError(
                f"{key} in [run] of {source} must be a name, got {base[key]!r}: several belong into [grid]"
            )
    return base


def _point_out_arguments(part: Mapping[str, Any], table: Mapping[str, Any], source: str) -> None:
    """Say it where an unknown key is an argument of an agent, whose place is another."""
    named = [table.get(place, {}).get("agent", []) for place in ("run", "grid")]
    names = [name for group in named for name in ([group] if isinstance(group, str) else group)]
    for key in part:
        for name in names:
            if key not in SETTINGS and name in agents.names() and key in agent_parameters(agents.get(name)):
                raise ConfigError(f"{key} in {source} is an argument of {name}: write agent_kwargs.{key}")


def _expand(base: Mapping[str, Any], grid: Grid, source: str) -> tuple[list[PlannedRun], tuple[str, ...]]:
    runs: dict[str, PlannedRun] = {}
    names_by_config: dict[str, str] = {}
    notes: dict[str, None] = {}
    for combination in grid.combinations():
        flags: dict[str, Any] = {"seed": 0, **base}
        for key, value in combination.items():
            flags = merge(flags, nested(key, value))
        settings = {key: flags[key] for key in ("agent", "env", "seed")} | combination
        name = run_name(settings)
        agent = flags.pop("agent")
        try:
            resolved = resolve(agent, flags)
        except HyperRLError as error:
            raise ConfigError(f"{source}, run {name}: {error}") from error
        # A preset must not decide either.
        config = dataclasses.replace(resolved.config, threads=1, out=None)
        same = names_by_config.setdefault(config.to_toml(), name)
        if name in runs:
            raise ConfigError(f"{source} gives two runs the name {name}: their values are too much alike")
        if same != name:
            raise ConfigError(f"{source} has the same run twice, as {same} and as {name}")
        runs[name] = PlannedRun(name, settings, config)
        notes |= dict.fromkeys(resolved.notes)
    return list(runs.values()), tuple(notes)


def _refuse_shared_seeds(runs: Sequence[PlannedRun], source: str) -> None:
    """Refuse runs that differ by their seeds alone and train some of the same, see `RunConfig.seeds`."""
    alike: dict[str, list[RunConfig]] = {}
    for run in runs:
        alike.setdefault(dataclasses.replace(run.config, seed=0, out=None).to_toml(), []).append(run.config)
    for configs in alike.values():
        for one, other in pairwise(sorted(configs, key=lambda config: config.seed)):
            if one.seed + one.seeds > other.seed:
                raise ConfigError(
                    f"runs of {source} with the seeds {one.seed} and {other.seed} train {one.seeds} seeds "
                    f"each, some of them the same: give seeds that are {one.seeds} apart"
                )


def _check_all(runs: Iterable[PlannedRun], source: str) -> None:
    """Build every agent once, for one seed: that of the others makes no difference."""
    seen = set()
    for run in runs:
        text = dataclasses.replace(run.config, seed=0).to_toml()
        if text in seen:
            continue
        seen.add(text)
        try:
            check(run.config)
        except HyperRLError as error:
            raise ConfigError(f"{source}, run {run.name}: {error}") from error
