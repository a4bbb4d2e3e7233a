"""Writing results down: a table on the screen, a CSV, and a manifest that says how to repeat them."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from hyperrl.errors import RunFolderError
from hyperrl.run.files import write_json, write_text
from hyperrl.run.manifest import build_manifest, cpu_name

Row = Mapping[str, Any]
MANIFEST = "manifest.json"
# Of a table in a file or a pipe, which has no width of its own.
_WIDTH = 160


def command_line() -> str:
    """The command of this process, ready to be typed again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def provenance(seed: int, device: str) -> dict[str, Any]:
    """What a row of a published table needs to be judged by itself.

    Args:
        seed: Seed of the measurement.
        device: "cpu" or "cuda".
    """
    return {
        "machine": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seed": seed,
        "command": command_line(),
    }


def open_folder(path: Path) -> Path:
    """Make a folder for results.

    Raises:
        RunFolderError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"the folder {path} cannot be made: {error.strerror}") from error
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a head and at least one row.

    Args:
        path: The file.

    Raises:
        RunFolderError: It cannot be read, or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror or error}") from error
    if not rows:
        raise RunFolderError(f"{path} has no rows")
    return rows


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with equal keys as CSV, replacing the file as a whole.

    Args:
        path: The file.
        rows: At least one row.

    Raises:
        RunFolderError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror}") from error


def record(folder: Path, results: Mapping[str, Row]) -> None:
    """Note in the folder's manifest how results come about; the notes of other results stay.

    Args:
        folder: The folder.
        results: By name of the result: its ``seed``, and whatever else decided it, as JSON values.

    Raises:
        RunFolderError: The manifest cannot be read or written.
    """
    manifest = read_manifest(folder)
    circumstances = build_manifest(0)
    # These are notes of one moment, and are published: paths of this machine have no place in them.
    for name in ("finished", "argv", "working_directory"):
        circumstances.pop(name)
    circumstances["recorded"] = circumstances.pop("started")
    for name, settings in results.items():
        manifest[name] = {**circumstances, "command": command_line(), **settings}
    try:
        write_json(folder / MANIFEST, manifest)
    except OSError as error:
        raise RunFolderError(f"{folder / MANIFEST} cannot be written: {error.strerror}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest, empty if there is none yet.

    Raises:
        RunFolderError: It cannot be read.
    """
    try:
        table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise RunFolderError(f"{folder / MANIFEST} must hold a table, got {type(table).__name__}")
    return table


def show(title: str, rows: Sequence[Row], columns: Sequence[str], console: Console | None = None) -> None:
    """Print some columns of a table.

    Args:
        title: Its heading.
        rows: At least one row.
        columns: The columns to show.
        console: Where to print; the terminal by default.
    """
    table = Table(title=title, title_justify="left")
    for column in columns:
        text = isinstance(rows[0][column], str)
        table.add_column(column.replace("_", " "), justify="left" if text else "right")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    (console or Console(width=None if sys.stdout.isatty() else _WIDTH)).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "" if value is None else str(value)
