"""Several seeds trained as one stack against one agent at a time, updated with the same transitions."""

import copy
import itertools

import numpy as np
import pytest
import torch

from hyperrl import CompiledSAC, CompiledTD3, HyperSAC, HyperTD3, SeedStack
from hyperrl_agents.compiled_sac.update import SACUpdate
from hyperrl_agents.compiled_td3.update import TD3Update
from tests.sb3.seeds.stacks import KWARGS, SIZES, WIDTHS, Each, envs, noise, stack_of
from tests.sb3.toys import PointEnv


def drawn_by_hand(stack, seed):
    """The transitions and noise of one seed's next update, one transition at a time."""
    tensors, buffer = stack._streams.tensors(), stack.replay_buffer
    turn, per_seed = int(tensors["counter"]), stack.envs_per_seed
    names = ("observations", "next_observations", "actions", "rewards", "dones")
    batch = {name: [] for name in names}
    for place in tensors["places"][turn, seed].tolist():
        index = int(place * buffer.size() * per_seed)
        row, env = index // per_seed, seed * per_seed + index % per_seed
        for name in ("observations", "next_observations", "actions"):
            batch[name].append(torch.tensor(getattr(buffer, name)[row, env]))
        batch["rewards"].append(torch.tensor([buffer.rewards[row, env]]))
        ended = buffer.dones[row, env] and not buffer.timeouts[row, env]
        batch["dones"].append(torch.tensor([float(ended)]))
    batch = {name: torch.stack(values).float() for name, values in batch.items()}
    batch |= {name: value[turn, seed] for name, value in tensors["noise"].items()}
    return batch | {"discounts": torch.tensor(stack.gamma)}


def update_alone(agent, stack, batch):
    """Make the stack's next update for one agent."""
    number = stack._n_updates + 1
    if isinstance(agent, CompiledTD3):
        update = TD3Update(agent, compiled=False)
        update.refresh()
        update.critics(batch)
        if number % agent.policy_delay == 0:
            update.actor(batch["observations"])
    else:
        update = SACUpdate(agent, compiled=False)
        update.refresh()
        update.step(batch, move_targets=True)


# Every day each agent with one environment for a seed and with two, which goes with a fixed temperature.
CASES = [
    pytest.param(cls, per_seed, fixed, marks=() if fixed == (per_seed == 2) else pytest.mark.slow)
    for cls, per_seed, fixed in itertools.product(KWARGS, (1, 2), (False, True))
]


@pytest.mark.parametrize(("cls", "per_seed", "fixed"), CASES)
def test_each_seed_learns_what_it_would_learn_alone_from_the_same_transitions(cls, per_seed, fixed):
    kwargs = {"ent_coef": 0.1} if fixed and "SAC" in cls.__name__ else {}
    stack = stack_of(cls, per_seed=per_seed, **kwargs)
    alone = []

    def before_update(model):
        if model.num_timesteps <= model.learning_starts:
            return
        if not alone:
            alone.extend(copies_of(model))
        # The numbers of the next update, without drawing them twice.
        saved = model._streams.state()
        model._streams.next()
        batches = [drawn_by_hand(model, seed) for seed in range(len(model.seeds))]
        model._streams.restore(saved)
        for agent, batch in zip(alone, batches, strict=True):
            update_alone(agent, model, batch)

    stack.learn(10 + 8 * per_seed, callback=Each(before_update))
    assert stack._n_updates == 8
    assert alone
    for agent, own in zip(alone, stack.agents, strict=True):
        for (name, expected), found in zip(
            agent.policy.state_dict().items(), own.policy.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)
        for optimizer, other in (
            (agent.actor.optimizer, own.actor.optimizer),
            (agent.critic.optimizer, own.critic.optimizer),
        ):
            for one, two in zip(optimizer.state.values(), other.state.values(), strict=True):
                assert float(one["step"]) == float(two["step"]) > 0
                torch.testing.assert_close(two["exp_avg"], one["exp_avg"], rtol=1e-3, atol=1e-6)


def copies_of(stack):
    """Agents that are not in the stack, in the state of those that are before the first update."""
    copies = []
    for agent in stack.agents:
        fixed = getattr(agent, "ent_coef_optimizer", 1) is None
        kwargs = {"ent_coef": 0.1} if fixed else {}
        single = type(agent)(
            "MlpPolicy", PointEnv(), **copy.deepcopy({**SIZES, **KWARGS[type(agent)], **kwargs})
        )
        single.policy.load_state_dict(agent.policy.state_dict())
        copies.append(single)
    return copies


@pytest.mark.parametrize("cls", [CompiledTD3, HyperSAC])
def test_a_seed_does_not_depend_on_the_others(cls):
    first = stack_of(cls, seeds=(3, 4), action_noise=noise()).learn(40)
    second = stack_of(cls, seeds=(4, 7, 9), action_noise=noise()).learn(40)
    there, here = first.replay_buffer.packed[:, 1], second.replay_buffer.packed[:, 0]
    assert there.shape == (60, 11)
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(here[:10], there[:10])
    for found, expected in zip(
        second.agents[0].policy.state_dict().values(),
        first.agents[1].policy.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_seeds_differ_and_the_same_seeds_give_the_same():
    first, again = (stack_of(CompiledTD3, action_noise=noise()).learn(30) for _ in range(2))
    np.testing.assert_array_equal(first.replay_buffer.packed, again.replay_buffer.packed)
    assert not np.array_equal(first.replay_buffer.packed[:, 0], first.replay_buffer.packed[:, 1])
    weights = [agent.policy.actor.mu[0].weight for agent in first.agents]
    assert not torch.equal(*weights)


def test_agents_begin_as_they_would_alone():
    stack = stack_of(CompiledTD3)
    for seed, agent in zip(stack.seeds, stack.agents, strict=True):
        alone = CompiledTD3(
            "MlpPolicy", PointEnv(), seed=seed, **copy.deepcopy({**SIZES, **KWARGS[CompiledTD3]})
        )
        for found, expected in zip(
            agent.policy.state_dict().values(), alone.policy.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("cls", [HyperTD3, CompiledSAC])
def test_the_stack_acts_as_its_agents_do(cls):
    stack = stack_of(cls).learn(30)
    observations = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
    together, state = stack.predict(observations, deterministic=True)
    assert state is None
    for index, agent in enumerate(stack.agents):
        part = slice(3 * index, 3 * index + 3)
        alone, _ = agent.predict(observations[part], deterministic=True)
        np.testing.assert_allclose(together[part], alone, rtol=1e-4, atol=1e-5)


def test_a_policy_that_draws_draws_only_when_it_is_asked_to():
    stack = stack_of(CompiledSAC).learn(20)
    observations = np.zeros((2, 3), np.float32)
    best = [stack.predict(observations, deterministic=True)[0] for _ in range(2)]
    drawn = [stack.predict(observations)[0] for _ in range(2)]
    np.testing.assert_array_equal(*best)
    assert not np.array_equal(*drawn)


def test_steps_are_those_of_each_seed():
    stack = stack_of(CompiledTD3, per_seed=2, train_freq=3, gradient_steps=2)
    stack.learn(40)
    # Seven times three steps of two environments each; the first updates come after more than ten steps.
    assert stack.num_timesteps == 42
    assert stack._n_updates == 2 * 6
    assert (stack.replay_buffer.pos, stack.replay_buffer.buffer_size) == (21, 30)


def test_losses_are_means_over_updates_and_seeds():
    stack = stack_of(CompiledTD3)
    logged = []
    stack.learn(
        50, callback=Each(lambda model: logged.append(dict(model.logger.name_to_value))), log_interval=1
    )
    losses = stack._updates.losses()
    assert losses["critic_loss"].shape == (2,)
    assert np.isfinite(losses["actor_loss"].numpy()).all()
    assert stack._updates.losses() == {}


def test_with_overlap_actions_are_those_of_the_networks_before_the_update():
    stack = stack_of(CompiledTD3, overlap=True)
    stack.learn(20)
    before = [copy.deepcopy(agent.policy) for agent in stack.agents]
    # As in `learn`: the last observations are known, and the update is about to be made.
    stack._acting._awaited = None
    stack.train(1, 16)
    awaited = stack._acting._awaited.receive()
    for index, policy in enumerate(before):
        expected = policy.predict(stack._last_obs[index : index + 1], deterministic=True)[0]
        np.testing.assert_allclose(
            stack.policy.unscale_action(awaited[index]), expected, rtol=1e-5, atol=1e-5
        )
    assert not torch.equal(before[0].critic.qf0[0].weight, stack.agents[0].policy.critic.qf0[0].weight)


def test_actions_that_were_asked_for_are_not_those_of_new_episodes():
    stack = stack_of(CompiledTD3, overlap=True, learning_starts=0).learn(20)
    policies = [copy.deepcopy(agent.policy) for agent in stack.agents]
    stack.env.seed(5)
    first = stack.env.reset()
    stack.env.seed(5)
    stack.learn(1)
    row = stack.replay_buffer.packed[20]
    np.testing.assert_allclose(row[:, :3], first)
    for index, policy in enumerate(policies):
        action = policy.predict(first[index : index + 1], deterministic=True)[0]
        np.testing.assert_allclose(row[index, 6:8], stack.policy.scale_action(action)[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cls", list(KWARGS))
def test_compiled_stacks_compute_the_same(cls):
    plain = stack_of(cls).learn(20)
    compiled = stack_of(cls, compile=True).learn(20)
    assert compiled._updates._graphs["all" if "TD3" in cls.__name__ else "moving"].fallback is None
    for found, expected in zip(
        compiled.policy.state_dict().values(), plain.policy.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_it_learns_a_task_with_every_seed():
    stack = SeedStack(
        CompiledSAC,
        "MlpPolicy",
        envs(3),
        (0, 1, 2),
        **{**SIZES, "buffer_size": 2000},
        learning_rate=3e-3,
        gamma=0.5,
        policy_kwargs=WIDTHS,
    )
    stack.learn(600)
    env = PointEnv()
    for agent in stack.agents:
        returns = []
        for seed in range(5):
            observation, _ = env.reset(seed=seed)
            total, done = 0.0, False
            while not done:
                action, _ = agent.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                total, done = total + reward, terminated or truncated
            returns.append(total)
        random_returns = _random_returns(env)
        assert np.mean(returns) > 0.5 * np.mean(random_returns), (returns, random_returns)


def _random_returns(env):
    generator = np.random.default_rng(0)
    totals = []
    for seed in range(5):
        env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            _, reward, terminated, truncated, _ = env.step(generator.uniform(-1, 2, 2).astype(np.float32))
            total, done = total + reward, terminated or truncated
        totals.append(total)
    return totals
