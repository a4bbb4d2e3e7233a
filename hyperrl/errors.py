"""The failures that hyperrl reports, each with one sentence that says what was wrong and what would be right.

Every error is a [HyperRLError][hyperrl.errors.HyperRLError] and also the builtin that a caller would expect,
so both `except HyperRLError` and `except ValueError` work. This module uses the standard library only: every
other module of the project may import it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LIST_AT_MOST = 12


class HyperRLError(Exception):
    """The base of every error that hyperrl raises on purpose."""


class ConfigError(HyperRLError, ValueError):
    """A setting has a value of the wrong type, out of range, or that contradicts another setting."""


class UsageError(HyperRLError, ValueError):
    """A command line is incomplete or cannot be parsed."""


class UnknownNameError(HyperRLError, KeyError):
    """A name is not among the valid ones; see `unknown_name`, which builds it with the nearest valid name."""

    def __str__(self) -> str:
        """Return the sentence itself: `KeyError` would show its representation, in quotes."""
        return str(self.args[0]) if self.args else ""


class DuplicateNameError(HyperRLError, ValueError):
    """A name is registered twice for different things."""


class PluginError(HyperRLError, ImportError):
    """A registered name points to code that cannot be imported."""


class MissingExtraError(HyperRLError, ImportError):
    """An optional package is missing; the sentence names the extra that installs it."""


class ShapeError(HyperRLError, ValueError):
    """An array or tensor has the wrong shape."""


class NonFiniteError(HyperRLError, ValueError):
    """A value is NaN or infinite where it must be finite."""


class BoundsError(HyperRLError, ValueError):
    """A value lies outside its declared bounds."""


class ContextError(HyperRLError, ValueError):
    """A context, a parameter of it, or a split of contexts cannot be used, for example one without effect."""


class DatasetError(HyperRLError, ValueError):
    """A data set of solved tasks is missing, incomplete, damaged, or of other tasks."""


class UnsupportedSpaceError(HyperRLError, ValueError):
    """An observation or action space is of a kind that the agent cannot use."""


class UnsupportedEnvError(HyperRLError, ValueError):
    """An environment lacks what an operation needs, for example a MuJoCo simulation."""


class ExportError(HyperRLError, ValueError):
    """A policy cannot be exported, or what was exported does not act as the policy does."""


class ArtefactError(HyperRLError, ValueError):
    """An exported artefact is missing, incomplete, or not what was written."""


class RunFolderError(HyperRLError, OSError):
    """A run folder is missing, incomplete, already in use, or cannot be written."""


class CheckpointError(RunFolderError):
    """A checkpoint is missing, or belongs to another agent, environment or version."""


class CheckpointCorruptError(CheckpointError):
    """A checkpoint is not what was written: a file of it is missing, cut short or changed."""


class UnsafeFileError(HyperRLError, ValueError):
    """A file could run code when it is loaded, and nobody said that it is trusted."""


class StateError(HyperRLError, TypeError):
    """A value cannot be part of a checkpoint, because only code could bring it back."""


class WorkerError(HyperRLError, RuntimeError):
    """An environment in a process of its own failed, died or no longer answers."""

    worker_traceback: str = ""
    """The traceback in the environment's own process, empty where there is none."""


class MixedTransitionsError(HyperRLError, RuntimeError):
    """Transitions are not those of the networks that are to learn from them."""


class ClusterError(HyperRLError, ConnectionError):
    """A cluster of machines cannot be reached, or cannot be used from here."""


class RunStoppedError(HyperRLError):
    """A run was asked to stop by a signal, and has stopped in good order."""

    exit_status: int = 130
    """What the process should end with."""


def nearest_name(name: str, valid: Iterable[str], similarity: float = 0.5) -> str | None:
    """Return the valid name that looks most like `name`.

    Args:
        name: What was given.
        valid: The names that would have been right.
        similarity: The least that counts as similar, from 0 (anything) to 1 (equal but for case).

    Returns:
        The nearest name, ignoring case, or None where nothing is similar.
    """
    by_lower: dict[str, str] = {}
    for candidate in sorted(valid):
        by_lower.setdefault(candidate.lower(), candidate)
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=similarity)
    return by_lower[matches[0]] if matches else None


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not among the valid ones.

    Args:
        kind: What the name stands for, in the singular, for example "agent".
        name: What was given.
        valid: The names that would have been right.

    Returns:
        An error, to be raised by the caller, whose sentence has the nearest valid name, and the list of valid
        names where it is short.
    """
    names = sorted(valid)
    # Where the list is too long to be shown, even a distant name says more than none.
    nearest = nearest_name(name, names, 0.5 if len(names) <= _LIST_AT_MOST else 0.0)
    sentence = f"unknown {kind} {name!r}"
    if nearest is not None:
        sentence += f", did you mean {nearest!r}?"
    if not names:
        sentence += f" (there is no {kind} at all)"
    elif len(names) <= _LIST_AT_MOST:
        sentence += f" (valid: {', '.join(names)})"
    return UnknownNameError(sentence)
