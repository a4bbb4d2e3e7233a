"""What is refused, with one sentence and nothing changed (group F of the fault list)."""

import dataclasses
import math

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from hyperrl.context import ContextParam, ContextSpace, make_splits
from hyperrl.environments import make_env
from hyperrl.errors import (
    BoundsError,
    ContextError,
    HyperRLError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    UnsupportedEnvError,
    UnsupportedSpaceError,
)
from hyperrl_envs.contextual import ContextualMujoco, ModelWriter, suite_of
from hyperrl_envs.contextual.arrays import differing, read_arrays
from hyperrl_envs.contextual.edits import EDITS
from hyperrl_envs.contextual.ids import SUITES
from hyperrl_envs.contextual.verify import contextual_layer, verify
from tests.envs.contextual.suite_cases import make, model_of

HOPPER = "hyperrl/ContextualHopper-v0"
GRAVITY = ContextParam("gravity", 0.5, 1.5, fields=("opt.gravity",))


def wrong_contexts(space):
    """Contexts that no environment may take, with the error that each must raise."""
    first, default = space.params[0], space.default
    nan, infinite, below, above = (default.copy() for _ in range(4))
    nan[-1], infinite[-1] = np.nan, np.inf
    below[0], above[0] = space.low[0] - 1e-6, space.high[0] + 1e-6
    return {
        "unknown": ({f"{first.name}s": first.default}, UnknownNameError),
        "nan": (nan, NonFiniteError),
        "nan by name": ({first.name: math.nan}, NonFiniteError),
        "infinite": (infinite, NonFiniteError),
        "below": (below, BoundsError),
        "above": (above, BoundsError),
        "missing": (default[:-1], ShapeError),
        "too many": (np.append(default, 1.0), ShapeError),
        "nested": (default[None], ShapeError),
        "text": ({first.name: "1"}, ContextError),
        "boolean": ({first.name: True}, ContextError),
    }


KINDS = list(wrong_contexts(suite_of(HOPPER).params))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("env_id", SUITES)
def test_a_wrong_context_is_refused_and_changes_nothing(env_id, kind):
    env = environment(env_id)
    layer = contextual_layer(env)
    context, error = wrong_contexts(layer.context_space)[kind]
    env.reset(seed=0)
    before, model = layer.context, model_of(env)
    following = layer._source.state()
    for call in (
        lambda: env.reset(seed=1, options={"context": context}),
        lambda: layer.set_next_context(context),
        lambda: layer.set_fixed_context(context),
    ):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, HyperRLError)
        assert "\n" not in str(caught.value)
    assert np.array_equal(layer.context, before)
    assert not differing(model, model_of(env))
    assert repr(layer._source.state()) == repr(following)


ENVIRONMENTS = {}


def environment(env_id):
    if env_id not in ENVIRONMENTS:
        ENVIRONMENTS[env_id] = gym.make(env_id, disable_env_checker=True)
    return ENVIRONMENTS[env_id]


def test_there_are_as_many_cases_as_the_fault_list_asks_for():
    assert len(KINDS) * len(SUITES) >= 60


def test_names_in_another_order_are_refused():
    space = suite_of(HOPPER).params.subset(["mass", "gravity"])
    with pytest.raises(ContextError, match="in this order"):
        space.arrays([[1.0, 1.2]], names=["gravity", "mass"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"context": ["mas"]}, "did you mean 'mass'"),
        ({"context": "mass"}, "context must be a list"),
        ({"context": 5}, "context must be a list"),
        ({"ranges": [0.9, 1.1]}, "ranges must be a table"),
        ({"ranges": {"mass": 1.0}}, "must be a list"),
        ({"split": "points", "points": 1.0}, "must be a list"),
        ({"fixed": 1.2}, "has 2 values"),
        ({"context": []}, "at least one parameter"),
        ({"context": ["mass", "mass"]}, "two parameters called"),
        ({"mode": "shown"}, "unknown mode of contexts"),
        ({"append": "last"}, "unknown form of observations"),
        ({"units": "si"}, "unknown units"),
        ({"sampler": "uniform"}, "unknown sampler"),
        ({"split": "iid"}, "unknown way to split"),
        ({"ranges": {"mass": [0.1, 1.0]}}, "training range"),
        ({"ranges": {"mass": [1.2]}}, "training range"),
        ({"ranges": {"friction": [0.9, 1.0]}}, "unknown context parameter"),
        ({"fixed": {"mass": 9.0}}, "must be from 0.5 to 1.5"),
        ({"fixed": {"friction": 1.0}}, "unknown context parameter"),
        ({"split": "points"}, "points belong to"),
        ({"split": "points", "points": []}, "is empty"),
        ({"split": "points", "points": [{"mass": 1.0}, {"mass": 1.0}]}, "twice"),
        ({"split": "tasks", "grid": 2, "test_fraction": 0.1}, "less than one test"),
        ({"n_test": 0}, "n_test"),
        ({"reset_noise": 0.1}, "reset_noise"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_wrong_settings_are_refused_before_an_environment_is_built(settings, sentence):
    with pytest.raises(HyperRLError, match=sentence):
        make_env(HOPPER, settings)


def test_training_and_tests_that_overlap_are_refused():
    space = suite_of(HOPPER).params.subset(["mass", "gravity"])
    splits = make_splits(space, n_train=4)
    with pytest.raises(ContextError, match="also trained on"):
        dataclasses.replace(splits, tests={"interpolation": splits.points[:1]})
    with pytest.raises(ContextError, match="is empty"):
        dataclasses.replace(splits, tests={"interpolation": splits.points[:0]})


def test_splits_of_another_space_are_refused():
    other = ContextSpace([dataclasses.replace(GRAVITY, high=1.6)])
    with pytest.raises(ContextError, match="must be the same"):
        ContextualMujoco(gym.make("Hopper-v5"), [GRAVITY], make_splits(other))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"fields": ("dof_frictionloss",)}, ContextError, "has no effect on this model"),
        ({"fields": ("jnt_stiffness",)}, ContextError, "has no effect on this model"),
        ({"fields": ("body_weight",)}, ContextError, "no array of this model"),
        ({"fields": ("jnt_type",)}, ContextError, "no array of this model"),
        ({"fields": ("opt.solver",)}, ContextError, "no array of this model"),
        ({"fields": ("opt.gravity[3]",)}, ContextError, "does not exist"),
        ({"fields": ("body_mass[0]",), "level": "setconst"}, ContextError, "does not exist"),
        ({"fields": ("body-mass",)}, ContextError, "is written like"),
        ({"fields": ()}, ContextError, "names no field"),
        ({"fields": ("body_mass",)}, ContextError, "give it level 'setconst'"),
        ({"fields": ("dof_armature",)}, ContextError, "give it level 'setconst'"),
        ({"fields": ("body_mass",), "level": "setconst", "select": ("arm",)}, UnknownNameError, "part"),
        ({"fields": ("opt.gravity",), "select": ("torso",)}, ContextError, "have no names"),
        ({"op": "set", "fields": ("opt.gravity[2]",)}, ContextError, "must be the published values"),
        ({"fields": ("lenth",), "level": "recompile"}, UnknownNameError, "edit"),
        ({"fields": ("density", "mass"), "level": "recompile"}, ContextError, "exactly one edit"),
        ({"fields": ("speed",), "level": "reward"}, ContextError, "one reward and its argument"),
        ({"fields": ("speed.target",), "level": "reward"}, UnknownNameError, "reward"),
        ({"fields": ("locomotion.speed",), "level": "reward"}, UnknownNameError, "argument"),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else "-".join(map(str, value.values())),
)
def test_a_parameter_that_cannot_work_is_refused(changes, error, sentence):
    env = gym.make("Hopper-v5")
    before = read_arrays(env.unwrapped.model)
    param = dataclasses.replace(GRAVITY, **changes)
    with pytest.raises(error, match=sentence):
        ContextualMujoco(env, [param])
    assert not differing(before, read_arrays(env.unwrapped.model))


def test_two_parameters_that_set_the_same_number_are_refused():
    one = ContextParam("fall", -12.0, -8.0, -9.81, op="set", fields=("opt.gravity[2]",))
    with pytest.raises(ContextError, match=r"set the same numbers of opt\.gravity"):
        ContextualMujoco(gym.make("Hopper-v5"), [one, dataclasses.replace(one, name="drop")])


def test_two_rewards_in_one_context_are_refused():
    params = [
        ContextParam("one", 0, 1, 1, fields=("locomotion.direction",), level="reward"),
        ContextParam("two", 0, 1, 1, fields=("locomotion.direction",), level="reward"),
    ]
    with pytest.raises(ContextError, match="same argument"):
        ContextualMujoco(gym.make("Hopper-v5"), params)


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec, param, value: spec.body("foot").add_geom(size=[0.01, 0, 0]),
        lambda spec, param, value: spec.body("foot").add_joint(axis=[1, 0, 0], range=[-1, 1]),
        lambda spec, param, value: spec.delete(spec.actuators[0]),
    ],
    ids=["geom", "joint", "actuator"],
)
def test_an_edit_that_changes_shapes_is_refused(edit):
    param = ContextParam("part", 0.5, 1.5, fields=("part",), level="recompile")
    env = gym.make("Hopper-v5")
    before = read_arrays(env.unwrapped.model)
    with pytest.raises(ContextError, match="must keep their shapes"):
        ContextualMujoco(env, [param], edits={**EDITS, "part": edit})
    assert not differing(before, read_arrays(env.unwrapped.model))


def test_an_edit_that_makes_no_model_is_refused():
    def edit(spec, param, value):
        spec.body("foot").first_geom().size = [-1, 0, 0]

    param = ContextParam("part", 0.5, 1.5, fields=("part",), level="recompile")
    with pytest.raises(ContextError, match="makes no model"):
        ContextualMujoco(gym.make("Hopper-v5"), [param], edits={"part": edit})


def test_a_model_that_was_changed_by_hand_is_not_compiled_anew():
    env = gym.make("Hopper-v5")
    env.unwrapped.model.body_mass[1] *= 2
    param = suite_of(HOPPER).params["limb_length"]
    with pytest.raises(ContextError, match="than its file"):
        ContextualMujoco(env, [param], edits=suite_of(HOPPER).edits)


def test_a_parameter_without_effect_on_episodes_is_found():
    """The colour of the floor changes the model, and nothing that an agent sees."""
    param = ContextParam("colour", 0.5, 1.0, fields=("geom_rgba[0]",))
    with pytest.raises(ContextError, match="the context colour has no effect"):
        verify(ContextualMujoco(gym.make("Hopper-v5"), [param]))


def test_environments_without_a_model_or_with_other_observations_are_refused():
    with pytest.raises(UnsupportedEnvError, match="no MuJoCo model"):
        ContextualMujoco(gym.make("Pendulum-v1"), [GRAVITY])
    with pytest.raises(UnsupportedSpaceError, match="vectors"):
        ContextualMujoco(make(HOPPER, "mass"), [GRAVITY])


def test_what_the_task_draws_itself_is_not_changed_besides():
    mass = ContextParam(
        "mass", 0.8, 1.2, fields=("body_mass", "body_inertia"), select=("quadrotor",), level="setconst"
    )
    env = gym.make("hyperrl/Quadrotor-v0", domain_randomisation=True)
    with pytest.raises(ContextError, match=r"draws .* anew"):
        ContextualMujoco(env, [mass])


def test_a_contextual_environment_is_not_made_contextual_again_with_the_same_parameter():
    env = make(HOPPER, "gravity", mode="hidden")
    with pytest.raises(ContextError, match=r"opt\.gravity anew"):
        ContextualMujoco(env, [GRAVITY])


def test_recompiling_needs_the_file():
    model = mujoco.MjModel.from_xml_path(gym.make("Hopper-v5").unwrapped.fullpath)
    density = suite_of(HOPPER).params.subset(["density"])
    with pytest.raises(ContextError, match="need the file"):
        ModelWriter(model, density)
