"""The baseline of the benchmark computes what the critic `paper` computes: values, gradients, updates."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3 import SAC, TD3

from hyperrl.bench.naive import NaiveFastQ, NaiveLayer, NaiveQ, NaiveSACPolicy, NaiveTD3Policy
from hyperrl.bench.update import SpacesOnly, fill
from hyperrl.nets.kinds.linear import LinearKind
from hyperrl.sb3 import FAST, PAPER, HyperQ
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3

PARAMETERS_OF_ONE_Q = 8_537_346


def head_parameters(
    naive: NaiveLayer, hyper: HyperQ, index: int, pick
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of equal meaning, the naive heads' in the shape of ours; `pick` takes values or gradients."""
    head = hyper.hyper.head
    assert isinstance(head, LinearKind)
    layer = head.spec.layers[index]
    shape = (layer.out_features, layer.in_features)
    bias, gain = head.spec.vector_slices[layer.bias], head.spec.vector_slices[layer.gain]
    weight_bank = pick(naive.weight.weight).view(*shape, -1).permute(2, 1, 0)
    return [
        (weight_bank, pick(head.banks[index])),
        (pick(naive.weight.bias).view(shape).t(), pick(head.base_weights[index])),
        (pick(naive.bias.weight).t(), pick(head.vector_bank)[:, bias]),
        (pick(naive.bias.bias), pick(head.base_vectors)[bias]),
        (pick(naive.gain.weight).t(), pick(head.vector_bank)[:, gain]),
        (pick(naive.gain.bias) + one(pick), pick(head.base_vectors)[gain]),
    ]


def one(pick) -> float:
    """The naive gain adds its 1 outside the head; its gradient has none."""
    return 1.0 if pick is value else 0.0


def value(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.data


def gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def pairs(naive: NaiveQ, hyper: HyperQ, pick) -> list[tuple[torch.Tensor, torch.Tensor]]:
    trunk = zip(naive.primary.parameters(), hyper.hyper.trunk.parameters(), strict=True)
    heads = head_parameters(naive.hidden, hyper, 0, pick) + head_parameters(naive.out, hyper, 1, pick)
    return [(pick(one_), pick(other)) for one_, other in trunk] + heads


def copy(naive: NaiveQ, hyper: HyperQ) -> None:
    # Both start anew from the same random numbers, or a part that is zero in one could hide a difference.
    for parameter in naive.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    for source, destination in pairs(naive, hyper, value):
        destination.copy_(source)


def same(pairs_: list[tuple[torch.Tensor, torch.Tensor]], tolerance: float) -> None:
    for ours, theirs in pairs_:
        scale = theirs.abs().max().clamp_min(1e-30)
        assert (ours - theirs).abs().max() / scale < tolerance


def test_both_have_the_published_number_of_parameters():
    naive, hyper = NaiveQ(17, 6), HyperQ(17, 6, PAPER)
    for network in (naive, hyper):
        assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS_OF_ONE_Q


def test_values_and_all_gradients_are_equal():
    torch.manual_seed(0)
    naive, hyper = NaiveQ(17, 6).double(), HyperQ(17, 6, PAPER).double()
    copy(naive, hyper)
    state, target = torch.randn(5, 17, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    actions = [torch.randn(5, 6, dtype=torch.float64, generator=torch.manual_seed(1)) for _ in range(2)]
    for network, action in zip((naive, hyper), actions, strict=True):
        action.requires_grad_()
        torch.nn.functional.mse_loss(network(state, action), target).backward()
    assert torch.allclose(naive(state, actions[0]), hyper(state, actions[1]), rtol=1e-10, atol=1e-12)
    same([(actions[0].grad, actions[1].grad)], 1e-9)
    same(pairs(naive, hyper, gradient), 1e-9)


@pytest.mark.parametrize(
    ("plain", "policy", "ours"), [(TD3, NaiveTD3Policy, HyperTD3), (SAC, NaiveSACPolicy, HyperSAC)]
)
def test_two_updates_of_the_whole_agent_are_equal(plain, policy, ours):
    settings = dict(buffer_size=200, seed=0, device="cpu", learning_rate=5e-5)
    naive = plain(policy, SpacesOnly(), policy_kwargs=dict(net_arch=[16]), **settings)
    hyper = ours("MlpPolicy", SpacesOnly(), policy_kwargs=dict(net_arch=[16], critic="paper"), **settings)
    hyper.actor.load_state_dict(naive.actor.state_dict())
    for model in (naive, hyper):
        fill(model.replay_buffer, 0)
        model._setup_learn(1)
    for name in ("critic", "critic_target"):
        for one_, other in zip(getattr(naive, name).q_networks, getattr(hyper, name).q_networks, strict=True):
            copy(one_, other)
    if plain is TD3:
        hyper.actor_target.load_state_dict(naive.actor_target.state_dict())
    before = [parameter.clone() for parameter in naive.actor.parameters()]
    for model in (naive, hyper):
        model.set_random_seed(1)
        model.train(gradient_steps=2, batch_size=4)
    moved = [
        ((one_ - old).detach(), (other - old).detach())
        for one_, other, old in zip(naive.actor.parameters(), hyper.actor.parameters(), before, strict=True)
    ]
    assert max(float(step.abs().max()) for step, _ in moved) > 1e-6
    assert all(torch.allclose(step, other, atol=5e-6) for step, other in moved)
    for one_, other in zip(naive.critic.q_networks, hyper.critic.q_networks, strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs(one_, other, value))


def test_the_small_one_computes_what_the_fast_critic_does():
    torch.manual_seed(0)
    naive, hyper = NaiveFastQ(17, 6).double(), HyperQ(17, 6, FAST).double()
    assert sum(p.numel() for p in naive.parameters()) == sum(p.numel() for p in hyper.parameters())
    trunk, head = hyper.hyper.trunk, hyper.hyper.head
    weight, out_weight, vectors = naive.head.weight.data.split((6 * 256, 256, 257))
    bias, out_bias, base_vectors = naive.head.bias.data.split((6 * 256, 256, 257))
    pairs_ = [
        (trunk.layers[0].weight, naive.primary[0].weight),
        (trunk.layers[0].bias, naive.primary[0].bias),
        (trunk.layers[1].weight, naive.primary[3].weight),
        (trunk.layers[1].bias, naive.primary[3].bias),
        (head.banks[0], weight.view(6, 256, 16).permute(2, 0, 1)),
        (head.banks[1], out_weight.t().unsqueeze(-1)),
        (head.base_weights[0], bias.view(6, 256)),
        (head.base_weights[1], out_bias.unsqueeze(-1)),
        (head.vector_bank, vectors.t()),
        (head.base_vectors, base_vectors),
    ]
    for ours, theirs in pairs_:
        ours.data.copy_(theirs.data)
    state, action = torch.randn(5, 17, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(naive(state, action), hyper(state, action), rtol=1e-10, atol=1e-12)
