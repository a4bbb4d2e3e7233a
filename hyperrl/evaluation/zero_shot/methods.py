"""Runs put together by method, after it is sure that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperrl.config import RunConfig
from hyperrl.context.space import Array
from hyperrl.errors import ConfigError, ContextError
from hyperrl.evaluation.zero_shot.plan import NONE
from hyperrl.evaluation.zero_shot.records import Record

# Settings of a run that make no method: where, how often and with which luck.
_NO_METHOD = frozenset(
    {"env", "seed", "out", "device", "seeds", "threads", "eval_episodes", "eval_every", "checkpoint_every"}
    | {"native", "simulator", "workers", "step_timeout", "worker_restarts", "env_kwargs"}
)
# Arguments of an environment that decide how contexts are told and drawn: part of a method.
_OF_METHOD = ("mode", "append", "units", "sampler", "fixed")
# Those that decide which contexts there are: these are compared themselves.
_OF_CONTEXTS = frozenset(
    {"context", "split", "n_train", "n_test", "grid", "test_fraction", "points", "split_seed", "ranges"}
)
_FIRST = ("actor", "critic", "mode")  # What tells methods apart best.


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A run with its zero-shot evaluation.

    Attributes:
        name: What it is called in messages.
        config: Its configuration.
        record: Its evaluation.
    """

    name: str
    config: RunConfig
    record: Record


@dataclass(frozen=True, eq=False)
class Method:
    """Runs that differ by their seed alone.

    Attributes:
        label: What the method is called.
        runs: The runs, by rising seed.
    """

    label: str
    runs: tuple[EvaluatedRun, ...]

    def returns(self, split: str, ablation: str = NONE) -> Array:
        """Return the returns in a split, [runs, contexts, episodes]; no contexts where a run lacks them."""
        tables = [run.record.results.returns(split, ablation) for run in self.runs]
        if not all(table.size for table in tables):
            return np.zeros((len(tables), 0, 0))
        return np.stack(tables)


def grouped(runs: Sequence[EvaluatedRun], labels: Sequence[str] = ()) -> list[Method]:
    """Group runs by method, in the order in which methods appear.

    Args:
        runs: The runs.
        labels: Name of the method of each run; by default runs are of one method where their settings are
            equal but for the seed.

    Raises:
        ContextError: The runs cannot be compared.
        ConfigError: There is no run, there are more or fewer labels than runs, or one method has two runs of
            the same seed.
    """
    for run in runs[1:]:
        _check(runs[0], run)
    groups = rows_by_method([run.config for run in runs], labels)
    return [Method(name, tuple(runs[row] for row in rows)) for name, rows in groups.items()]


def rows_by_method(configs: Sequence[RunConfig], labels: Sequence[str] = ()) -> dict[str, list[int]]:
    """Say which runs are of which method, in the order in which methods appear.

    Args:
        configs: Configurations of the runs.
        labels: Name of the method of each run; by default runs are of one method where their settings are
            equal but for the seed.

    Returns:
        By the method's label the numbers of its runs, by rising seed.

    Raises:
        ConfigError: There is no run, there are more or fewer labels than runs, or one method has two runs of
            the same seed.
    """
    if not configs:
        raise ConfigError("a comparison needs at least one run")
    if labels and len(labels) != len(configs):
        raise ConfigError(f"there are {len(configs)} runs, so give as many labels, got {len(labels)}")
    names = list(labels) if labels else _labels([_settings(config) for config in configs])
    methods: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        methods.setdefault(name, []).append(row)
    for name, rows in methods.items():
        seeds = [configs[row].seed for row in rows]
        for seed in seeds:
            if seeds.count(seed) > 1:
                raise ConfigError(
                    f"the method {name!r} has two runs of seed {seed}: give one of them, or labels"
                )
    return {name: sorted(rows, key=lambda row: configs[row].seed) for name, rows in methods.items()}


def check_equal(names: tuple[str, str], pairs: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Refuse two runs that differ in what they must have in common.

    Args:
        names: What the runs are called in messages.
        pairs: What is compared, in the plural, and its values of both runs.

    Raises:
        ContextError: They differ.
    """
    for what, (one, two) in pairs:
        if one != two:
            raise ContextError(
                f"{names[0]} and {names[1]} cannot be compared: {what} differ, {_short(one)} and "
                f"{_short(two)}"
            )


def _check(first: EvaluatedRun, other: EvaluatedRun) -> None:
    """Refuse runs whose evaluations differ in anything but the policy."""
    check_equal((first.name, other.name), _values(first, other))
    both = first.record.results.plan.splits, other.record.results.plan.splits
    for name in first.record.results.plan.names:
        keys = [[splits.space.key(row) for row in splits.contexts(name)] for splits in both]
        if keys[0] != keys[1]:
            raise ContextError(
                f"{first.name} and {other.name} cannot be compared: the contexts of the split {name!r} differ"
            )


def _values(first: EvaluatedRun, other: EvaluatedRun) -> list[tuple[str, list[Any]]]:
    results = [run.record.results for run in (first, other)]
    plans = [result.plan for result in results]
    return [
        ("the environments", [result.subject.env for result in results]),
        ("the environments' arguments", [task_settings(run.config) for run in (first, other)]),
        ("the parameters of the context", [plan.splits.space.names for plan in plans]),
        ("the ranges of the context", [plan.splits.space.to_json() for plan in plans]),
        ("the evaluated splits", [plan.names for plan in plans]),
        ("the episodes in each context", [plan.episodes for plan in plans]),
        ("the seeds of the evaluations", [plan.seeds for plan in plans]),
        ("the checkpoints", [result.subject.checkpoint for result in results]),
    ]


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def task_settings(config: RunConfig) -> dict[str, Any]:
    """Return the arguments of a run's environment that decide what the task is, whatever its context.

    Args:
        config: Its configuration.
    """
    return {
        name: value
        for name, value in sorted(config.env_kwargs.items())
        if name not in _OF_METHOD and name not in _OF_CONTEXTS
    }


def _settings(config: RunConfig) -> dict[str, str]:
    """Return what makes the method of a run, as text by dotted names."""
    table = {name: getattr(config, name) for name in vars(config) if name not in _NO_METHOD}
    table |= {name: config.env_kwargs[name] for name in _OF_METHOD if name in config.env_kwargs}
    return dict(sorted(_flat("", table)))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for name, own in value.items() for pair in _flat(f"{prefix}.{name}", own)]
    return [(prefix.removeprefix("."), str(value))]


def _labels(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each run by its agent and as few settings as tell the methods apart."""
    labels = [own["agent"] for own in settings]
    distinct = len({tuple(own.items()) for own in settings})
    names = {name for own in settings for name in own} - {"agent"}
    varied = sorted(
        (name for name in names if len({own.get(name) for own in settings}) > 1),
        key=lambda name: (_rank(_last(name)), name),
    )
    for name in varied:
        if len(set(labels)) == distinct:
            break
        longer = [
            f"{label} {_last(name)}={own[name]}" if name in own else label
            for label, own in zip(labels, settings, strict=True)
        ]
        if len(set(longer)) > len(set(labels)):
            labels = longer
    return labels


def _last(name: str) -> str:
    return name.removesuffix(".kind").rpartition(".")[2]


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)
