"""Weights as NumPy arrays, with a loader of a few lines that needs nothing of ours."""

from __future__ import annotations

import io
import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ArtefactError
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.plain_policy import PlainPolicy

LOADER = "load_policy.py"
_TEMPLATE = Path(__file__).parent / "npz_loader.py"


class NpzExporter(Exporter):
    """`policy.npz`, `policy.json` and `load_policy.py`, which needs NumPy alone."""

    name: ClassVar[str] = "npz"
    usage: ClassVar[str] = (
        "`@p@.npz` has the arrays, `@p@.json` what is done with them. With NumPy alone:\n\n"
        "```python\nfrom load_policy import load_policy\n\n"
        'policy = load_policy("@p@.npz", "@p@.json")\naction = policy(observation)\n```\n\n'
        "Observations are not checked for NaN.\n"
    )

    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files, see `Exporter.export`.

        Args:
            artefact: What to write.
            folder: Where.
        """
        names = {suffix: f"{artefact.prefix}.{suffix}" for suffix in ("npz", "json")}
        data = io.BytesIO()
        np.savez(data, **arrays_of(artefact.policy))  # type: ignore[arg-type]
        (folder / names["npz"]).write_bytes(data.getvalue())
        text = json.dumps(structure_of(artefact.policy), indent=2, allow_nan=False) + "\n"
        (folder / names["json"]).write_text(text, encoding="utf-8")
        (folder / LOADER).write_text(_TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        return names

    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Let the exported loader load, see `Exporter.load`.

        Args:
            folder: Where.
            details: What `export` returned.
        """
        try:
            # Not by importing it: that would leave bytecode in the artefact.
            loader = runpy.run_path(str(folder / LOADER))["load_policy"]
            act: Act = loader(folder / details["npz"], folder / details["json"])
        except Exception as error:  # Damaged files can fail in any of their parts, in any way.
            raise ArtefactError(f"{folder} holds no policy that can be loaded: {error}") from error
        return act


def arrays_of(policy: PlainPolicy) -> dict[str, NDArray[Any]]:
    """Return a policy's arrays by name.

    Args:
        policy: The policy.
    """
    arrays: dict[str, NDArray[Any]] = {"low": policy.head.low, "high": policy.head.high}
    for index, layer in enumerate(policy.layers):
        arrays[f"weight_{index}"] = layer.weight
        arrays[f"bias_{index}"] = layer.bias
    if policy.normaliser is not None:
        arrays["mean"] = policy.normaliser.mean
        arrays["variance"] = policy.normaliser.variance
    return arrays


def structure_of(policy: PlainPolicy) -> dict[str, Any]:
    """Return what is done with a policy's arrays, as JSON values; null stands for infinity.

    Args:
        policy: The policy.
    """
    head, normaliser = policy.head, policy.normaliser
    return {
        "sizes": list(policy.sizes),
        "activations": [layer.activation for layer in policy.layers],
        "normaliser": None
        if normaliser is None
        else {"epsilon": normaliser.epsilon, "clip": finite_or_none(normaliser.clip)},
        "head": {
            "mean_clip": finite_or_none(head.mean_clip),
            "squash": head.squash,
            "scale": head.scale,
            "bound": head.bound,
        },
    }


def finite_or_none(number: float) -> float | None:
    """Return a number, or None for infinity, which JSON does not have.

    Args:
        number: The number.
    """
    return float(number) if np.isfinite(number) else None
