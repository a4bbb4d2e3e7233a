"""The policy of one context by itself: as it was generated, or after it has learned a little there."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from hyperrl.errors import ConfigError
from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.plain import head_of
from hyperrl.zero_shot_data import Transitions
from hyperrl_agents.hyper_zero.losses import action_loss
from hyperrl_agents.hyper_zero.networks import ContextNetworks, layers_of
from hyperrl_agents.hyper_zero.policies import HyperZeroPolicy


def plain_policy_of(policy: HyperZeroPolicy, condition: NDArray[np.float32]) -> PlainPolicy:
    """Return the policy of one context as a plain policy.

    Args:
        policy: The policies.
        condition: What the policy sees of the context, shape [d].

    Raises:
        NonFiniteError: A weight is NaN or infinite.
    """
    return _plain(policy, policy.networks, torch.as_tensor(condition, device=policy.device))


def adapted(
    policy: HyperZeroPolicy,
    condition: NDArray[np.float32],
    transitions: Transitions,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> PlainPolicy:
    """Return the policy of one context after a copy of the networks has learned from transitions there.

    Args:
        policy: The policies, which stay as they are.
        condition: What the policy sees of the context, shape [d].
        transitions: What an expert did.
        epochs: Passes over them.
        learning_rate: Of Adam.
        batch_size: Transitions of a step.
        seed: Of their order.

    Raises:
        ConfigError: The transitions are of another size.
    """
    networks, device = copy.deepcopy(policy.networks), policy.device
    shape = networks.shape
    if transitions.sizes != (shape.state, shape.action):
        raise ConfigError(
            f"the transitions have states and actions of {transitions.sizes} numbers, the policy's have "
            f"{(shape.state, shape.action)}"
        )
    context = torch.as_tensor(condition, device=device)
    states, actions = (
        torch.from_numpy(part).to(device) for part in (transitions.states, transitions.actions)
    )
    optimizer = torch.optim.Adam(networks.policy.parameters(), lr=learning_rate)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for rows in torch.from_numpy(rng.permutation(len(transitions))).to(device).split(batch_size):
            loss = action_loss(networks(context, states[rows]), actions[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return _plain(policy, networks, context)


@torch.no_grad()
def _plain(policy: HyperZeroPolicy, networks: ContextNetworks, context: torch.Tensor) -> PlainPolicy:
    layers = layers_of(networks.policy.generate(context))
    return PlainPolicy.from_arrays(
        [weight.cpu().numpy() for weight, _ in layers],
        [bias.cpu().numpy() for _, bias in layers],
        activation=networks.shape.activation,
        head=head_of(policy.action_space, squashed=True),
    )
