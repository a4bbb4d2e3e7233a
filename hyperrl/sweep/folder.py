"""The folder of a sweep.

```
sweep.toml   the plan
runs.csv     one row for each run: settings, status, steps, seconds, returns, error
NAME/        the run folder of each run, with its output in run.log
NAME.log     the output of a run that is at work now, or that could not begin
run.lock     held by the process of the sweep, whose number is in owner.json meanwhile
```
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, HyperRLError, RunFolderError
from hyperrl.run.files import write_text
from hyperrl.run.folder import RunFolder
from hyperrl.run.lock import RunLock
from hyperrl.sweep.plan import PLAN_FILE, Plan, PlannedRun
from hyperrl.sweep.records import RunRecord

TABLE_FILE = "runs.csv"
_OF_A_LOCK = {"run.lock", "owner.json"}


class SweepFolder:
    """Where a sweep's runs lie.

    Args:
        path: The folder, which may not exist yet.

    Attributes:
        path: The absolute path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._written = ""

    @classmethod
    def default(cls, plan: Plan) -> SweepFolder:
        """Return the folder of a plan for which none was chosen: below `$HYPERRL_RUNS` or `./runs`.

        Args:
            plan: The plan.
        """
        return cls(Path(os.environ.get("HYPERRL_RUNS") or "runs") / "sweeps" / plan.name)

    def run(self, planned: PlannedRun) -> Path:
        """Return the folder of a run.

        Args:
            planned: The run.
        """
        return self.path / planned.name

    def config(self, planned: PlannedRun) -> RunConfig:
        """Return the configuration of a run with its folder.

        Args:
            planned: The run.
        """
        return dataclasses.replace(planned.config, out=str(self.run(planned)))

    def refuse_other(self, plan: Plan) -> None:
        """Refuse a plan that contradicts what lies here; runs that are new are welcome.

        Args:
            plan: The plan.

        Raises:
            RunFolderError: The folder is none of a sweep.
            ConfigError: A run that has begun has other settings in the plan, or is not in it.
        """
        try:
            names = {child.name for child in self.path.iterdir()} if self.path.exists() else set()
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be used: {error.strerror or error}") from error
        if names - _OF_A_LOCK and PLAN_FILE not in names:
            raise RunFolderError(
                f"{self.path} already holds files: choose a new or an empty folder with --out"
            )
        planned = {run.name: run for run in plan.runs}
        for name in sorted(names):
            if not (self.path / name / "run.toml").is_file():
                continue
            if name not in planned:
                raise ConfigError(
                    f"{self.path} has the run {name}, which {plan.source} does not have any more: put it "
                    "back, or choose another folder with --out"
                )
            self._refuse_changed(planned[name], plan.source)

    @contextlib.contextmanager
    def locked(self, plan: Plan) -> Iterator[None]:
        """Keep other processes out of the folder, which exists, inside the `with` block.

        Args:
            plan: The plan, which is compared once more: another process may have been faster.

        Raises:
            RunFolderError: Another process works here, or the folder cannot be written.
            ConfigError: As in `refuse_other`.
        """
        with RunLock(self.path):
            self.refuse_other(plan)
            yield

    def write_plan(self, plan: Plan) -> None:
        """Write `sweep.toml`.

        Args:
            plan: The plan.

        Raises:
            RunFolderError: It cannot be written.
        """
        try:
            write_text(self.path / PLAN_FILE, plan.to_toml())
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def make(self) -> list[Path]:
        """Make the folder and those above it.

        Returns:
            Those that were missing, the innermost first.

        Raises:
            RunFolderError: They cannot be made.
        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be made: {error.strerror or error}") from error
        return missing

    def unmake(self, missing: Sequence[Path]) -> None:
        """Remove folders that were made for a sweep that did not begin; what others put into them stays.

        Args:
            missing: What `make` returned.
        """
        with contextlib.suppress(OSError):
            if missing:
                (self.path / "run.lock").unlink(missing_ok=True)
            for path in missing:
                path.rmdir()

    def write_table(self, plan: Plan, records: Mapping[str, RunRecord]) -> None:
        """Write `runs.csv`, if anything in it has changed.

        Args:
            plan: The plan.
            records: How far each run is, by name.
        """
        text = _table(plan, records)
        if text == self._written:
            return
        try:
            write_text(self.path / TABLE_FILE, text)
            self._written = text
        except OSError as error:
            # The runs themselves decide what to do about a full disk.
            warnings.warn(
                f"{self.path / TABLE_FILE} cannot be written: {error.strerror or error}", stacklevel=2
            )

    def _refuse_changed(self, planned: PlannedRun, source: str) -> None:
        folder = RunFolder.open(self.run(planned))
        try:
            then = folder.config()
        except HyperRLError:
            if folder.store.names():
                raise
            return  # Killed while it began: it begins again.
        if then == planned.config:
            return
        before, now = (_flat(dataclasses.asdict(config)) for config in (then, planned.config))
        key = next((key for key in {**before, **now} if before.get(key) != now.get(key)), "")
        raise ConfigError(
            f"the run {planned.name} in {self.path} was begun with {_setting(key, before)}, now {source} "
            f"gives {_setting(key, now)}: put that back, or choose another folder with --out"
        )


def _table(plan: Plan, records: Mapping[str, RunRecord]) -> str:
    keys = list(dict.fromkeys(key for run in plan.runs for key in run.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *keys, *(field.name for field in dataclasses.fields(RunRecord))])
    for run in plan.runs:
        record = dataclasses.asdict(records[run.name])
        settings = [_cell(run.settings.get(key)) for key in keys]
        writer.writerow([run.name, *settings, *("" if value is None else value for value in record.values())])
    return text.getvalue()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _setting(key: str, flat: Mapping[str, Any]) -> str:
    return f"{key} = {flat[key]!r}" if key in flat else f"no {key}"
