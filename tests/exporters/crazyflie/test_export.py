"""What the format crazyflie writes, what it refuses, and that its numbers are the quadrotor's."""

import dataclasses
import re
import shutil
import subprocess
from importlib.resources import as_file, files

import numpy as np
import pytest

from hyperrl.environments import make_env
from hyperrl.errors import ArtefactError, ExportError
from hyperrl.exporters import Interface, Request, export_subject, plain_subject, verify
from hyperrl.exporters.crazyflie import CompiledController, exporter, training
from hyperrl.exporters.crazyflie.exporter import FIRMWARE_FILES
from hyperrl.plain_policy import ActionHead
from hyperrl_envs.quadrotor import robot, task
from hyperrl_envs.quadrotor.ids import QUADROTOR
from tests.exporters.crazyflie.artefacts import POLICIES, artefact, export, subject

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-Wshadow", "-Wconversion", "-Wundef"]
WARNINGS += ["-Wmissing-braces", "-Wstrict-prototypes"]


def compiled(folder, target, *flags):
    with as_file(files("hyperrl.exporters.crazyflie").joinpath("stand_ins")) as stand_ins:
        source = folder / "hyperrl_controller.c"
        command = ["cc", *flags, *WARNINGS, f"-I{folder}", f"-I{stand_ins}", "-c", source, "-o", target]
        return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)


@pytest.mark.parametrize("standard", ["-std=c11", "-std=gnu11"])
@pytest.mark.parametrize("level", ["-Os", "-O3"])
def test_the_controller_compiles_without_a_warning(standard, level, tmp_path):
    done = compiled(artefact("random"), tmp_path / "controller.o", standard, level)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "controller.o").stat().st_size > 0


def test_the_controller_needs_no_heap_and_no_double_precision(tmp_path):
    compiled(artefact("random"), tmp_path / "controller.o", "-std=gnu11", "-Os", "-ffreestanding")
    names = subprocess.run(
        ["nm", "-u", tmp_path / "controller.o"], check=True, capture_output=True, text=True
    )
    wanted = set(names.stdout.split()[1::2])
    firmware = {"controllerPid", "controllerPidInit", "controllerPidTest", "xTaskGetTickCount", "vTaskDelay"}
    policy = {"policy_act", "policy_observation_is_finite", "policy_self_test"}
    library = {"atan2f", "cosf", "fabsf", "memset", "sinf", "sincosf", "snprintf"}
    assert wanted <= firmware | policy | library | {"__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


def test_names_numbers_and_limits_are_the_environments():
    env = make_env(QUADROTOR)
    inner = env.unwrapped
    assert inner.observation_names == training.OBSERVATION_NAMES
    assert inner.observation_units == training.OBSERVATION_UNITS
    assert inner.action_names == training.ACTION_NAMES
    motors = inner.model.actuator_gainprm[:, 0] + inner.model.actuator_biasprm[:, 0]
    np.testing.assert_allclose(motors, training.MOTOR_THRUST)
    assert robot.hover_control(inner.model) < 1
    ends = (task._FURTHEST, task._FASTEST, task._FASTEST_TURN)
    assert ends == (training.POSITION_LIMIT, training.SPEED_LIMIT, training.RATE_LIMIT)
    # The watchdog must not trip, and clips must not act, where episodes begin.
    assert task._START_POSITION < training.POSITION_CLIP < training.POSITION_LIMIT
    assert task._START_HEADING < training.HEADING_CLIP
    assert task._START_VELOCITY < training.VELOCITY_CLIP < training.SPEED_LIMIT
    env.close()


def test_all_files_are_there_and_filled_in():
    folder = artefact("random")
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *FIRMWARE_FILES,
        "CRAZYFLIE.md",
        "policy.c",
        "policy.h",
        "policy_self_test.c",
        "README.md",
    }
    for path in folder.iterdir():
        if path.suffix not in (".npz", ".json"):
            assert not re.search(r"@\w+@", path.read_text()), path.name
    guide = (folder / "CRAZYFLIE.md").read_text()
    assert "Nobody has flown these files on a robot" in guide
    assert "thrusts from 0 to 0.1125 N" in guide
    table = dict(re.findall(r"\| ([\w, ()]+) \| ([\d,]+) \|", guide))
    assert table["weights"] == "1,488"
    assert "nobody has flown" in (folder / "README.md").read_text()


def test_verifying_compiles_the_controller_and_finds_changes(tmp_path):
    folder = tmp_path / "artefact"
    shutil.copytree(artefact("random"), folder)
    assert verify(folder)["exporter"] == "crazyflie"
    source = folder / "hyperrl_controller.c"
    source.write_text(source.read_text().replace("0.5f * (action", "0.6f * (action"))
    with pytest.raises(ArtefactError, match=r"hyperrl_controller\.c was changed"):
        verify(folder)


def test_a_prefix_and_int8(tmp_path):
    fitting = subject(POLICIES["random"])
    fitting = dataclasses.replace(fitting, play=lambda policy, episodes: [1.0] * episodes)
    request = Request("crazyflie", tmp_path / "out", weights="int8", prefix="hover")
    (exported,) = export_subject(fitting, [request])
    assert CompiledController(exported.folder, "hover").self_test()
    assert "obj-y += hover.o" in (exported.folder / "Kbuild").read_text()


def test_a_controller_that_does_not_command_what_the_policy_does_never_appears(tmp_path, monkeypatch):
    original = exporter._source
    monkeypatch.setattr(
        exporter,
        "_source",
        lambda name: original(name).replace("forces[motor] = share", "forces[3 - motor] = share"),
    )
    with pytest.raises(ExportError, match=r"the controller commands 0\.\d+ of full thrust more or less"):
        export(POLICIES["random"], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def other_interface(**changes):
    base = subject(POLICIES["random"])
    return dataclasses.replace(base, interface=dataclasses.replace(base.interface, **changes))


def test_policies_of_something_else_are_refused(tmp_path):
    unnamed = plain_subject(POLICIES["random"], subject(POLICIES["random"]).rollout)
    degrees = (*training.OBSERVATION_UNITS[:15], *("deg/s",) * 3)
    unbounded = dataclasses.replace(POLICIES["random"], head=ActionHead.unbounded(4))
    wide = dataclasses.replace(POLICIES["random"], head=ActionHead(np.zeros(4), np.ones(4)))
    assert isinstance(unnamed.interface, Interface)
    refused = [
        (unnamed, r"is for policies of hyperrl/Quadrotor-v0"),
        (other_interface(observation_units=degrees), "of other names or units, export it as c99"),
        (other_interface(action_names=training.ACTION_NAMES[::-1]), "of other names or units"),
        (other_interface(control_period=0.0125), r"this one acts every 12\.5 ms: choose another frame_skip"),
        (other_interface(wrappers=("FrameStack",)), "what the wrapper FrameStack did"),
        (other_interface(control_period=None), "acts every an unknown time"),
        (subject(unbounded), "actions that are bounded to -1 and 1"),
        (subject(wide), "actions that are bounded to -1 and 1"),
    ]
    for given, words in refused:
        with pytest.raises(ExportError, match=words):
            export_subject(given, [Request("crazyflie", tmp_path / "out")])
    assert not list(tmp_path.iterdir())
