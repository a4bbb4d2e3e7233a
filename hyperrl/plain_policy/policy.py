"""A policy that is nothing but numbers: normaliser, dense layers, action head."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.plain_policy.head import ActionHead
from hyperrl.plain_policy.layer import DenseLayer
from hyperrl.plain_policy.normaliser import ObservationNormaliser


@dataclass(frozen=True, eq=False, repr=False)
class PlainPolicy:
    """What every agent's policy becomes when its condition is fixed, and all that exporters see.

    Attributes:
        layers: The dense layers, the one next to the observation first.
        head: What makes an action of the last layer's output.
        normaliser: What an observation goes through first; None for nothing.

    Raises:
        ShapeError: If sizes do not fit each other, or there is no layer.
    """

    layers: tuple[DenseLayer, ...]
    head: ActionHead
    normaliser: ObservationNormaliser | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ShapeError("a policy needs at least one layer")
        for before, after in pairwise(self.layers):
            if before.outputs != after.inputs:
                raise ShapeError(
                    f"a layer of {before.outputs} outputs cannot feed one of {after.inputs} inputs"
                )
        if self.head.size != self.layers[-1].outputs:
            raise ShapeError(
                f"the last layer has {self.layers[-1].outputs} outputs, "
                f"the head is for {self.head.size} actions"
            )
        if self.normaliser is not None and self.normaliser.size != self.layers[0].inputs:
            raise ShapeError(
                f"the first layer has {self.layers[0].inputs} inputs, "
                f"the normaliser is for {self.normaliser.size} observations"
            )

    def __repr__(self) -> str:
        """Say what it is in one line: thousands of weights would hide it."""
        return f"PlainPolicy({'-'.join(map(str, self.sizes))}, {self.parameters} parameters)"

    @classmethod
    def from_arrays(
        cls,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        *,
        activation: str = "relu",
        head: ActionHead | None = None,
        normaliser: ObservationNormaliser | None = None,
    ) -> PlainPolicy:
        """Return a policy with the same activation behind every layer but the last.

        Args:
            weights: ``[out, in]`` for each layer.
            biases: ``[out]`` for each layer.
            activation: A name in `hyperrl.plain_policy.ACTIVATIONS`.
            head: The action head; None gives the last layer's output as it is.
            normaliser: The observation normaliser, None for none.

        Raises:
            ShapeError: Sizes do not fit.
            NonFiniteError: A number is NaN or infinite.
        """
        if len(weights) != len(biases) or not weights:
            raise ShapeError(
                f"every layer needs a weight and a bias, got {len(weights)} weights and {len(biases)} biases"
            )
        names = [activation] * (len(weights) - 1) + ["identity"]
        layers = tuple(
            DenseLayer(np.asarray(weight), np.asarray(bias), name)
            for weight, bias, name in zip(weights, biases, names, strict=True)
        )
        return cls(layers, head or ActionHead.unbounded(layers[-1].outputs), normaliser)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes from the observation to the action, for example (18, 16, 16, 4)."""
        return (self.layers[0].inputs, *(layer.outputs for layer in self.layers))

    @property
    def architecture(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return self.sizes[1:-1]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides an action, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        head = self.head
        texts = [
            repr(self.sizes),
            *(layer.activation for layer in self.layers),
            repr((head.squash, head.bound, head.scale, head.mean_clip)),
        ]
        arrays: list[NDArray[Any]] = [head.low, head.high]
        arrays += [array for layer in self.layers for array in (layer.weight, layer.bias)]
        if self.normaliser is not None:
            texts.append(repr((self.normaliser.epsilon, self.normaliser.clip)))
            arrays += [self.normaliser.mean, self.normaliser.variance]
        digest.update("\n".join(texts).encode())
        for array in arrays:
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def __call__(self, observations: ArrayLike, dtype: Any = np.float32) -> NDArray[np.floating[Any]]:
        """Return actions for observations.

        As in ``predict`` of Stable-Baselines3 the normaliser works in float64, and the layers in `dtype`.

        Args:
            observations: ``[..., in]``, not normalised.
            dtype: ``np.float32``, the precision of the trained policy, or ``np.float64``, the reference.

        Returns:
            Actions ``[..., out]``.

        Raises:
            ShapeError: The last dimension is not the size of an observation.
            NonFiniteError: An observation is NaN, infinite or larger than the precision can hold, or an
                action would be.
            ConfigError: They are no numbers, or the precision is another one.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ConfigError(f"a policy computes in float32 or float64, not in {np.dtype(dtype)}")
        x = np.asarray(observations)
        if x.dtype.kind not in "biuf":
            raise ConfigError(f"observations must be an array of numbers, got {x.dtype}")
        if x.ndim == 0 or x.shape[-1] != self.sizes[0]:
            raise ShapeError(f"observations must have shape [..., {self.sizes[0]}], got {list(x.shape)}")
        if not np.isfinite(x).all():
            raise NonFiniteError("an observation is NaN or infinite")
        if self.normaliser is not None:
            x = self.normaliser(x)
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(dtype)
            for layer in self.layers:
                x = layer(x)
            actions = self.head(x)
        if not np.isfinite(actions).all():
            raise NonFiniteError(
                f"the policy has no finite action for an observation: {np.dtype(dtype)} cannot hold its "
                "values"
            )
        return actions

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], Any]:
        """Act as the algorithms of Stable-Baselines3 do with ``deterministic=True``.

        Args:
            observation: One observation ``[in]`` or a batch ``[B, in]``, not normalised.
            state: Given back as it is.
            episode_start: Not used.
            deterministic: Not used: a plain policy has nothing to draw.

        Returns:
            The action ``[out]`` or actions ``[B, out]``, and the state.
        """
        return np.asarray(self(observation), np.float32), state

    def fold_normaliser(self) -> PlainPolicy:
        """Return a policy whose first layer does what the normaliser did, but for the clip.

        The same actions only where no observation is clipped, and with less precision where an observation
        hardly varies.
        """
        if self.normaliser is None:
            return self
        first = self.layers[0]
        weight = first.weight.astype(np.float64) / self.normaliser.deviation
        bias = first.bias.astype(np.float64) - weight @ self.normaliser.mean
        folded = replace(first, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
        return replace(self, layers=(folded, *self.layers[1:]), normaliser=None)
