"""On a GPU: the same physics, nothing that waits, streams in order."""

from __future__ import annotations

import pytest
import torch

from hyperrl_envs.warp import SUPPORTED
from tests.envs.warp.cases import NEEDS_WARP, relative_error, states_on_the_way, tensors

pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # Kernels are compiled when first needed.
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

from hyperrl_envs.warp.simulation import WarpSimulation  # noqa: E402

WORLDS = 64


def build(env_id, device="cuda", **arguments):
    return WarpSimulation(env_id, WORLDS, device=device, seed=0, **arguments)


def actions_of(simulation, steps):
    generator = torch.Generator().manual_seed(1)
    high = torch.from_numpy(simulation.action_space.high)
    size = (steps, WORLDS, *simulation.action_space.shape)
    return (2 * torch.rand(size, generator=generator) - 1) * high


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_a_step_is_that_of_the_processor(env_id):
    state = states_on_the_way(env_id, WORLDS)
    steps = []
    for device in ("cpu", "cuda"):
        simulation = build(env_id, device)
        simulation.place(*(tensor.to(simulation.device) for tensor in tensors(*state)))
        actions = actions_of(simulation, 1)[0].to(simulation.device)
        steps.append([part.cpu() for part in simulation.step_tensors(actions)])
    tolerance = 3e-3 if "Humanoid" in env_id else 2e-4
    # New episodes begin with the same numbers, too.
    for own, other in zip(*steps, strict=True):
        assert relative_error(other.float(), own.float()) < tolerance


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "Pusher-v5"])
def test_steps_never_wait_for_the_device(env_id):
    simulation = build(env_id, max_episode_steps=3)
    simulation.reset()
    actions = actions_of(simulation, 8).cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps = [simulation.step_tensors(batch) for batch in actions]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [bool(step.truncated.all()) for step in steps] == [number % 3 == 2 for number in range(8)]
    assert all(part.device == simulation.device for part in steps[0])


def test_captured_steps_are_those_launched_one_by_one():
    actions = actions_of(build("HalfCheetah-v5"), 5).cuda()
    ends = []
    for captured in (True, False):
        simulation = build("HalfCheetah-v5", captured=captured)
        simulation.reset()
        ends.append([simulation.step_tensors(batch).observations for batch in actions][-1])
    # Contacts come in any order, so that sums of forces differ in their last bits.
    assert relative_error(ends[0].cpu(), ends[1].cpu()) < 1e-2


def test_work_of_the_caller_is_done_in_order():
    simulation, other = build("Swimmer-v5"), build("Swimmer-v5")
    first = simulation.reset()
    assert torch.equal(first, other.reset())
    weight = torch.randn(first.shape[1], 2, generator=torch.Generator().manual_seed(0)).cuda()
    observations, waited = first, first
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(30):
            # Much work for the stream, so that a step that did not wait for it would be early.
            noise = torch.zeros(2000, 2000, device="cuda")
            actions = (observations @ weight).tanh() + 0 * (noise @ noise).sum()
            observations = simulation.step_tensors(actions).observations
    torch.cuda.current_stream().wait_stream(stream)
    for _ in range(30):
        torch.cuda.synchronize()
        waited = other.step_tensors((waited @ weight).tanh()).observations
    assert torch.equal(observations, waited)
    views = simulation.views
    assert {name: view.data_ptr() for name, view in views.items()} == {
        name: getattr(simulation.data, name).ptr for name in views
    }
