"""One architecture of many by itself: as a policy of Stable-Baselines3, to be trained on, as a plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from hyperrl.plain_policy import PlainPolicy
from hyperrl.sb3.plain import head_of, normaliser_of
from hyperrl.sb3.policies import FinitePPOPolicy

if TYPE_CHECKING:
    from hyperrl_agents.hyper_ppo.agent import HyperPPO
    from hyperrl_agents.hyper_ppo.policies import HyperActorCriticPolicy

# What the arguments of PPO are called, and the attributes that keep them.
_OF_PPO = (
    *("learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range"),
    *("clip_range_vf", "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm", "target_kl"),
)


@torch.no_grad()
def frozen(policy: HyperActorCriticPolicy, architecture: Sequence[int]) -> FinitePPOPolicy:
    """Return the policy of one architecture as an ordinary one, see `HyperActorCriticPolicy.freeze`.

    Args:
        policy: The policies.
        architecture: The hidden widths.
    """
    number = policy.space.index(architecture)
    own = FinitePPOPolicy(
        policy.observation_space,
        policy.action_space,
        lr_schedule=lambda _: float(policy.optimizer.param_groups[0]["lr"]),
        net_arch={"pi": list(architecture), "vf": policy.critic_widths},
        activation_fn=policy.activation_fn,
        log_std_init=policy.log_std_init,
    ).to(policy.device)
    layers = [*_dense(own.mlp_extractor.policy_net), own.action_net]
    for module, (weight, bias) in zip(layers, policy.generator.generate(architecture), strict=True):
        assert isinstance(module, nn.Linear)
        module.weight.copy_(weight)
        module.bias.copy_(bias)
    theirs = [*_dense(own.mlp_extractor.value_net), own.value_net]
    ours = [*_dense(policy.value_features), policy.value_net]
    inputs, features = policy.space.inputs, policy.architecture_features[number]
    for their, our in zip(theirs, ours, strict=True):
        # The first one sees the architecture's features, which are constant from here on.
        their.weight.copy_(our.weight[:, : their.in_features])
        their.bias.copy_(our.bias if our is not ours[0] else our.bias + our.weight[:, inputs:] @ features)
    own.log_std.copy_(policy.log_std)
    return own


def polished(agent: HyperPPO, architecture: Sequence[int], settings: Mapping[str, Any]) -> PPO:
    """Return PPO with the policy of one architecture, see `HyperPPO.polish`.

    Args:
        agent: The agent.
        architecture: The hidden widths.
        settings: Arguments that are to be others than the agent's.
    """
    own = agent.policy.freeze(architecture)
    arguments: dict[str, Any] = {name: getattr(agent, name) for name in _OF_PPO}
    arguments |= {"env": agent.env, "seed": agent.seed, "device": agent.device, "verbose": agent.verbose}
    arguments["policy_kwargs"] = {"net_arch": own.net_arch, "activation_fn": own.activation_fn}
    model = PPO(FinitePPOPolicy, **{**arguments, **settings})
    model.policy.load_state_dict(own.state_dict())
    return model


@torch.no_grad()
def plain_policy_of(
    policy: HyperActorCriticPolicy, architecture: Sequence[int], normaliser: VecNormalize | None
) -> PlainPolicy:
    """Return the policy of one architecture as a plain policy, see `HyperPPO.specialise`.

    Args:
        policy: The policies.
        architecture: The hidden widths.
        normaliser: What normalises observations, if anything does.
    """
    layers = policy.generator.generate(architecture)
    return PlainPolicy.from_arrays(
        [weight.cpu().numpy() for weight, _ in layers],
        [bias.cpu().numpy() for _, bias in layers],
        activation=policy.hidden_activation,
        head=head_of(policy.action_space),
        normaliser=normaliser_of(normaliser),
    )


def _dense(modules: nn.Module) -> list[nn.Linear]:
    return [module for module in modules.children() if isinstance(module, nn.Linear)]
