"""The C source of a policy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hyperrl.exporters.base import Artefact
from hyperrl.exporters.c99 import functions
from hyperrl.exporters.c99.functions import fill
from hyperrl.exporters.c99.numbers import array, comment_text, literal
from hyperrl.exporters.c99.quantise import Int8Layer
from hyperrl.exporters.float32_stages import in_float32
from hyperrl.plain_policy import ActionHead, ObservationNormaliser, PlainPolicy

_HEADER = """/* @p@.h: a policy as plain C99 (also C++), written by hyperrl. Generated code: MIT licence.
 *
 * @summary@
 *
@table@
 */
#ifndef @P@_H
#define @P@_H

#define @P@_OBSERVATIONS @inputs@
#define @P@_ACTIONS @outputs@
@period@#define @P@_PARAMETERS @parameters@L
#define @P@_MACS @macs@L
#define @P@_FINGERPRINT "@fingerprint@"

#ifdef __cplusplus
extern "C" {
#endif

/* Compute the action of one observation, in the order and the units above, not normalised.
 * If an observation is NaN or infinite, every action is NaN. The two arrays must not overlap.
 * Not reentrant: buffers are static, so that a task needs next to no stack. */
void @p@_act(const float observation[@P@_OBSERVATIONS], float action[@P@_ACTIONS]);

/* Return 1 if no observation is NaN or infinite, else 0. */
int @p@_observation_is_finite(const float observation[@P@_OBSERVATIONS]);

/* In @p@_self_test.c, which is needed for nothing else: compute the actions of embedded observations.
 * Return 0 if none differs by more than @P@_SELF_TEST_TOLERANCE of half its range, else 1.
 * The largest difference is stored where the pointer is not null. */
#define @P@_SELF_TEST_TOLERANCE @tolerance@
int @p@_self_test(float *largest_error);

#ifdef __cplusplus
}
#endif

#endif
"""


def header(artefact: Artefact, self_test_tolerance: float) -> str:
    """Return the text of the header.

    Args:
        artefact: What is exported.
        self_test_tolerance: The largest difference that the self-test lets pass.
    """
    policy, interface = artefact.policy, artefact.interface
    period = ""
    if interface.control_period is not None:
        microseconds = round(interface.control_period * 1e6)
        period = f"#define @P@_CONTROL_PERIOD_US {microseconds}L /* between two actions, as in training */\n"
    budget = artefact.budget
    return fill(
        _HEADER,
        period=period,
        summary=f"{'-'.join(map(str, policy.sizes))}, {artefact.weights} weights: {_stages(policy)}.",
        table=_table(artefact),
        inputs=str(policy.sizes[0]),
        outputs=str(policy.sizes[-1]),
        parameters=str(budget.parameters),
        macs=str(budget.macs),
        fingerprint=policy.fingerprint,
        tolerance=literal(self_test_tolerance),
        p=artefact.prefix,
        P=artefact.prefix.upper(),
    )


def source(artefact: Artefact, int8: tuple[Int8Layer, ...] = ()) -> str:
    """Return the text of the source file.

    Args:
        artefact: What is exported.
        int8: The hidden layers with int8 weights; none for float32.

    Raises:
        ExportError: A number of the normaliser does not fit in float32.
    """
    policy, prefix = artefact.policy, artefact.prefix
    includes = ["<math.h>", "<stdint.h>", "<string.h>"]
    parts = ["\n".join([f'#include "{prefix}.h"', *(f"#include {name}" for name in includes)])]
    if policy.normaliser is not None:
        parts.append(_normaliser_arrays(policy.normaliser, prefix))
    parts.append(_layer_arrays(policy, int8, prefix))
    if policy.head.bound != "none":
        parts.append(array("float", f"{prefix}_low", _within_float(policy.head.low)))
        parts.append(array("float", f"{prefix}_high", _within_float(policy.head.high)))
    parts.append(_buffers(policy, int8, prefix))
    parts.append(_used_functions(policy, int8))
    parts.append(fill(functions.ACT, steps=_steps(policy, int8)))
    return fill("\n".join(part.strip("\n") + "\n" for part in parts if part), p=prefix, P=prefix.upper())


def _within_float(bounds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace infinity, which C99 has no constant for, by the largest number."""
    largest = np.finfo(np.float32).max
    return np.asarray(np.clip(bounds, -largest, largest), np.float32)


def _normaliser_arrays(normaliser: ObservationNormaliser, prefix: str) -> str:
    numbers = in_float32(normaliser)
    return "".join(
        array("float", f"{prefix}_{name}", getattr(numbers, name))
        for name in ("mean", "mean_rest", "inverse_deviation")
    )


def _layer_arrays(policy: PlainPolicy, int8: tuple[Int8Layer, ...], prefix: str) -> str:
    parts = []
    for index, layer in enumerate(policy.layers):
        if index < len(int8):
            parts.append(array("int8_t", f"{prefix}_weight_{index}", int8[index].weight))
            parts.append(array("float", f"{prefix}_scale_{index}", int8[index].scale))
        else:
            parts.append(array("float", f"{prefix}_weight_{index}", layer.weight))
        parts.append(array("float", f"{prefix}_bias_{index}", layer.bias))
    return "".join(parts)


def _buffers(policy: PlainPolicy, int8: tuple[Int8Layer, ...], prefix: str) -> str:
    hidden = policy.architecture
    sizes = {"even": max(hidden[0::2], default=0), "odd": max(hidden[1::2], default=0)}
    if policy.normaliser is not None:
        sizes["normalised"] = policy.sizes[0]
    lines = [f"static float {prefix}_{name}[{size}];" for name, size in sizes.items() if size]
    if int8:
        lines.append(f"static int8_t {prefix}_rounded[{max(policy.sizes[:-2])}];")
    return "\n".join(lines)


def _used_functions(policy: PlainPolicy, int8: tuple[Int8Layer, ...]) -> str:
    head, normaliser = policy.head, policy.normaliser
    clips = normaliser is not None and math.isfinite(normaliser.clip)
    parts = [functions.FINITE]
    if clips or int8 or head.bound == "clip" or math.isfinite(head.mean_clip):
        parts.append(functions.LIMIT)
    if normaliser is not None:
        value = "centred * @p@_inverse_deviation[i]"
        if clips:
            limit = literal(normaliser.clip)
            value = f"@p@_limit({value}, -{limit}, {limit})"
        parts.append(fill(functions.NORMALISE, clip=value))
    if int8:
        parts += [functions.QUANTISE, functions.DENSE_INT8]
    parts.append(functions.DENSE)
    for name in sorted({layer.activation for layer in policy.layers} - {"identity"}):
        parts.append(fill(functions.ACTIVATION, activation=name, body=functions.ACTIVATION_BODIES[name]))
    if _head_stages(head):
        stages = "\n".join(f"        {line}" for line in _head_stages(head))
        parts.append(fill(functions.HEAD, stages=stages))
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _head_stages(head: ActionHead) -> list[str]:
    lines = []
    if math.isfinite(head.mean_clip):
        limit = literal(head.mean_clip)
        lines.append(f"x = @p@_limit(x, -{limit}, {limit});")
    if head.squash == "tanh":
        lines.append("x = tanhf(x);")
    elif head.squash == "scaled_tanh":
        lines.append(f"x = {literal(head.scale)} * tanhf(x / {literal(head.scale)});")
    if head.bound == "clip":
        lines.append("x = @p@_limit(x, @p@_low[i], @p@_high[i]);")
    elif head.bound == "unscale":
        lines.append("x = @p@_low[i] + (0.5f * (x + 1.0f)) * (@p@_high[i] - @p@_low[i]);")
    return lines


def _steps(policy: PlainPolicy, int8: tuple[Int8Layer, ...]) -> str:
    lines = []
    place = "observation"
    if policy.normaliser is not None:
        lines.append("@p@_normalise(observation, @p@_normalised);")
        place = "@p@_normalised"
    last = len(policy.layers) - 1
    for index, layer in enumerate(policy.layers):
        target = "action" if index == last else f"@p@_{'odd' if index % 2 else 'even'}"
        sizes = f"{layer.inputs}, {layer.outputs}"
        if index < len(int8):
            scale = literal(int8[index].inverse_input_scale)
            lines.append(f"@p@_quantise({place}, {scale}, {layer.inputs}, @p@_rounded);")
            arrays = f"@p@_weight_{index}, @p@_scale_{index}, @p@_bias_{index}"
            lines.append(f"@p@_dense_int8({arrays}, {sizes}, @p@_rounded, {target});")
        else:
            lines.append(f"@p@_dense(@p@_weight_{index}, @p@_bias_{index}, {sizes}, {place}, {target});")
        if layer.activation != "identity":
            lines.append(f"@p@_{layer.activation}({target}, {layer.outputs});")
        place = target
    if _head_stages(policy.head):
        lines.append("@p@_head(action);")
    return "\n".join(f"    {line}" for line in lines)


def _stages(policy: PlainPolicy) -> str:
    head, stages = policy.head, []
    if policy.normaliser is not None:
        clip = f"clip at {policy.normaliser.clip:g}"
        stages.append(f"normalise, {clip if math.isfinite(policy.normaliser.clip) else 'no clip'}")
    stages.append(", ".join(layer.activation for layer in policy.layers))
    if math.isfinite(head.mean_clip):
        stages.append(f"clip at {head.mean_clip:g}")
    if head.squash != "none":
        stages.append("tanh" if head.squash == "tanh" else f"{head.scale:g} tanh(x / {head.scale:g})")
    if head.bound != "none":
        stages.append("clip to bounds" if head.bound == "clip" else "scale to bounds")
    return "; ".join(stages)


def _table(artefact: Artefact) -> str:
    interface, head = artefact.interface, artefact.policy.head
    lines = ["observation: name [unit]"]
    for index, (name, unit) in enumerate(
        zip(interface.observation_names, interface.observation_units, strict=True)
    ):
        lines.append(f"  {index:3} {name} [{unit}]")
    lines.append("action: name [unit], from low to high")
    for index, (name, unit) in enumerate(zip(interface.action_names, interface.action_units, strict=True)):
        bounds = "unbounded" if head.bound == "none" else f"{head.low[index]:g} to {head.high[index]:g}"
        lines.append(f"  {index:3} {name} [{unit}], {bounds}")
    lines += [f"{key}: {value}" for key, value in interface.conventions.items()]
    return "\n".join(f" * {_kept(line)}" for line in lines)


def _kept(line: str) -> str:
    """Keep a line's indentation, and make the rest safe."""
    text = line.lstrip()
    return " " * (len(line) - len(text)) + comment_text(text)
