"""The settings that a checkpoint was trained with, and what in `run.toml` is different by now.

`run.toml` is small and has no checksum: each checkpoint, which has one, carries a copy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperrl.config import RunConfig, parse_toml
from hyperrl.errors import RunFolderError
from hyperrl.run.contents import Checkpoint

# What may change between two processes of a run, for its length, its speed or what is said of it.
_MAY_CHANGE = frozenset(
    {
        "agent_kwargs.compile",
        "checkpoint_every",
        "device",
        "eval_episodes",
        "eval_every",
        "preset",
        "step_timeout",
        "steps",
        "threads",
        "worker_restarts",
        "workers",
    }
)


def about(config: RunConfig) -> dict[str, str]:
    """Return what a checkpoint says of its run: agent, environment and all settings.

    Args:
        config: The run's configuration.
    """
    settings = dataclasses.replace(config, out=None).to_toml()
    return {"agent": config.agent, "env": config.env, "settings": settings}


def check_settings(config: RunConfig, checkpoint: Checkpoint, file: Path) -> list[str]:
    """Refuse settings that are not those of a checkpoint, but for those that may change.

    Args:
        config: The settings in `run.toml`.
        checkpoint: A checkpoint of the run; one without a copy of its settings is let pass.
        file: Where the settings were read, for messages.

    Returns:
        A sentence for each setting that may change and did.

    Raises:
        RunFolderError: Another one differs; the sentence names it, and both values.
    """
    text = checkpoint.about.get("settings")
    if text is None:
        return []
    source = f"the copy of the settings in {checkpoint.path}"
    table = parse_toml(text, source)
    then = dict(_flat(RunConfig.from_mapping(table)))
    now = dict(_flat(dataclasses.replace(config, out=None)))
    notes = []
    for name in {**then, **now}:
        was, is_now = (values.get(name, "not there") for values in (then, now))
        # Of two that are NaN, neither equals the other.
        if was == is_now or repr(was) == repr(is_now):
            continue
        # In checkpoints from before there was a choice; the environments themselves know what they were.
        if name == "native" and name not in table:
            continue
        difference = f"{name} was {was} when the checkpoint {checkpoint.name} was written and is {is_now} now"
        if name not in _MAY_CHANGE:
            raise RunFolderError(f"{file} is not what the run was trained with: {difference}; put it back")
        notes.append(f"{difference} in {file}: the run continues with that")
    return notes


def _flat(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield every setting, those in tables by their dotted names."""
    for field in dataclasses.fields(config):
        yield from _parts(field.name, getattr(config, field.name))


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, part in value.items():
        yield from _parts(f"{name}.{key}", part)
