"""The functions that exported C is put together from; only those that a policy uses are written.

Comparisons are written so that NaN stays NaN: ``x > 0 ? x : 0`` would turn it into a harmless number.
"""

from __future__ import annotations

from hyperrl.plain_policy.activations import LEAKY_SLOPE, SOFTPLUS_THRESHOLD

# The body of each activation for one value `x`; "identity" needs none.
ACTIVATION_BODIES = {
    "relu": "x < 0.0f ? 0.0f : x",
    "tanh": "tanhf(x)",
    "elu": "x < 0.0f ? expm1f(x) : x",
    "leaky_relu": f"x < 0.0f ? {LEAKY_SLOPE}f * x : x",
    "sigmoid": "0.5f * (tanhf(0.5f * x) + 1.0f)",
    "silu": "x * (0.5f * (tanhf(0.5f * x) + 1.0f))",
    "gelu": "0.5f * x * (1.0f + erff(0.70710678f * x))",
    "softplus": f"x > {SOFTPLUS_THRESHOLD}f ? x : log1pf(expf(x))",
    "mish": f"x * tanhf(x > {SOFTPLUS_THRESHOLD}f ? x : log1pf(expf(x)))",
}

FINITE = """
/* Reads the bits, so that no compiler option for fast mathematics can remove it. */
int @p@_observation_is_finite(const float observation[@P@_OBSERVATIONS])
{
    int i;
    for (i = 0; i < @P@_OBSERVATIONS; ++i) {
        uint32_t bits;
        memcpy(&bits, &observation[i], sizeof bits);
        if ((bits & 0x7F800000u) == 0x7F800000u) {
            return 0;
        }
    }
    return 1;
}
"""

LIMIT = """
static float @p@_limit(float x, float low, float high)
{
    if (x < low) {
        return low;
    }
    return x > high ? high : x;
}
"""

NORMALISE = """
/* The mean is a sum of two numbers: (x - mean) - rest keeps digits that one float would lose. */
static void @p@_normalise(const float *observation, float *output)
{
    int i;
    for (i = 0; i < @P@_OBSERVATIONS; ++i) {
        const float centred = (observation[i] - @p@_mean[i]) - @p@_mean_rest[i];
        output[i] = @clip@;
    }
}
"""

DENSE = """
static void @p@_dense(const float *weight, const float *bias, int inputs, int outputs,
                      const float *input, float *output)
{
    int row, column;
    for (row = 0; row < outputs; ++row) {
        float sum = bias[row];
        for (column = 0; column < inputs; ++column) {
            sum += *weight++ * input[column];
        }
        output[row] = sum;
    }
}
"""

QUANTISE = """
static void @p@_quantise(const float *input, float inverse_scale, int count, int8_t *output)
{
    int i;
    for (i = 0; i < count; ++i) {
        const float x = @p@_limit(input[i] * inverse_scale, -127.0f, 127.0f);
        output[i] = (int8_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
    }
}
"""

DENSE_INT8 = """
static void @p@_dense_int8(const int8_t *weight, const float *scale, const float *bias,
                           int inputs, int outputs, const int8_t *input, float *output)
{
    int row, column;
    for (row = 0; row < outputs; ++row) {
        int32_t sum = 0;
        for (column = 0; column < inputs; ++column) {
            sum += (int32_t)*weight++ * (int32_t)input[column];
        }
        output[row] = (float)sum * scale[row] + bias[row];
    }
}
"""

ACTIVATION = """
static void @p@_@activation@(float *values, int count)
{
    int i;
    for (i = 0; i < count; ++i) {
        const float x = values[i];
        values[i] = @body@;
    }
}
"""

HEAD = """
static void @p@_head(float *action)
{
    int i;
    for (i = 0; i < @P@_ACTIONS; ++i) {
        float x = action[i];
@stages@
        action[i] = x;
    }
}
"""

ACT = """
void @p@_act(const float observation[@P@_OBSERVATIONS], float action[@P@_ACTIONS])
{
    if (!@p@_observation_is_finite(observation)) {
        int i;
        for (i = 0; i < @P@_ACTIONS; ++i) {
            action[i] = NAN;
        }
        return;
    }
@steps@
}
"""


def fill(template: str, **words: str) -> str:
    """Put words in place of their names between at-signs.

    Args:
        template: The text.
        **words: What stands for each name.
    """
    for name, word in words.items():
        template = template.replace(f"@{name}@", word)
    return template
