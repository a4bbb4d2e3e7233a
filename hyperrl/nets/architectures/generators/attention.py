"""Transformer layers, with parameters that initialisers of policies leave alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Affine(nn.Module):
    """``x W^T + b`` with torch's default initial values.

    It is no `nn.Linear`, because Stable-Baselines3 gives every one of those in a policy orthogonal weights.

    Args:
        fan_in: Size of the input.
        fan_out: Size of the output.
    """

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(fan_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., fan_in]`` to ``[..., fan_out]``."""
        return functional.linear(x, self.weight, self.bias)


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each normalised before and added to what came in.

    Args:
        width: Size of a token.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm = nn.LayerNorm(width)
        self.projection = Affine(width, 3 * width)
        self.mixture = Affine(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.expansion = Affine(width, 4 * width)
        self.contraction = Affine(4 * width, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Let the tokens of each network exchange what they know.

        Args:
            tokens: ``[M, T, width]``.
            mask: Which of them there are, ``[M, 1, 1, T]``.

        Returns:
            ``[M, T, width]``.
        """
        count, length, width = tokens.shape
        parts = self.projection(self.first_norm(tokens)).view(count, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.mixture(mixed.transpose(1, 2).reshape(count, length, width))
        expanded = functional.gelu(self.expansion(self.second_norm(tokens)))
        result: Tensor = tokens + self.contraction(expanded)
        return result
