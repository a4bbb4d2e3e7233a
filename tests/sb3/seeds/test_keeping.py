"""What a stack keeps: counts, buffers, graphs, what it awaits; and how its agents are saved and loaded."""

import copy

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from hyperrl import CompiledSAC, CompiledTD3, HyperTD3
from hyperrl.compiled.capture import warm_up
from hyperrl.run.health import DivergenceWarning, HealthCallback
from tests.sb3.seeds.stacks import KWARGS, SIZES, Each, stack_of
from tests.sb3.toys import PointEnv


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
