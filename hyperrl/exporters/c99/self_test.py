"""The self-test of exported C, and the program that runs it on a computer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperrl.exporters.base import Artefact
from hyperrl.exporters.c99.functions import fill
from hyperrl.exporters.c99.numbers import array, literal

_SELF_TEST = """/* @p@_self_test.c: embedded observations with the actions that they must give.
 *
 * Link it where you call @p@_self_test; @p@.c does without. To save flash, define
 * @P@_SELF_TEST_VECTORS as a smaller number: the first are zeros and the extremes. */
#include "@p@.h"
#include <math.h>

#ifndef @P@_SELF_TEST_VECTORS
#define @P@_SELF_TEST_VECTORS @count@
#endif
#if @P@_SELF_TEST_VECTORS < 1 || @P@_SELF_TEST_VECTORS > @count@
#error "@P@_SELF_TEST_VECTORS must be a number from 1 to @count@: a test of nothing would pass"
#endif

static const float @p@_test_observations[@P@_SELF_TEST_VECTORS][@P@_OBSERVATIONS] = {
@observations@
};

static const float @p@_test_actions[@P@_SELF_TEST_VECTORS][@P@_ACTIONS] = {
@actions@
};

/* Half of each action's range; 0 where it has no bounds. */
@half_range@
int @p@_self_test(float *largest_error)
{
    float worst = 0.0f;
    int failed = 0;
    int vector, i;
    for (vector = 0; vector < @P@_SELF_TEST_VECTORS; ++vector) {
        float action[@P@_ACTIONS];
        @p@_act(@p@_test_observations[vector], action);
        for (i = 0; i < @P@_ACTIONS; ++i) {
            const float expected = @p@_test_actions[vector][i];
            const float magnitude = fabsf(expected) > 1.0f ? fabsf(expected) : 1.0f;
            const float scale = @p@_half_range[i] > 0.0f ? @p@_half_range[i] : magnitude;
            const float error = fabsf(action[i] - expected) / scale;
            /* Written so that NaN counts as an error, and stays the largest. */
            if (!(error <= worst) && worst == worst) {
                worst = error;
            }
            if (!(error <= @P@_SELF_TEST_TOLERANCE)) {
                failed = 1;
            }
        }
    }
    if (largest_error) {
        *largest_error = worst;
    }
    return failed;
}
"""

_MAIN = """/* @p@_test.c: runs the self-test on a computer.
 *
 *     cc -std=c99 -O2 @p@.c @p@_self_test.c @p@_test.c -lm -o @p@_test && ./@p@_test
 */
#include "@p@.h"
#include <stdio.h>

int main(void)
{
    float largest = 0.0f;
    const int failed = @p@_self_test(&largest);
    printf("%s: largest error %g of half the action range, tolerance %g\\n", failed ? "FAILED" : "passed",
           (double)largest, (double)@P@_SELF_TEST_TOLERANCE);
    return failed;
}
"""


def self_test(artefact: Artefact, expected: NDArray[np.floating]) -> str:
    """Return the text of the self-test.

    Args:
        artefact: What is exported, with its test vectors.
        expected: The actions that they must give ``[N, out]``.
    """
    close = artefact.close
    half_range = np.where(close.bounded, close.half_range, 0.0)
    return fill(
        _SELF_TEST,
        observations=_guarded(artefact.vectors.observations),
        actions=_guarded(expected),
        half_range=array("float", "@p@_half_range", half_range),
        count=str(len(expected)),
        p=artefact.prefix,
        P=artefact.prefix.upper(),
    )


def test_main(artefact: Artefact) -> str:
    """Return the text of the program that runs the self-test.

    Args:
        artefact: What is exported.
    """
    return fill(_MAIN, p=artefact.prefix, P=artefact.prefix.upper())


def _guarded(rows: NDArray[np.floating]) -> str:
    """Return the rows, each left out where fewer vectors are asked for."""
    lines = []
    for index, row in enumerate(rows):
        lines.append(f"#if @P@_SELF_TEST_VECTORS > {index}")
        lines.append(f"    {{{', '.join(literal(value) for value in row)}}},")
        lines.append("#endif")
    return "\n".join(lines)
