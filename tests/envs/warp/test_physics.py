"""MuJoCo Warp simulates what MuJoCo does, captured or not, on arrays that stay where they are."""

from __future__ import annotations

import functools
import warnings

import mujoco
import numpy as np
import pytest
import torch

from hyperrl_envs.warp import SUPPORTED
from hyperrl_envs.warp.buffers import Room, choose_room
from hyperrl_envs.warp.tasks import read_setting
from tests.envs.warp.cases import NEEDS_WARP, relative_error, states_on_the_way

pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # Kernels are compiled when first needed.

from hyperrl_envs.warp.physics import Physics  # noqa: E402

WORLDS, STEPS = 16, 50
# The largest errors of one simulation step that were measured, times about five: (positions, velocities).
ONE_STEP = {
    "Ant-v5": (5e-7, 1e-5),
    "HalfCheetah-v5": (2e-6, 1e-4),
    "Hopper-v5": (2e-7, 2e-6),
    "InvertedDoublePendulum-v5": (2e-7, 5e-7),
    "InvertedPendulum-v5": (1e-7, 5e-7),
    "Pusher-v5": (2e-7, 1e-5),
    "Reacher-v5": (2e-7, 2e-6),
    "Swimmer-v5": (2e-7, 2e-6),
    "Walker2d-v5": (2e-7, 2e-5),
    "hyperrl/HumanoidNewton-v5": (5e-7, 5e-5),
}


@functools.cache
def built(env_id, captured=True, room=None):
    model = read_setting(env_id, {}).model
    reads = ("xpos", "cfrc_ext")
    room = room or choose_room(model)
    device = torch.device("cpu")
    return Physics(model, WORLDS, device, room=room, frame_skip=1, reads=reads, captured=captured)


def put(physics, positions, velocities, controls):
    for name, values in (("qpos", positions), ("qvel", velocities), ("ctrl", controls)):
        physics.views[name].copy_(torch.from_numpy(values))
    physics.views["qacc_warmstart"].zero_()


def random_controls(model, shape=(WORLDS,)):
    low, high = model.actuator_ctrlrange.T
    return np.random.default_rng(2).uniform(low, high, (*shape, model.nu)).astype(np.float32)


def mujoco_steps(model, positions, velocities, controls):
    """Positions [steps, worlds, nq] and velocities [steps, worlds, nv] as MuJoCo computes them."""
    steps = []
    for index in range(len(positions)):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = positions[index], velocities[index]
        for control in controls:
            data.ctrl[:] = control[index]
            mujoco.mj_step(model, data)
            steps.append(np.concatenate([data.qpos, data.qvel]))
    result = np.array(steps).reshape(len(positions), len(controls), -1).swapaxes(0, 1)
    return result[..., : model.nq], result[..., model.nq :]


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_one_step_is_that_of_mujoco(env_id):
    model = read_setting(env_id, {}).model
    state = states_on_the_way(env_id, WORLDS)
    controls = random_controls(model)
    physics = built(env_id)
    put(physics, *state, controls)
    physics.step()
    expected = mujoco_steps(model, *state, controls[None])
    errors = [relative_error(physics.views[n], e[0]) for n, e in zip(("qpos", "qvel"), expected, strict=True)]
    assert errors[0] < ONE_STEP[env_id][0]
    assert errors[1] < ONE_STEP[env_id][1]


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_fifty_steps_drift_as_mujoco_does_after_a_change_of_the_last_digit(env_id):
    model = read_setting(env_id, {}).model
    positions, velocities = states_on_the_way(env_id, WORLDS)
    controls = random_controls(model, (STEPS, WORLDS))
    physics = built(env_id)
    put(physics, positions, velocities, controls[0])
    for control in controls:
        physics.views["ctrl"].copy_(torch.from_numpy(control))
        physics.step()
    expected = mujoco_steps(model, positions, velocities, controls)[0][-1]
    found = np.abs(physics.views["qpos"].numpy() - expected).max(axis=1)
    # How far MuJoCo itself gets from there when each velocity is another by about as much as float32 rounds.
    nudge = 1e-6 * np.random.default_rng(3).choice([-1, 1], velocities.shape)
    nudged = mujoco_steps(model, positions, velocities + nudge, controls)[0][-1]
    drift = np.abs(nudged - expected).max(axis=1)
    assert np.median(found) < 10 * np.median(drift) + 5e-6


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "hyperrl/HumanoidNewton-v5"])
def test_captured_steps_are_those_launched_one_by_one_bit_for_bit(env_id):
    model = read_setting(env_id, {}).model
    controls = random_controls(model, (8, WORLDS))
    ends = []
    for captured in (True, False):
        physics = built(env_id, captured)
        put(physics, *states_on_the_way(env_id, WORLDS), controls[0])
        for control in controls:
            physics.views["ctrl"].copy_(torch.from_numpy(control))
            physics.step()
        physics.settle()
        ends.append({name: view.clone() for name, view in physics.views.items()})
    assert ends[0].keys() >= {"qpos", "qvel", "qacc_warmstart", "ctrl", "xpos", "cfrc_ext"}
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_views_are_the_simulators_own_memory_and_stay_there():
    physics = built("HalfCheetah-v5")
    before = {name: view.data_ptr() for name, view in physics.views.items()}
    assert before == {name: getattr(physics.data, name).ptr for name in physics.views}
    physics.views["qpos"][3, 2] = 0.25
    assert physics.data.qpos.numpy()[3, 2] == 0.25
    put(physics, *states_on_the_way("HalfCheetah-v5", WORLDS), np.zeros((WORLDS, 6), np.float32))
    for _ in range(20):
        physics.step()
        physics.settle()
    assert {name: view.data_ptr() for name, view in physics.views.items()} == before
    assert {name: getattr(physics.data, name).ptr for name in physics.views} == before


def test_contacts_of_steep_capsules_have_mujocos_frames():
    model = read_setting("Ant-v5", {}).model
    positions, velocities = states_on_the_way("Ant-v5", WORLDS)
    physics = built("Ant-v5")
    put(physics, positions, velocities, np.zeros((WORLDS, model.nu), np.float32))
    physics.settle()
    contact = physics.data.contact
    count = int(physics.data.nacon.numpy()[0])
    worlds, frames = contact.worldid.numpy()[:count], contact.frame.numpy()[:count].reshape(-1, 9)
    shapes = contact.geom.numpy()[:count]
    steep = 0
    for world in range(WORLDS):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = positions[world], velocities[world]
        mujoco.mj_forward(model, data)
        own = {tuple(shapes[i]): frames[i] for i in np.flatnonzero(worlds == world)}
        assert sum(worlds == world) == data.ncon
        for pair, frame in zip(data.contact.geom, data.contact.frame, strict=True):
            axis = data.geom_xmat[pair[1]].reshape(3, 3)[:, 2]
            steep += abs(axis[2]) > 0.87 and model.geom_type[pair[1]] == mujoco.mjtGeom.mjGEOM_CAPSULE
            assert relative_error(own[tuple(pair)], frame) < 1e-5
    assert steep >= 3


def test_what_does_not_fit_is_said_once_and_only_then():
    state = states_on_the_way("HalfCheetah-v5", WORLDS)
    fallen = np.tile(np.array([0, -0.5, *[0] * 7], np.float32), (WORLDS, 1))
    controls = np.zeros((WORLDS, 6), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        physics = built("HalfCheetah-v5")
        for positions in (state[0], fallen):
            put(physics, positions, state[1], controls)
            for _ in range(3):
                physics.step()
                physics.note_overflow()
    for room, name in ((Room(16, 3), "njmax"), (Room(1, 76), "nconmax")):
        physics = Physics(
            read_setting("HalfCheetah-v5", {}).model,
            WORLDS,
            torch.device("cpu"),
            room=room,
            frame_skip=2,
            reads=(),
        )
        put(physics, fallen, state[1], controls)
        physics.step()
        physics.note_overflow()
        with pytest.warns(RuntimeWarning, match=rf"{name} = .* left out: build it with more") as said:
            physics.note_overflow()
        assert len(said) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            physics.note_overflow()


def test_unsupported_solvers_are_refused():
    from hyperrl.errors import UnsupportedEnvError

    model = read_setting("HalfCheetah-v5", {}).model
    model.opt.solver = mujoco.mjtSolver.mjSOL_PGS
    with pytest.raises(UnsupportedEnvError, match=r"cannot simulate the model: .*PGS"):
        Physics(model, 1, torch.device("cpu"), room=Room(16, 76), frame_skip=1, reads=())
