"""The room for contacts and constraints is enough."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from hyperrl_envs.warp import HUMANOID_NEWTON, SUPPORTED
from hyperrl_envs.warp.buffers import choose_room, most_room
from hyperrl_envs.warp.tasks import read_setting


def thrown(model, throws, steps, seed=0):
    """The most contacts and rows that bodies have which are thrown in any position with strong actions."""
    generator = np.random.default_rng(seed)
    data = mujoco.MjData(model)
    most = [0, 0]
    for _ in range(throws):
        mujoco.mj_resetData(model, data)
        data.qpos[:] += generator.normal(scale=0.7, size=model.nq)
        mujoco.mj_normalizeQuat(model, data.qpos)
        data.qvel[:] = generator.normal(scale=3, size=model.nv)
        for _ in range(steps):
            data.ctrl[:] = generator.choice([-1, 1], model.nu)
            mujoco.mj_step(model, data)
            most = [max(most[0], data.ncon), max(most[1], data.nefc)]
    return most


@pytest.mark.parametrize("env_id", sorted(set(SUPPORTED) - {HUMANOID_NEWTON}))
def test_no_state_of_a_task_can_exceed_its_room(env_id):
    model = read_setting(env_id, {}).model
    assert choose_room(model) == most_room(model)
    contacts, rows = thrown(model, 20, 50)
    assert contacts <= choose_room(model).contacts
    assert rows <= choose_room(model).rows


def test_falling_humanoids_leave_a_margin():
    model = read_setting(HUMANOID_NEWTON, {}).model
    room, most = choose_room(model), most_room(model)
    assert most.contacts > room.contacts
    assert most.rows > room.rows
    contacts, rows = thrown(model, 20, 150)
    assert contacts < room.contacts
    assert 1.2 * rows < room.rows


def test_the_most_is_counted_from_the_model():
    xml = """<mujoco>
      <worldbody>
        <geom type="plane" size="1 1 1"/>
        <body><freejoint/><geom type="capsule" size=".1 .2"/>
          <body><joint type="hinge" range="-1 1" limited="true"/><geom type="sphere" size=".1"/></body>
        </body>
        <body><freejoint/><geom type="box" size=".1 .1 .1" condim="1"/></body>
      </worldbody>
      <contact><exclude body1="bodyless" body2="other"/></contact>
    </mujoco>"""
    xml = xml.replace('<contact><exclude body1="bodyless" body2="other"/></contact>', "")
    # Plane with capsule 2, sphere 1, box 8; box with capsule 8 and sphere 8; four rows each, a limit two.
    assert most_room(mujoco.MjModel.from_xml_string(xml)) == (27, 27 * 4 + 2)
