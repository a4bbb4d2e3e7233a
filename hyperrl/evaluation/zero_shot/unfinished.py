"""Episodes of an evaluation that is not finished, kept as they end, so that one that was stopped goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.plan import Plan
from hyperrl.evaluation.zero_shot.records import writing
from hyperrl.evaluation.zero_shot.results import Key, Subject, key_of
from hyperrl.evaluation.zero_shot.rollouts import Played
from hyperrl.run.files import make_folders


class Unfinished:
    """A file beside the table of an evaluation, which has a line of JSON for each episode.

    Its name stands for the policy and the contexts, so that it never holds episodes of others.

    Args:
        folder: Of the evaluation; it need not be there.
        subject: Whose policy it is.
        plan: What is played.

    Attributes:
        path: The file.
        episodes: How they came out, by what was played.
    """

    def __init__(self, folder: Path, subject: Subject, plan: Plan) -> None:
        what = json.dumps([dataclasses.asdict(subject), plan.splits.to_json()], sort_keys=True)
        self.path = folder / f"unfinished-{hashlib.sha256(what.encode()).hexdigest()[:16]}.jsonl"
        self._space = plan.splits.space
        self.episodes = dict(_read(self.path))

    def add(self, played: Played) -> None:
        """Keep an episode.

        Args:
            played: The episode.

        Raises:
            RunFolderError: The file cannot be written.
        """
        key = key_of(played.case, self._space)
        self.episodes[key] = played.ended
        with writing(self.path.parent):
            make_folders(self.path.parent)
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first, as the line before may have been cut off.
                file.write("\n" + json.dumps([*key, *dataclasses.astuple(played.ended)]))

    def remove(self) -> None:
        """Forget the episodes, and remove the file where there is one."""
        self.episodes.clear()
        with writing(self.path.parent):
            self.path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[tuple[Key, Ended]]:
    """Yield the episodes of a file, if there is one; a line that was cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            split, context, ablation, seed, episode, reset_seed, *outcome = json.loads(line)
            yield (split, context, ablation, seed, episode, reset_seed), Ended(*outcome)
