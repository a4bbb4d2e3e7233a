"""The folder of a zero-shot evaluation: its plan, the table of its episodes, and its reports.

```
plan.json      whose policy, which episodes, what it costs, experts, and the digest of the table
episodes.csv   one row for each episode
report.md, report.json, report.html, *.png
unfinished-*.jsonl   episodes of an evaluation that was stopped
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperrl.errors import HyperRLError, RunFolderError
from hyperrl.evaluation.zero_shot.document import Document
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.references import Expert
from hyperrl.evaluation.zero_shot.results import Results, Subject, from_csv, to_csv
from hyperrl.run.files import make_folders, write_parts, write_text

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Record:
    """An evaluation as it is kept.

    Attributes:
        results: The episodes.
        experts: Policies of one context each.
        costs: What the policy costs.
    """

    results: Results
    experts: tuple[Expert, ...] = ()
    costs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """The folder.

    Attributes:
        path: Its path; it need not be there.
    """

    path: Path

    @property
    def table(self) -> Path:
        """The table of the episodes."""
        return self.path / "episodes.csv"

    def read(self) -> Record:
        """Read the evaluation.

        Raises:
            RunFolderError: There is none, or it is damaged.
        """
        try:
            known = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
            table = self.table.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise RunFolderError(
                f"{self.path} holds no zero-shot evaluation: make one with hyperrl evaluate RUN --split NAME"
            ) from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"the zero-shot evaluation {self.path} cannot be read: {error}") from error
        try:
            return _record(known, table)
        except (HyperRLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunFolderError(
                f"the zero-shot evaluation {self.path} is damaged or of another version: {error}; "
                "make it anew with --again"
            ) from error

    def read_if_any(self) -> Record | None:
        """Read the evaluation, None where there is none that can be used."""
        try:
            return self.read()
        except RunFolderError:
            return None

    def write(self, record: Record) -> None:
        """Replace the evaluation. Until all is there, the old table stays as it is.

        Args:
            record: The evaluation.

        Raises:
            RunFolderError: The folder cannot be written.
        """
        table = to_csv(record.results)
        known = {
            "format": _FORMAT,
            "subject": dataclasses.asdict(record.results.subject),
            "plan": record.results.plan.to_json(),
            "experts": [dataclasses.asdict(expert) for expert in record.experts],
            "costs": dict(record.costs),
            "episodes_sha256": _digest(table),
        }
        with writing(self.path):
            make_folders(self.path)
            write_text(self.table, table)
            write_text(self.path / "plan.json", json.dumps(known, indent=1) + "\n")


def write_report(path: Path, document: Document, data: Mapping[str, Any]) -> Path:
    """Write a report as Markdown, JSON and HTML, and its pictures.

    Args:
        path: The folder.
        document: The report.
        data: Its numbers.

    Returns:
        The HTML page.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    with writing(path):
        make_folders(path)
        for name, png in document.pictures.items():
            write_parts(path / name, [png])
        write_text(path / "report.md", document.to_markdown())
        write_text(path / "report.json", json.dumps(data, indent=1) + "\n")
        write_text(path / "report.html", document.to_html())
    return path / "report.html"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a sentence what the system refuses.

    Args:
        path: The folder that is written to.

    Raises:
        RunFolderError: The system refused.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error


def _record(known: Mapping[str, Any], table: str) -> Record:
    if known["format"] != _FORMAT:
        raise RunFolderError(f"its format is {known['format']!r}, not {_FORMAT}")
    if known["episodes_sha256"] != _digest(table):
        raise RunFolderError("episodes.csv is not the table that plan.json describes")
    plan = Plan.from_json(known["plan"])
    results = from_csv(table, Subject(**known["subject"]), plan)
    experts: Sequence[Mapping[str, Any]] = known["experts"]
    found = [Expert(**{**expert, "context": tuple(expert["context"])}) for expert in experts]
    return Record(results, tuple(found), known["costs"])


def _digest(table: str) -> str:
    return hashlib.sha256(table.encode()).hexdigest()
