"""Experts: runs that were trained in one context each, or a table of what such runs earned."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hyperrl.context import ContextSpace
from hyperrl.context.space import Array
from hyperrl.environments import make_env
from hyperrl.errors import ContextError
from hyperrl.evaluation.zero_shot.plan import NONE, Case, Plan
from hyperrl.evaluation.zero_shot.references import Expert
from hyperrl.evaluation.zero_shot.runs import Say, loaded, play_cases
from hyperrl.run import RunFolder
from hyperrl.run.seeding import seeds_of_zero_shot

_RESETS = 8  # So many resets in one and the same context make it a run of one context.


def read_experts(path: Path, space: ContextSpace) -> list[Expert]:
    """Read a table of experts: a column for each parameter of the context, and "return".

    Args:
        path: The CSV file. Columns of parameters may begin with "context_", as those of `episodes.csv` do.
        space: The space of contexts.

    Raises:
        ContextError: The file cannot be read, a column is missing, or a value is no finite number.
        HyperRLError: A context is not in the space.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"the table of experts {path} cannot be read: {error}") from error
    if not rows:
        raise ContextError(f"the table of experts {path} has no rows")
    found = []
    for row in rows:
        own = {(name or "").removeprefix("context_"): value for name, value in row.items()}
        missing = [name for name in (*space.names, "return") if own.get(name) in (None, "")]
        if missing:
            raise ContextError(f"the table of experts {path} lacks {', '.join(missing)} in a row")
        try:
            context = space.array([float(own[name]) for name in space.names])
            value = float(own["return"])
        except ValueError as error:
            raise ContextError(f"the table of experts {path}: {error}") from error
        if not np.isfinite(value):
            raise ContextError(f"the table of experts {path} has the return {own['return']}")
        found.append(Expert(tuple(context.tolist()), value, 0, path.name))
    return found


class ExpertRun:
    """A run that was trained in one context, checked before anything is simulated.

    Args:
        path: Its folder.
        env_id: The environment that is evaluated.
        plan: The evaluation, whose episodes are played.

    Raises:
        RunFolderError: There is no such run.
        ContextError: It is of another environment, or was trained in several contexts.
    """

    def __init__(self, path: Path, env_id: str, plan: Plan) -> None:
        self.folder = RunFolder.open(path)
        self._config, self._plan = self.folder.config(), plan
        if self._config.env != env_id:
            raise ContextError(
                f"the expert {path} was trained on {self._config.env}, but {env_id} is evaluated"
            )
        self._own = _only_context(self.folder, env_id)
        self.context = plan.splits.space.array(self._own[0].as_dict(self._own[1]))
        steps = self.folder.checkpoint("latest", replay=False).steps
        what = f"{self.folder.path}|{steps}|{plan.episodes}|{plan.seeds}"
        self.key = hashlib.sha256(what.encode()).hexdigest()[:16]

    def play(self, say: Say) -> Expert:
        """Play the episodes of the plan in the expert's context.

        Args:
            say: Called with a line now and then.
        """
        context = self._own[1]
        cases = [
            Case("expert", 0, context, None, NONE, seed, episode, reset_seed)
            for seed in self._plan.seeds
            for episode, reset_seed in enumerate(seeds_of_zero_shot(seed, self._plan.episodes))
        ]
        say(f"expert of {self._plan.splits.space.text(self.context)}: {self.folder.path.name}")
        with loaded(self.folder, "latest") as agent:
            played = play_cases(agent, self._config, cases)
        value = float(np.mean([one.ended.episode_return for one in played]))
        return Expert(tuple(self.context.tolist()), value, len(played), self.folder.path.name, self.key)


def measured(runs: Sequence[ExpertRun], known: Sequence[Expert], say: Say) -> list[Expert]:
    """Return what experts earn; what an earlier evaluation measured is not measured again.

    Args:
        runs: The experts.
        known: Of the earlier evaluation.
        say: Called with a line now and then.
    """
    by_key = {expert.key: expert for expert in known if expert.key}
    return [by_key.get(run.key) or run.play(say) for run in runs]


def _only_context(folder: RunFolder, env_id: str) -> tuple[ContextSpace, Array]:
    """Return the context that every episode of a run has, with its space."""
    env = make_env(env_id, folder.config().env_kwargs)
    try:
        if not env.has_wrapper_attr("context_space"):
            raise ContextError(f"the expert {folder.path} has no context")
        space: ContextSpace = env.get_wrapper_attr("context_space")
        contexts = [env.reset(seed=seed)[1]["context"] for seed in range(_RESETS)]
    finally:
        env.close()
    if len({space.key(context) for context in contexts}) > 1:
        raise ContextError(
            f"{folder.path} was trained in several contexts: an expert is a run in one context, for example "
            "with env_kwargs.fixed"
        )
    return space, contexts[0]
