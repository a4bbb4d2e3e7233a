"""What every kind of hypernetwork head has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from hyperrl.errors import ShapeError
from hyperrl.nets.generated import Generated
from hyperrl.nets.init import HeadBlock, InitConfig
from hyperrl.nets.spec import TargetSpec, TensorSpec


class Kind(nn.Module, ABC):
    """Turns features ``[*batch, K]`` into a `Generated`.

    Parameters are bare ``nn.Parameter`` objects, never ``nn.Linear``: initialisers that walk over a
    policy's linear layers (Stable-Baselines3's ``ortho_init``) must not touch them.

    Args:
        spec: The target network.
        feature_dim: Number of features K.

    Attributes:
        default_hidden: Hidden widths of the trunk that this kind gets unless told otherwise.
        default_features: Number of features likewise; None feeds the encoded condition to the head.
        takes_trunk: Whether the kind may have a trunk at all.
        generates_weights: Whether weight matrices are generated; baselines share theirs, rescaled at most.
    """

    default_hidden: ClassVar[tuple[int, ...]] = ()
    default_features: ClassVar[int | None] = None
    takes_trunk: ClassVar[bool] = True
    generates_weights: ClassVar[bool] = True

    def __init__(self, spec: TargetSpec, feature_dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.feature_dim = feature_dim
        self.base_weights = nn.ParameterList(
            torch.zeros(layer.in_features, layer.out_features) for layer in spec.layers
        )
        self.base_vectors = nn.Parameter(torch.zeros(sum(tensor.numel for tensor in spec.vectors)))

    @abstractmethod
    def forward(self, features: Tensor) -> Generated:
        """Generate weights.

        Args:
            features: ``[*batch, K]``.
        """

    @abstractmethod
    def initialise(self, config: InitConfig, second_moment: float) -> None:
        """Fill all parameters in place.

        Args:
            config: The method.
            second_moment: Measured ``E[f_k^2]`` of the features that the trunk gives.

        Raises:
            ConfigError: If the kind does not know the method.
        """

    def theta0(self) -> Tensor:
        """The independent weights ``[P]``, to which the generated difference is added."""
        named = {name: self._vector_view(self.base_vectors, name) for name in self.spec.vector_slices}
        for layer, base in zip(self.spec.layers, self.base_weights, strict=True):
            named[layer.weight] = base.t()
        return self.spec.flatten(named)

    @torch.no_grad()
    def set_theta0(self, flat: Tensor) -> None:
        """Replace the independent weights, for example by a pretrained network's.

        Args:
            flat: ``[P]`` in the spec's order.

        Raises:
            ShapeError: If the shape is another.
        """
        if flat.shape != (self.spec.numel,):
            raise ShapeError(f"expected {self.spec.numel} weights, got shape {tuple(flat.shape)}")
        named = self.spec.unflatten(flat)
        for layer, base in zip(self.spec.layers, self.base_weights, strict=True):
            base.copy_(named[layer.weight].t())
        for tensor in self.spec.vectors:
            self._vector_view(self.base_vectors, tensor.name).copy_(named[tensor.name])

    def freeze_theta0(self, frozen: bool = True) -> None:
        """Stop (or resume) training the independent weights."""
        for parameter in (*self.base_weights, self.base_vectors):
            parameter.requires_grad_(not frozen)

    def _vector_view(self, vectors: Tensor, name: str) -> Tensor:
        part = vectors[..., self.spec.vector_slices[name]]
        return part.reshape(*vectors.shape[:-1], *self.spec.by_name[name].shape)

    def _vector_blocks(self, head: Tensor) -> Iterator[HeadBlock]:
        """Head blocks of biases and gains, given their common head ``[K, V]``."""
        head, base = head.detach(), self.base_vectors.detach()
        for tensor in self.spec.vectors:
            name = tensor.name
            yield HeadBlock(tensor, self._vector_view(head, name), self._vector_view(base, name))

    def _matrix_blocks(self, banks: Iterable[Tensor]) -> Iterator[HeadBlock]:
        """Head blocks of the layers' matrices, given one bank ``[K, in, out]`` per layer."""
        for index, (bank, base) in enumerate(zip(banks, self.base_weights, strict=True)):
            yield HeadBlock(self._matrix(index), bank.detach(), base.detach(), transposed=True)

    def _matrix(self, index: int) -> TensorSpec:
        return self.spec.by_name[self.spec.layers[index].weight]
