"""Policies refuse what they cannot act on, in one sentence, and give no action that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import ActorCriticPolicy

from hyperrl.errors import ConfigError, HyperRLError, NonFiniteError, ShapeError, UnknownNameError
from hyperrl.registry import agents as registered
from hyperrl.sb3 import FinitePredictMixin, HyperSACPolicy, HyperTD3Policy
from hyperrl.sb3.finite import check_observation, first_non_finite, place
from tests.faults.injection import ONLINE, Faulty, actor_weight, build, make_envs, on_policy, spoil
from tests.sb3.toys import SMALL, TINY, DictEnv, ImageEnv, PointEnv, same_parameters

NAMES = ONLINE
every_agent = pytest.mark.parametrize("name", NAMES)
VALUES = [float("nan"), float("inf"), float("-inf")]


@pytest.fixture(scope="module")
def built():
    """Agents by name and kind of observation, built once; tests leave them as they are."""
    agents = {}

    def get(name, env=PointEnv):
        if (name, env) not in agents:
            agents[name, env] = build(name, make_vec_env(env))
        return agents[name, env]

    return get


def rows(n=4):
    return np.random.default_rng(0).uniform(-1, 1, (n, 3)).astype(np.float32)


def refusal(agent, observation, error):
    """The one sentence with which agent and policy refuse an observation."""
    texts = []
    for actor in (agent, agent.policy):
        with pytest.raises(error) as caught:
            actor.predict(observation, deterministic=True)
        assert isinstance(caught.value, HyperRLError)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert "\n" not in texts[0]
    return texts[0]


@every_agent
@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_that_are_not_finite(built, name, value, dtype):
    agent, batch = built(name), rows().astype(dtype)
    batch[2, 1] = value
    assert refusal(agent, batch, NonFiniteError) == (
        f"the observation has {value} at row 2 (environment 2 while training), column 1"
    )
    assert refusal(agent, batch[2], NonFiniteError) == f"the observation has {value} at column 1"
    assert refusal(agent, batch[2].tolist(), NonFiniteError) == f"the observation has {value} at column 1"


@every_agent
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_of_a_dict(built, name, value):
    agent = built(name, DictEnv)
    batch = {"first": rows()[:, :1], "rest": rows()[:, 1:]}
    batch["rest"][3, 0] = value
    assert refusal(agent, batch, NonFiniteError) == (
        f"the observation 'rest' has {value} at row 3 (environment 3 while training), column 0"
    )
    single = {key: values[3] for key, values in batch.items()}
    assert refusal(agent, single, NonFiniteError) == f"the observation 'rest' has {value} at column 0"


@every_agent
def test_values_beyond_float32(built, name):
    text = refusal(built(name), np.array([0.0, -1e39, 0.0]), NonFiniteError)
    assert text == "the observation has -1e+39 at column 1, more than float32 can hold"


@every_agent
@pytest.mark.parametrize(
    ("observation", "error", "sentence"),
    [
        (
            np.zeros(4),
            ShapeError,
            "the observation must have the shape (3,), or (rows, 3) in a batch, got (4,)",
        ),
        (np.zeros((2, 4)), ShapeError, "got (2, 4)"),
        (np.zeros((2, 2, 3)), ShapeError, "got (2, 2, 3)"),
        (np.float32(0), ShapeError, "got ()"),
        (None, ConfigError, "must hold numbers, got an array of dtype object"),
        (
            np.zeros((0, 3)),
            ShapeError,
            "the observation is a batch without rows, of shape (0, 3): it needs at least one",
        ),
        ([[0, 0, 0], [0, 0]], ShapeError, "a nested list whose parts have different lengths"),
        (
            np.array([0, 1, None]),
            ConfigError,
            "the observation must hold numbers, got an array of dtype object",
        ),
        (np.array(["a", "b", "c"]), ConfigError, "dtype <U1"),
        (np.zeros(3, complex), ConfigError, "dtype complex128"),
        (np.zeros(3, "M8[s]"), ConfigError, "dtype datetime64[s]"),
        (
            {"first": np.zeros(3), "b": 1},
            ConfigError,
            "the observation must be an array of shape (3,), got a dict with the keys first, b",
        ),
    ],
)
def test_observations_of_the_wrong_form(built, name, observation, error, sentence):
    assert sentence in refusal(built(name), observation, error)


class Unreadable:
    """Cannot become an array."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("it lies on another device")


def test_what_cannot_become_an_array(built):
    text = refusal(built("td3"), Unreadable(), ConfigError)
    assert text == "the observation must be an array, got Unreadable: it lies on another device"


@every_agent
@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"rest": None}, ConfigError, "the observation lacks the key 'rest' (it needs first, rest)"),
        (
            {"frist": np.zeros((2, 1))},
            UnknownNameError,
            "unknown key of the observation 'frist', did you mean 'first'?",
        ),
        (
            {"rest": np.zeros((2, 3))},
            ShapeError,
            "the observation 'rest' must have the shape (2,), or (rows, 2) in a batch, got (2, 3)",
        ),
        ({"rest": np.zeros((3, 2))}, ShapeError, "same number of rows, got 2 in 'first', 3 in 'rest'"),
        ({"rest": np.zeros((0, 2))}, ShapeError, "the observation 'rest' is a batch without rows"),
        ({"rest": np.array([["a", "b"]] * 2)}, ConfigError, "the observation 'rest' must hold numbers"),
    ],
)
def test_dicts_of_the_wrong_form(built, name, change, error, sentence):
    observation = {"first": np.zeros((2, 1)), "rest": np.zeros((2, 2)), **change}
    observation = {key: value for key, value in observation.items() if value is not None}
    assert sentence in refusal(built(name, DictEnv), observation, error)


@every_agent
def test_an_array_where_a_dict_belongs(built, name):
    assert refusal(built(name, DictEnv), rows(), ConfigError) == (
        "the observation must be a dict with the keys first, rest, got ndarray"
    )


@every_agent
@pytest.mark.parametrize("env", [PointEnv, DictEnv])
def test_gymnasiums_pair_of_reset_is_explained_by_stable_baselines3(built, name, env):
    with pytest.raises(ValueError, match="You have passed a tuple to the predict"):
        built(name, env).predict(env().reset())


@every_agent
def test_what_is_right_passes(built, name):
    agent = built(name)
    expected, _ = agent.predict(rows(), deterministic=True)
    assert expected.shape == (4, 2)
    assert np.array_equal(agent.predict(rows().tolist(), deterministic=True)[0], expected)
    assert np.array_equal(agent.predict(th.as_tensor(rows()), deterministic=True)[0], expected)
    # Out of the space's bounds, and of other types of numbers.
    for observation in (np.full(3, 1e6), np.arange(3), np.array([True, False, True]), (0.5, 0, 1)):
        action, state = agent.predict(observation, deterministic=True)
        assert action.shape == (2,)
        assert np.isfinite(action).all()
        assert state is None


@every_agent
def test_dicts_that_are_right_pass(built, name):
    agent = built(name, DictEnv)
    batch = {"rest": rows()[:, 1:], "first": rows()[:, :1]}
    assert agent.predict(batch)[0].shape == (4, 2)
    assert agent.predict({key: values[0] for key, values in batch.items()})[0].shape == (2,)
    assert agent.predict({"first": np.zeros(1), "rest": np.zeros((1, 2))})[0].shape == (1, 2)


@every_agent
def test_images_with_their_channels_first_or_last(name):
    if "CnnPolicy" not in registered.get(name).policy_aliases:
        pytest.skip(f"{name} has no CnnPolicy")
    sizes = {"device": "cpu"} if on_policy(name) else SMALL
    agent = registered.get(name)("CnnPolicy", ImageEnv(), policy_kwargs={"net_arch": [4]}, **sizes)
    for shape in ((36, 36, 1), (1, 36, 36)):
        image = np.full(shape, 7, np.uint8)
        assert agent.predict(image)[0].shape == (2,)
        assert agent.predict(np.stack([image] * 3))[0].shape == (3, 2)
    assert "(1, 36, 36)" in refusal(agent, np.zeros((35, 36, 1), np.uint8), ShapeError)
    assert "(1, 36, 36)" in refusal(agent, np.zeros((2, 2, 36, 36, 1), np.uint8), ShapeError)


@pytest.mark.parametrize(
    ("space", "right", "wrong"),
    [
        (spaces.Discrete(3), [1, np.int64(2), np.array([0, 1, 2])], np.zeros((2, 1))),
        (spaces.MultiDiscrete([2, 3]), [[1, 2], np.array([[0, 1], [1, 1]])], np.zeros(3)),
        (spaces.MultiBinary(2), [[1, 0], np.ones((4, 2), np.int8)], np.zeros((1, 1, 2))),
        (spaces.Box(-1, 1, (2, 2)), [np.zeros((2, 2)), np.zeros((3, 2, 2))], np.zeros(2)),
    ],
)
def test_other_spaces(space, right, wrong):
    for observation in right:
        check_observation(observation, space)
    with pytest.raises(ShapeError):
        check_observation(wrong, space)


def test_a_place_in_an_observation_of_more_dimensions():
    batch = np.zeros((3, 2, 2))
    batch[1, 0, 1] = np.nan
    with pytest.raises(
        NonFiniteError, match=r"nan at row 1 \(environment 1 while training\), position \(0, 1\)"
    ):
        check_observation(batch, spaces.Box(-1, 1, (2, 2)))
    with pytest.raises(NonFiniteError, match=r"the observation has nan$"):
        check_observation(np.nan, spaces.Box(-1, 1, ()))


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (np.zeros((2, 3)), None),
        (np.array([[0, 1], [np.nan, np.inf]]), (1, 0)),
        (np.array(np.inf), ()),
        (np.arange(3), None),
        (np.zeros((0, 3)), None),
        (np.array([True, False]), None),
    ],
)
def test_first_non_finite(values, index):
    assert first_non_finite(values) == index


@pytest.mark.parametrize(
    ("index", "text"), [((), ""), ((4,), "column 4"), ((1, 2), "position (1, 2)")], ids=str
)
def test_place(index, text):
    assert place(index) == text


@every_agent
@pytest.mark.parametrize("deterministic", [False, True])
def test_weights_that_are_not_finite_give_no_action(name, deterministic):
    agent = build(name, make_vec_env(PointEnv))
    weight, tensor = actor_weight(agent)
    spoil(tensor, float("nan"))
    for observation in (rows(), rows()[0]):
        with pytest.raises(NonFiniteError, match=f"its weight {weight} is not finite"):
            agent.predict(observation, deterministic=deterministic)


@every_agent
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_an_action_that_is_not_finite_is_not_given(name, value, monkeypatch):
    agent = build(name, make_vec_env(PointEnv))
    action = th.zeros(2, 2)
    action[1, 0] = value
    monkeypatch.setattr(agent.policy, "_predict", lambda obs, deterministic: action[-len(obs) :])
    if on_policy(name) and np.isinf(value):
        # What is drawn from a Gaussian is clipped to the bounds, however far it is out of them.
        space = agent.action_space
        assert agent.predict(rows(2))[0][1, 0] == (space.high if value > 0 else space.low)[0]
        return
    with pytest.raises(NonFiniteError) as caught:
        agent.predict(rows(2))
    assert str(caught.value) == (
        f"the policy would give an action of {value} at row 1 (environment 1 while training), column 0: "
        "though all its weights are finite"
    )
    with pytest.raises(NonFiniteError, match=rf"an action of {value} at column 0"):
        agent.predict(rows()[0])


@every_agent
def test_other_errors_of_a_policy_are_left_alone(name, monkeypatch):
    agent = build(name, make_vec_env(PointEnv))
    error = ValueError("mine")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(agent.policy, "_predict", fail)
    with pytest.raises(ValueError, match="mine") as caught:
        agent.predict(rows())
    assert caught.value is error


@pytest.mark.parametrize("name", [name for name in NAMES if not on_policy(name)])
def test_an_observation_that_goes_bad_while_learning_names_its_environment(name):
    agent = build(name, make_envs("obs", np.nan))
    with pytest.raises(
        NonFiniteError, match=r"the observation has nan at row 1 \(environment 1 while training\)"
    ):
        agent.learn(60)


@pytest.mark.parametrize(("cls", "policy"), [(TD3, HyperTD3Policy), (SAC, HyperSACPolicy)])
def test_hyper_policies_refuse_in_stable_baselines3s_own_classes(cls, policy):
    agent = cls(policy, PointEnv(), policy_kwargs={"critic": TINY, "net_arch": [8]}, **SMALL)
    refusal(agent, np.full(3, np.nan), NonFiniteError)


def test_the_mixin_fits_on_policy_policies():
    class Policy(FinitePredictMixin, ActorCriticPolicy):
        pass

    agent = PPO(Policy, PointEnv(), n_steps=16, batch_size=8, policy_kwargs={"net_arch": [8]}, device="cpu")
    agent.learn(16)
    refusal(agent, np.full(3, np.nan), NonFiniteError)
    spoil(agent.policy.action_net.weight, float("nan"))
    assert "action_net.weight" in refusal(agent, np.zeros(3), NonFiniteError)


# The baselines learn as Stable-Baselines3's own.


@pytest.mark.parametrize(("name", "cls"), [("td3", TD3), ("sac", SAC)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.1))},
        {"gradient_steps": 2, "train_freq": 3, "n_steps": 2},
    ],
    ids=lambda options: "-".join(options) or "default",
)
@pytest.mark.parametrize("in_dict", [False, True])
def test_baselines_learn_bit_by_bit_as_stable_baselines3s(name, cls, options, in_dict, tmp_path):
    if in_dict:
        options = {key: value for key, value in options.items() if key != "n_steps"}
    ours = build(name, make_envs(in_dict=in_dict), **options).learn(90)
    theirs = build(name, make_envs(in_dict=in_dict), cls=cls, **options).learn(90)
    assert type(ours) is not cls
    assert isinstance(ours, cls)
    assert ours._n_updates > 10
    assert same_parameters(ours, theirs)
    observation, _ = Faulty(in_dict=in_dict).reset(seed=0)
    for deterministic in (True, False):
        th.manual_seed(0)
        action, _ = ours.predict(observation, deterministic=deterministic)
        th.manual_seed(0)
        assert np.array_equal(action, theirs.predict(observation, deterministic=deterministic)[0])
    ours.save(tmp_path / "ours")
    theirs.save(tmp_path / "theirs")
    # Files of either class load in the other.
    assert same_parameters(type(ours).load(tmp_path / "theirs"), cls.load(tmp_path / "ours"))
    assert isinstance(type(ours).load(tmp_path / "ours").policy, FinitePredictMixin)
