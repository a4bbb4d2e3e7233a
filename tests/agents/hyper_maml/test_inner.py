"""Inner steps against gradients written out by hand, and the outer gradients through them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl_agents.hyper_maml.actor import ADAPTS
from hyperrl_agents.hyper_maml.inner import InnerRule, MetaObjective, adapted
from hyperrl_agents.hyper_maml.trust_region import flat_gradient
from tests.agents.hyper_maml.cases import make_actor, make_batch, make_conditions, one

RATE = 0.3
ACTORS = {adapt: "modular" if adapt == "coefficients" else "hyper" for adapt in ADAPTS}


def toy_log_prob(weights, log_std, states, actions):
    """The policy of `make_actor("mlp")`, written out: 3 inputs, 5 units, 2 outputs."""
    w1, b1, w2, b2 = weights.split([15, 5, 10, 2])
    hidden = torch.tanh(states @ w1.view(5, 3).T + b1)
    mean = hidden @ w2.view(2, 5).T + b2
    return Normal(mean, log_std.exp()).log_prob(actions).sum(1), mean


def toy_outer(weights, log_std, before, after, old, steps, second_order):
    """Mean outer loss over tasks of plain MAML, task by task, on the toy."""
    total = 0
    for task in range(len(after.states)):
        w, s = weights, log_std
        for batch in before[:steps]:
            states, actions, advantages = one(batch, task)
            if not second_order:
                point_w, point_s = w.detach().requires_grad_(), s.detach().requires_grad_()
            else:
                point_w, point_s = w, s
            loss = -(toy_log_prob(point_w, point_s, states, actions)[0] * advantages).mean()
            gw, gs = torch.autograd.grad(loss, (point_w, point_s), create_graph=second_order)
            w, s = w - RATE * gw, s - RATE * gs
        states, actions, advantages = one(after, task)
        log_prob, _ = toy_log_prob(w, s, states, actions)
        reference = Normal(old.mean[task], old.log_std[task].exp()).log_prob(after.actions[task]).sum(1)
        total = total - ((log_prob - reference[after.mask[task]]).exp() * advantages).mean()
    return total / len(after.states)


def objective_of(actor, rule, steps=1):
    before, after = [make_batch(seed=s) for s in range(10, 10 + steps)], make_batch(seed=20)
    conditions = make_conditions(actor)
    own = adapted(actor, actor.by_name(), conditions, before, InnerRule(rule.adapt, rule.rate))
    old = actor.gaussian(actor.task_weights(actor.by_name(), own, conditions), after.states).detach()
    return MetaObjective(actor, conditions, before, after, old, rule)


def away_from(actor, scale=0.1):
    """Other parameters: where nothing is special about the ratio of the policies."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("first_order", [True, False])
def test_outer_gradients_are_those_of_the_toy_by_hand(first_order, steps):
    actor = make_actor("mlp")
    objective = objective_of(actor, InnerRule("all", RATE, first_order), steps)
    away_from(actor)
    weights, log_std = (p.detach().clone().requires_grad_() for p in (actor.network.weights, actor.log_std))
    loss = toy_outer(
        weights, log_std, objective.before, objective.after, objective.old, steps, not first_order
    )
    expected = torch.autograd.grad(loss, (log_std, weights))
    parameters = [actor.log_std, actor.network.weights]
    found_loss, _ = objective()
    torch.testing.assert_close(found_loss, loss, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(found_loss, parameters)
    for ours, hand in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, hand, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["hyper", "mlp", "concat"])
def test_the_orders_differ_and_agree_without_a_rate(kind):
    def gradient(rate, first_order):
        actor = make_actor(kind)
        objective = objective_of(actor, InnerRule("all", rate, first_order))
        away_from(actor)
        return flat_gradient(objective()[0], list(actor.parameters()))

    torch.testing.assert_close(gradient(1e-14, True), gradient(1e-14, False), rtol=1e-9, atol=1e-11)
    first, second = gradient(RATE, True), gradient(RATE, False)
    assert torch.cosine_similarity(first, second, dim=0) < 0.9999


def test_second_order_is_the_derivative_of_the_loss():
    """Against differences of the loss itself, for a policy that is generated."""
    actor = make_actor("hyper")
    objective = objective_of(actor, InnerRule("all", 0.01, first_order=False))
    away_from(actor, 0.01)
    parameters = list(actor.parameters())
    gradient = flat_gradient(objective()[0], parameters)
    first = flat_gradient(replace(objective, rule=InnerRule("all", 0.01))()[0], parameters)
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def moved(distance):
        start = torch.nn.utils.parameters_to_vector(parameters).detach()
        torch.nn.utils.vector_to_parameters(start + distance * direction, parameters)
        value = objective()[0].item()
        torch.nn.utils.vector_to_parameters(start, parameters)
        return value

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert float(gradient @ direction) == pytest.approx(slope, rel=1e-5)
    assert float(first @ direction) != pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize("kind", ["hyper", "mlp"])
def test_first_order_is_what_loading_adapted_parameters_by_value_gives(kind):
    """The published code loads what was adapted into the module, and differentiates by the module's own."""
    actor = make_actor(kind)
    objective = objective_of(actor, InnerRule("all", RATE, first_order=True))
    away_from(actor)
    total = 0
    for task in range(3):
        module = copy.deepcopy(actor)
        condition = objective.conditions[task : task + 1]
        batch = [part[task : task + 1] for part in objective.before[0]]
        policy = module.gaussian(module.task_weights(module.by_name(), {}, condition), batch[0])
        log_prob = policy.log_prob(batch[1])
        inner_loss = -(log_prob * batch[2] * batch[3]).sum() / batch[3].sum()
        gradients = torch.autograd.grad(inner_loss, list(module.parameters()), create_graph=True)
        state = {
            name: parameter - RATE * gradient
            for (name, parameter), gradient in zip(module.named_parameters(), gradients, strict=True)
        }
        module.load_state_dict(state)
        states, actions, advantages, mask = (part[task : task + 1] for part in objective.after)
        policy = module.gaussian(module.task_weights(module.by_name(), {}, condition), states)
        mean, spread = objective.old.mean[task], objective.old.log_std[task].exp()
        reference = Normal(mean, spread).log_prob(actions[0]).sum(1)
        ratio = (policy.log_prob(actions)[0] - reference).exp()
        loss = -(ratio * advantages[0] * mask[0]).sum() / mask.sum()
        total = total + flat_gradient(loss, list(module.parameters())) / 3
    ours = flat_gradient(objective()[0], list(actor.parameters()))
    torch.testing.assert_close(ours, total, rtol=1e-10, atol=1e-13)


def test_tasks_adapt_each_by_itself():
    for kind in ("hyper", "mlp", "concat"):
        actor, batch = make_actor(kind), make_batch()
        conditions = make_conditions(actor)
        together = adapted(actor, actor.by_name(), conditions, [batch], InnerRule("all", RATE))
        for task in range(3):
            rows = slice(task, task + 1)
            alone = adapted(
                actor,
                actor.by_name(),
                conditions[rows],
                [type(batch)(*(part[rows] for part in batch))],
                InnerRule("all", RATE),
            )
            for name, value in alone.items():
                torch.testing.assert_close(together[name][rows], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("adapt", ADAPTS)
def test_each_mode_changes_exactly_its_parameters(adapt):
    actor, batch = make_actor(ACTORS[adapt]), make_batch()
    conditions = make_conditions(actor)
    parameters = actor.by_name()
    own = adapted(actor, parameters, conditions, [batch], InnerRule(adapt, RATE))
    heads = {name for name in parameters if ".head." in name}
    assert heads
    assert heads != set(parameters) - {"log_std"}
    expected = {"all": set(parameters), "heads": heads, "context": {"condition"}}
    assert set(own) == expected.get(adapt, {adapt})
    before = actor.start(parameters, conditions, adapt)
    for name, value in own.items():
        assert value.shape == before[name].shape
        assert not torch.equal(value, before[name]), name
    assert actor.by_name().keys() == parameters.keys()
    tasks, old = (actor.task_weights(parameters, part, conditions) for part in (own, {}))
    assert not torch.equal(tasks.weights, old.weights)
    assert torch.equal(tasks.conditions, old.conditions) == (adapt != "context")
    assert torch.equal(tasks.log_std, old.log_std) == (adapt != "all")


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("adapt", ADAPTS)
def test_every_mode_trains_every_parameter(adapt, first_order):
    actor = make_actor(ACTORS[adapt])
    objective = objective_of(actor, InnerRule(adapt, RATE, first_order))
    away_from(actor)
    gradients = torch.autograd.grad(objective()[0], list(actor.parameters()))
    for (name, _), gradient in zip(actor.named_parameters(), gradients, strict=True):
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("adapt", ADAPTS)
def test_a_step_down_the_inner_loss_makes_it_smaller(adapt):
    actor, batch = make_actor(ACTORS[adapt]), make_batch()
    conditions = make_conditions(actor)

    def loss(own):
        policy = actor.gaussian(actor.task_weights(actor.by_name(), own, conditions), batch.states)
        return -((policy.log_prob(batch.actions) * batch.advantages * batch.mask).sum(1) / batch.mask.sum(1))

    after = adapted(actor, actor.by_name(), conditions, [batch], InnerRule(adapt, 1e-3))
    assert (loss(after) < loss({})).all()


def test_what_cannot_be_adapted_is_refused():
    for kind in ("mlp", "hyper"):
        with pytest.raises(ConfigError, match="with the hypernet 'modular', which mixes templates"):
            make_actor(kind).check_adapts("coefficients")
    actor = make_actor("mlp")
    for adapt in ("heads", "generated"):
        with pytest.raises(ConfigError, match=f"adapt='{adapt}' is for the actor 'hyper'"):
            actor.check_adapts(adapt)
    with pytest.raises(ConfigError, match="needs an actor that sees the context"):
        actor.check_adapts("context")
    make_actor("concat").check_adapts("context")
    with pytest.raises(UnknownNameError, match="did you mean 'heads'"):
        actor.check_adapts("head")
