"""Models in a context, beside models that are loaded from files in which the numbers are changed by hand."""

import xml.etree.ElementTree as ET
from pathlib import Path

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from hyperrl_envs.contextual.arrays import read_arrays
from hyperrl_envs.contextual.verify import contextual_layer
from tests.envs.contextual.suite_cases import GYMNASIUM, shared

# For each parameter the elements and the attribute that it multiplies.
SCALED = {
    "gravity": (("option", "gravity"),),
    "friction": (("geom", "friction"),),
    "damping": (("joint", "damping"),),
    "motor_strength": (("motor", "gear"),),
    "armature": (("joint", "armature"),),
    "density": (("geom", "density"),),
    "mass": (("geom", "density"),),
}
# What MuJoCo takes where a file says nothing.
ABSENT = {"gravity": "0 0 -9.81", "friction": "1 0.005 0.0001", "density": "1000"}


def changed_file(path, changes, factor):
    tree = ET.parse(path)
    root = tree.getroot()
    for tag, attribute in changes:
        if tag == "option":
            element = root.find("option")
            element.set(attribute, times(element.get(attribute, ABSENT[attribute]), factor))
            continue
        default = root.find(f"default/{tag}")
        standard = (default.get(attribute) if default is not None else None) or ABSENT.get(attribute, "")
        if attribute in ABSENT and attribute not in (default.attrib if default is not None else {}):
            default.set(attribute, ABSENT[attribute])
        for element in root.iter(tag):
            if attribute in element.attrib:
                words = element.get(attribute).split()
                if attribute == "friction":
                    # One number in a file leaves the other two as they are by default.
                    words += standard.split()[len(words) :]
                element.set(attribute, times(" ".join(words), factor))
    return ET.tostring(root, encoding="unicode")


def times(text, factor):
    return " ".join(repr(float(word) * factor) for word in text.split())


@pytest.mark.parametrize("factor", [0.61, 1.37])
@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("env_id", GYMNASIUM)
def test_a_factor_is_that_of_the_numbers_in_the_file(env_id, name, factor):
    if name == "armature" and env_id not in ("hyperrl/ContextualHopper-v0", "hyperrl/ContextualAnt-v0"):
        pytest.skip("this body has next to no armature")
    path = expand_model_path(GYMNASIUM[env_id])
    text = Path(path).read_text()
    if name in ("density", "mass"):
        if env_id == "hyperrl/ContextualHalfCheetah-v0":
            text = text.replace('settotalmass="14"', f'settotalmass="{14 * factor!r}"')
            expected = mujoco.MjModel.from_xml_string(text)
        else:
            expected = mujoco.MjModel.from_xml_string(changed_file(path, SCALED[name], factor))
    else:
        expected = mujoco.MjModel.from_xml_string(changed_file(path, SCALED[name], factor))
    env, _ = shared(env_id, name)
    param = contextual_layer(env).context_space[name]
    value = param.default * factor if param.op == "set" else factor
    env.reset(options={"context": {name: value}})
    assert_close(env.unwrapped.model, expected)


def hopper_with_legs(factor):
    """The file of Hopper with longer bones, every number by hand."""
    height = 0.3 + 0.95 * factor
    knee = -0.45 * factor - 0.25 * factor
    changes = {
        'pos="0 0 1.25"': f'pos="0 0 {height!r}"',
        'pos="0 0 -1.25"': f'pos="0 0 {-height!r}"',
        'ref="1.25"': f'ref="{height!r}"',
        'pos="0 0 -0.22500000000000009"': f'pos="0 0 {-0.225 * factor!r}"',
        'size="0.05 0.22500000000000003"': f'size="0.05 {0.225 * factor!r}"',
        'pos="0 0 -0.70000000000000007"': f'pos="0 0 {knee!r}"',
        'pos="0 0 0.25"': f'pos="0 0 {0.25 * factor!r}"',
        'size="0.04 0.25"': f'size="0.04 {0.25 * factor!r}"',
        'pos="0.13 0 -0.35"': f'pos="0.13 0 {-0.25 * factor - 0.1!r}"',
    }
    text = Path(expand_model_path("hopper.xml")).read_text()
    text = text[text.index("<mujoco") :]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return mujoco.MjModel.from_xml_string(text)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_longer_legs_of_hopper_are_those_of_a_file_with_longer_legs(factor):
    env, _ = shared("hyperrl/ContextualHopper-v0", "limb_length")
    env.reset(options={"context": {"limb_length": factor}})
    assert_close(env.unwrapped.model, hopper_with_legs(factor))


def assert_close(model, expected):
    found = read_arrays(model)
    for name, values in read_arrays(expected).items():
        if values.dtype.kind == "f":
            scale = np.abs(values).max(initial=0.0) + 1e-9
            assert np.allclose(found[name], values, rtol=1e-9, atol=1e-12 * scale + 1e-13), name
        else:
            assert np.array_equal(found[name], values), name
