"""The robots' models and what a length makes of them, beside models that are written or known otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from hyperrl_envs.contextual.families import cheetah, finger, walker
from hyperrl_envs.contextual.suites.suite import suite_of

IDS = ("hyperrl/CheetahRun-v0", "hyperrl/WalkerWalk-v0", "hyperrl/FingerSpin-v0")
TASKS = {
    "hyperrl/CheetahRun-v0": cheetah.CheetahRun,
    "hyperrl/WalkerWalk-v0": walker.WalkerWalk,
    "hyperrl/FingerSpin-v0": finger.FingerSpin,
}
# What another length changes in the text of the file.
TEXTS = {
    "hyperrl/CheetahRun-v0": lambda length: {
        'fromto="-0.5 0 0 0.5 0 0"': f'fromto="{-length} 0 0 {length} 0 0"',
        'pos="0.6 0 0.1"': f'pos="{length + 0.1} 0 0.1"',
        '"bthigh" pos="-0.5 0 0"': f'"bthigh" pos="{-length} 0 0"',
        '"fthigh" pos="0.5 0 0"': f'"fthigh" pos="{length} 0 0"',
        'inertiafromgeom="true"': 'inertiafromgeom="true" settotalmass="14"',
    },
    "hyperrl/WalkerWalk-v0": lambda length: {'size="0.07 0.3"': f'size="0.07 {length}"'},
    "hyperrl/FingerSpin-v0": lambda length: {
        'fromto="0 0 0 0.16 0 0"': f'fromto="0 0 0 {length} 0 0"',
        'fromto="0.13 0 0 0.161 0 0"': f'fromto="{length - 0.03} 0 0 {length + 0.001} 0 0"',
        'pos="0.2 0 0.4"': f'pos="{length + 0.04} 0 0.4"',
        'size="0.04 0.09"': f'size="0.04 {length - 0.07}"',
    },
}


def written(env_id, length):
    """The model of a file whose text says the length."""
    text = Path(TASKS[env_id]().xml_file).read_text(encoding="utf-8")
    for old, new in TEXTS[env_id](length).items():
        assert old in text, old
        text = text.replace(old, new)
    return mujoco.MjModel.from_xml_string(text)


def arrays_of(model):
    names = [name for name in dir(model) if re.match("body_|geom_|jnt_|dof_|actuator_|site_|qpos0", name)]
    return {name: np.array(getattr(model, name)) for name in names}


def test_the_cheetah_is_gymnasiums():
    own = arrays_of(mujoco.MjModel.from_xml_path(cheetah.CheetahRun().xml_file))
    others = arrays_of(mujoco.MjModel.from_xml_path(expand_model_path("half_cheetah.xml")))
    drawn = {"geom_rgba", "geom_matid", "geom_user"}
    for name in set(own) - drawn:
        found, expected = own[name], others[name]
        if name == "geom_size":  # The floor is endless.
            found, expected = found[1:], expected[1:]
        assert np.allclose(found, expected, rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_length_gives_the_model_whose_file_says_it(env_id, share):
    suite = suite_of(env_id)
    param = suite.params["length"]
    length = param.low + share * (param.high - param.low)
    env = suite(context=["length"])
    env.reset(options={"context": {"length": length}})
    found, expected = arrays_of(env.unwrapped.model), arrays_of(written(env_id, length))
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("env_id", IDS)
def test_the_published_length_leaves_the_file_as_it_is(env_id):
    suite = suite_of(env_id)
    spec = mujoco.MjSpec.from_file(TASKS[env_id]().xml_file)
    plain = arrays_of(spec.compile())
    suite.edits["length"](spec, suite.params["length"], suite.params["length"].default)
    edited = arrays_of(spec.compile())
    for name, values in plain.items():
        assert np.allclose(edited[name], values, rtol=1e-14, atol=1e-15), name


@pytest.mark.parametrize("length", [0.3, 0.41, 0.5, 0.7])
def test_the_cheetah_always_weighs_14_kg(length):
    env = suite_of("hyperrl/CheetahRun-v0")(context=["length"])
    env.reset(options={"context": {"length": length}})
    masses = env.unwrapped.model.body_mass
    assert masses.sum() == pytest.approx(14, abs=1e-12)
    # What the torso gains the other links lose; both in kg, as Gymnasium has them.
    assert np.sign(np.round(masses[1] - 6.25020921, 6)) == np.sign(length - 0.5)
    assert np.sign(np.round(masses[2] - 1.54351464, 6)) == np.sign(0.5 - length)


def test_the_walkers_mass_grows_by_its_torso_alone():
    env = suite_of("hyperrl/WalkerWalk-v0")(context=["length"])
    masses = {}
    for length in (0.1, 0.5):
        env.reset(options={"context": {"length": length}})
        masses[length] = env.unwrapped.model.body_mass.copy()
    grown = 1000 * np.pi * 0.07**2 * 2 * 0.4  # A cylinder, 0.8 m longer.
    assert masses[0.5][1] - masses[0.1][1] == pytest.approx(grown, rel=1e-12)
    assert np.array_equal(masses[0.5][2:], masses[0.1][2:])


def test_nothing_falls_in_the_fingers_world():
    env = suite_of("hyperrl/FingerSpin-v0")(context=["speed"]).unwrapped
    env.reset(seed=0)
    data = env.data
    data.qpos[:], data.qvel[:] = [0.3, -1.2, 0.5], 0
    mujoco.mj_forward(env.model, data)
    assert data.ncon == 0
    assert np.array_equal(data.qacc, np.zeros(3))


@pytest.mark.parametrize("env_id", IDS)
def test_ranges_of_starts_are_those_of_the_joints(env_id):
    task = TASKS[env_id]()
    model = mujoco.MjModel.from_xml_path(task.xml_file)
    expected = {index: model.jnt_range[index] for index in np.flatnonzero(model.jnt_limited)}
    hinges = {"hyperrl/CheetahRun-v0": {}, "hyperrl/WalkerWalk-v0": {2}, "hyperrl/FingerSpin-v0": {2}}[env_id]
    expected |= dict.fromkeys(hinges, (-np.pi, np.pi))
    assert set(task.drawn) == set(expected)
    for index, drawn in task.drawn.items():
        assert drawn == pytest.approx(expected[index], abs=1e-12)
    assert model.nq == model.njnt
