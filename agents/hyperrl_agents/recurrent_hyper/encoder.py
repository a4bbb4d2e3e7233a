"""The memory: a recurrent network over states, actions and rewards, and the latent that is read from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperrl_agents.recurrent_hyper.columns import Columns
from hyperrl_agents.recurrent_hyper.segments import Segments


class HistoryEncoder(nn.Module):
    """From the history of a trial to a latent (Beck et al., CoRL 2022, after Zintgraf et al., ICLR 2020).

    State, last action and last reward are embedded each by itself and go into a GRU; mean and logarithm of
    the variance are affine in its hidden state, which is 0 where a trial begins. The state's embedding also
    sees whether an episode begins (Duan et al., 2016).

    Args:
        columns: The parts of features.
        hidden: Size of the hidden state H.
        latent: Numbers of the latent z, which has so many means and as many variances.
        embeddings: Sizes of the embeddings of state, action and reward.
        action_scale: What actions are divided by, ``[A]``.
    """

    action_scale: Tensor

    def __init__(
        self,
        columns: Columns,
        hidden: int,
        latent: int,
        embeddings: tuple[int, int, int],
        action_scale: Tensor,
    ) -> None:
        super().__init__()
        self.columns, self.hidden_size, self.latent_size = columns, hidden, latent
        self.register_buffer("action_scale", action_scale, persistent=False)
        self.state = nn.Linear(columns.state_size + 1, embeddings[0])
        self.action = nn.Linear(columns.action_size, embeddings[1])
        self.reward = nn.Linear(1, embeddings[2])
        self.gru = nn.GRU(sum(embeddings), hidden)
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        for name, parameter in self.gru.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.orthogonal_(parameter)

    def embed(self, features: Tensor) -> Tensor:
        """What goes into the GRU for features ``[..., F]``."""
        columns = self.columns
        state = torch.cat([columns.state(features), columns.episode(features)], dim=-1)
        action = columns.action(features) / self.action_scale
        parts = [self.state(state), self.action(action), self.reward(columns.reward(features))]
        return torch.cat(parts, dim=-1).relu()

    def step(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Go one step on.

        Args:
            features: ``[B, F]``.
            hidden: What was remembered, which is forgotten where a trial begins, ``[B, H]``.

        Returns:
            What is remembered, ``[B, H]``.
        """
        kept = hidden * (1 - self.columns.start(features))
        last: Tensor = self.gru(self.embed(features).unsqueeze(0), kept.unsqueeze(0).contiguous())[1]
        return last.squeeze(0)

    def sequences(self, features: Tensor, hidden: Tensor, segments: Segments | None = None) -> Tensor:
        """Go through sequences, in one call of the GRU whatever trials begin in them.

        Args:
            features: ``[T, E, F]``.
            hidden: What was remembered before the first step, ``[E, H]``.
            segments: The sequences cut where trials begin, if that was done before.

        Returns:
            What is remembered at each step, ``[T, E, H]``.
        """
        if segments is None:
            starts = self.columns.start(features)[..., 0].detach().cpu().numpy()
            segments = Segments.of(starts > 0, features.device)
        embedded = self.embed(features.flatten(0, 1))
        inputs = embedded.index_select(0, segments.rows.flatten()).unflatten(0, segments.rows.shape)
        first = hidden[segments.sequences] * segments.continues.unsqueeze(1)
        outputs: Tensor = self.gru(inputs, first.unsqueeze(0).contiguous())[0]
        found: Tensor = outputs.flatten(0, 1).index_select(0, segments.places)
        return found.view(*features.shape[:2], -1)

    def posterior(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent, ``[..., z]`` each, for ``[..., H]``."""
        return self.mean(hidden), self.log_variance(hidden)

    def latent(self, hidden: Tensor) -> Tensor:
        """Both side by side, ``[..., 2 z]``, as policies see them."""
        return torch.cat(self.posterior(hidden), dim=-1)

    def nothing(self, count: int) -> Tensor:
        """What is remembered before the first step, ``[count, H]``."""
        return self.mean.weight.new_zeros(count, self.hidden_size)
