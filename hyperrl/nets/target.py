"""Stateless application of generated weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from hyperrl.errors import ConfigError, ShapeError, unknown_name
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.contraction import CONTRACTIONS, Contraction, apply_weight
from hyperrl.nets.generated import Generated
from hyperrl.nets.spec import TargetSpec


class TargetMLP:
    """Multi-layer perceptron whose weights come from outside.

    Leading dimensions alone say how weights and inputs pair up. With weights ``[*batch, ...]`` the input
    is ``[*batch, *rows, in]``: no batch dimensions share one network among all rows, a batch as long as
    the input gives each row its own, and a batch of groups shares each network within its group.

    Args:
        spec: The network, built by `TargetSpec.mlp`.
        contraction: ``auto`` picks the cheapest exact order per layer; the others force one.

    Raises:
        ConfigError: If the spec has no dense layers.
        UnknownNameError: If the contraction is unknown.
    """

    def __init__(self, spec: TargetSpec, contraction: Contraction = "auto") -> None:
        if not spec.layers:
            raise ConfigError("TargetMLP needs a spec with dense layers; use VmapTarget for other modules")
        if contraction not in CONTRACTIONS:
            raise unknown_name("contraction", contraction, CONTRACTIONS)
        self.spec = spec
        self.contraction = contraction

    def __call__(self, generated: Generated, x: Tensor) -> Tensor:
        """Apply the network.

        Args:
            generated: Weights with batch dimensions ``[*batch]``.
            x: ``[*batch, *rows, in]``.

        Returns:
            ``[*batch, *rows, out]``.

        Raises:
            ShapeError: If the input does not start with the batch dimensions or end in ``in``, or the weights
                belong to another target.
        """
        if generated.spec is not self.spec and generated.spec != self.spec:
            raise ShapeError("the weights were generated for another target network than the one applied")
        batch = generated.batch_shape
        fan_in = self.spec.layers[0].in_features
        if x.dim() <= len(batch) or x.shape[-1] != fan_in or x.shape[: len(batch)] != batch:
            raise ShapeError(f"expected an input of shape {_pattern(batch, fan_in)}, got {tuple(x.shape)}")
        rows = x.shape[len(batch) : -1]
        # One row for each network, or a single network for all rows: two dimensions are enough.
        grouped = bool(batch) and bool(rows)
        h = x.reshape(batch.numel(), rows.numel(), fan_in) if grouped else x.reshape(-1, fan_in)
        vectors = self._vectors(generated)
        for layer, weight in zip(self.spec.layers, generated.weights, strict=True):
            if len(batch) > 1:
                weight = weight.map(lambda value: value.flatten(0, len(batch) - 1), batch_only=True)
            bias = None if layer.bias is None else vectors[layer.bias]
            if layer.gain is None:
                h = apply_weight(weight, h, self.contraction, bias)
            else:
                h = apply_weight(weight, h, self.contraction) * _by_row(vectors[layer.gain], h)
                h = h if bias is None else h + _by_row(bias, h)
            if layer.norm == "layer":
                h = functional.layer_norm(h, h.shape[-1:])
            h = ACTIVATIONS[layer.activation](h)
        return h.reshape(*batch, *rows, h.shape[-1])

    @staticmethod
    def _vectors(generated: Generated) -> dict[str, Tensor]:
        """Biases and gains by name, ``[G, n]`` or ``[n]``, split once: slices one by one cost more."""
        vectors = generated.vectors
        flat = vectors.flatten(0, -2) if vectors.dim() > 2 else vectors
        parts = flat.split([tensor.numel for tensor in generated.spec.vectors], dim=-1)
        return dict(zip(generated.spec.vector_slices, parts, strict=True))


class VmapTarget:
    """Application of generated weights to any module, by ``vmap`` over ``functional_call``.

    Slower than `TargetMLP` at small batches; meant for convolutions, attention and the like. The module
    itself is a template: its own parameters are used only where the spec leaves a parameter out.

    Args:
        module: Module whose parameters the spec describes (`TargetSpec.from_module`).
        spec: The generated parameters.

    Raises:
        ConfigError: If the module lacks a parameter of the spec, or it has another shape there.
    """

    def __init__(self, module: nn.Module, spec: TargetSpec) -> None:
        shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        for tensor in spec.tensors:
            if shapes.get(tensor.name) != tensor.shape:
                there = f"shape {shapes[tensor.name]}" if tensor.name in shapes else "no such parameter"
                raise ConfigError(
                    f"the spec generates {tensor.name} of shape {tensor.shape}, "
                    f"but {type(module).__name__} has {there}"
                )
        self.module = module
        self.spec = spec

    def __call__(self, generated: Generated, x: Tensor) -> Tensor:
        """Apply the module.

        Args:
            generated: Weights with batch dimensions ``[*batch]``.
            x: ``[*batch, *rows, *input]``; ``rows`` is whatever batch the module itself accepts.

        Returns:
            ``[*batch, *rows, *output]``.

        Raises:
            ShapeError: If the input does not start with the batch dimensions.
        """
        batch = generated.batch_shape
        if x.shape[: len(batch)] != batch:
            raise ShapeError(f"expected an input starting with {tuple(batch)}, got {tuple(x.shape)}")
        parameters = generated.as_dict()
        if not batch:
            return self._call(parameters, x)
        flat = {name: value.flatten(0, len(batch) - 1) for name, value in parameters.items()}
        out: Tensor = vmap(self._call, randomness="different")(flat, x.flatten(0, len(batch) - 1))
        return out.reshape(*batch, *out.shape[1:])

    def _call(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = functional_call(self.module, parameters, (x,))
        return out


def _by_row(vector: Tensor, h: Tensor) -> Tensor:
    """``[G, n]`` as it applies to ``h``: ``[G, 1, n]`` if there are several rows per network."""
    return vector.unsqueeze(1) if vector.dim() == 2 and h.dim() == 3 else vector


def _pattern(batch: tuple[int, ...], size: int) -> str:
    return f"({', '.join([*map(str, batch), '*rows', str(size)])})"
