"""Acceptance: C, ONNX, torch and NumPy equal the trained model's own `predict`, with clips at work."""

import json

import numpy as np
import pytest

import hyperrl
from hyperrl.errors import BoundsError, ConfigError, ShapeError
from hyperrl.exporters import verify
from hyperrl.exporters.c99 import CompiledPolicy
from hyperrl.registry import exporters
from hyperrl.sb3.plain import acting, specialise

NAMES = ["ppo, normalised", "ppo, squashed", "sac", "td3", "hyper-td3", "hyper-sac, normalised"]
FORMATS = ["c99", "onnx", "npz", "torch"]
# Their heads and normalisers are also those of others.
SLOW = {"sac", "hyper-td3"}
# Which takes as long as the others together.
WITH_TORCH = {"ppo, normalised", *SLOW}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]
)
def test_every_format_is_what_predict_returns(name, trained, observations, tmp_path):
    model = trained(name)
    expected = acting(model)(observations)
    half_range = 2.0
    formats = FORMATS if name in WITH_TORCH else FORMATS[:-1]
    for exported in hyperrl.export(model, formats, out=tmp_path / "out", env="Pendulum-v1"):
        table = exported.manifest
        act = exporters.get(table["exporter"])().load(exported.folder, table["details"])
        # 1e-5 of half the range, whatever the manifest says of itself.
        assert np.abs(act(observations) - expected).max() <= 1e-5 * half_range, table["exporter"]
        assert max(table["parity"]["largest_errors"].values()) <= 1e-5
        assert verify(exported.folder)["sha256"] == table["sha256"]


def test_each_architecture_of_hyper_ppo_is_what_predict_returns(observations, tmp_path):
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=4), clip_obs=0.9)
    model = hyperrl.HyperPPO("MlpPolicy", env, n_architectures=2, n_steps=32, batch_size=64, seed=0).learn(
        256
    )
    with pytest.raises(ConfigError, match="say which one"):
        hyperrl.export(model, env="Pendulum-v1", out=tmp_path / "none")
    answers = []
    for architecture in ([8, 16], [4]):
        out = tmp_path / str(len(architecture))
        [exported] = hyperrl.export(model, "c99", architecture=architecture, env="Pendulum-v1", out=out)
        assert exported.manifest["policy"]["architecture"] == architecture
        normalised = env.normalize_obs(observations)
        expected, _ = model.predict(normalised, deterministic=True, architecture=architecture)
        answers.append(CompiledPolicy(out)(observations))
        assert np.abs(answers[-1] - expected).max() <= 2e-5
    assert np.abs(answers[0] - answers[1]).max() > 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_clips_are_at_work_in_these_models(trained, observations):
    model = trained("ppo, normalised")
    policy = specialise(model)
    assert policy.normaliser.clips(observations).mean() > 0.3
    assert specialise(trained("hyper-sac, normalised")).normaliser.clips(observations).mean() > 0.2
    assert policy.head.bound == "clip"


def test_the_manifest_says_where_it_comes_from_and_what_it_is(trained, tmp_path):
    [exported] = hyperrl.export(trained("ppo, normalised"), out=tmp_path / "c", env="Pendulum-v1", episodes=3)
    table = json.loads((exported.folder / "manifest.json").read_text())
    assert table == exported.manifest
    assert table["policy"]["architecture"] == [16, 12]
    assert table["normaliser"]["clip"] == 0.8
    assert 0 < table["normaliser"]["clipped_share_of_rollout"] <= 1
    assert table["control_period_seconds"] == 0.05
    assert [row["low"] for row in table["actions"]] == [-2.0]
    assert table["provenance"]["env"] == "Pendulum-v1"
    assert table["provenance"]["steps"] == 384
    assert table["evaluation"]["episodes"] == 3
    low, high = table["evaluation"]["return_interval_95"]
    assert low <= table["evaluation"]["return_mean"] <= high < 0
    with np.load(exported.folder / "test_vectors.npz") as vectors:
        kinds = vectors["kinds"].tolist()
        assert kinds.count("rollout") >= 64
        assert {"zeros", "clip", "beyond clip"} < set(kinds)
        normalised = specialise(trained("ppo, normalised")).normaliser.unclipped(vectors["observations"])
        edges = np.abs(normalised[[kind == "clip" for kind in kinds]])
        np.testing.assert_allclose(edges, 0.8, rtol=1e-4)
        beyond = np.abs(normalised[[kind == "beyond clip" for kind in kinds]])
        assert beyond.min() > 2 * 0.8
    readme = (exported.folder / "README.md").read_text()
    assert "policy_act(observation, action);" in readme
    assert "@" not in readme
    assert "50 ms" in readme


def test_environments_name_their_numbers(trained, tmp_path):
    import gymnasium as gym

    def make():
        env = gym.make("Pendulum-v1")
        env.unwrapped.observation_names = ("cosine", "sine", "rate")
        env.unwrapped.observation_units = ("", "", "rad/s")
        env.unwrapped.action_names, env.unwrapped.action_units = ("torque",), ("N m",)
        return env

    [exported] = hyperrl.export(trained("td3"), out=tmp_path / "c", env=make, prefix="pendulum")
    assert [row["name"] for row in exported.manifest["observations"]] == ["cosine", "sine", "rate"]
    header = (exported.folder / "pendulum.h").read_text()
    assert "2 rate [rad/s]" in header
    assert "0 torque [N m], -2 to 2" in header
    assert "#define PENDULUM_CONTROL_PERIOD_US 50000L" in header
    assert "pendulum_act(observation, action);" in (exported.folder / "README.md").read_text()


def test_wrappers_are_no_part_of_the_policy_and_are_said_to_lie_before_it(trained, tmp_path):
    import gymnasium as gym

    [exported] = hyperrl.export(trained("td3"), "npz", out=tmp_path / "plain", env="Pendulum-v1")
    assert exported.manifest["wrappers"] == []
    assert exported.manifest["largest_jitter_seconds"] == pytest.approx(0.2 * 0.05)
    assert "wrappers" not in (exported.folder / "README.md").read_text()

    def make():
        return gym.wrappers.ClipAction(gym.wrappers.NormalizeObservation(gym.make("Pendulum-v1")))

    with pytest.raises(BoundsError, match="other bounds of actions than the model"):
        hyperrl.export(trained("td3"), "npz", out=tmp_path / "x", env=make)
    [exported] = hyperrl.export(
        trained("td3"),
        "npz",
        out=tmp_path / "wrapped",
        env=lambda: gym.wrappers.NormalizeObservation(gym.make("Pendulum-v1")),
    )
    assert exported.manifest["wrappers"] == ["NormalizeObservation"]
    assert "the wrappers NormalizeObservation lay between" in (exported.folder / "README.md").read_text()


def test_another_environment_and_a_seed_that_is_none_are_refused(trained, tmp_path):
    with pytest.raises(ShapeError, match=r"observations of shape \[11\], but those of the model .* \[3\]"):
        hyperrl.export(trained("td3"), "npz", out=tmp_path / "x", env="Hopper-v5")
    for seed in ("abc", -1, 1.5):
        with pytest.raises(ConfigError, match="seed must be a whole number"):
            hyperrl.export(trained("td3"), "npz", out=tmp_path / "x", env="Pendulum-v1", seed=seed)
    assert not (tmp_path / "x").exists()
