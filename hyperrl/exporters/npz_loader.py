"""Load a policy that hyperrl exported. Needs Python and NumPy; MIT licence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np


def _softplus(x: Any) -> Any:
    return np.where(x > 20, x, np.logaddexp(x, np.float32(0)))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
    "sigmoid": lambda x: np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + 1),
    "silu": lambda x: x * np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + 1),
    "gelu": lambda x: x * (0.5 + 0.5 * np.vectorize(math.erf)(x / math.sqrt(2))).astype(np.float32),
    "softplus": _softplus,
    "mish": lambda x: x * np.tanh(_softplus(x)),
}


def load_policy(
    arrays_file: str | PathLike[str], structure_file: str | PathLike[str]
) -> Callable[[Any], Any]:
    """Return a function from observations [..., in], not normalised, to actions [..., out].

    Args:
        arrays_file: The .npz file.
        structure_file: The .json file.
    """
    with np.load(arrays_file, allow_pickle=False) as file:
        arrays = dict(file)
    with open(structure_file, encoding="utf-8") as text:
        structure = json.load(text)

    def policy(observations: Any) -> Any:
        x = np.asarray(observations)
        if structure["normaliser"] is not None:
            x = (x - arrays["mean"]) / np.sqrt(arrays["variance"] + structure["normaliser"]["epsilon"])
            clip = structure["normaliser"]["clip"]
            x = x if clip is None else np.clip(x, -clip, clip)
        x = x.astype(np.float32)
        for index, activation in enumerate(structure["activations"]):
            x = ACTIVATIONS[activation](x @ arrays[f"weight_{index}"].T + arrays[f"bias_{index}"])
        head, low, high = structure["head"], arrays["low"], arrays["high"]
        if head["mean_clip"] is not None:
            x = np.clip(x, -head["mean_clip"], head["mean_clip"])
        if head["squash"] != "none":
            scale = np.float32(head["scale"] if head["squash"] == "scaled_tanh" else 1)
            x = scale * np.tanh(x / scale)
        if head["bound"] == "clip":
            x = np.clip(x, low, high)
        if head["bound"] == "unscale":
            x = low + np.float32(0.5) * (x + 1) * (high - low)
        return x

    return policy
