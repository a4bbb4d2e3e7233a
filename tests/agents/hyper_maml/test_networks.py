"""Generated policies are the published ones: their size, and what their weights mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets import Generated
from hyperrl.nets.matching import count_params
from hyperrl_agents.hyper_maml.actor import TaskActor
from hyperrl_agents.hyper_maml.networks import GeneratedNetwork, SharedNetwork, checked_actor
from hyperrl_agents.hyper_maml.policies import plain_layers
from tests.agents.hyper_maml.cases import STATES, make_actor, make_batch, make_conditions


def test_the_published_policy_has_the_published_number_of_parameters():
    actor = TaskActor(GeneratedNetwork(20, 1, 6), 6)
    assert count_params(actor) == 13_529_106
    # The formula of the published layers: primary network, two heads of weights, biases and gains, sigma.
    primary = 256 * 1 + 6_169_344
    assert primary + 1025 * (256 * 20 + 512) + 1025 * (256 * 6 + 12) + 6 == 13_529_106
    assert actor.network.spec.numel == 256 * 20 + 512 + 256 * 6 + 12
    assert torch.equal(actor.log_std, torch.zeros(6))


def test_the_published_policy_starts_as_published():
    torch.manual_seed(0)
    network = GeneratedNetwork(20, 1, 6)
    with torch.no_grad():
        named = network.spec.unflatten(network(torch.randn(64, 1)))
        z = network.hyper.features(torch.randn(64, 1))
    # The spread of a uniform distribution on +-s is s / sqrt(3); z has 1024 numbers.
    scale = (1024 * z.square().mean() / 3).sqrt().item()
    for layer, bound in ((0, 0.05), (1, 0.008)):
        assert named[f"layers.{layer}.weight"].std().item() == pytest.approx(bound * scale, rel=0.1)
        assert named[f"layers.{layer}.gain"].mean().item() == pytest.approx(1, abs=0.02)


def test_generated_weights_act_sample_by_sample_as_the_layers_of_the_paper():
    actor = make_actor()
    conditions, batch = make_conditions(actor), make_batch()
    found = actor.gaussian(actor.task_weights(actor.by_name(), {}, conditions), batch.states).mean
    hyper = actor.network.hyper
    for task, condition in enumerate(conditions):
        z = hyper.features(condition)
        slices = hyper.spec.vector_slices
        vectors = z @ hyper.head.vector_bank + hyper.head.base_vectors
        for row, state in enumerate(batch.states[task]):
            x = state
            for layer in range(2):
                bank, base = hyper.head.banks[layer], hyper.head.base_weights[layer]
                weight = torch.einsum("k,kio->oi", z, bank) + base.T
                gain = vectors[slices[f"layers.{layer}.gain"]]
                x = gain * functional.linear(x, weight) + vectors[slices[f"layers.{layer}.bias"]]
                x = torch.tanh(x) if layer == 0 else x
            torch.testing.assert_close(found[task, row], x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["hyper", "mlp", "concat"])
def test_plain_layers_are_the_mean_of_one_task(kind):
    actor = make_actor(kind)
    conditions, batch = make_conditions(actor), make_batch()
    tasks = actor.task_weights(actor.by_name(), {}, conditions)
    means = actor.gaussian(tasks, batch.states).mean.detach().numpy()
    for task in range(3):
        layers = plain_layers(actor, tasks, task)
        assert layers[0].inputs == STATES
        x = batch.states[task].numpy()
        for layer in layers:
            x = x @ layer.weight.astype(np.float64).T + layer.bias
            x = np.tanh(x) if layer.activation == "tanh" else x
        np.testing.assert_allclose(x, means[task], rtol=1e-5, atol=1e-5)


def test_the_standard_deviation_has_a_floor():
    actor = make_actor("mlp")
    with torch.no_grad():
        actor.log_std.fill_(-50)
    tasks = actor.task_weights(actor.by_name(), {}, make_conditions(actor))
    torch.testing.assert_close(tasks.log_std.exp(), torch.full((3, 2), 1e-6, dtype=torch.float64))


def test_weights_are_generated_once_for_a_task(monkeypatch):
    actor, calls = make_actor(), []
    own = GeneratedNetwork.forward
    monkeypatch.setattr(
        GeneratedNetwork, "forward", lambda self, c: calls.append(tuple(c.shape)) or own(self, c)
    )
    tasks = actor.task_weights(actor.by_name(), {}, make_conditions(actor))
    actor.gaussian(tasks, make_batch().states)
    assert calls == [(3, 2)]
    assert Generated.from_flat(actor.network.spec, tasks.weights).batch_shape == (3,)


def test_what_makes_no_network_is_refused():
    with pytest.raises(ConfigError, match="'hyper' generates policies from contexts, and these observations"):
        GeneratedNetwork(3, 0, 2)
    with pytest.raises(ConfigError, match="sees_context needs a context"):
        SharedNetwork(3, 0, 2, sees_context=True)
    with pytest.raises(UnknownNameError, match="unknown actor 'hyperr', did you mean 'hyper'"):
        checked_actor("hyperr")
    with pytest.raises(UnknownNameError, match="did you mean 'hidden'"):
        checked_actor({"kind": "mlp", "hiden": [3]})
    with pytest.raises(ConfigError, match="table with kind"):
        checked_actor({"hidden": [3]})
