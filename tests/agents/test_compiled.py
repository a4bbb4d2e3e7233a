"""Compiled updates against the same agent's updates as they are written."""

import copy
import warnings

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.logger import Logger
from torch import nn

from hyperrl.bench.update import SpacesOnly, fill
from hyperrl.compiled import CompileWarning
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.train import resume, train
from hyperrl_agents.compiled_sac import CompiledSAC
from hyperrl_agents.compiled_td3 import CompiledTD3
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3

AGENTS = [CompiledTD3, CompiledSAC, HyperTD3, HyperSAC]
TINY_CRITIC = {"hidden": [16], "trunk_hidden": [16], "features": 4}
BATCH = 32


def build(cls, seed=0, policy_kwargs=None, **kwargs):
    policy = {"net_arch": [16, 16], **(policy_kwargs or {})}
    if issubclass(cls, (HyperTD3, HyperSAC)):
        policy.setdefault("critic", TINY_CRITIC)
    model = cls(
        "MlpPolicy", SpacesOnly(), buffer_size=500, seed=seed, device="cpu", policy_kwargs=policy, **kwargs
    )
    fill(model.replay_buffer, seed)
    model.set_logger(Logger(None, []))
    return model


def update(model, count, seed):
    np.random.seed(seed)
    torch.manual_seed(seed)
    model.train(count, BATCH)


def parameters(model):
    found = [parameter.detach().flatten() for parameter in model.policy.parameters()]
    if getattr(model, "log_ent_coef", None) is not None:
        found.append(model.log_ent_coef.detach())
    return torch.cat(found).double()


def adopt(model, other):
    # An optimiser that loads a state goes on in the very tensors of the state.
    model.set_parameters(copy.deepcopy(other.get_parameters()))
    model._n_updates = other._n_updates
    if getattr(model, "log_ent_coef", None) is not None:
        model.log_ent_coef.data.copy_(other.log_ent_coef.data)


# Compiling takes its time, and each critic adds to it: every day each learning rule and each kind of critic
# once, with one critic; the smaller of two is for the slow tests.
PAIRS = [
    *(pytest.param((cls, 2), marks=pytest.mark.slow, id=cls.__name__) for cls in AGENTS),
    *(pytest.param((cls, 1), id=f"{cls.__name__} with one critic") for cls in (CompiledTD3, HyperSAC)),
]


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    """An agent that compiles and one that does not, in the same state after a few updates."""
    cls, n_critics = request.param
    critics = {"n_critics": n_critics}
    compiled, eager = (build(cls, compile=choice, policy_kwargs=critics) for choice in (True, False))
    # Adam's first steps make a whole step of any rounding error in a gradient of almost zero.
    update(eager, 20, seed=1)
    adopt(compiled, eager)
    return compiled, eager


def test_one_update_is_the_same_up_to_rounding(pair):
    compiled, eager = pair
    for seed in (2, 3):  # One with TD3's delayed actor and one without.
        before = parameters(eager)
        torch.testing.assert_close(parameters(compiled), before, rtol=0, atol=0)
        update(eager, 1, seed)
        update(compiled, 1, seed)
        change = (parameters(eager) - before).norm()
        assert change > 0
        assert (parameters(compiled) - parameters(eager)).norm() / change < 1e-4
        adopt(compiled, eager)


def test_both_log_the_same(pair):
    compiled, eager = pair
    update(eager, 2, seed=4)
    update(compiled, 2, seed=4)
    found, expected = compiled.logger.name_to_value, eager.logger.name_to_value
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("hyper/"):  # Measured now and then, and not at the same updates.
            assert np.isfinite(found[name])
            continue
        assert found[name] == pytest.approx(value, rel=1e-2, abs=1e-4), name
    adopt(compiled, eager)


def test_the_optimisers_know_of_compiled_steps(pair):
    compiled, eager = pair
    for name, value in eager.get_parameters().items():
        if "optimizer" not in name:
            continue
        found = compiled.get_parameters()[name]["state"]
        assert found.keys() == value["state"].keys()
        for key, state in value["state"].items():
            assert found[key]["step"] == state["step"]


def test_an_update_reaches_predict_and_a_saved_agent_goes_on(pair, tmp_path):
    compiled, eager = pair
    observation = np.ones((1, 17))
    before = compiled.predict(observation, deterministic=True)[0]
    update(compiled, 4, seed=5)
    assert (compiled.predict(observation, deterministic=True)[0] != before).any()
    compiled.save(tmp_path / "model")
    loaded = type(compiled).load(tmp_path / "model", env=SpacesOnly())
    assert loaded.compile is True
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0],
        compiled.predict(observation, deterministic=True)[0],
    )
    fill(loaded.replay_buffer, 0)
    loaded.set_logger(Logger(None, []))
    for model in (loaded, compiled):
        update(model, 2, seed=6)
    torch.testing.assert_close(parameters(loaded), parameters(compiled), rtol=0, atol=0)
    for model in (compiled, eager):
        adopt(model, loaded)


def test_a_hundred_updates_stay_finite_and_leave_no_precision_behind(pair):
    compiled, eager = pair
    update(compiled, 100, seed=7)
    assert torch.isfinite(parameters(compiled)).all()
    assert torch.get_float32_matmul_precision() == "highest"
    adopt(compiled, eager)


def test_the_learning_rate_is_no_part_of_the_graph(pair):
    compiled, eager = pair
    before = parameters(compiled)
    schedule = compiled.lr_schedule
    compiled.lr_schedule = lambda _: 0.0
    update(compiled, 2, seed=8)
    compiled.lr_schedule = schedule
    moved = (parameters(compiled) - before).abs()
    # Only the targets still move, towards networks that stand still.
    assert moved.max() > 0
    names = dict(compiled.policy.named_parameters())
    for name, parameter in eager.policy.named_parameters():
        if "target" not in name:
            torch.testing.assert_close(names[name], parameter, rtol=0, atol=0)
    adopt(compiled, eager)


@pytest.mark.parametrize("base", [TD3, SAC])
def test_updates_that_are_not_compiled_are_stable_baselines3s(base):
    ours = build(CompiledTD3 if base is TD3 else CompiledSAC, compile=False)
    theirs = build(base)
    torch.testing.assert_close(parameters(ours), parameters(theirs), rtol=0, atol=0)
    before = parameters(ours)
    for model in (ours, theirs):
        update(model, 10, seed=1)
    change = (parameters(theirs) - before).norm()
    assert (parameters(ours) - parameters(theirs)).norm() / change < 1e-4


@pytest.mark.slow
def test_bfloat16_products_stay_finite_and_near():
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(ConfigError, match="a processor that multiplies in bfloat16"):
            build(CompiledTD3, precision="medium")
        return
    coarse = build(CompiledTD3, compile=True, precision="medium")
    exact = build(CompiledTD3, compile=False)
    before = parameters(exact)
    for model in (coarse, exact):
        update(model, 100, seed=1)
    assert torch.isfinite(parameters(coarse)).all()
    changes = parameters(coarse) - before, parameters(exact) - before
    assert nn.functional.cosine_similarity(*changes, dim=0) > 0.5
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (CompiledTD3, {"policy_kwargs": {"optimizer_class": torch.optim.RMSprop}}, "got RMSprop"),
        (CompiledSAC, {"use_sde": True}, "state-dependent exploration"),
        (
            HyperTD3,
            {"policy_kwargs": {"critic": {**TINY_CRITIC, "encoder": "running_norm"}}},
            "running statistics",
        ),
    ],
)
def test_what_cannot_be_compiled_says_why_and_learns(cls, options, words):
    model = build(cls, compile=True, **options)
    before = parameters(model)
    with pytest.warns(CompileWarning, match=words):
        update(model, 2, seed=1)
    assert (parameters(model) != before).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        update(model, 1, seed=2)


@pytest.mark.parametrize(
    ("steps", "options", "updates"),
    [
        (30_000, {}, 29_900),
        (50, {}, 0),
        (30_000, {"train_freq": 4}, 7475),
        (30_000, {"gradient_steps": 3}, 89_700),
        (30_000, {"train_freq": 8, "gradient_steps": -1}, 29_900),
        (30_100, {"train_freq": (2, "episode")}, 15),
    ],
)
def test_how_many_updates_are_expected(steps, options, updates):
    assert build(CompiledTD3, learning_starts=100, **options).expected_updates(steps) == updates


@pytest.mark.parametrize(
    ("choice", "updates", "compiles"),
    [("auto", 20_000, True), ("auto", 19_999, False), (True, 1, True), (False, 10**9, False)],
)
def test_when_it_compiles(choice, updates, compiles):
    assert build(CompiledTD3, compile=choice).compiles(updates) is compiles


def test_short_learning_does_not_compile_and_says_so(capsys):
    model = build(CompiledTD3, learning_starts=5, verbose=1)
    model.learn(20)
    assert "not compiling the updates, of which about 15 are to be made" in capsys.readouterr().err
    assert model._updates() is None


def test_long_learning_says_that_it_compiles(capsys):
    model = build(CompiledTD3, learning_starts=5)
    model._setup_learn(30_000)
    model._updates()
    assert "compiling the updates, which takes up to a minute the first time" in capsys.readouterr().err
    model._updates()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_a_wrong_choice_is_refused(value):
    with pytest.raises(ConfigError, match='compile must be true, false or "auto"'):
        build(CompiledTD3, compile=value)


def test_a_wrong_precision_is_refused():
    with pytest.raises(UnknownNameError, match="medium"):
        build(CompiledTD3, precision="medum")
    with pytest.raises(ConfigError, match="TF32, which CPUs do not have"):
        build(CompiledTD3, precision="high")


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=pytest.mark.slow), False])
def test_numpy_scalars_and_changed_constants_are_taken(compiled, monkeypatch):
    if not compiled:  # What is tested is how graphs are traced; to compile them takes many seconds.
        monkeypatch.setattr("hyperrl.compiled.graph.compile_graph", lambda graph, arguments: graph)
    small = {"net_arch": [8], "n_critics": 1}
    model = build(CompiledTD3, compile=True, gamma=np.float64(0.9), tau=np.float32(0.01), policy_kwargs=small)
    update(model, 2, seed=1)
    assert model._compiled[0]._critic_graph.fallback is None
    model.tau = 1.0
    update(model, 2, seed=2)
    for online, target in zip(model.critic.parameters(), model.critic_target.parameters(), strict=True):
        torch.testing.assert_close(online, target, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["hyper-td3", "hyper-sac"])
def test_a_compiled_run_that_is_resumed_is_the_run(tmp_path, agent):
    def run(name, steps):
        tiny = {"net_arch": [16, 16], "critic": TINY_CRITIC}
        settings = {"learning_starts": 50, "batch_size": 32, "buffer_size": 1000, "policy_kwargs": tiny}
        config = RunConfig(
            agent,
            "HalfCheetah-v5",
            steps=steps,
            eval_episodes=1,
            out=str(tmp_path / name),
            agent_kwargs={**settings, "compile": True},
        )
        return train(config).folder

    straight, interrupted = run("straight", 300), run("interrupted", 170)
    resume(interrupted.path, 300)
    for name in ("policy.safetensors", "state.safetensors"):
        files = [folder.path / "ckpt" / "step-000000000300" / name for folder in (straight, interrupted)]
        assert files[0].read_bytes() == files[1].read_bytes()
