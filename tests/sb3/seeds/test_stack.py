"""Several seeds trained as one stack against one agent at a time, updated with the same transitions."""

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch.utils import _pytree as pytree

from hyperrl import CompiledPPO, CompiledSAC, CompiledTD3, HyperSAC, HyperTD3, SeedStack
from hyperrl.compiled.capture import warm_up
from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.run.health import DivergenceWarning, HealthCallback
from hyperrl_agents.compiled_sac.update import SACUpdate
from hyperrl_agents.compiled_td3.update import TD3Update
from tests.sb3.toys import TINY, PointEnv

SIZES = {"learning_starts": 10, "batch_size": 16, "buffer_size": 60, "device": "cpu", "compile": False}
WIDTHS = {"net_arch": [16, 16]}
KWARGS = {
    CompiledTD3: {"policy_kwargs": WIDTHS},
    HyperTD3: {"policy_kwargs": {"net_arch": [16], "critic": TINY}},
    CompiledSAC: {"policy_kwargs": WIDTHS},
    HyperSAC: {"policy_kwargs": {"net_arch": [16], "critic": TINY}},
}


def envs(count, env=PointEnv):
    return DummyVecEnv([env for _ in range(count)])


def noise():
    return NormalActionNoise(np.zeros(2), np.full(2, 0.1))


def stack_of(cls, seeds=(3, 4), per_seed=1, env=PointEnv, **kwargs):
    kwargs = copy.deepcopy({**SIZES, **KWARGS.get(cls, {}), **kwargs})
    return SeedStack(cls, "MlpPolicy", envs(len(seeds) * per_seed, env), seeds, **kwargs)


class Each(BaseCallback):
    """Calls a function before the updates of each step."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _on_rollout_end(self):
        self.function(self.model)

    def _on_step(self):
        return True


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


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("per_seed", [1, 2])
@pytest.mark.parametrize("cls", list(KWARGS))
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


def test_what_is_awaited_is_part_of_a_checkpoint():
    stacks = [stack_of(CompiledSAC, overlap=True) for _ in range(2)]
    stacks[0].learn(20)
    state = stacks[0].checkpoint_state()
    assert state["acting"]["awaited"].shape == (2, 1, 2)
    stacks[1].learn(13)
    stacks[1].restore_checkpoint_state(state)
    again = stacks[1].checkpoint_state()
    np.testing.assert_array_equal(again["acting"].pop("awaited"), state["acting"].pop("awaited"))
    assert again["acting"] == state["acting"]
    first, second = (stack._streams for stack in stacks)
    for _ in range(130):
        for streams in (first, second):
            streams.next()
            streams.tensors()["counter"].add_(1)
        turn = int(first.tensors()["counter"]) - 1
        assert turn == int(second.tensors()["counter"]) - 1
        assert torch.equal(first.tensors()["places"][turn], second.tensors()["places"][turn])
        assert torch.equal(first.tensors()["noise"]["noise"][turn], second.tensors()["noise"]["noise"][turn])


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


def test_every_place_of_the_random_numbers_can_be_where_a_graph_is_recorded():
    stack = stack_of(CompiledTD3).learn(20)
    updates = stack._updates
    for counter in range(64):
        stack._streams.tensors()["counter"].fill_(counter)
        for graph in updates._graphs.values():
            before = [leaf.clone() for leaf in graph._state_leaves]
            warm_up(
                lambda *leaves, graph=graph: graph._function(
                    pytree.tree_unflatten(leaves, pytree.tree_structure(graph._state)), ()
                ),
                graph._state_leaves,
                [],
                unchanged=graph._unchanged,
            )
            assert all(torch.equal(a, b) for a, b in zip(graph._state_leaves, before, strict=True))


def test_counts_are_those_of_the_stack_at_any_time():
    stack = stack_of(HyperTD3)
    seen = []

    def look(model):
        agent = model.agents[1]
        state = agent.get_parameters()["critic.optimizer"]["state"]
        seen.append((float(state[0]["step"]), agent._n_updates, agent.num_timesteps, model._n_updates))

    stack.learn(30, callback=Each(look))
    assert all(step == updates == own for step, updates, _, own in seen)
    assert seen[-1] == (19, 19, 30, 19)

    class StopError(Exception):
        pass

    def stop(model):
        if model.num_timesteps == 25:
            raise StopError

    with pytest.raises(StopError):
        stack_of(HyperTD3).learn(30, callback=Each(stop))
    stopped = stack_of(HyperTD3)
    with pytest.raises(StopError):
        stopped.learn(30, callback=Each(stop))
    assert float(stopped.agents[0].critic.optimizer.state_dict()["state"][0]["step"]) == 14


def test_copying_one_seed_onto_another_in_the_middle_keeps_the_counts():
    stack = stack_of(CompiledTD3)

    def copy_over(model):
        if model.num_timesteps == 20:
            model.agents[1].set_parameters(model.agents[0].get_parameters())

    stack.learn(30, callback=Each(copy_over))
    assert stack._learner.tensors.adam["critic"].counted.tolist() == [20, 20]


def test_a_saved_agent_goes_on_alone_with_a_buffer_of_its_own(tmp_path):
    stack = stack_of(HyperTD3, stats_window_size=7).learn(30)
    stack.agents[0].save(tmp_path / "agent")
    alone = HyperTD3.load(tmp_path / "agent", env=PointEnv(), device="cpu")
    assert (alone.num_timesteps, alone._n_updates, alone.replay_buffer.buffer_size) == (30, 20, 60)
    alone.learn(40, reset_num_timesteps=False)
    assert alone.replay_buffer.pos == 40
    assert stack.ep_info_buffer.maxlen == 7


def test_graphs_are_kept_from_one_learning_to_the_next():
    stack = stack_of(CompiledTD3).learn(20)
    made = stack._updates
    stack.learn(10, reset_num_timesteps=False)
    assert stack._updates is made
    stack.make_updates(compiled=True)
    assert stack._updates is not made


@pytest.mark.parametrize(
    ("changes", "steps", "expected"),
    [
        ({}, 110, 100),
        ({"gradient_steps": 5}, 110, 500),
        ({"gradient_steps": -1, "train_freq": 4}, 110, 100),
        ({"train_freq": 50}, 110, 2),
    ],
)
def test_so_many_updates_are_expected(changes, steps, expected):
    assert stack_of(CompiledTD3, **changes)._expected_updates(steps) == expected


def test_arguments_of_the_buffer_are_passed_on():
    stack = stack_of(CompiledTD3, replay_buffer_kwargs={"handle_timeout_termination": False}).learn(25)
    assert not stack.replay_buffer.handle_timeout_termination
    assert not stack.replay_buffer.timeouts.any()


def test_a_buffer_that_was_saved_or_copied_is_what_is_learned_from(tmp_path):
    stack = stack_of(CompiledTD3).learn(30)
    stack.save_replay_buffer(tmp_path / "buffer")
    stack.load_replay_buffer(tmp_path / "buffer.pkl")
    stack.learn(10, reset_num_timesteps=False)
    copied = copy.deepcopy(stack.replay_buffer)
    for buffer in (stack.replay_buffer, copied):
        assert torch.equal(buffer.rows, torch.from_numpy(buffer.packed))
        buffer.packed[0] = 5.0
        assert (buffer.rows[0] == 5.0).all()
    assert stack._updates.buffer is stack.replay_buffer


def test_values_that_explode_are_seen_through_the_mean_of_the_seeds():
    stack = stack_of(CompiledSAC, learning_rate=1.0, gamma=0.5)
    with pytest.warns(DivergenceWarning):
        stack.learn(30, callback=HealthCallback())


def test_an_agent_that_is_loaded_in_the_middle_is_what_learns_on():
    stack = stack_of(CompiledTD3).learn(30)
    other = stack_of(CompiledTD3, seeds=(8, 9)).learn(30)
    stack.agents[0].set_parameters(other.agents[0].get_parameters())
    moments = copy.deepcopy(other.agents[0].critic.optimizer.state_dict()["state"][0]["exp_avg"])
    stack._updates.refresh()
    state = stack._learner.tensors
    torch.testing.assert_close(
        state.networks["actor"]["mu.0.weight"][0], other.agents[0].actor.mu[0].weight.detach(), rtol=0, atol=0
    )
    assert any(
        torch.equal(value[0], moments)
        for value in state.adam["critic"].moments.values()
        if value[0].shape == moments.shape
    )
    stack.learn(40, reset_num_timesteps=False)
    assert float(stack.agents[0].critic.optimizer.state_dict()["state"][0]["step"]) > 20


def test_a_stack_of_one_is_an_agent():
    stack = stack_of(HyperTD3, seeds=(0,)).learn(30)
    assert len(stack.agents) == 1
    assert stack._n_updates == 20


class Dictionary(PointEnv):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict({"a": self.observation_space})


def refuse(match, *args, error=ConfigError, **kwargs):
    with pytest.raises(error, match=match):
        stack_of(*args, **kwargs)


def test_what_cannot_be_stacked_is_refused_by_name():
    refuse("PPO cannot be trained with several seeds", CompiledPPO)
    refuse("TD3 cannot be trained with several seeds at once: HyperTD3", TD3)
    refuse("different numbers", CompiledTD3, seeds=(1, 1))
    refuse("seed must be", CompiledTD3, seeds=(-1, 1))
    refuse("vectors of floating-point numbers", CompiledTD3, env=Dictionary)
    refuse(
        "NormalActionNoise around zero", CompiledTD3, action_noise=NormalActionNoise(np.ones(2), np.ones(2))
    )
    ornstein = OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2))
    refuse("NormalActionNoise around zero", CompiledTD3, action_noise=ornstein)
    refuse("train_freq in steps", CompiledTD3, train_freq=(1, "episode"), seeds=(1,))
    refuse("replay buffer of another kind", CompiledTD3, n_steps=3)
    refuse("state-dependent exploration", CompiledSAC, use_sde=True)
    refuse(
        "one group of parameters|torch.optim.Adam",
        CompiledTD3,
        policy_kwargs={"optimizer_class": torch.optim.SGD},
    )
    with pytest.raises(ConfigError, match="same number of environments, got 3 together"):
        SeedStack(CompiledTD3, "MlpPolicy", envs(3), (0, 1))
    for env in (PointEnv(), "Pendulum-v1"):
        with pytest.raises(ConfigError, match="need a vectorised environment"):
            SeedStack(CompiledTD3, "MlpPolicy", env, (0, 1))
    with pytest.raises(ConfigError, match="seeds must be different numbers, such as"):
        SeedStack(CompiledTD3, "MlpPolicy", envs(2), 2)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            SeedStack(CompiledTD3, "MlpPolicy", envs(2), (0, 1), device="cuda")
    with pytest.raises(ConfigError, match="VecNormalize"):
        SeedStack(CompiledTD3, "MlpPolicy", VecNormalize(envs(2)), (0, 1))


def test_a_stack_says_how_it_is_saved_and_what_it_acts_on():
    stack = stack_of(CompiledTD3)
    with pytest.raises(ConfigError, match=r"stack\.agents\[0\]\.save"):
        stack.save("stack.zip")
    with pytest.raises(ShapeError, match=r"\[2 N, 3\], got \(3, 3\)"):
        stack.predict(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"\[2 N, 3\], got \(2, 5\)"):
        stack.predict(np.zeros((2, 5)))
    with pytest.raises(ShapeError, match="must be numbers"):
        stack.predict({"a": 1})
    with pytest.raises(ConfigError, match="part of a stack of seeds"):
        stack.agents[0].learn(10)
    with pytest.raises(NonFiniteError):
        stack.predict(np.full((2, 3), np.nan))


def test_its_agents_can_be_saved_and_loaded(tmp_path):
    stack = stack_of(HyperTD3).learn(30)
    stack.agents[1].save(tmp_path / "seed")
    loaded = HyperTD3.load(tmp_path / "seed", device="cpu")
    observation = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0],
        stack.agents[1].predict(observation, deterministic=True)[0],
    )
    assert float(loaded.critic.optimizer.state_dict()["state"][0]["step"]) == 20
    # Of the stack's tensors only the agent's own parts.
    alone = HyperTD3("MlpPolicy", PointEnv(), **copy.deepcopy({**SIZES, **KWARGS[HyperTD3]})).learn(30)
    alone.save(tmp_path / "alone")
    sizes = [(tmp_path / f"{name}.zip").stat().st_size for name in ("seed", "alone")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


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


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@on_gpu
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("cls", list(KWARGS))
def test_on_a_gpu_graphs_compute_what_the_functions_do(cls, overlap):
    kwargs = {"device": "cuda", "overlap": overlap}
    plain, graphs = (stack_of(cls, compile=compiled, **kwargs).learn(30) for compiled in (False, True))
    assert graphs._updates.fallbacks == []
    for graph in graphs._updates._graphs.values():
        assert None not in graph._captures.values()
    for found, expected in zip(
        graphs.policy.state_dict().values(), plain.policy.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@on_gpu
@pytest.mark.parametrize("counter", [0, 61, 62, 63])
def test_on_a_gpu_graphs_are_recorded_wherever_the_random_numbers_are(counter):
    stack = stack_of(CompiledTD3, device="cuda", compile=True)
    stack.learn(11 + counter)
    stack._updates._graphs.clear()
    stack.learn(4, reset_num_timesteps=False)
    assert all(torch.isfinite(value).all() for value in stack.policy.state_dict().values())


@on_gpu
def test_on_a_gpu_an_agent_that_is_loaded_in_the_middle_is_what_learns_on():
    stack = stack_of(CompiledTD3, device="cuda", compile=True).learn(30)
    stack.agents[1].set_parameters(stack.agents[0].get_parameters())
    stack.learn(10, reset_num_timesteps=False)
    assert stack._learner.tensors.adam["critic"].counted.tolist() == [30, 30]


@on_gpu
def test_on_a_gpu_the_rows_are_those_of_the_cpu():
    stack = stack_of(CompiledSAC, device="cuda").learn(100)
    assert stack.replay_buffer.full
    np.testing.assert_array_equal(stack.replay_buffer.rows.cpu().numpy(), stack.replay_buffer.packed)
