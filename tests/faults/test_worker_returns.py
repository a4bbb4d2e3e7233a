"""Environments that return something else than their interface allows, and where that comes out."""

from __future__ import annotations

import numpy as np
import pytest

from hyperrl.errors import WorkerError
from tests.faults.broken_envs import Faulty
from tests.faults.worker_processes import ACTIONS, workers

GOOD = np.zeros(3, np.float32)
MALFORMED = {
    "four values": (
        "step",
        (GOOD, 0.0, False, {}),
        r"4 values from step, where 5 values, \(observation, reward",
    ),
    "no tuple": ("step", [GOOD, 0.0, False, False, {}], r"an object of type list from step, where the tuple"),
    "shape": (
        "step",
        (np.zeros(4, np.float32), 0.0, False, False, {}),
        r"the observation of shape \(4,\) from step, where",
    ),
    "more axes": (
        "step",
        (np.zeros((1, 3)), 0.0, False, False, {}),
        r"the observation of shape \(1, 3\) .* space's shape \(3,\) is",
    ),
    "dtype": (
        "step",
        (np.array(["a"] * 3), 0.0, False, False, {}),
        r"the observation of dtype <U1 .* space's dtype float32 is",
    ),
    "complex": (
        "step",
        (np.zeros(3, complex), 0.0, False, False, {}),
        r"the observation of dtype complex128 from",
    ),
    "nothing": ("step", (None, 0.0, False, False, {}), r"the observation of dtype object from step"),
    "terminated": (
        "step",
        (GOOD, 0.0, 1, False, {}),
        r"terminated as 1 \(int\) from step, where True or False is",
    ),
    "truncated": ("step", (GOOD, 0.0, False, None, {}), r"truncated as None \(NoneType\) from step"),
    "reward text": (
        "step",
        (GOOD, "1", False, False, {}),
        r"the reward '1' \(str\) from step, where one number",
    ),
    "reward array": ("step", (GOOD, np.zeros(1), False, False, {}), r"the reward an array of shape \(1,\)"),
    "info list": (
        "step",
        (GOOD, 0.0, False, False, []),
        r"the info \[\] \(list\) from step, where a dict is right",
    ),
    "ragged": (
        "reset",
        ([[1.0], [1.0, 2.0], 3.0], {}),
        r"the observation \[.* from reset, where an array of shape",
    ),
    "no info": (
        "reset",
        GOOD,
        r"an array of shape \(3,\) and dtype float32 from reset, where the tuple \(obs",
    ),
    "info none": ("reset", (GOOD, None), r"the info None \(NoneType\) from reset, where a dict is right"),
    "after an end": (
        "reset",
        (GOOD,),
        r"1 values from the reset after an episode, where 2 values, \(observation",
    ),
}


@pytest.fixture(scope="module")
def pair():
    with workers(Faulty(), Faulty()) as venv:
        yield venv


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_return_is_refused(pair, kind):
    call, returned, sentence = MALFORMED[kind]
    pair.reset()
    pair.env_method("return_instead", call, returned, indices=1)
    if kind == "after an end":
        pair.env_method("return_instead", "step", (GOOD, 0.0, True, False, {}), indices=1)
    with pytest.raises(WorkerError, match=f"environment 1 returned {sentence}"):
        pair.reset() if call == "reset" and kind != "after an end" else pair.step(ACTIONS)


def test_returns_that_are_unusual_and_right(pair):
    pair.reset()
    pair.env_method(
        "return_instead", "step", ([1, 2, 3], np.float64(2.5), np.False_, np.True_, {}), indices=0
    )
    pair.env_method("return_instead", "step", (np.ones(3), np.array(3), False, False, {}), indices=1)
    observations, rewards, dones, infos = pair.step(ACTIONS)
    assert observations.dtype == np.float32
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [1, 2, 3])
    assert rewards.tolist() == [2.5, 3.0]
    assert dones.tolist() == [True, False]
