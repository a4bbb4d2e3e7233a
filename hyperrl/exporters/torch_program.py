"""A program of ``torch.export``, which needs torch alone and none of our code."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.errors import ArtefactError
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.float32_stages import in_float32
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.plain_policy import PlainPolicy

_ACTIVATIONS = {
    **ACTIVATIONS,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "mish": functional.mish,
}


class TorchPolicy(nn.Module):
    """A plain policy as a module of torch, in float32.

    Args:
        policy: The policy.

    Raises:
        ExportError: A number of the normaliser does not fit in float32.
    """

    def __init__(self, policy: PlainPolicy) -> None:
        super().__init__()
        self.activations = [layer.activation for layer in policy.layers]
        self.head = policy.head
        self.clip = math.inf
        self.normalises = policy.normaliser is not None
        if policy.normaliser is not None:
            numbers = in_float32(policy.normaliser)
            self.clip = numbers.clip
            for name in ("mean", "mean_rest", "inverse_deviation"):
                self.register_buffer(name, _tensor(getattr(numbers, name)))
        for index, layer in enumerate(policy.layers):
            self.register_buffer(f"weight_{index}", _tensor(layer.weight))
            self.register_buffer(f"bias_{index}", _tensor(layer.bias))
        self.register_buffer("low", _tensor(policy.head.low))
        self.register_buffer("high", _tensor(policy.head.high))

    def forward(self, obs: Tensor) -> Tensor:
        """Return actions.

        Args:
            obs: ``[batch, in]``, not normalised.

        Returns:
            ``[batch, out]``.
        """
        x = obs
        if self.normalises:
            mean, rest = self.get_buffer("mean"), self.get_buffer("mean_rest")
            x = ((x - mean) - rest) * self.get_buffer("inverse_deviation")
            x = x.clamp(-self.clip, self.clip)
        for index, activation in enumerate(self.activations):
            x = functional.linear(x, getattr(self, f"weight_{index}"), getattr(self, f"bias_{index}"))
            x = _ACTIVATIONS[activation](x)
        return self._bounded(x)

    def _bounded(self, x: Tensor) -> Tensor:
        head = self.head
        if math.isfinite(head.mean_clip):
            x = x.clamp(-head.mean_clip, head.mean_clip)
        if head.squash == "tanh":
            x = torch.tanh(x)
        elif head.squash == "scaled_tanh":
            x = head.scale * torch.tanh(x / head.scale)
        low, high = self.get_buffer("low"), self.get_buffer("high")
        if head.bound == "clip":
            x = torch.minimum(torch.maximum(x, low), high)
        elif head.bound == "unscale":
            x = low + (0.5 * (x + 1.0)) * (high - low)
        return x


class TorchExporter(Exporter):
    """`policy.pt2`, a program of ``torch.export``."""

    name: ClassVar[str] = "torch"
    usage: ClassVar[str] = (
        "`@p@.pt2` takes observations [batch, observations], not normalised, and gives actions "
        "[batch, actions], float32:\n\n"
        '```python\nimport torch\n\npolicy = torch.export.load("@p@.pt2").module()\n'
        "actions = policy(observations)\n```\n\nObservations are not checked for NaN.\n"
    )

    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files, see `Exporter.export`.

        Args:
            artefact: What to write.
            folder: Where.
        """
        example = torch.zeros(2, artefact.policy.sizes[0])
        shapes = {"obs": {0: torch.export.Dim("batch", min=1)}}
        program = torch.export.export(
            TorchPolicy(artefact.policy), (example,), dynamic_shapes=shapes, strict=False
        )
        for node in program.graph_module.graph.nodes:
            # Where it was written on the machine that exported says nothing to those who use it.
            node.meta.pop("stack_trace", None)
        name = f"{artefact.prefix}.pt2"
        # Not by torch, which ends the whole process where the disk is full.
        data = io.BytesIO()
        torch.export.save(program, data)
        (folder / name).write_bytes(data.getvalue())
        return {"torch": name}

    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Load the program, see `Exporter.load`.

        Args:
            folder: Where.
            details: What `export` returned.

        Raises:
            ArtefactError: torch refuses the file.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = torch.export.load(str(folder / details["torch"])).module()
        except Exception as error:  # A damaged file can fail in any of its parts, in any way.
            raise ArtefactError(f"torch cannot load {folder / details['torch']}: {error}") from error

        def act(observations: ArrayLike) -> NDArray[np.float32]:
            with torch.no_grad():
                actions: Tensor = module(torch.from_numpy(np.array(observations, np.float32)))
            return np.asarray(actions.numpy(), np.float32)

        return act


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
