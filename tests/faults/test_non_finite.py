"""NaN and infinity from every source, in every agent, stop the run within one update and are named."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise

from hyperrl.errors import NonFiniteError
from hyperrl.run.health import HealthCallback
from hyperrl_agents.hyper_ppo import HyperPPO
from tests.faults.injection import (
    BAD_ENV,
    ONLINE,
    At,
    FaultyTrain,
    actor_weight,
    build,
    critic_weight,
    make_envs,
    on_policy,
    spoil,
)

STEPS = 300
# HyperTD3 and HyperSAC are the two left out, with other critics.
AGENTS = [name for name in ONLINE if name not in ("compiled-td3", "compiled-sac")]
VALUES = [float("nan"), float("inf"), float("-inf")]
every_agent = pytest.mark.parametrize("name", AGENTS)
every_value = pytest.mark.parametrize("value", VALUES, ids=str)
# The normaliser of Stable-Baselines3 computes with them before anybody can look.
numpy_warns = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")


def stopped(agent, *callbacks):
    """Learn until the run is stopped, and return the sentence that says why."""
    with pytest.raises(NonFiniteError) as caught:
        agent.learn(STEPS, callback=[HealthCallback(), *callbacks])
    text = str(caught.value)
    assert "\n" not in text
    return text


def all_finite(agent):
    return all(bool(th.isfinite(value).all()) for value in agent.policy.state_dict().values())


def faulty(env):
    return env.unwrapped.envs[BAD_ENV]


FROM_ENVS = {
    "obs": r"environment 1 gave an observation of {} \(column 2\) at step 27",
    "obs in dict": r"environment 1 gave an observation of {} \('sense', column 2\) at step 27",
    "first": r"environment 1 gave a first observation of {} \(column 2\) at step 30",
    "reset": r"environment 1 gave an observation of {} \(column 2\) at step 0",
    "terminal": r"environment 1 gave a last observation of {} \(column 2\) at step 30",
    "reward": r"environment 1 gave a reward of {} at step 27",
    "context": r"environment 1 has a context of {} \('mass'\) at step 27",
    "context in array": r"environment 1 has a context of {} \(column 1\) at step 27",
}


@every_agent
@every_value
@pytest.mark.parametrize("source", FROM_ENVS)
def test_a_value_of_an_environment(name, value, source):
    fault, _, kind = source.partition(" in ")
    env = make_envs(fault, value, in_dict=kind == "dict", context=kind or "dict")
    agent = build(name, env)
    counter = FaultyTrain(agent)
    assert re.fullmatch(FROM_ENVS[source].format(value), stopped(agent))
    assert faulty(env).injected
    assert faulty(env).steps_since_fault == 0
    assert all_finite(agent)
    # Nothing of it has been stored, and it was not learned from.
    buffer = agent.rollout_buffer if on_policy(name) else agent.replay_buffer
    assert np.isfinite(buffer.rewards).all()
    updates = {"reset": 0, "first": 7, "terminal": 7}.get(fault, 6)
    assert counter.calls == (min(updates, 2) if on_policy(name) else updates)


@numpy_warns
@every_agent
@every_value
@pytest.mark.parametrize("source", ["obs", "reward", "terminal", "reset"])
def test_a_value_of_an_environment_behind_a_normaliser(name, value, source):
    env = make_envs(source, value)
    agent = build(name, env, normalised=True)
    if source == "terminal" and np.isinf(value):
        # The normaliser clips it before anybody sees it.
        agent.learn(60, callback=HealthCallback())
        assert all_finite(agent)
        return
    assert re.search(rf"environment 1 gave an? (last )?(observation|reward) of {value}", stopped(agent))
    assert faulty(env).steps_since_fault == 0
    assert all_finite(agent)


@every_agent
@every_value
def test_an_action(name, value):
    agent = build(name)

    def spoiled_samples(distribution):
        own = distribution.sample

        def sample():
            drawn = own()
            drawn[BAD_ENV, 1] = value
            return drawn

        distribution.sample = sample
        distribution.log_prob = lambda actions: th.zeros(len(actions))  # The own one refuses NaN.
        return distribution

    def spoil_actions(agent):
        method = "forward" if on_policy(name) else "_predict"
        # It draws from distributions of its own while it collects.
        method = "distribution_of" if isinstance(agent, HyperPPO) else method
        own = getattr(agent.policy, method)

        def bad(*args, **kwargs):
            result = own(*args, **kwargs)
            if isinstance(agent, HyperPPO):
                return spoiled_samples(result)
            (result[0] if isinstance(result, tuple) else result)[BAD_ENV, 1] = value
            return result

        setattr(agent.policy, method, bad)

    at = At(10, spoil_actions)
    text = stopped(agent, at)
    assert "environment 1" in text
    assert f"an action of {value}" in text
    assert "column 1" in text
    assert "though all its weights are finite" in text
    assert at.steps_after == 0
    assert all_finite(agent)


@pytest.mark.parametrize("cls", [TD3, SAC])
@every_value
@pytest.mark.parametrize("noise", [False, True])
def test_an_action_of_stable_baselines3s_own_policies(cls, value, noise):
    options = {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.1))} if noise else {}
    agent = build(cls.__name__.lower(), cls=cls, **options)
    own = agent._sample_action

    def sample(*args, **kwargs):
        actions, stored = own(*args, **kwargs)
        if agent.num_timesteps == 30:
            actions[BAD_ENV, 0] = value
        return actions, stored

    agent._sample_action = sample
    source = "the policy, or its action noise," if noise else "the policy"
    assert stopped(agent) == (
        f"{source} gave environment 1 an action of {value} (column 0) though all its weights are finite "
        "at step 33"
    )


@every_agent
@every_value
@pytest.mark.parametrize("which", ["actor", "critic", "target", "temperature"])
def test_a_weight(name, value, which):
    agent = build(name)
    if which == "actor" or (which == "target" and on_policy(name)):
        weight, tensor = actor_weight(agent)
    elif which == "temperature" and "sac" in name:
        weight, tensor = "log_ent_coef", agent.log_ent_coef
    else:
        weight, tensor = critic_weight(agent)
        if which == "target":
            weight = weight.replace("critic.", "critic_target.")
            tensor = dict(agent.policy.named_parameters())[weight]
    update = FaultyTrain(agent, after=lambda _: spoil(tensor, value))
    text = stopped(agent)
    assert text.startswith(f"the weight {weight} is {value}, found after update ")
    assert re.search(r"at step \d+$", text)
    assert update.calls_after == 0


@every_agent
@every_value
@pytest.mark.parametrize("which", [actor_weight, critic_weight])
def test_a_gradient_within_an_update(name, value, which):
    agent = build(name)
    weight, tensor = which(agent)

    def spoil_gradient(_):
        def hook(gradient):
            bad = gradient.clone()
            spoil(bad, value)
            return bad

        tensor.register_hook(hook)

    update = FaultyTrain(agent, before=spoil_gradient)
    text = stopped(agent)
    assert text.startswith("the gradient of ")
    if not on_policy(name):
        # PPO clips all gradients by their common norm, which spoils all at once.
        assert text.startswith(f"the gradient of {weight} is {value}")
    assert update.calls_after == 0


@every_agent
@every_value
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_a_gradient_with_finite_weights(name, value, kind):
    agent = build(name)
    weight = actor_weight(agent)[0].replace("weight", kind)
    tensor = dict(agent.policy.named_parameters())[weight]
    update = FaultyTrain(agent, after=lambda _: spoil(tensor.grad, value))
    assert stopped(agent).startswith(f"the gradient of {weight} is {value}, found after update ")
    assert update.calls_after == 0
    assert all_finite(agent)


@every_agent
@every_value
@pytest.mark.parametrize("part", ["observations", "actions", "rewards"])
def test_a_row_of_a_buffer(name, value, part):
    agent = build(name)
    n = 10

    def spoil_rows(agent):
        buffer = agent.rollout_buffer if on_policy(name) else agent.replay_buffer
        rows = getattr(buffer, part)[: buffer.pos]
        # Rows of a replay buffer are drawn at random: enough of them are spoilt to be drawn at once.
        rows[-1 if on_policy(name) else slice(2, None), BAD_ENV, ...] = value

    at = At(n, spoil_rows)
    update = FaultyTrain(agent, n=0)
    text = stopped(agent, at)
    if on_policy(name):
        noun, row, calls = "the rollout buffer", 0, 2
        assert at.steps_after == 2
    else:
        noun, row, calls = "the replay buffer", 2, 8
        assert at.steps_after == 0
    column = "" if part == "rewards" else r" \(column 0\)"
    assert re.match(rf"{noun} has {value} in {part} at row {row} of environment 1{column}", text)
    assert update.calls == calls


@every_agent
@every_value
def test_a_loss(name, value):
    agent = build(name)
    update = FaultyTrain(agent, after=lambda a: a.logger.record("train/critic_loss", value))
    text = stopped(agent)
    assert text.startswith(f"train/critic_loss is {value}, though gradients and weights are finite, found")
    assert update.calls_after == 0


@numpy_warns
@every_agent
@every_value
@pytest.mark.parametrize(
    ("statistic", "sentence"),
    [
        ("mean", r"the observation normaliser has a mean of \S+ \(column 0\)"),
        ("var", r"the observation normaliser has a variance of \S+ \(column 0\)"),
        ("ret_rms", r"the reward normaliser has a variance of \S+"),
        ("returns", r"environment 1 has, in the reward normaliser, a return of \S+"),
    ],
)
def test_a_statistic_of_a_normaliser(name, value, statistic, sentence):
    agent = build(name, normalised=True)
    normaliser = agent.get_vec_normalize_env()

    def spoil_statistic(_):
        if statistic == "ret_rms":
            normaliser.ret_rms.var = np.float64(value)
        elif statistic == "returns":
            normaliser.returns[BAD_ENV] = value
        else:
            getattr(normaliser.obs_rms, statistic)[:] = value

    normaliser.training = False
    at = At(10, spoil_statistic)
    update = FaultyTrain(agent, n=0)
    text = stopped(agent, at)
    assert re.match(sentence, text)
    assert update.calls == (2 if on_policy(name) else 7)
    assert at.steps_after <= (2 if on_policy(name) else 0)


@every_agent
def test_weights_that_are_not_finite_from_the_start(name):
    agent = build(name)
    weight, tensor = actor_weight(agent)
    spoil(tensor, float("nan"))
    at = At(1, lambda agent: None)
    assert stopped(agent, at) == f"the weight {weight} is nan, found after update 0 at step 0"
    assert at.n_calls == 0


@every_agent
def test_the_last_update_of_a_run_is_looked_at_too(name):
    agent = build(name)
    update = FaultyTrain(agent, n=2, after=lambda a: spoil(actor_weight(a)[1], float("nan")))
    with pytest.raises(NonFiniteError, match="the weight"):
        agent.learn(24 if on_policy(name) else 12, callback=HealthCallback())
    assert update.calls == 2


def test_without_the_callback_td3_ends_in_nan_without_a_word():
    agent = build("td3", make_envs("obs"), cls=TD3)
    agent.learn(STEPS)
    assert not all_finite(agent)


@pytest.mark.parametrize("cls", [SAC, PPO])
def test_without_the_callback_others_fail_far_from_the_cause(cls):
    agent = build(cls.__name__.lower(), make_envs("obs"), cls=cls)
    with pytest.raises(ValueError, match="constraint Real"):
        agent.learn(STEPS)
