"""Steps with everything on the device: what they return, how episodes begin and end, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, HyperRLError, ShapeError, UnsupportedEnvError
from hyperrl_envs.warp import SUPPORTED
from tests.envs.warp.cases import (
    NEEDS_WARP,
    OTHER_SETTINGS,
    gymnasium_step,
    random_action,
    relative_error,
    states_on_the_way,
    tensors,
)

pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Kernels are compiled when first needed.

from hyperrl_envs.warp.simulation import WarpSimulation  # noqa: E402

WORLDS = 8
CASES = [(env_id, settings) for env_id in SUPPORTED for settings in [{}, *OTHER_SETTINGS[env_id]]]


def build(env_id, count=WORLDS, seed=0, **arguments):
    return WarpSimulation(env_id, count, device="cpu", seed=seed, **arguments)


def actions_of(simulation, steps, seed=1):
    space, generator = simulation.action_space, np.random.default_rng(seed)
    size = (steps, simulation.n_envs, *space.shape)
    return torch.from_numpy(generator.uniform(space.low, space.high, size).astype(np.float32))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("env_id", "settings"), CASES)
def test_a_step_from_the_same_state_is_gymnasiums(env_id, settings):
    env = make_env(env_id, settings)
    simulation = build(env_id, **settings)
    assert env.action_space == simulation.action_space
    assert env.observation_space.shape == (simulation.observation_size,)
    state = states_on_the_way(env_id, WORLDS)
    actions = random_action(env, np.random.default_rng(5), WORLDS)
    expected = [
        gymnasium_step(env, *row, action)
        for row, action in zip(zip(*state, strict=True), actions, strict=True)
    ]
    first, last, rewards, terminated = (np.array(part) for part in zip(*expected, strict=True))
    assert relative_error(simulation.place(*tensors(*state)), first) < 1e-5
    step = simulation.step_tensors(torch.from_numpy(actions))
    # Humanoid's observation has forces of 500 N, whose smallest components have their rounding.
    assert relative_error(step.final_observations, last) < (3e-3 if "Humanoid" in env_id else 1e-4)
    assert relative_error(step.rewards, rewards) < 1e-4
    assert step.terminated.tolist() == terminated.tolist()
    assert not step.truncated.any()
    # Where the episode goes on, so does the observation; elsewhere another one has begun.
    begun = (step.observations != step.final_observations).any(dim=1)
    assert begun.tolist() == terminated.tolist()


def test_episodes_are_truncated_at_the_limit_and_begin_anew():
    simulation = build("HalfCheetah-v5", max_episode_steps=5)
    first = simulation.reset()
    for number, actions in enumerate(actions_of(simulation, 12), start=1):
        step = simulation.step_tensors(actions)
        assert step.truncated.all() == (number % 5 == 0)
        assert step.truncated.any() == (number % 5 == 0)
        assert not step.terminated.any()
        if number % 5 == 0:
            qpos, qvel = simulation.views["qpos"], simulation.views["qvel"]
            assert torch.equal(step.observations, torch.cat([qpos[:, 1:], qvel], dim=1))
            assert float(qpos.abs().max()) <= 0.1
            assert not torch.equal(step.observations, first)
            assert float((step.final_observations - step.observations).abs().amax(dim=1).min()) > 0.1
            assert not simulation.views["ctrl"].any()
        else:
            assert torch.equal(step.observations, step.final_observations)


@pytest.mark.parametrize(("limit", "expected"), [(None, 1000), (-1, None), (7, 7)])
def test_the_limit_is_the_registered_one_unless_another_is_given(limit, expected):
    arguments = {} if limit is None else {"max_episode_steps": limit}
    simulation = build("InvertedPendulum-v5", 1, **arguments)
    assert simulation.spec.max_episode_steps == (-1 if expected is None else expected)
    simulation.reset()
    simulation._lengths.fill_(6 if expected is None else expected - 1)
    assert bool(simulation.step_tensors(torch.zeros(1, 1)).truncated) == (expected is not None)


@pytest.mark.parametrize("env_id", ["InvertedPendulum-v5", "Hopper-v5", "Walker2d-v5"])
def test_what_ends_by_itself_terminates_and_begins_anew_alone(env_id):
    simulation = build(env_id, 16)
    simulation.reset()
    ends = torch.zeros(16)
    lengths = torch.zeros(16)
    for actions in actions_of(simulation, 150):
        step = simulation.step_tensors(actions)
        lengths += 1
        assert not step.truncated.any()
        on = ~step.terminated
        assert torch.equal(step.observations[on], step.final_observations[on])
        if env_id == "InvertedPendulum-v5":
            assert torch.equal(step.terminated, step.final_observations[:, 1].abs() > 0.2)
            assert bool((step.observations[step.terminated].abs() <= 0.01).all())
        ends += step.terminated
        lengths[step.terminated] = 0
        assert torch.equal(simulation._lengths, lengths.long())
    assert float(ends.min()) >= 1


@pytest.mark.parametrize("env_id", ["Hopper-v5", "InvertedDoublePendulum-v5", "Reacher-v5", "Ant-v5"])
def test_an_environment_does_what_it_does_alone(env_id):
    many = build(env_id, 5, seed=20, max_episode_steps=30)
    one = build(env_id, 1, seed=23, max_episode_steps=30)
    assert torch.equal(many.reset()[3:4], one.reset())
    ends = 0
    for actions in actions_of(many, 70):
        step, alone = many.step_tensors(actions), one.step_tensors(actions[3:4])
        assert same([part[3:4] for part in step], alone)
        ends += int(alone.terminated | alone.truncated)
    assert ends >= 2


@pytest.mark.parametrize("env_id", ["Hopper-v5", "InvertedDoublePendulum-v5", "Ant-v5"])
def test_going_through_with_new_episodes_for_nobody_changes_nothing(env_id):
    ends = []
    for looks in (True, False):
        simulation = build(env_id, 4, max_episode_steps=20)
        simulation._looks = looks
        start = simulation.reset()
        ends.append([start, *(simulation.step_tensors(actions) for actions in actions_of(simulation, 50))])
    assert torch.equal(ends[0][0], ends[1][0])
    assert all(same(one, other) for one, other in zip(ends[0][1:], ends[1][1:], strict=True))


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Reacher-v5"])
def test_captured_steps_are_those_launched_one_by_one_bit_for_bit(env_id):
    steps = []
    for captured in (True, False):
        simulation = build(env_id, 3, captured=captured, max_episode_steps=10)
        simulation.reset()
        steps.append([simulation.step_tensors(actions) for actions in actions_of(simulation, 15)])
    assert all(same(one, other) for one, other in zip(*steps, strict=True))


def test_seeds_decide_everything_and_can_be_given_again():
    one, other, third = (build("Reacher-v5", 3, seed=seed) for seed in (4, 4, 5))
    first = one.reset()
    assert torch.equal(first, other.reset())
    assert torch.equal(first[1:], third.reset()[:2])
    assert not torch.equal(one.reset(), first)
    one.seed([4, None, 6])
    again = one.reset()
    assert torch.equal(again[[0, 2]], first[[0, 2]])
    assert not torch.equal(again[1], first[1])
    assert not torch.equal(build("Reacher-v5", 3, seed=None).reset(), first)


def test_what_a_step_returns_stays_as_it_is_and_nothing_moves():
    simulation = build("InvertedPendulum-v5", 4)
    simulation.reset()
    places = {name: view.data_ptr() for name, view in simulation.views.items()}
    steps = [simulation.step_tensors(actions) for actions in actions_of(simulation, 40)]
    copies = [[part.clone() for part in step] for step in steps]
    for actions in actions_of(simulation, 40, seed=2):
        simulation.step_tensors(actions)
    assert all(same(step, copy) for step, copy in zip(steps, copies, strict=True))
    assert any(bool(step.terminated.any()) for step in steps)
    assert {name: view.data_ptr() for name, view in simulation.views.items()} == places
    assert places == {name: getattr(simulation.data, name).ptr for name in places}
    pointers = {part.data_ptr() for step in steps for part in step}
    assert len(pointers) == 5 * len(steps)


@pytest.mark.parametrize("env_id", ["Ant-v5", "Hopper-v5"])
def test_a_saved_state_goes_on_bit_for_bit(env_id):
    simulation = build(env_id, 4, max_episode_steps=25)
    simulation.reset()
    actions = actions_of(simulation, 60)
    for batch in actions[:20]:
        simulation.step_tensors(batch)
    state = simulation.get_state()
    expected = [simulation.step_tensors(batch) for batch in actions[20:]]
    other = build(env_id, 4, seed=99, max_episode_steps=25)
    other.set_state(state)
    found = [other.step_tensors(batch) for batch in actions[20:]]
    assert all(same(one, another) for one, another in zip(found, expected, strict=True))
    for wrong in (build(env_id, 3), build("Swimmer-v5", 4)):
        with pytest.raises(UnsupportedEnvError, match="the state is of other environments"):
            wrong.set_state(state)


def test_wrong_input_is_refused():
    simulation = build("Reacher-v5", 2)
    with pytest.raises(HyperRLError, match="step was called before reset"):
        simulation.step_tensors(torch.zeros(2, 2))
    simulation.reset()
    for wrong in (torch.zeros(3, 2), torch.zeros(2, 3), torch.zeros(2)):
        with pytest.raises(ShapeError, match=r"step needs actions of shape \(2, 2\)"):
            simulation.step_tensors(wrong)
    with pytest.raises(ConfigError, match="the actions are on meta, but the simulation is on cpu"):
        simulation.step_tensors(torch.zeros(2, 2, device="meta"))
    with pytest.raises(
        ShapeError, match=r"place needs shapes \(2, 4\) and \(2, 4\), got \(2, 4\) and \(2, 5\)"
    ):
        simulation.place(torch.zeros(2, 4), torch.zeros(2, 5))
    for name in ("nconmax", "njmax"):
        with pytest.raises(ConfigError, match=f"{name} must be a whole number"):
            build("Reacher-v5", **{name: -1})
    for count in (0, 1.5, "8"):
        with pytest.raises(ConfigError, match="n_envs must be a whole number"):
            build("Reacher-v5", count)


def test_double_precision_actions_and_gradients_are_taken_as_they_are():
    simulation, other = build("Reacher-v5", 2), build("Reacher-v5", 2)
    simulation.reset(), other.reset()
    actions = torch.full((2, 2), 0.25, requires_grad=True)
    step = simulation.step_tensors(actions)
    assert not any(part.requires_grad for part in step)
    assert same(step, other.step_tensors(actions.detach().double()))
    assert step.rewards.dtype == torch.float32


def test_too_little_room_is_said():
    simulation = build("HalfCheetah-v5", 4, njmax=2)
    simulation.reset()
    actions = actions_of(simulation, 60)
    with pytest.warns(RuntimeWarning, match=r"njmax = 2, .* build it with more, for example"):
        [simulation.step_tensors(batch) for batch in actions]
