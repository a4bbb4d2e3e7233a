"""The conformance kit for generators of weights."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperrl.errors import HyperRLError, UnknownNameError
from hyperrl.nets.architectures import ArchitectureSpace
from hyperrl.nets.architectures.generators import WeightGenerator
from hyperrl.nets.architectures.layout import Layout
from hyperrl.registry import generators
from hyperrl.testing.promises import BrokenPromiseError, require, run_checks

_TOLERANCE = 1e-6
# Weights times the root of their input may be as much larger at one width than at another.
_SPREAD = 3.0
_STEP = 1e-5


class GeneratorCheckError(HyperRLError, AssertionError):
    """A third-party generator does not keep a promise of the interface that it implements."""


def check_generator(
    generator: str | type[WeightGenerator],
    *,
    space: ArchitectureSpace | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[str, ...]:
    """Check that a generator of weights keeps the promises of `WeightGenerator`.

    Shapes for one architecture and many, the same weights for an architecture alone and among others, in any
    order, and in every call; initial weights of one size relative to their inputs; gradients that are those
    of finite differences and reach every parameter; parameters that initialisers of policies leave alone; a
    ``state_dict`` and copies; architectures of other spaces refused. Torch's random state is left as it was.

    Args:
        generator: Name of a registered generator, or its class.
        space: The architectures; widths 4, 16 and 40 in up to three layers if None.
        seed: Seed of parameters and draws.
        **options: Further arguments of the generator.

    Returns:
        The names of the checks, all of which passed.

    Raises:
        GeneratorCheckError: A promise is broken; the sentence names the generator, the check and what was
            wrong.
    """
    known = generators.get(generator) if isinstance(generator, str) else generator
    case = _Case(known, space or ArchitectureSpace.grid(11, 3, (4, 16, 40), (1, 2, 3)), seed, options)
    label = generator if isinstance(generator, str) else generator.__name__
    return run_checks(f"generator {label}", _CHECKS, case, GeneratorCheckError)


def _close(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, rtol=_TOLERANCE, atol=_TOLERANCE)


@dataclass(frozen=True)
class _Case:
    """What is checked, and how to get a fresh one of it."""

    generator: type[WeightGenerator]
    space: ArchitectureSpace
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, offset: int = 0) -> WeightGenerator:
        """A new generator in double precision."""
        torch.manual_seed(self.seed + offset)
        return self.generator(self.space, **deepcopy(dict(self.options))).double()

    def draw(self, count: int = 7) -> NDArray[np.int64]:
        """Numbers of some architectures, the smallest and the largest among them."""
        numbers = np.random.default_rng(self.seed).permutation(len(self.space))[: count - 2]
        return np.unique([0, len(self.space) - 1, *numbers])

    def layout(self) -> Layout:
        """All architectures, or some hundred of them."""
        return Layout(self.space, self.draw(min(len(self.space), 100) + 2))

    def trained(self, offset: int = 0) -> WeightGenerator:
        """A generator whose parameters have left what they started from, such as zero."""
        generator = self.build(offset)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
        return generator


def _check_parameters(case: _Case) -> None:
    generator = case.build()
    require(generator.n_params() > 0, "there is no trainable parameter")
    for name, module in generator.named_modules():
        require(
            not isinstance(module, nn.Linear | nn.Conv2d),
            f"{name} is a {type(module).__name__}: parameters of a generator must be bare nn.Parameter "
            "objects, which orthogonal initialisers of policies leave alone",
        )


def _check_shapes(case: _Case) -> None:
    generator = case.build()
    for numbers in ([0], [len(case.space) - 1], case.draw(), np.repeat(case.draw(3), 2)):
        layout = Layout(case.space, numbers)
        weights = generator(layout)
        shape = tuple(weights.shape)
        require(shape == (layout.total,), f"expected weights of shape ({layout.total},), got {shape}")
        require(weights.dtype == torch.float64, f"in double precision it generated {weights.dtype}")
        require(bool(weights.isfinite().all()), "new weights are not finite")


def _check_company(case: _Case) -> None:
    generator = case.trained()
    numbers = case.draw()
    layout = Layout(case.space, numbers)
    together = generator(layout)
    require(torch.equal(generator(layout), together), "two calls give different weights")
    require(
        _close(generator(Layout(case.space, numbers)), together),
        "a new layout of the same gives other weights",
    )
    turned = Layout(case.space, numbers[::-1])
    other = generator(turned)
    for index, number in enumerate(numbers):
        own = together[int(layout.offsets[index]) : int(layout.offsets[index + 1])]
        name = list(case.space[int(number)])
        alone = generator(Layout(case.space, [number]))
        require(_close(alone, own), f"{name} alone has other weights than among others")
        back = len(numbers) - 1 - index
        moved = other[int(turned.offsets[back]) : int(turned.offsets[back + 1])]
        require(_close(moved, own), f"{name} has other weights at another place")


def _check_initial_scale(case: _Case) -> None:
    layout = case.layout()
    table = layout.layers
    hidden = table.remaining > 0
    sizes: dict[int, list[float]] = {int(width): [] for width in np.unique(table.fan_in[hidden])}
    for offset in range(4):
        weights = case.build(offset)(layout).detach()
        for index in np.flatnonzero(hidden):
            part = weights[int(table.weight_offset[index]) : int(table.bias_offset[index])]
            sizes[int(table.fan_in[index])].append(float(part.square().mean()))
    scaled = {width: float(np.mean(squares) * width) ** 0.5 for width, squares in sizes.items()}
    low, high = min(scaled, key=lambda width: scaled[width]), max(scaled, key=lambda width: scaled[width])
    require(scaled[low] > 0, f"the first weights behind {low} neurons are all zero")
    require(
        scaled[high] <= _SPREAD * scaled[low],
        f"first weights must shrink with the root of their layer's input, but behind {high} neurons they are "
        f"{scaled[high] / scaled[low]:.1f} times as large as behind {low}, in units of it",
    )


def _check_gradients(case: _Case) -> None:
    generator = case.trained()
    layout = case.layout()
    direction = torch.randn(layout.total, dtype=torch.float64)
    (generator(layout) * direction).sum().backward()
    parameters = {name: one for name, one in generator.named_parameters() if one.requires_grad}
    gradients = []
    for name, parameter in parameters.items():
        gradient = parameter.grad
        require(gradient is not None and bool(gradient.any()), f"no gradient reaches {name}")
        gradients.append(torch.zeros_like(parameter) if gradient is None else gradient)
        require(bool(gradients[-1].isfinite().all()), f"the gradient of {name} is not finite")
    # Along the gradient the slope is its length, and no terms cancel each other.
    length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    ends = []
    for sign in (1.0, -2.0):
        with torch.no_grad():
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter.add_(gradient, alpha=sign * _STEP / float(length))
            ends.append((generator(layout) * direction).sum())
    slope = (ends[0] - ends[1]) / (2 * _STEP)
    require(
        abs(float(slope - length)) <= 1e-4 * float(length),
        f"along the gradient finite differences give {float(slope):.6g}, its length is {float(length):.6g}",
    )


def _check_state(case: _Case) -> None:
    generator, other, layout = case.trained(), case.build(1), Layout(case.space, case.draw())
    expected = generator(layout).detach()
    require(not _close(other(layout), expected), "two seeds give the same weights")
    file = io.BytesIO()
    torch.save(generator.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    require(torch.equal(other(layout), expected), "a restored state_dict gives other weights")
    copied = deepcopy(generator)
    require(torch.equal(copied(layout), expected), "a copy gives other weights")
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(1.0)
    require(torch.equal(generator(layout), expected), "changing a copy changes the original")
    require(not _close(copied(layout), expected), "the weights do not depend on the parameters")


def _check_refusals(case: _Case) -> None:
    generator = case.build()
    space = ArchitectureSpace(case.space.inputs, case.space.outputs, [(3,), (5, 7)])
    try:
        generator(Layout(space, [0, 1]))
    except HyperRLError:
        pass
    else:
        raise BrokenPromiseError("architectures of another space are taken")
    try:
        generator.generate((12345,))
    except UnknownNameError:
        pass
    else:
        raise BrokenPromiseError("an architecture that is not in the space is generated")
    equal = ArchitectureSpace.from_state(case.space.state())
    require(
        _close(generator(Layout(equal, [0])), generator(Layout(case.space, [0]))),
        "an equal space gives other weights",
    )


_CHECKS: dict[str, Callable[[_Case], None]] = {
    "bare parameters": _check_parameters,
    "shapes": _check_shapes,
    "alone and among others": _check_company,
    "initial scale": _check_initial_scale,
    "gradients": _check_gradients,
    "state and copies": _check_state,
    "refusals": _check_refusals,
}
