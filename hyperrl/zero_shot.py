"""From a family of tasks to a data set of solved ones, and from that to a run that learns from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces

from hyperrl.config import RunConfig
from hyperrl.context import ContextSpace, Splits
from hyperrl.context.split_modes import TASKS
from hyperrl.context.splits import TRAIN
from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, ContextError, DatasetError, RunFolderError, UnknownNameError
from hyperrl.loading import load_agent
from hyperrl.presets import merge, resolve
from hyperrl.ranges import whole
from hyperrl.run import RunFolder
from hyperrl.run.seeding import seeds_of_evaluation
from hyperrl.sweep.control import Reporter, SweepResult, run_sweep
from hyperrl.sweep.engine import Engine
from hyperrl.sweep.folder import SweepFolder
from hyperrl.sweep.plan import Plan, PlannedRun
from hyperrl.train import check
from hyperrl.zero_shot_data import Dataset, DatasetManifest, TaskRecord
from hyperrl.zero_shot_data.manifest import MANIFEST
from hyperrl.zero_shot_data.recording import discount_of, play, transitions_of

AGENT = "hyper-zero"
EXPERTS = "experts"
_OF_A_PREPARATION = {EXPERTS, "tasks", MANIFEST}


@dataclass(frozen=True)
class PlannedTask:
    """A task that an expert is to solve.

    Attributes:
        name: Its name.
        split: The set of contexts that it belongs to.
        context: Raw values by name.
        run: The expert's run.
    """

    name: str
    split: str
    context: Mapping[str, float]
    run: PlannedRun


@dataclass(frozen=True)
class Preparation:
    """Everything that decides a data set, checked.

    Attributes:
        folder: Its folder.
        family: Settings of every expert, with the keyword arguments of the family's environment.
        splits: The contexts.
        tasks: The tasks, those of training first.
        episodes: How many each expert plays.
        checkpoint: Which of an expert's checkpoints plays: "best", "latest" or a number of steps.
    """

    folder: Path
    family: RunConfig
    splits: Splits
    tasks: tuple[PlannedTask, ...]
    episodes: int
    checkpoint: str

    @property
    def plan(self) -> Plan:
        """The runs of the experts."""
        table = {
            "name": EXPERTS,
            "run": {"agent": self.family.agent, "env": self.family.env, "steps": self.family.steps},
        }
        return Plan(EXPERTS, "the family of tasks", table, tuple(task.run for task in self.tasks))

    @property
    def experts(self) -> SweepFolder:
        """Where the experts lie."""
        return SweepFolder(self.folder / EXPERTS)


def plan_preparation(
    family: RunConfig,
    folder: str | Path,
    *,
    tests: Sequence[str] | None = None,
    episodes: int = 10,
    checkpoint: str = "best",
) -> Preparation:
    """Say which experts a data set needs, and refuse what cannot work; nothing is written.

    Args:
        family: Settings of every expert; `env_kwargs` are those of the family, whose `split` is "tasks" where
            nothing else is said.
        folder: Where the data set will be. One that was begun is continued.
        tests: Sets of test contexts that get experts, too, as a reference and never to be learned from; None
            takes "tasks" where there is such a set.
        episodes: How many each expert plays.
        checkpoint: Which of an expert's checkpoints plays.

    Raises:
        ContextError: The environment has no contexts, or not finitely many to train on.
        ConfigError: Experts are to be told their task, or a number is out of range.
        RunFolderError: The folder holds something else.
        HyperRLError: An expert cannot be trained.
    """
    place = Path(folder).expanduser().absolute()
    _refuse_other_folder(place)
    for name in ("fixed", "mode"):
        if name in family.env_kwargs:
            raise ConfigError(f"leave env_kwargs.{name} out: each expert has one task and does not see it")
    family = dataclasses.replace(
        family, env_kwargs={"split": TASKS, **family.env_kwargs}, out=None, threads=1, seeds=1
    )
    splits = _splits_of(family)
    names = (TASKS,) if tests is None and TASKS in splits.tests else tuple(tests or ())
    tasks: list[PlannedTask] = []
    for split in (TRAIN, *names):
        for context in splits.contexts(split):
            tasks.append(_planned(family, splits.space, split, context, len(tasks)))
    count = int(whole(1, 10_000).check("episodes", episodes))
    preparation = Preparation(place, family, splits, tuple(tasks), count, checkpoint)
    check(tasks[0].run.config)
    preparation.experts.refuse_other(preparation.plan)
    return preparation


def train_experts(
    preparation: Preparation, engine: Engine, reporter: Reporter, *, retry: bool = False
) -> SweepResult:
    """Train the experts that are not finished, several side by side.

    Args:
        preparation: What `plan_preparation` returned.
        engine: What does the runs; it is closed at the end.
        reporter: Who is told what happens.
        retry: Whether those that failed before are continued.

    Raises:
        RunStoppedError: A signal came; the same call continues.
        HyperRLError: As `hyperrl.sweep.control.run_sweep`.
    """
    return run_sweep(preparation.plan, preparation.experts, engine, reporter, retry=retry)


def record_experts(preparation: Preparation) -> DatasetManifest:
    """Let all experts that are finished play, and write the data set; what was recorded before is kept.

    Args:
        preparation: What `plan_preparation` returned.

    Returns:
        The data set's manifest, which has the tasks of finished experts alone.

    Raises:
        DatasetError: No expert of a task of training is finished.
        HyperRLError: An expert cannot be loaded, or a file cannot be written.
    """
    torch.set_num_threads(1)
    dataset = Dataset(preparation.folder)
    records: list[TaskRecord] = []
    gammas: set[float] = set()
    for index, task in enumerate(preparation.tasks):
        path = preparation.experts.run(task.run)
        if not path.exists() or RunFolder.open(path).status().get("state") != "finished":
            continue
        record, gamma = _recorded(preparation, dataset, task, index)
        records.append(record)
        gammas.add(gamma)
    if not any(record.split == TRAIN for record in records):
        raise DatasetError(f"no expert of a task of training is finished in {preparation.experts.path}")
    return dataset.finish(
        env=preparation.family.env,
        env_kwargs=preparation.family.env_kwargs,
        splits=preparation.splits,
        gamma=gammas.pop(),
        tasks=records,
    )


def configure(
    dataset: str | Path,
    method: str = "hyperzero",
    flags: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    settings: Sequence[str] = (),
) -> RunConfig:
    """Return the configuration of a run that learns from a data set, for `hyperrl.train`.

    Args:
        dataset: Folder of the data set.
        method: What learns, one of `hyperrl_agents.hyper_zero.methods.METHODS`.
        flags: Settings of the run by name, as in `hyperrl.presets.resolve`.
        file: A TOML file of settings.
        settings: Texts "key=value".

    Raises:
        HyperRLError: The data set cannot be used, or a setting is wrong.
    """
    source = Dataset(dataset)
    manifest = source.manifest()
    asked = merge(
        {"env": manifest.env, "env_kwargs": dict(manifest.env_kwargs)},
        merge(dict(flags or {}), {"agent_kwargs": {"dataset": str(source.folder), "method": method}}),
    )
    config = resolve(AGENT, asked, file=file, settings=settings).config
    if "policy" in asked:
        return config
    env = make_env(config.env, config.env_kwargs)
    try:
        is_dict = isinstance(env.observation_space, spaces.Dict)
    finally:
        env.close()
    return dataclasses.replace(config, policy="MultiInputPolicy" if is_dict else "MlpPolicy")


def _refuse_other_folder(place: Path) -> None:
    try:
        there = {child.name for child in place.iterdir()} if place.exists() else set()
    except OSError as error:
        raise RunFolderError(f"{place} cannot be used: {error.strerror or error}") from error
    if there and not there & _OF_A_PREPARATION:
        raise RunFolderError(f"{place} already holds files: choose a new or an empty folder with --out")


def _splits_of(family: RunConfig) -> Splits:
    env = make_env(family.env, family.env_kwargs)
    try:
        splits = env.get_wrapper_attr("splits") if env.has_wrapper_attr("splits") else None
    finally:
        env.close()
    if not isinstance(splits, Splits):
        raise ContextError(f"{family.env} has no contexts: choose a family of tasks, see hyperrl list envs")
    if splits.points is None:
        raise ContextError(
            "training draws from a whole region of contexts, but experts solve single tasks: set "
            "env_kwargs.split to 'tasks' or 'points', or give env_kwargs.n_train"
        )
    return splits


def _planned(family: RunConfig, space: ContextSpace, split: str, context: Any, index: int) -> PlannedTask:
    values = space.as_dict(context)
    name = f"task-{index:03}"
    own = dataclasses.replace(
        family,
        seed=family.seed + index,
        env_kwargs={**family.env_kwargs, "mode": "hidden", "fixed": values},
    )
    shown = {"agent": own.agent, "env": own.env, "seed": own.seed, "context": space.text(context)}
    return PlannedTask(name, split, values, PlannedRun(name, shown, own))


def _recorded(
    preparation: Preparation, dataset: Dataset, task: PlannedTask, index: int
) -> tuple[TaskRecord, float]:
    """Return the record of a task and the discount of its expert, playing where that was not done before."""
    config = task.run.config
    folder = RunFolder.open(preparation.experts.run(task.run))
    agent, steps = _load(folder, preparation.checkpoint)
    try:
        expert = {
            "agent": config.agent,
            "run": f"{EXPERTS}/{task.name}",
            "checkpoint": preparation.checkpoint,
            "steps": steps,
            "episodes": preparation.episodes,
            "seed": config.seed,
        }
        gamma = discount_of(agent)
        known = dataset.added(task.name)
        same = known is not None and (known.split, dict(known.expert)) == (task.split, expert)
        if known is not None and same and known.context == tuple(task.context.values()):
            return known, gamma
        seeds = seeds_of_evaluation(preparation.family.seed, index, preparation.episodes)
        episodes = play(agent, lambda: make_env(config.env, config.env_kwargs), seeds)
        transitions, label = transitions_of(agent, episodes, agent.action_space)
    finally:
        if agent.env is not None:
            agent.env.close()
    returns = [episode.episode_return for episode in episodes]
    context = list(task.context.values())
    return dataset.add(
        task.name, task.split, context, transitions, expert=expert, label=label, returns=returns
    ), gamma


def _load(folder: RunFolder, checkpoint: str) -> tuple[Any, int]:
    try:
        return load_agent(folder, checkpoint)
    except UnknownNameError:
        if checkpoint != "best":
            raise
        return load_agent(folder)
