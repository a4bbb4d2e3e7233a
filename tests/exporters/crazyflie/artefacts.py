"""Artefacts to test: a policy that flies without training, and one that shows every mistake."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from hyperrl.environments import make_env
from hyperrl.exporters import Request, export_subject, interface_of, plain_subject
from hyperrl.plain_policy import ActionHead, PlainPolicy
from hyperrl_envs.quadrotor.ids import QUADROTOR
from tests.envs.quadrotor.controller import GRAVITY, INERTIA, MASS, THRUST, forces

HEAD = ActionHead(np.full(4, -1.0), np.full(4, 1.0), "none", "clip")


def linear(observation):
    """Thrusts of a controller that is linear about hovering, from the published numbers alone."""
    error, velocity, rate = observation[:3], observation[3:6], observation[15:]
    wanted = -3.0 * error - 3.0 * velocity  # An acceleration.
    roll = -observation[11] + wanted[1] / GRAVITY
    pitch = observation[8] - wanted[0] / GRAVITY
    angles = np.array([roll, pitch, observation[9]])
    torque = -INERTIA * (np.array([80, 80, 20]) * angles + np.array([14, 14, 8]) * rate)
    return forces(MASS * (wanted[2] + GRAVITY), torque) / THRUST * 2 - 1


def linear_policy():
    """The same as a policy without hidden layers."""
    bias = linear(np.zeros(18))
    weight = np.stack([linear(one) - bias for one in np.eye(18)], axis=1)
    return PlainPolicy.from_arrays([weight], [bias], head=HEAD)


def random_policy():
    """A policy in which every observation changes every motor, and no motor acts as another."""
    draw = np.random.default_rng(3)
    weights = [draw.normal(size=(16, 18)) * 0.3, draw.normal(size=(4, 16)) * 0.1]
    biases = [draw.normal(size=16) * 0.3, draw.normal(size=4) * 0.2]
    return PlainPolicy.from_arrays(weights, biases, activation="tanh", head=HEAD)


POLICIES = {"linear": linear_policy(), "random": random_policy()}


def subject(policy, **settings):
    """What is exported: a policy with observations of the quadrotor."""
    env = make_env(QUADROTOR, {"task": "trajectory", **settings})
    observation, _ = env.reset(seed=0)
    seen = [observation]
    for _ in range(120):
        action = POLICIES["linear"](np.asarray(seen[-1], np.float32))
        seen.append(env.step(action)[0])
    interface = interface_of(env, 18, 4)
    env.close()
    return plain_subject(policy, np.array(seen), interface=interface)


def export(policy, out, *, weights="float32", prefix="policy", **settings):
    """Export in the format crazyflie."""
    request = Request("crazyflie", Path(out), weights=weights, prefix=prefix)
    (exported,) = export_subject(subject(policy, **settings), [request])
    return exported


@functools.cache
def _exported(name):
    place = tempfile.TemporaryDirectory(prefix="hyperrl-crazyflie-")
    export(POLICIES[name], Path(place.name, "artefact"))
    return place  # Which is removed with the process.


def artefact(name):
    """The folder of an exported policy, which nobody changes."""
    return Path(_exported(name).name, "artefact")


def changed(name, folder, changes, file="hyperrl_controller.c"):
    """A copy of an artefact with replaced texts, each of which must be there."""
    copy = Path(folder, "changed")
    shutil.copytree(artefact(name), copy)
    text = (copy / file).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (copy / file).write_text(text)
    return copy
