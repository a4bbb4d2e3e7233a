"""What VariBAD's latent has to explain: rewards, and next states if that is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from hyperrl_agents.recurrent_hyper.columns import Columns
from hyperrl_agents.recurrent_hyper.settings import ElboSettings


class Decoders(nn.Module):
    """Predict the reward of a step, and the state after it, from a latent.

    The reward is predicted from state, action and next state, the next state from state and action.

    Args:
        columns: The parts of features.
        latent: Numbers of a latent that is drawn z.
        settings: Which decoders there are.
        action_scale: What actions are divided by, ``[A]``.
    """

    action_scale: Tensor

    def __init__(self, columns: Columns, latent: int, settings: ElboSettings, action_scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("action_scale", action_scale, persistent=False)
        step = columns.state_size + columns.action_size
        self.reward = _mlp(latent + step + columns.state_size, settings.reward_decoder, 1)
        self.next_state: nn.Sequential | None = None
        if settings.state_decoder is not None:
            self.next_state = _mlp(latent + step, settings.state_decoder, columns.state_size)

    def rewards(self, latents: Tensor, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Predict rewards ``[..., 1]``.

        Args:
            latents: ``[..., z]``, as all that follows with the same leading dimensions or with ones there.
            states: ``[..., S]``.
            actions: ``[..., A]``.
            next_states: ``[..., S]``.
        """
        predicted: Tensor = self.reward(
            _side_by_side(latents, states, actions / self.action_scale, next_states)
        )
        return predicted

    def next_states(self, latents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the states that follow ``[..., S]``; see `rewards`."""
        assert self.next_state is not None
        predicted: Tensor = self.next_state(_side_by_side(latents, states, actions / self.action_scale))
        return predicted


def _mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    return nn.Sequential(*create_mlp(inputs, outputs, list(hidden)))


def _side_by_side(*parts: Tensor) -> Tensor:
    leading = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*leading, -1) for part in parts], dim=-1)
