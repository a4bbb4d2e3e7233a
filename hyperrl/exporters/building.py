"""Building an artefact: write, load, compare, and only then let it appear."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperrl.errors import (
    ArtefactError,
    ConfigError,
    ExportError,
    HyperRLError,
    RunFolderError,
    unknown_name,
)
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.c99.numbers import check_prefix
from hyperrl.exporters.closed_loop import evaluate_closed_loop
from hyperrl.exporters.manifest import KIND, LICENCE, NAME, describe, read_manifest, write_manifest
from hyperrl.exporters.parity import Closeness, check_parity, closeness
from hyperrl.exporters.subject import Exported, Request, Subject
from hyperrl.exporters.texts import budget_text, readme
from hyperrl.exporters.vectors import LEAST_ROLLOUT, Vectors, build_vectors, select
from hyperrl.registry import exporters
from hyperrl.run.files import replaced_folder
from hyperrl.run.manifest import package_versions, utc_now

_WEIGHTS = ("float32", "int8")
OWN_FILES = frozenset(
    {NAME, "README.md", "budget.json", "budget.md", "test_vectors.npz", "test_vectors.json"}
)
"""Files that every artefact has; no format may write one of these names."""
# Python writes it beside a loader that is imported.
_BYTECODE = "__pycache__"


def export_subject(subject: Subject, requests: Sequence[Request]) -> list[Exported]:
    """Export a policy in one or more formats: all appear, each at once, or none does.

    Everything is built and compared in temporary folders first, then copied beside the places, and only
    renamed at the end.

    Args:
        subject: The policy.
        requests: The formats and places.

    Returns:
        What was exported, in the order of the requests.

    Raises:
        HyperRLError: A place is taken, something is missing on this machine, a format cannot hold the policy,
            or what was exported does not act as the policy does.
    """
    tools = [prepare(request) for request in requests]
    places = {request.out.absolute() for request in requests}
    if len(places) < len(requests):
        raise ConfigError("each format needs a folder of its own, but two are to be written to the same one")
    with contextlib.ExitStack() as stack:
        built = []
        for request, exporter in zip(requests, tools, strict=True):
            folder = stack.enter_context(_workshop())
            built.append((folder, build(subject, request, exporter, folder)))
        place([(folder, request) for request, (folder, _) in zip(requests, built, strict=True)])
    return [Exported(request.out, table) for request, (_, table) in zip(requests, built, strict=True)]


def prepare(request: Request) -> Exporter:
    """Refuse a request that cannot be met, before anything takes time.

    Args:
        request: What is asked for.

    Returns:
        The exporter.

    Raises:
        HyperRLError: The place is taken, the format or kind of weights is unknown, or something is missing on
            this machine.
    """
    check_prefix(request.prefix)
    exporter: Exporter = exporters.get(request.format)()
    if request.weights not in _WEIGHTS:
        raise unknown_name("kind of weights", request.weights, _WEIGHTS)
    if request.weights not in exporter.weights:
        raise ExportError(
            f"the format {request.format} has no {request.weights} weights: "
            f"it has {', '.join(exporter.weights)}"
        )
    check_place(request.out, overwrite=request.overwrite)
    exporter.check()
    return exporter


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something else than what may be replaced.

    Args:
        out: The folder.
        overwrite: Whether an artefact may be replaced.

    Raises:
        RunFolderError: It is taken.
    """
    try:
        if not out.exists() and not out.is_symlink():
            return
        if not out.is_dir() or out.is_symlink():
            raise RunFolderError(f"{out} is not a folder: choose another place")
        names = {path.name for path in out.iterdir()}
    except OSError as error:
        raise RunFolderError(f"{out} cannot be read: {error.strerror or error}") from error
    if not names:
        return
    if not overwrite:
        raise RunFolderError(f"{out} is not empty: choose another folder, or add --overwrite for an artefact")
    try:
        table = json.loads((out / NAME).read_text(encoding="utf-8"))
        known = set(table["files"]) if table["kind"] == KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known is None:
        raise RunFolderError(f"{out} holds no artefact, and nothing else is overwritten")
    others = sorted(names - known - {NAME, _BYTECODE})
    if others:
        raise RunFolderError(f"{out} also holds {others[0]}, which is no part of the artefact: move it first")


def build(subject: Subject, request: Request, exporter: Exporter, folder: Path) -> dict[str, Any]:
    """Write an artefact and compare it with the policy.

    Args:
        subject: The policy.
        request: How it is exported.
        exporter: What writes it.
        folder: Where, an empty folder.

    Returns:
        Its manifest.

    Raises:
        HyperRLError: It cannot be written, or does not act as the policy does.
    """
    prepared = _prepare_vectors(subject, request)
    artefact = Artefact(
        prepared.policy,
        prepared.vectors,
        prepared.close,
        subject.interface,
        request.prefix,
        request.weights,
        subject.rollout,
        subject.provenance,
    )
    details = exporter.export(artefact, folder)
    taken = sorted(OWN_FILES & {path.name for path in folder.iterdir()})
    if taken:
        raise ExportError(
            f"with the prefix {request.prefix} the format {request.format} would write {taken[0]}, which "
            "every artefact has: choose another prefix"
        )
    act = exporter.load(folder, details)
    errors = _compare(subject, request, artefact, act)
    table = {
        "exporter": exporter.name,
        "details": details,
        "created": utc_now(),
        "packages": package_versions(),
        **describe(artefact, subject.policy, prepared.clip_share),
        "parity": {
            **artefact.close.as_json(),
            "vectors": len(artefact.vectors.kinds),
            "largest_errors": errors,
        },
        "evaluation": evaluate_closed_loop(subject, act, request),
        "budget": artefact.budget.as_json(),
        "provenance": dict(subject.provenance),
        "licence": LICENCE,
    }
    artefact.vectors.write(folder)
    (folder / "budget.json").write_text(
        json.dumps(artefact.budget.as_json(), indent=2) + "\n", encoding="utf-8"
    )
    (folder / "budget.md").write_text(budget_text(artefact.budget), encoding="utf-8")
    (folder / "README.md").write_text(readme(exporter, artefact, table), encoding="utf-8")
    return write_manifest(folder, table)


def place(built: Sequence[tuple[Path, Request]]) -> None:
    """Put finished folders in their places, each at once.

    Args:
        built: What was built, and what for; an artefact in the place is replaced where the request says so.

    Raises:
        RunFolderError: One cannot be written, or its place was taken in the meantime; what was there is
            untouched.
    """
    try:
        with contextlib.ExitStack() as stack:
            for folder, request in built:
                # Building takes time, in which others may have written there.
                check_place(request.out, overwrite=request.overwrite)
                filling = stack.enter_context(replaced_folder(request.out.absolute()))
                for path in folder.iterdir():
                    shutil.copyfile(path, filling / path.name)
    except HyperRLError:  # Some are errors of the system, too.
        raise
    except OSError as error:
        outs = " or ".join(str(request.out) for _, request in built)
        raise RunFolderError(f"{outs} cannot be written: {error.strerror or error}") from error


def verify(folder: str | Path) -> dict[str, Any]:
    """Compare an artefact's files with their hashes, and its actions with its test vectors.

    This loads, and for C compiles and runs, what is in the folder: hashes show that nothing was changed by
    accident, not that somebody can be trusted.

    Args:
        folder: The artefact.

    Returns:
        Its manifest.

    Raises:
        ArtefactError: A file is missing or was changed, or the policy does not act as it must.
        HyperRLError: What loads it is missing on this machine.
    """
    path = Path(folder)
    table = read_manifest(path)
    try:
        name, details, weights = str(table["exporter"]), table["details"], table["policy"]["weights"]
        close = Closeness.from_json(table["parity"])
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"{path / NAME} lacks {error}") from error
    exporter: Exporter = exporters.get(name)()
    exporter.check()
    vectors = Vectors.read(path)
    try:
        actions = exporter.load(path, details)(vectors.observations)
        if weights == "float32":
            check_parity(close, actions, vectors.actions64, vectors.kinds, "the exported policy")
    except ExportError as error:
        raise ArtefactError(f"{path} does not act as its test vectors say: {error}") from error
    return table


@contextlib.contextmanager
def _workshop() -> Iterator[Path]:
    """Give a temporary folder to build in, and say so where the disk refuses."""
    try:
        with tempfile.TemporaryDirectory(prefix="hyperrl-export-") as folder:
            yield Path(folder)
    except HyperRLError:  # Some are errors of the system, too.
        raise
    except OSError as error:
        raise RunFolderError(
            f"what is exported cannot be built in the temporary folder: {error.strerror or error}"
        ) from error


@dataclass(frozen=True, eq=False)
class _Prepared:
    policy: Any
    vectors: Vectors
    close: Closeness
    clip_share: float | None


def _prepare_vectors(subject: Subject, request: Request) -> _Prepared:
    policy, rollout, share = subject.policy, subject.rollout, None
    bounds = {"low": subject.low, "high": subject.high}
    if policy.normaliser is not None:
        clipped = policy.normaliser.clips(rollout).any(axis=1)
        share = float(clipped.mean())
        if request.fold_normaliser:
            rollout = rollout[~clipped]
            if len(rollout) < LEAST_ROLLOUT:
                raise ExportError(
                    f"the normaliser clips {100 * share:.0f} % of the observations of a rollout: it cannot "
                    "be folded into the first layer"
                )
    vectors = build_vectors(policy, rollout, **bounds)
    close = closeness(policy, vectors.actions32, vectors.actions64)
    if request.fold_normaliser and policy.normaliser is not None:
        clipped = policy.normaliser.clips(vectors.observations).any(axis=1)
        vectors = select(vectors, np.logical_not(clipped))
        policy = policy.fold_normaliser()
    return _Prepared(policy, vectors, close, share)


def _compare(subject: Subject, request: Request, artefact: Artefact, act: Act) -> dict[str, float]:
    vectors, close = artefact.vectors, artefact.close
    actions = act(vectors.observations)
    # Against the policy, so that a mistake there shows here, and against the model that was trained.
    truths = {"the same policy in float64": np.asarray(vectors.actions64, np.float64)}
    if subject.reference is not None:
        truths["the trained model's own predict"] = np.asarray(
            subject.reference(vectors.observations.copy()), np.float64
        )
    if request.weights == "int8":
        return {name: float(close.errors(actions, truth).max()) for name, truth in truths.items()}
    what = f"the exported {request.format}"
    return {
        name: check_parity(close, actions, truth, vectors.kinds, f"{what}, compared with {name},")
        for name, truth in truths.items()
    }
