"""The conformance kit for environments with contexts: ours pass, broken ones are caught."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.errors import UnsupportedEnvError
from hyperrl.testing import ContextEnvCheckError, check_context_env
from hyperrl_envs.contextual import ContextualEnv, ContextualMujoco, suite_of
from hyperrl_envs.contextual.ids import SUITES

MASS = ContextParam(
    "mass", 0.5, 1.5, fields=("body_mass", "body_inertia"), level="setconst", train=(0.75, 1.25)
)
GRAVITY = ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",), train=(0.75, 1.25))
FRICTION = ContextParam("friction", 0.2, 1.5, fields=("geom_friction",), train=(0.5, 1.1))
SPACE = ContextSpace((MASS, GRAVITY))


class TwoFactors(ContextualEnv):
    """Mass and gravity of Hopper, written by hand: what another package may do."""

    def __init__(self, env, **settings):
        super().__init__(env, SPACE, **settings)
        model = self.unwrapped.model
        self.nominal = {name: getattr(model, name).copy() for name in ("body_mass", "body_inertia")}
        self.gravity = model.opt.gravity.copy()
        self.scratch = mujoco.MjData(model)
        self.unwrapped.redrawn_parameters = (
            "actuator_acc0",
            "body_inertia",
            "body_invweight0",
            "body_mass",
            "body_subtreemass",
            "dof_M0",
            "dof_invweight0",
            "opt.gravity",
        )

    def _apply(self, context):
        self.write_mass(context[0])
        self.unwrapped.model.opt.gravity[:] = self.gravity * context[1]
        mujoco.mj_setConst(self.unwrapped.model, self.scratch)

    def write_mass(self, factor):
        model = self.unwrapped.model
        for name, values in self.nominal.items():
            getattr(model, name)[:] = values * factor


class NoEffect(TwoFactors):
    def _apply(self, context):
        pass


class OneWithoutEffect(TwoFactors):
    def _apply(self, context):
        super()._apply(np.array([context[0], 1.0]))


class Compounding(TwoFactors):
    def write_mass(self, factor):
        model = self.unwrapped.model
        model.body_mass[:] *= factor
        model.body_inertia[:] *= factor


class WithoutInertia(TwoFactors):
    def write_mass(self, factor):
        self.unwrapped.model.body_mass[:] = self.nominal["body_mass"] * factor


class WithoutConstants(TwoFactors):
    def _apply(self, context):
        self.write_mass(context[0])
        self.unwrapped.model.opt.gravity[:] = self.gravity * context[1]


class ChangedDefault(TwoFactors):
    def write_mass(self, factor):
        super().write_mass(factor * 1.01)


class Misordered(TwoFactors):
    def _apply(self, context):
        super()._apply(context[::-1])


class DrawsFromTheTask(TwoFactors):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.unwrapped.np_random.random()
        return observation, info


class OtherNoise(TwoFactors):
    """Draws the context with the generator of the initial noise."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            gym.Env.reset(self.unwrapped, seed=seed)
        if not (options or {}).get("context") is not None:
            drawn = self.unwrapped.np_random.uniform(
                self.context_space.train_low, self.context_space.train_high
            )
            options = {"context": drawn}
        return super().reset(options=options)


class IgnoresOptions(TwoFactors):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


class LosesTheNext(TwoFactors):
    """Gives the next context to `reset` as an option, which a vectorised environment leaves out."""

    def set_next_context(self, context):
        self.next_options = {"context": self.context_space.array(context)}


class KeepsTheNext(TwoFactors):
    def set_next_context(self, context):
        self.set_fixed_context(context)


class SamplesAnything(TwoFactors):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        if options is None and self._source._fixed is None:
            return super().reset(options={"context": self.context_space.high})
        return observation, info


class SkipsSamples(TwoFactors):
    """Draws only where no other context is given."""

    def reset(self, *, seed=None, options=None):
        given = (options or {}).get("context")
        if given is None:
            return super().reset(seed=seed)
        source = self._source.state()
        reset = super().reset(seed=seed, options=options)
        if seed is None:
            self._source.restore(source)
        return reset


class Clips(TwoFactors):
    def reset(self, *, seed=None, options=None):
        if options and isinstance(options.get("context"), np.ndarray) and len(options["context"]) == 2:
            clipped = np.clip(options["context"], self.context_space.low, self.context_space.high)
            options = {"context": clipped}
        return super().reset(seed=seed, options=options)


class ShowsTheLast(TwoFactors):
    def reset(self, *, seed=None, options=None):
        before = self._code.copy()
        observation, info = super().reset(seed=seed, options=options)
        return {**observation, "context": before}, info


class ClipsWhatItShows(TwoFactors):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        return {**observation, "context": observation["context"].clip(-1, 1)}, info


class DoublePrecision(TwoFactors):
    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        return {name: values.astype(np.float64) for name, values in observation.items()}, info


class TellsNothing(TwoFactors):
    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {name: value for name, value in info.items() if not name.startswith("context")}


class ForgetsTheSource(TwoFactors):
    def restore_snapshot(self, snapshot):
        super().restore_snapshot({**snapshot, "source": self._source.state()})


class ForgetsTheContext(TwoFactors):
    def restore_snapshot(self, snapshot):
        super().restore_snapshot({**snapshot, "context": self.context})


class TrainsOnTests(TwoFactors):
    def __init__(self, env):
        super().__init__(env)
        self.splits = make_splits(SPACE, n_train=5)
        self._source._splits = self.splits
        # Past the check of the splits themselves.
        object.__setattr__(self.splits, "tests", {"interpolation": self.splits.points})


MUTANTS = {
    NoEffect: "effects",
    OneWithoutEffect: "effects",
    Compounding: "history",
    WithoutInertia: "effects",
    WithoutConstants: "derived values",
    ChangedDefault: "effects",
    Misordered: "effects",
    DrawsFromTheTask: "initial noise",
    OtherNoise: "samples",
    IgnoresOptions: "observations",
    LosesTheNext: "precedence",
    KeepsTheNext: "precedence",
    SamplesAnything: "samples",
    SkipsSamples: "samples",
    Clips: "refusals",
    ShowsTheLast: "observations",
    ClipsWhatItShows: "observations",
    DoublePrecision: "observations",
    TellsNothing: "observations",
    ForgetsTheSource: "saved states",
    ForgetsTheContext: "saved states",
    TrainsOnTests: "splits",
}


def test_an_environment_of_another_package_passes():
    checks = check_context_env(TwoFactors(HopperEnv()), reference=HopperEnv())
    assert len(checks) == 14


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.items(), ids=[mutant.__name__ for mutant in MUTANTS])
def test_a_broken_environment_is_caught(mutant, check):
    with pytest.raises(ContextEnvCheckError) as caught:
        check_context_env(mutant(HopperEnv()), reference=HopperEnv())
    assert str(caught.value).startswith(f"{mutant.__name__}, {check}: ")


@pytest.mark.parametrize("select", [("floor",), ("torso_geom", "thigh_geom", "leg_geom", "foot_geom")])
def test_friction_of_the_floor_or_the_robot_alone_is_caught(select):
    env = ContextualMujoco(HopperEnv(), [dataclasses.replace(FRICTION, select=select)])
    with pytest.raises(ContextEnvCheckError, match=r"has no effect|larger one of the two geoms"):
        check_context_env(env)


def test_an_environment_without_contexts_is_refused():
    with pytest.raises(UnsupportedEnvError, match="HopperEnv has no contexts"):
        check_context_env(gym.make("Hopper-v5"))


@pytest.mark.parametrize("env_id", SUITES)
def test_every_suite_passes(env_id):
    check_context_env(gym.make(env_id), reference=suite_of(env_id).make_base())


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "hidden"},
        {"append": "flat", "split": "axes"},
        {"mode": "privileged", "units": "raw"},
        {"split": "points", "points": [{}, {"mass": 1.2}], "sampler": "round_robin"},
    ],
    ids=["hidden", "flat", "privileged", "points"],
)
def test_every_way_to_show_and_draw_contexts_passes(settings):
    check_context_env(gym.make("hyperrl/ContextualHalfCheetah-v0", **settings), reference=HalfCheetahEnv())
