"""Workers that are replaced, at the cost of an episode, in mid-run and after a state was restored."""

from __future__ import annotations

import os
import signal

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import StateError, WorkerError
from hyperrl.run import env_state
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.faults.broken_envs import Faulty, capture_calls, restore_calls
from tests.faults.worker_processes import ACTIONS, HANG, running, workers
from tests.run.doubles import through_a_file

STATES = {"capture": capture_calls, "restore": restore_calls}


@pytest.mark.parametrize("fault", ["raise", "kill", "hang"])
def test_a_failed_worker_is_replaced_and_its_episode_counted_as_lost(fault, tmp_path):
    env_fns = [Faulty(), Faulty(fault, at=3, once=str(tmp_path / "once"))]
    with workers(*env_fns, restarts=1, step_timeout=HANG if fault == "hang" else 60.0) as venv:
        venv.seed(5)
        venv.set_options({"mass": 2.0})
        venv.reset()
        old = venv.processes[1].pid
        for _ in range(2):
            last = venv.step(ACTIONS)[0]
        with pytest.warns(
            UserWarning, match=r"environment 1 .* in step.*new process \(restart 1 of at most 1\)"
        ):
            observations, rewards, dones, infos = venv.step(ACTIONS)
        assert venv.restarted == 1
        assert not running(old)
        assert rewards.tolist() == [1.5, 0.0]
        assert dones.tolist() == [False, True]
        np.testing.assert_array_equal(observations, [[3, 3, 3], [0, 0, 0]])
        np.testing.assert_array_equal(infos[1]["terminal_observation"], last[1])
        assert infos[1]["TimeLimit.truncated"] is True
        assert infos[1]["worker_restarted"].startswith("environment 1 ")
        assert infos[0] == {"calls": 3, "TimeLimit.truncated": False}
        # The new episode does not repeat the old one, and is the same in every run.
        seed = int(np.random.SeedSequence([6, 1]).generate_state(1)[0])
        assert venv.reset_infos[1] == {"seed": seed}
        assert venv.get_attr("seeds")[1] == [(seed, {"mass": 2.0})]
        np.testing.assert_array_equal(venv.step(ACTIONS)[0], [[4, 4, 4], [1, 1, 1]])


def test_restarts_are_limited_over_the_whole_life():
    with workers(Faulty("raise", at=2), Faulty(), restarts=2) as venv:
        venv.seed(0)
        venv.reset()
        for expected in (1, 2):
            venv.step(ACTIONS)
            with pytest.warns(UserWarning, match=rf"restart {expected} of at most 2"):
                venv.step(ACTIONS)
            assert venv.restarted == expected
        seeds = [int(np.random.SeedSequence([0, count]).generate_state(1)[0]) for count in (1, 2)]
        assert len({0, *seeds}) == 3
        assert venv.reset_infos[0] == {"seed": seeds[1]}
        venv.step(ACTIONS)
        with pytest.raises(WorkerError, match="environment 0 raised ValueError in step"):
            venv.step(ACTIONS)
        assert venv.restarted == 2


def test_a_reset_that_fails_is_repeated_in_a_new_process(tmp_path):
    with workers(Faulty("kill", "reset", once=str(tmp_path / "once")), Faulty(), restarts=1) as venv:
        with pytest.warns(UserWarning, match="environment 0 died in reset"):
            assert venv.reset().shape == (2, 3)
        assert venv.restarted == 1
        assert venv.reset_infos == [{"seed": None}] * 2


def test_an_environment_that_always_fails_uses_up_the_restarts():
    with (
        workers(Faulty("raise", "reset"), Faulty(), restarts=2) as venv,
        pytest.warns(UserWarning, match=r"restart [12] of at most 2"),
        pytest.raises(WorkerError, match="environment 0 raised ValueError in reset"),
    ):
        venv.reset()


def test_a_worker_that_died_in_another_call_is_replaced_in_the_next_step():
    with workers(Faulty(), Faulty(), restarts=1) as venv:
        venv.reset()
        with pytest.raises(WorkerError, match="environment 1 died in env_method 'fail'"):
            venv.env_method("fail", "os_exit", indices=1)
        assert venv.restarted == 0
        with pytest.warns(UserWarning, match="restart 1 of at most 1"):
            dones = venv.step(ACTIONS)[2]
        assert dones.tolist() == [False, True]


def test_a_step_before_the_first_reset_is_no_lost_episode():
    with (
        workers(Faulty("raise"), restarts=1) as venv,
        pytest.raises(WorkerError, match="environment 0 raised ValueError in step"),
    ):
        venv.step(ACTIONS[:1])


# ------------------------------------------------------------------------------------------ after a restore


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_worker_that_fails_right_after_a_restore_is_replaced_as_in_mid_run(how, tmp_path):
    once = Faulty("kill", at=2, once=str(tmp_path / "once"))
    with workers(Faulty(), once, restarts=3, **STATES) as venv:
        venv.seed(5)
        venv.set_options({"mass": 2.0, "engine": object()})
        venv.reset()
        venv.step(ACTIONS)
        with pytest.warns(UserWarning, match="restart 1 of at most 3"):
            venv.step(ACTIONS)
        last = venv.step(ACTIONS)[0]
        states = through_a_file(venv.capture_env_states())
    timeout = HANG if how == "SIGSTOP" else 60.0
    with workers(Faulty(), Faulty(), restarts=3, step_timeout=timeout, **STATES) as venv:
        venv.restore_env_states(states)
        assert venv.restarted == 1
        os.kill(venv.processes[1].pid, getattr(signal, how))
        with pytest.warns(UserWarning, match=r"environment 1 .* in step.*\(restart 2 of at most 3\)"):
            observations, rewards, dones, infos = venv.step(ACTIONS)
        assert venv.restarted == 2
        np.testing.assert_array_equal(observations, [[4, 4, 4], [0, 0, 0]])
        assert rewards.tolist() == [1.5, 0.0]
        assert dones.tolist() == [False, True]
        np.testing.assert_array_equal(infos[1]["terminal_observation"], last[1])
        assert infos[1]["TimeLimit.truncated"] is True
        assert infos[1]["worker_restarted"].startswith("environment 1 ")
        # The seed follows from that of the first process; of the options stays what a file can hold.
        seed = int(np.random.SeedSequence([6, 2]).generate_state(1)[0])
        assert venv.get_attr("seeds")[1] == [(seed, {"mass": 2.0})]


def test_a_resumed_run_outlives_the_death_of_a_worker_before_its_first_step():
    # A local function travels to the processes by value, without this module.
    make = [lambda: gym.make("Pendulum-v1", max_episode_steps=50)] * 2
    settings = {"restarts": 1, "capture": capture_plain, "restore": restore_plain}
    actions = np.zeros((2, 1), np.float32)
    with workers(*make, **settings) as venv:
        env = VecNormalize(venv)
        env.seed(0)
        env.reset()
        env.step(actions)
        state = through_a_file(env_state.capture(env))
        last = env.get_original_obs()
        env.step(actions)
        expected = env.get_original_obs()
    with workers(*make, **settings) as venv:
        env = VecNormalize(venv)
        assert env_state.restore(env, state, 0) == ([], None)
        os.kill(venv.processes[0].pid, signal.SIGKILL)
        with pytest.warns(UserWarning, match="environment 0 died in step.*restart 1 of at most 1"):
            _, _, dones, infos = env.step(actions)
        assert dones.tolist() == [True, False]
        terminal = env.unnormalize_obs(infos[0]["terminal_observation"])
        np.testing.assert_allclose(terminal, last[0], rtol=1e-5)
        np.testing.assert_array_equal(env.get_original_obs()[1], expected[1])


def test_restarts_that_are_used_up_stay_so_after_a_restore(tmp_path):
    with workers(Faulty("raise", once=str(tmp_path / "once")), restarts=1, **STATES) as venv:
        venv.reset()
        with pytest.warns(UserWarning, match="restart 1 of at most 1"):
            venv.step(ACTIONS[:1])
        states = venv.capture_env_states()
    with workers(Faulty(), restarts=1, **STATES) as venv:
        venv.restore_env_states(states)
        assert venv.restarted == 1
        os.kill(venv.processes[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="environment 0 died in step"):
            venv.step(ACTIONS[:1])


def test_a_state_from_workers_that_could_not_be_replaced():
    """It has no last observation: the one that the next episode begins with stands in for it."""
    with workers(Faulty(), Faulty(), **STATES) as venv:
        venv.reset()
        venv.step(ACTIONS)
        states = venv.capture_env_states()
        assert [list(state) for state in states] == [["calls"]] * 2
    with workers(Faulty(), Faulty(), restarts=1, **STATES) as venv:
        venv.seed(5)
        venv.restore_env_states(states)
        os.kill(venv.processes[1].pid, signal.SIGKILL)
        with pytest.warns(UserWarning, match="restart 1 of at most 1"):
            observations, _, dones, infos = venv.step(ACTIONS)
        assert dones.tolist() == [False, True]
        np.testing.assert_array_equal(observations, [[2, 2, 2], [0, 0, 0]])
        np.testing.assert_array_equal(infos[1]["terminal_observation"], [0, 0, 0])
        assert venv.reset_infos[1] == {"seed": int(np.random.SeedSequence([6, 1]).generate_state(1)[0])}


def test_a_state_of_something_else_is_refused_before_anything_is_restored():
    with workers(Faulty(), restarts=1, **STATES) as venv:
        venv.reset()
        (state,) = venv.capture_env_states()
        for other in (3, {"seed": 1}):
            with pytest.raises(StateError, match="the part 'worker' of an environment's state is not one of"):
                venv.restore_env_states([{**state, "calls": {}, "worker": other}])
        venv.step(ACTIONS[:1])
