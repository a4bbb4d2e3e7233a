"""HyperZero with the verbs of Stable-Baselines3: it learns from data, acts, saves, specialises, adapts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl import HyperZero
from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import (
    BoundsError,
    ConfigError,
    ContextError,
    DatasetError,
    ShapeError,
    UnknownNameError,
    UnsupportedSpaceError,
)
from hyperrl_agents.hyper_zero.methods import METHODS
from tests.agents.hyper_zero.lines import SIZE, LineEnv, line_dataset, line_space, line_transitions, solve
from tests.sb3.toys import DictEnv, PointEnv

SMALL = {"embedding": [16, 32], "blocks": 1, "net_arch": [32]}
TEST_DRIFTS = np.array([-0.55, -0.05, 0.43, 0.72])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(line_dataset(tmp_path_factory.mktemp("lines"), rows=200).folder)


def build(data, env=None, policy="MlpPolicy", **kwargs):
    kwargs = {"policy_kwargs": dict(SMALL), "tasks_per_batch": 8, "rows_per_task": 16} | kwargs
    return HyperZero(policy, env or LineEnv(), dataset=data, seed=0, device="cpu", **kwargs)


def observations(drift, rows=200, units="normalised"):
    """Observations of one task, and what its controller does there."""
    states = np.random.default_rng(7).uniform(-1, 1, (rows, SIZE)).astype(np.float32)
    seen = line_space().normalise([drift]) if units == "normalised" else np.array([drift])
    flat = np.concatenate([states, np.repeat(seen[None], rows, 0)], axis=1).astype(np.float32)
    return flat, solve(drift, states)


def scaled(actions):
    """Actions of the environment, from -1 to 3, as the controller gives them."""
    return (actions - 1) / 2


def error(agent, drift):
    seen, wanted = observations(drift)
    return float(np.square(scaled(agent.predict(seen)[0]) - wanted).mean())


def blind_error(drift):
    """The best that a policy can do that does not see the context: the mean controller of training."""
    drifts = np.linspace(-0.9, 0.9, 20)
    _, wanted = observations(drift)
    states, _ = observations(drift)
    return float(np.square(solve(drifts.mean(), states[:, :SIZE]) - wanted).mean())


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("maml", "pearl")])
def test_it_recovers_the_controllers_of_contexts_it_never_saw(data, method):
    agent = build(data, method=method, learning_rate=3e-3).learn(250)
    assert agent.num_timesteps == 250
    for drift in (-0.55, 0.43, 0.72):
        assert error(agent, drift) < 0.25 * blind_error(drift), drift


def test_maml_and_pearl_learn(data):
    for method, steps in (("maml", 40), ("pearl", 100)):
        agent = build(data, method=method, learning_rate=3e-3, policy_kwargs={**SMALL, "latent": 8})
        agent.check_trainable()
        batch = agent._batches.draw(np.random.default_rng(0))
        before = agent.losses(batch)["action_loss"].item()
        agent.learn(steps)
        after = agent.losses(batch)["action_loss"].item()
        assert after < 0.5 * before, method


def test_pearl_infers_its_task_from_the_last_step(data):
    small = {**SMALL, "latent": 8}
    agent = build(data, method="pearl", learning_rate=3e-3, policy_kwargs=small).learn(300)
    errors = {"without": [], "with": []}
    for drift in (-0.8, 0.8):
        seen, wanted = observations(drift)
        first, state = agent.predict(seen, episode_start=np.ones(len(seen), bool))
        np.testing.assert_allclose(state[0][:, :SIZE], seen[:, :SIZE])
        np.testing.assert_allclose(state[0][:, SIZE:], scaled(first), atol=1e-6)
        errors["without"].append(np.square(scaled(first) - wanted).mean())
        # What the task's controller did elsewhere tells the task.
        others = np.concatenate([seen[:, :SIZE], wanted], axis=1)[::-1].astype(np.float32)
        second, _ = agent.predict(seen, state=(others,), episode_start=np.zeros(len(seen), bool))
        errors["with"].append(np.square(scaled(second) - wanted).mean())
        again, _ = agent.predict(seen, state=(others,), episode_start=np.ones(len(seen), bool))
        np.testing.assert_array_equal(again, first)
    assert np.mean(errors["with"]) < 0.3 * np.mean(errors["without"])
    with pytest.raises(ShapeError, match="200 observations, but the state is of 3"):
        agent.predict(seen, state=(others[:3],))
    with pytest.raises(ConfigError, match="infers its task"):
        agent.specialise({"drift": 0.5})


def test_a_batch_of_many_contexts_acts_as_each_alone(data):
    agent = build(data).learn(20)
    seen = np.concatenate([observations(drift, 5)[0] for drift in TEST_DRIFTS])
    order = np.random.default_rng(0).permutation(len(seen))
    together, _ = agent.predict(seen[order])
    for row, action in zip(seen[order], together, strict=True):
        np.testing.assert_allclose(agent.predict(row)[0], action, atol=1e-5)


def test_weights_are_generated_once_for_an_episode(data):
    agent = build(data)
    cache = agent.policy._cache
    for row in observations(0.5, 10)[0]:
        agent.predict(row)
    assert (cache.misses, cache.hits) == (1, 9)
    agent.learn(1)
    agent.predict(row)
    assert cache.misses == 2


@pytest.mark.parametrize("method", ["hyperzero", "uvfa"])
def test_a_specialised_policy_acts_as_the_agent_does(data, method):
    agent = build(data, method=method).learn(30)
    seen, _ = observations(0.43)
    plain = agent.specialise(context={"drift": 0.43})
    assert plain.sizes == (SIZE, 32, SIZE)
    np.testing.assert_allclose(plain(seen[:, :SIZE]), agent.predict(seen)[0], atol=1e-5)
    with pytest.raises(UnknownNameError, match="did you mean 'drift'"):
        agent.specialise({"drit": 0.4})
    with pytest.raises(BoundsError, match=r"drift must be from -0.9 to 0.9"):
        agent.specialise({"drift": 2.0})
    with pytest.raises(ContextError, match=r"say which context, for example drift=0.5"):
        agent.specialise()


def test_it_says_what_it_sees_of_contexts(data):
    agent = build(data)
    assert (agent.observed.space.names, agent.observed.units, agent.observed.size) == (
        ("drift",),
        "normalised",
        1,
    )
    np.testing.assert_array_equal(agent.observed.vector({"drift": 0.43}), agent.condition({"drift": 0.43}))
    assert build(data, LineEnv(units="raw")).observed.units == "raw"
    seen, _ = observations(0.43)
    np.testing.assert_array_equal(agent.complete(seen[:, :SIZE], {"drift": 0.43}), seen)
    both = build(data, LineEnv(append="dict"), "MultiInputPolicy").complete(seen[:, :SIZE], {"drift": 0.43})
    np.testing.assert_array_equal(both["context"], seen[:, SIZE:])
    assert build(data, method="pearl").observed.size == 0


def test_a_few_episodes_of_a_test_task_make_its_policy_better(data):
    agent = build(data, method="maml", learning_rate=1e-3).learn(10)
    drift = 0.72
    before = [parameter.clone() for parameter in agent.policy.parameters()]
    few = line_transitions(drift, 2000, np.random.default_rng(1))
    adapted = agent.adapt({"drift": drift}, few)
    seen, wanted = observations(drift)
    after = float(np.square(scaled(adapted(seen[:, :SIZE])) - wanted).mean())
    assert after < 0.5 * error(agent, drift)
    assert all(torch.equal(*pair) for pair in zip(before, agent.policy.parameters(), strict=True))


def test_dictionaries_flat_vectors_and_raw_contexts_are_the_same_tasks(data):
    flat = build(data).learn(20)
    dicts = build(data, LineEnv(append="dict"), "MultiInputPolicy").learn(20)
    seen, _ = observations(0.43)
    both = {"observation": seen[:, :SIZE], "context": seen[:, SIZE:]}
    np.testing.assert_array_equal(flat.predict(seen)[0], dicts.predict(both)[0])
    raw = build(data, LineEnv(units="raw"))
    np.testing.assert_array_equal(raw.condition({"drift": 0.43}), np.array([0.43], np.float32))
    raw.check_trainable()
    contexts = raw._batches._contexts.numpy()
    assert contexts.min() == pytest.approx(-0.9)


def test_the_environment_is_left_alone(data):
    env = LineEnv()
    agent = build(data, env).learn(30)
    assert env.steps == 0
    assert agent.num_timesteps == agent._n_updates == 30


def test_only_tasks_of_training_are_learned_from(data):
    agent = build(data)
    agent.check_trainable()
    manifest = json.loads((Path(data) / "dataset.json").read_text())
    trained = {tuple(task["context"]) for task in manifest["tasks"] if task["split"] == "train"}
    tests = {tuple(task["context"]) for task in manifest["tasks"] if task["split"] == "tasks"}
    assert tests
    space = line_space()
    seen = {round(float(value), 5) for value in agent._batches._contexts[:, 0]}
    assert seen == {round(float(space.normalise(context)[0]), 5) for context in trained}
    assert not seen & {round(float(space.normalise(context)[0]), 5) for context in tests}


def test_a_saved_agent_acts_without_its_data(data, tmp_path):
    agent = build(data).learn(20)
    agent.save(tmp_path / "agent")
    loaded = HyperZero.load(tmp_path / "agent", env=LineEnv(), device="cpu")
    loaded.dataset = None
    seen, _ = observations(0.5)
    np.testing.assert_array_equal(loaded.predict(seen)[0], agent.predict(seen)[0])
    plain = HyperZero("MlpPolicy", LineEnv(), device="cpu", policy_kwargs=dict(SMALL))
    assert plain.predict(seen)[0].shape == (200, SIZE)
    with pytest.raises(ConfigError, match="learns from a data set: give dataset"):
        plain.learn(10)


class OtherName(LineEnv):
    """The same tasks, whose parameter has another name."""

    def __init__(self):
        super().__init__()
        self.context_space = ContextSpace((ContextParam("pull", -0.9, 0.9, default=0.5, op="set"),))


def test_other_tasks_are_refused(data):
    for env, kind, sentence in (
        (OtherName(), ContextError, "contexts are of drift, but this task's are of pull"),
        (LineEnv(high=0.8), ContextError, "drift is trained from -0.9 to 0.9, this task's from -0.9 to 0.8"),
    ):
        with pytest.raises(kind, match=sentence):
            build(data, env).learn(10)
    with pytest.raises(DatasetError, match=r"numbers, the environment's have \(2, 2\)"):
        build(data, PointEnv()).learn(10)


def test_wrong_settings_are_refused(data):
    with pytest.raises(UnknownNameError, match="did you mean 'hyperzero'"):
        build(data, method="hyperzer")
    with pytest.raises(ConfigError, match="has 17 tasks of training, fewer than the 18 of a batch"):
        build(data, tasks_per_batch=18).learn(10)
    with pytest.raises(ConfigError, match="match_params is for the methods"):
        build(data, policy_kwargs={**SMALL, "match_params": True})
    with pytest.raises(ConfigError, match="needs to see contexts"):
        build(data, LineEnv(mode="hidden"))
    with pytest.raises(UnsupportedSpaceError, match="'observation' and 'context'"):
        build(data, DictEnv(), "MultiInputPolicy")
    with pytest.raises(ConfigError, match="rows_per_task must be at least 2"):
        build(data, method="maml", rows_per_task=1).learn(10)
    with pytest.raises(ConfigError, match="leave normalize out"):
        build(data, VecNormalize(DummyVecEnv([LineEnv]))).learn(10)
    with pytest.raises(DatasetError, match="holds no data set"):
        build(data + "/tasks").learn(10)


def test_pearl_does_not_need_to_see_contexts(data):
    agent = build(data, LineEnv(mode="hidden"), method="pearl").learn(10)
    action, state = agent.predict(np.zeros(SIZE, np.float32))
    assert action.shape == (SIZE,)
    assert state[0].shape == (1, 2 * SIZE)


def test_matched_baselines_are_as_large_as_hyperzero(data):
    own = sum(p.numel() for p in build(data).policy.parameters())
    other = build(data, method="uvfa_td", policy_kwargs={**SMALL, "match_params": True})
    assert sum(p.numel() for p in other.policy.parameters()) == pytest.approx(own, rel=0.01)


def test_noise_on_contexts_is_clipped(data):
    agent = build(data, context_noise=1.0)
    agent.check_trainable()
    drawn = agent._batches.draw(np.random.default_rng(0))
    known = agent._batches._contexts[:, 0]
    distance = (drawn.contexts - known).abs().min(dim=1).values
    assert bool((distance <= 0.02 + 1e-6).all())
    assert bool((distance > 0).any())
