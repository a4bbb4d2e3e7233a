"""`manifest.json`: everything there is to know of an artefact, and the SHA-256 of everything in it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperrl.errors import ArtefactError
from hyperrl.exporters.base import Artefact
from hyperrl.exporters.npz import finite_or_none, structure_of
from hyperrl.plain_policy import PlainPolicy

NAME = "manifest.json"
KIND = "hyperrl-artefact"
FORMAT = 1
LICENCE = {
    "generated_code": "MIT",
    "weights": "whoever trained them decides",
}


def describe(artefact: Artefact, original: PlainPolicy, clip_share: float | None) -> dict[str, Any]:
    """Return what a manifest says of the policy itself.

    Args:
        artefact: What is exported.
        original: The policy as it was trained, with its normaliser.
        clip_share: The share of the rollout's observations in which the normaliser's clip changes a number.
    """
    policy, head, normaliser = artefact.policy, artefact.policy.head, original.normaliser
    table = artefact.interface.as_json()
    bounded = head.bound != "none"
    for row, low, high in zip(table["actions"], head.low, head.high, strict=True):
        row["low"] = finite_or_none(low) if bounded else None
        row["high"] = finite_or_none(high) if bounded else None
    return {
        "policy": {
            **structure_of(policy),
            "architecture": list(policy.architecture),
            "parameters": policy.parameters,
            "macs": artefact.budget.macs,
            "weights": artefact.weights,
            "weights_sha256": policy.fingerprint,
            "input": "observations as the environment gives them, not normalised, float32",
            "output": "what predict(deterministic=True) returns, in the environment's units, float32",
            "history": 1,
        },
        "normaliser": None
        if normaliser is None
        else {
            "mean": normaliser.mean.tolist(),
            "variance": normaliser.variance.tolist(),
            "epsilon": normaliser.epsilon,
            "clip": finite_or_none(normaliser.clip),
            "clipped_share_of_rollout": clip_share,
            "folded_into_first_layer": policy.normaliser is None,
        },
        **table,
    }


def write_manifest(folder: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest, with the SHA-256 of every file in the folder and of itself.

    Args:
        folder: Where all other files are already.
        table: What it says besides.

    Returns:
        All that it says.
    """
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    content = _plain({"kind": KIND, "format": FORMAT, **table, "licence": LICENCE, "files": files})
    sealed = {**content, "sha256": _digest(content)}
    (folder / NAME).write_text(json.dumps(sealed, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return sealed


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a manifest and compare it and every file that it lists with their SHA-256.

    Args:
        folder: The artefact.

    Raises:
        ArtefactError: It is none, or something in it is missing or was changed.
    """
    path = folder / NAME
    if not path.is_file():
        raise ArtefactError(f"{folder} holds no exported policy: it has no {NAME}")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} is damaged: {error}") from error
    if not isinstance(table, dict) or table.get("kind") != KIND:
        raise ArtefactError(f"{path} is not the manifest of an exported policy")
    content = {key: value for key, value in table.items() if key != "sha256"}
    if table.get("sha256") != _digest(content):
        raise ArtefactError(f"{path} was changed: its content is not what its own SHA-256 says")
    if table.get("format") != FORMAT:
        raise ArtefactError(
            f"{path} has format {table.get('format')!r}, this hyperrl reads {FORMAT}: use the version that "
            "exported it"
        )
    files = table.get("files")
    if not isinstance(files, dict):
        raise ArtefactError(f"{path} is damaged: it lists no files")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ArtefactError(f"{folder} is incomplete: there is no {name}")
        if file_sha256(file) != expected:
            raise ArtefactError(f"{file} was changed since it was exported: its SHA-256 is another one")
    return table


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits.

    Args:
        path: The file.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Return what JSON has a word for: keyword arguments of environments may be anything."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return float(value) if isinstance(value, float) and math.isfinite(value) else str(value)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
