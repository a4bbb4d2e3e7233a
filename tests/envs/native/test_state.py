"""A state that was put back goes on as the first one did, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import CheckpointError, ConfigError, UnsupportedEnvError
from hyperrl.run import env_state
from hyperrl_envs.native import SUPPORTED, make_native
from tests.envs.native.pairs import random_actions
from tests.run.doubles import through_a_file


def play(venv, actions):
    """Everything that steps return, but the times, as one text."""
    trace = []
    for batch in actions:
        observations, rewards, dones, infos = venv.step(batch)
        for info in infos:
            info.get("episode", {}).pop("t", None)
        trace.append(repr([observations.tolist(), rewards.tolist(), dones.tolist(), infos]))
    return trace


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_steps_can_be_repeated_here_and_elsewhere(env_id):
    settings = {"max_episode_steps": 35}
    first, new = make_native(env_id, 2, 4, **settings), make_native(env_id, 2, **settings)
    actions = random_actions(env_id, 60, 2)
    first.reset()
    play(first, actions[:20])
    state = through_a_file(first.get_state())
    expected = play(first, actions[20:])
    assert "episode" in "".join(expected)
    first.set_state(state)
    assert play(first, actions[20:]) == expected
    new.set_state(state)
    assert play(new, actions[20:]) == expected


def test_one_environment_can_go_back_alone():
    venv = make_native("Hopper-v5", 3, 4)
    actions = random_actions("Hopper-v5", 30, 3)
    venv.reset()
    before = venv.get_state(indices=1)
    first = [venv.step(batch)[0] for batch in actions]
    venv.set_state(before, indices=1)
    second = [venv.step(batch)[0] for batch in actions]
    assert np.array_equal(np.array(first)[:, 1], np.array(second)[:, 1])
    assert not np.array_equal(np.array(first)[:, 0], np.array(second)[:, 0])


def test_checkpoints_of_runs_hold_the_state():
    def build():
        return VecNormalize(make_native("Walker2d-v5", 2, 4, max_episode_steps=40), gamma=0.9)

    venv, new = build(), build()
    actions = random_actions("Walker2d-v5", 80, 2)
    venv.reset()
    play(venv, actions[:30])
    state = through_a_file(env_state.capture(venv))
    assert state["reason"] is None
    expected = play(venv, actions[30:])
    assert env_state.restore(new, state, 0) == ([], None)
    assert play(new, actions[30:]) == expected
    with pytest.raises(CheckpointError, match="of 2 environments"):
        env_state.restore(VecNormalize(make_native("Walker2d-v5", 1)), state, 0)


def test_a_state_that_does_not_fit_is_refused():
    hopper, walker = make_native("Hopper-v5", 1, 0), make_native("Walker2d-v5", 1, 0)
    hopper.reset()
    state = hopper.get_state()
    with pytest.raises(UnsupportedEnvError, match="another"):
        walker.set_state(state)
    with pytest.raises(ConfigError, match="there are 2 states for 1 environments"):
        hopper.set_state(state * 2)
    model = make_native("Hopper-v5").envs[0].model
    model.body_mass[1] *= 2
    with pytest.raises(UnsupportedEnvError, match="another body_mass"):
        make_native("Hopper-v5", models=[model]).set_state(state)
