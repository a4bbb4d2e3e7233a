"""Stacks where there is a GPU."""

import numpy as np
import pytest
import torch

from hyperrl import CompiledSAC, CompiledTD3
from tests.sb3.seeds.stacks import KWARGS, stack_of

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
