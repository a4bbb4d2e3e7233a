"""When the controller acts, who has the motors, and what its watchdog does."""

import dataclasses
import re

import numpy as np
import pytest

from hyperrl.errors import ArtefactError, ExportError
from hyperrl.exporters.crazyflie import CompiledController, Mode, Reason, Setpoint, VehicleState
from hyperrl.exporters.crazyflie.controller import SetpointMode
from tests.exporters.crazyflie.artefacts import POLICIES, artefact, changed

LEVEL = (1.0, 0.0, 0.0, 0.0)
NEAR = VehicleState((0.1, -0.2, 0.05), (0.1, 0.0, -0.1), LEVEL, (0.2, 0.1, -0.3))
HERE = Setpoint()
NOTHING = Setpoint(modes=(SetpointMode.DISABLED,) * 7)
LEVELLING = Setpoint(
    modes=(
        *(SetpointMode.DISABLED,) * 2,
        *(SetpointMode.ABSOLUTE,) * 3,
        SetpointMode.VELOCITY,
        SetpointMode.DISABLED,
    )
)


def replaced(**changes):
    return dataclasses.replace(NEAR, **changes)


@pytest.fixture(scope="module")
def library():
    return CompiledController(artefact("random"))


@pytest.fixture
def flying(library):
    """A controller that has just given the motors to the policy, at step 1."""
    library.start()
    assert library.self_test()
    library.enable(True)
    library.step(NEAR, HERE, 1)
    assert (library.mode, library.reason) == (Mode.POLICY, Reason.NONE)
    return library


def test_the_pid_controller_flies_until_the_policy_is_switched_on(library):
    library.start()
    library.self_test()
    assert library.step(NEAR, HERE, 1).tolist() == [0] * 4
    assert (library.mode, library.pid_calls) == (Mode.PID, 1)
    library.enable(True)
    assert library.step(NEAR, HERE, 2).all()
    library.enable(False)
    library.step(NEAR, HERE, 3)
    assert (library.mode, library.pid_calls, library.pid_resets) == (Mode.PID, 2, 1)


def test_without_a_self_test_that_passed_the_policy_never_acts(tmp_path):
    untested = CompiledController(artefact("random"))
    bias = re.search(r"policy_bias_1\[4\] = \{\s+([-\d.e+]+)f", (artefact("random") / "policy.c").read_text())
    wrong = f"{float(bias.group(1)) + 0.01:.7e}f"
    folder = changed("random", tmp_path, [(f"{bias.group(1)}f", wrong)], "policy.c")
    failed = CompiledController(folder)
    assert not failed.self_test()
    for controller in (untested, failed):
        controller.enable(True)
        controller.step(NEAR, HERE, 1)
        assert (controller.mode, controller.reason) == (Mode.PID, Reason.SELF_TEST_FAILED)
        assert controller.pid_calls == 1


@pytest.mark.parametrize("first", [1, 7, 2**32 - 15])
def test_one_action_for_ten_calls_held_in_between(first, library):
    library.start()
    library.self_test()
    library.enable(True)
    draw, policy, held = np.random.default_rng(0), POLICIES["random"], None
    for call in range(35):
        state = replaced(position=tuple(draw.uniform(-0.5, 0.5, 3)))
        shares = library.step(state, HERE, (first + call) % 2**32)
        if call % 10 == 0:
            held = (policy(library.observe(state, HERE), np.float64) + 1) / 2
        np.testing.assert_allclose(shares, held, atol=2e-6)


def test_another_control_period_is_another_divider(tmp_path):
    folder = changed("random", tmp_path, [("10000L", "4000L")], "policy.h")
    controller = CompiledController(folder)
    controller.self_test()
    controller.enable(True)
    shares = [controller.step(replaced(position=(0.01 * k, 0.0, 0.0)), HERE, 1 + k)[0] for k in range(12)]
    assert len(set(shares)) == 3
    assert shares[:4] == [shares[0]] * 4


def test_a_period_that_is_no_multiple_does_not_compile(tmp_path):
    with pytest.raises(ExportError, match="control period is no multiple of"):
        CompiledController(changed("random", tmp_path, [("10000L", "1500L")], "policy.h"))


TRIPS = {
    Reason.FAR: (replaced(position=(0.0, -1.51, 0.0)), HERE),
    Reason.FAST: (replaced(velocity=(3.0, 3.0, 3.0)), HERE),
    Reason.TILTED: (replaced(quaternion=(0.7, 0.0, 0.714, 0.0)), HERE),
    Reason.SPINNING: (replaced(angular_rate=(21.0, -21.0, 21.0)), HERE),
    Reason.NO_SETPOINT: (NEAR, NOTHING),
}


@pytest.mark.parametrize("reason", TRIPS)
def test_the_pid_controller_takes_over_for_good(reason, flying):
    state, setpoint = TRIPS[reason]
    assert flying.step(state, setpoint, 2).tolist() == [0] * 4
    assert (flying.mode, flying.reason) == (Mode.TRIPPED, reason)
    assert (flying.pid_calls, flying.pid_resets) == (1, 1)
    flying.step(NEAR, HERE, 3)
    assert (flying.mode, flying.reason, flying.pid_calls) == (Mode.TRIPPED, reason, 2)
    flying.enable(False)
    flying.step(NEAR, HERE, 4)
    flying.enable(True)
    assert flying.step(NEAR, HERE, 5).all()
    assert flying.mode == Mode.POLICY


WITHIN = [
    replaced(position=(0.0, -1.49, 1.49)),
    replaced(velocity=(2.8, 2.8, 2.8)),
    replaced(quaternion=(0.714, 0.0, 0.7, 0.0)),
    replaced(angular_rate=(20.0, -20.0, 20.0)),
]


@pytest.mark.parametrize("state", WITHIN)
def test_just_within_the_limits_the_policy_flies(state, flying):
    flying.step(state, HERE, 2)
    assert flying.mode == Mode.POLICY


BROKEN = {
    "position": (replaced(position=(float("nan"), 0.0, 0.0)), HERE),
    "velocity": (replaced(velocity=(0.0, float("inf"), 0.0)), HERE),
    "gyroscope": (replaced(angular_rate=(0.0, 0.0, float("-inf"))), HERE),
    "quaternion": (replaced(quaternion=(0.0, 0.0, float("nan"), 0.0)), HERE),
    "length of the quaternion": (replaced(quaternion=(0.5, 0.0, 0.0, 0.0)), HERE),
    "setpoint": (NEAR, Setpoint(position=(0.0, 0.0, float("nan")))),
    "heading": (NEAR, Setpoint(heading=float("nan"))),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_motors_stop_where_no_controller_could_fly(broken, flying):
    state, setpoint = BROKEN[broken]
    for step in range(2, 20):
        given = (state, setpoint) if step == 2 else (NEAR, HERE)
        assert flying.step(*given, step).tolist() == [0] * 4
        assert (flying.mode, flying.reason) == (Mode.STOPPED, Reason.BROKEN_STATE)
    assert flying.pid_calls == 0
    flying.enable(False)
    flying.step(NEAR, HERE, 20)
    assert flying.mode == Mode.PID


@pytest.mark.parametrize("now", [0, 2**32 - 700])
def test_an_old_setpoint_ends_the_flight_and_then_the_thrust(now, library):
    library.start()
    library.self_test()
    library.enable(True)
    setpoint = Setpoint(timestamp=now)
    for age, mode in ((0, 1), (500, 1), (501, 2), (2000, 2), (2001, 3), (2002, 3)):
        library.step(NEAR, setpoint, 1 + age, (now + age) % 2**32)
        assert (age, library.mode) == (age, mode)
    assert library.reason == Reason.STALE_SETPOINT
    library.step(NEAR, HERE, 2100)
    assert library.mode == Mode.STOPPED


OTHERS = {
    "levelling out": LEVELLING,
    "yaw rate": Setpoint(modes=(*HERE.modes[:5], SetpointMode.VELOCITY, SetpointMode.DISABLED)),
    "velocity": Setpoint(modes=(SetpointMode.VELOCITY, *HERE.modes[1:])),
    "velocity of the body": Setpoint(is_velocity_of_body=True),
    "thrust": Setpoint(modes=NOTHING.modes, thrust=20_000.0),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_setpoints_are_the_pid_controllers_as_long_as_they_last(other, flying):
    flying.step(NEAR, OTHERS[other], 2)
    assert (flying.mode, flying.reason) == (Mode.PID, Reason.OTHER_SETPOINT)
    assert (flying.pid_calls, flying.pid_resets) == (1, 1)
    assert flying.step(NEAR, HERE, 3).all()
    assert flying.mode == Mode.POLICY


@pytest.mark.parametrize("bad", ["NAN", "1.5f", "-1.001f"])
def test_an_action_out_of_bounds_is_not_flown(bad, tmp_path):
    act = "void policy_act(const float observation[POLICY_OBSERVATIONS], float action[POLICY_ACTIONS])\n{\n"
    there = "observation[0] == 0.4375f"
    wrong = f"    if ({there}) {{ action[0] = action[1] = action[3] = 0.0f; action[2] = {bad}; return; }}\n"
    controller = CompiledController(changed("random", tmp_path, [(act, act + wrong)], "policy.c"))
    assert controller.self_test()
    controller.enable(True)
    controller.step(NEAR, HERE, 1)
    assert controller.mode == Mode.POLICY
    controller.step(replaced(position=(0.4375, 0.0, 0.0)), HERE, 11)
    assert (controller.mode, controller.reason) == (Mode.TRIPPED, Reason.BAD_ACTION)


def test_thrusts_are_shares_of_what_the_platform_has():
    weak, strong = (
        CompiledController(artefact("linear"), defines={"THRUST_MAX": thrust})
        for thrust in ("0.1125f", "0.2f")
    )
    shares = []
    for controller in (weak, strong):
        controller.self_test()
        controller.enable(True)
        shares.append(controller.step(NEAR, HERE, 1))
    np.testing.assert_allclose(shares[1] * 0.2, shares[0] * 0.1125, rtol=1e-6)


def test_python_and_c_number_modes_and_reasons_alike():
    header = (artefact("random") / "hyperrl_controller.h").read_text()
    names = {name.upper(): int(value) for name, value in re.findall(r"hyperrl(\w+) = (\d+),", header)}
    expected = {member.name.replace("_", ""): int(member) for kind in (Mode, Reason) for member in kind}
    assert names == expected


def test_a_folder_without_a_controller_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"holds no controller of the Crazyflie: there is no policy\.c"):
        CompiledController(tmp_path)
