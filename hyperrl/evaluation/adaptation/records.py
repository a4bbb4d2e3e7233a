"""The folder of an evaluation of adaptation: its plan, the table of its episodes, and its reports.

```
plan.json      whose policy, which tasks and episodes, and the digest of the table
episodes.csv   one row for each episode
report.md, report.json, report.html, curve.png
unfinished-*.jsonl   adaptations of an evaluation that was stopped
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
from hyperrl.evaluation.adaptation.plan import Job, Plan
from hyperrl.evaluation.adaptation.results import Key, Outcome, Results, from_csv, key_of, to_csv
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.records import writing
from hyperrl.evaluation.zero_shot.results import Subject
from hyperrl.run.files import make_folders, write_text

_FORMAT = 1


@dataclass(frozen=True)
class Records:
    """The folder.

    Attributes:
        path: Its path; it need not be there.
    """

    path: Path

    def read(self) -> Results:
        """Read the evaluation.

        Raises:
            RunFolderError: There is none, or it is damaged.
        """
        try:
            known = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
            table = (self.path / "episodes.csv").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise RunFolderError(
                f"{self.path} holds no evaluation of adaptation: make one with hyperrl adapt RUN --episodes K"
            ) from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"the evaluation {self.path} cannot be read: {error}") from error
        try:
            return _results(known, table)
        except (HyperRLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunFolderError(
                f"the evaluation {self.path} is damaged or of another version: {error}; make it anew with "
                "--again"
            ) from error

    def read_if_any(self) -> Results | None:
        """Read the evaluation, None where there is none that can be used."""
        try:
            return self.read()
        except RunFolderError:
            return None

    def write(self, results: Results) -> None:
        """Replace the evaluation. Until all is there, the old table stays as it is.

        Args:
            results: The evaluation.

        Raises:
            RunFolderError: The folder cannot be written.
        """
        table = to_csv(results)
        known = {
            "format": _FORMAT,
            "subject": dataclasses.asdict(results.subject),
            "plan": results.plan.to_json(),
            "episodes_sha256": _digest(table),
        }
        with writing(self.path):
            make_folders(self.path)
            write_text(self.path / "episodes.csv", table)
            write_text(self.path / "plan.json", json.dumps(known, indent=1) + "\n")


class Unfinished:
    """A file beside the table of an evaluation, which has a line of JSON for each adaptation.

    Its name stands for the policy and the numbers of the plan, so that it never holds what is of others.

    Args:
        folder: Of the evaluation; it need not be there.
        subject: Whose policy it is.
        plan: What is played.

    Attributes:
        path: The file.
        outcomes: The adaptations, by what they are of.
    """

    def __init__(self, folder: Path, subject: Subject, plan: Plan) -> None:
        told = [dataclasses.asdict(subject), plan.space.to_json(), plan.episodes, plan.evaluations]
        name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"unfinished-{name}.jsonl"
        self._plan = plan
        self.outcomes = dict(_read(self.path, plan))

    def add(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Keep adaptations.

        Args:
            jobs: The adaptations.
            outcomes: How they came out.

        Raises:
            RunFolderError: The file cannot be written.
        """
        keys = [key_of(job, self._plan.space) for job in jobs]
        self.outcomes |= dict(zip(keys, outcomes, strict=True))
        lines = [json.dumps([key, dataclasses.asdict(one)]) for key, one in zip(keys, outcomes, strict=True)]
        with writing(self.path.parent):
            make_folders(self.path.parent)
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first, as the line before may have been cut off.
                file.writelines(f"\n{line}" for line in lines)

    def remove(self) -> None:
        """Forget the adaptations, and remove the file where there is one."""
        self.outcomes.clear()
        with writing(self.path.parent):
            self.path.unlink(missing_ok=True)


def _read(path: Path, plan: Plan) -> Iterator[tuple[Key, Outcome]]:
    """Yield the adaptations of a file, if there is one; a line that was cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            (name, context, seed), known = json.loads(line)
            evaluations = tuple(tuple(Ended(**one) for one in own) for own in known["evaluations"])
            data = tuple(Ended(**one) for one in known["data"])
            if (len(evaluations), len(data)) == (plan.episodes + 1, plan.episodes):
                yield (name, context, seed), Outcome(evaluations, data)


def _results(known: Mapping[str, Any], table: str) -> Results:
    if known["format"] != _FORMAT:
        raise RunFolderError(f"its format is {known['format']!r}, not {_FORMAT}")
    if known["episodes_sha256"] != _digest(table):
        raise RunFolderError("episodes.csv is not the table that plan.json describes")
    return from_csv(table, Subject(**known["subject"]), Plan.from_json(known["plan"]))


def _digest(table: str) -> str:
    return hashlib.sha256(table.encode()).hexdigest()
