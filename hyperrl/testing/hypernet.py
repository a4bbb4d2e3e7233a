"""The conformance kit for kinds of hypernetwork."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperrl.errors import HyperRLError, ShapeError
from hyperrl.nets import Contraction, HyperNet, Kind, TargetMLP, TargetSpec
from hyperrl.nets.activations import ACTIVATIONS
from hyperrl.nets.target_init import weight_std
from hyperrl.testing.promises import BrokenPromiseError, require, run_checks

_TOLERANCE = 1e-9  # everything that is compared is computed in double precision
_ORDERS: tuple[Contraction, ...] = get_args(Contraction)


class HyperNetCheckError(HyperRLError, AssertionError):
    """A third-party class does not keep a promise of the interface that it implements."""


def reference_forward(spec: TargetSpec, theta: Tensor, x: Tensor) -> Tensor:
    """Apply flat weights the slow, obvious way: one network after another, one ``F.linear`` per layer.

    Args:
        spec: The network, built by `TargetSpec.mlp`.
        theta: ``[*batch, P]``.
        x: ``[*batch, *rows, in]``.

    Returns:
        ``[*batch, *rows, out]``.
    """
    if theta.dim() > 1:
        return torch.stack([reference_forward(spec, one, rows) for one, rows in zip(theta, x, strict=True)])
    tensors = spec.unflatten(theta)
    for layer in spec.layers:
        x = functional.linear(x, tensors[layer.weight])
        if layer.gain is not None:
            x = x * tensors[layer.gain]
        if layer.bias is not None:
            x = x + tensors[layer.bias]
        if layer.norm == "layer":
            x = functional.layer_norm(x, x.shape[-1:])
        x = ACTIVATIONS[layer.activation](x)
    return x


def check_hypernet(
    kind: str | type[Kind],
    *,
    spec: TargetSpec | None = None,
    condition_dim: int = 3,
    seed: int = 0,
    **options: Any,
) -> tuple[str, ...]:
    """Check that a kind of hypernetwork keeps the promises of `Kind` and `HyperNet`.

    Shapes for any leading dimensions, batches equal to single conditions, every contraction equal to
    `reference_forward`, gradients finite and reaching every parameter after one optimiser step, `state_dict`
    and copies, initial weights of the plain network's size, independent weights that can be read, replaced
    and frozen, detached weights. Torch's random state is left as it was.

    Args:
        kind: Name of a registered kind, or a `Kind` class.
        spec: The target network, with dense layers; 16-24-16-3 with gains if None.
        condition_dim: Size of a condition.
        seed: Seed of parameters and data.
        **options: Further arguments of `HyperNet`, the kind's own included.

    Returns:
        The names of the checks, all of which passed.

    Raises:
        HyperNetCheckError: If a promise is broken; the sentence names the kind, the check and what was wrong.
    """
    case = _Case(kind, spec or TargetSpec.mlp(16, (24, 16), 3, gain=True), condition_dim, seed, options)
    label = kind if isinstance(kind, str) else kind.__name__
    return run_checks(f"hypernetwork kind {label}", _CHECKS, case, HyperNetCheckError)


def _close(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, rtol=1e-7, atol=_TOLERANCE)


@dataclass(frozen=True)
class _Case:
    """What is checked, and how to get a fresh one of it."""

    kind: str | type[Kind]
    spec: TargetSpec
    condition_dim: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, offset: int = 0) -> HyperNet:
        """A new hypernetwork in double precision."""
        torch.manual_seed(self.seed + offset)
        options = deepcopy(dict(self.options))  # an encoder among them becomes part of the network
        return HyperNet(self.spec, self.condition_dim, self.kind, **options).double()

    def conditions(self, *batch: int) -> Tensor:
        """Conditions that the encoder accepts, ``[*batch, condition_dim]``."""
        hyper = self.build()
        number = max(1, torch.Size(batch).numel())
        probes = hyper.encoder.probes(number)
        rows = torch.arange(number) % probes.shape[0]
        chosen = probes[rows].reshape(*batch, self.condition_dim)
        return chosen.double() if chosen.is_floating_point() else chosen

    def inputs(self, *lead: int) -> Tensor:
        """Inputs of the target ``[*lead, in]``."""
        return torch.randn(*lead, self.spec.layers[0].in_features, dtype=torch.float64)

    def loss(self, hyper: HyperNet, condition: Tensor, x: Tensor) -> Tensor:
        """A loss whose gradient depends on every output."""
        out = TargetMLP(self.spec)(hyper.generate(condition), x)
        return (out - 1).square().mean()

    def trained(self, hyper: HyperNet) -> tuple[Tensor, Tensor]:
        """Make one optimiser step and return the condition and input that it was made with."""
        condition, x = self.conditions(16), self.inputs(16)
        optimizer = torch.optim.Adam([p for p in hyper.parameters() if p.requires_grad], lr=1e-2)
        self.loss(hyper, condition, x).backward()
        optimizer.step()
        optimizer.zero_grad()
        return condition, x


def _check_parameters(case: _Case) -> None:
    head = case.build().head
    require(any(p.requires_grad for p in head.parameters()), "the head has no trainable parameter")
    for name, module in head.named_modules():
        require(
            not isinstance(module, nn.Linear | nn.Conv2d),
            f"{name} is a {type(module).__name__}: parameters of a head must be bare nn.Parameter objects, "
            "which orthogonal initialisers of policies leave alone",
        )


def _check_shapes(case: _Case) -> None:
    hyper, target = case.build(), TargetMLP(case.spec)
    out_features = case.spec.layers[-1].out_features
    for batch in ((), (1,), (4,), (2, 3)):
        generated = hyper.generate(case.conditions(*batch))
        flat = generated.materialise()
        expected = (*batch, case.spec.numel)
        require(
            tuple(flat.shape) == expected, f"expected weights of shape {expected}, got {tuple(flat.shape)}"
        )
        require(bool(flat.isfinite().all()), "new weights are not finite")
        require(flat.dtype == torch.float64, f"a double-precision hypernetwork generated {flat.dtype}")
        for rows in ((), (5,)):
            shape = (*batch, *rows, out_features)
            out = target(generated, case.inputs(*batch, *rows))
            require(tuple(out.shape) == shape, f"expected outputs {shape}, got {tuple(out.shape)}")


def _check_batch(case: _Case) -> None:
    hyper = case.build()
    case.trained(hyper)
    condition = case.conditions(2, 3)
    batched = hyper.generate(condition).materialise()
    for i in range(2):
        for j in range(3):
            single = hyper.generate(condition[i, j]).materialise()
            require(
                _close(batched[i, j], single), "a batch of conditions gives other weights than one by one"
            )
    require(not _close(batched[0, 0], batched[1, 2]), "the weights do not depend on the condition")


def _check_contractions(case: _Case) -> None:
    hyper = case.build()
    case.trained(hyper)
    for batch, rows in (((), (4,)), ((6,), ()), ((3,), (4,))):
        generated = hyper.generate(case.conditions(*batch))
        x = case.inputs(*batch, *rows)
        expected = reference_forward(case.spec, generated.materialise(), x)
        for contraction in _ORDERS:
            require(
                _close(TargetMLP(case.spec, contraction)(generated, x), expected),
                f"contraction {contraction!r} gives another result than a loop over the materialised weights",
            )


def _check_gradients(case: _Case) -> None:
    hyper = case.build()
    condition, x = case.trained(hyper)
    case.loss(hyper, condition, x).backward()
    for name, parameter in hyper.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        gradient = parameter.grad
        require(
            gradient is not None and bool(gradient.any()),
            f"no gradient reaches {name} after one optimiser step",
        )
        require(gradient is None or bool(gradient.isfinite().all()), f"the gradient of {name} is not finite")


def _check_state(case: _Case) -> None:
    hyper, other, condition = case.build(), case.build(1), case.conditions(4)
    case.trained(hyper)
    expected = hyper.generate(condition).materialise()
    require(not _close(other.generate(condition).materialise(), expected), "two seeds give the same weights")
    other.load_state_dict(hyper.state_dict())
    restored = other.generate(condition).materialise()
    require(torch.equal(restored, expected), "a restored state_dict gives other weights")
    copied = deepcopy(hyper)
    require(torch.equal(copied.generate(condition).materialise(), expected), "a copy gives other weights")
    case.trained(copied)
    require(
        torch.equal(hyper.generate(condition).materialise(), expected), "training a copy changes the original"
    )


def _check_initial_scale(case: _Case) -> None:
    condition = case.conditions(64)
    seeds = range(3)
    flat = torch.stack([case.build(seed).generate(condition).materialise() for seed in seeds]).detach()
    for name, value in case.spec.unflatten(flat).items():
        tensor = case.spec.by_name[name]
        if tensor.role != "weight":
            continue
        plain = weight_std(case.spec.init, tensor.fan_in, tensor.fan_out) * abs(tensor.init_gain)
        rms = float(value.square().mean().sqrt())
        require(
            plain / 2 <= rms <= plain * 2,
            f"new weights {name} have a root mean square of {rms:.3g}, a plain network's {plain:.3g}",
        )


def _check_theta0(case: _Case) -> None:
    hyper, condition = case.build(), case.conditions(4)
    before = hyper.generate(condition).materialise()
    replacement = hyper.theta0().detach() + torch.linspace(0.5, 1.5, case.spec.numel, dtype=torch.float64)
    hyper.set_theta0(replacement)
    require(_close(hyper.theta0(), replacement), "set_theta0 is not what theta0 returns afterwards")
    require(
        not _close(hyper.generate(condition).materialise(), before),
        "set_theta0 leaves the weights as they were",
    )
    try:
        hyper.set_theta0(replacement[:-1])
    except ShapeError:
        pass
    else:
        raise BrokenPromiseError("set_theta0 takes a vector of the wrong length without a ShapeError")
    hyper.freeze_theta0()
    before = hyper.generate(condition).materialise()
    case.trained(hyper)
    require(_close(hyper.theta0(), replacement), "frozen independent weights changed in an optimiser step")
    require(
        not _close(hyper.generate(condition).materialise(), before),
        "nothing but the independent weights trains",
    )


def _check_detach(case: _Case) -> None:
    hyper, condition = case.build(), case.conditions(4)
    generated = hyper.generate(condition)
    out = TargetMLP(case.spec)(generated, case.inputs(4))
    require(out.requires_grad, "generated weights are cut off from the hypernetwork's parameters")
    out = TargetMLP(case.spec)(generated.detach(), case.inputs(4))
    require(not out.requires_grad, "detached weights still lead to the hypernetwork's parameters")


_CHECKS: dict[str, Callable[[_Case], None]] = {
    "bare parameters": _check_parameters,
    "shapes": _check_shapes,
    "batch equals loop": _check_batch,
    "contractions": _check_contractions,
    "gradients": _check_gradients,
    "state and copies": _check_state,
    "initial scale": _check_initial_scale,
    "independent weights": _check_theta0,
    "detached weights": _check_detach,
}
