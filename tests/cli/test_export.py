"""`hyperrl export` from the command line: what appears, what is said, and what is refused in one sentence."""

import json

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.cli import main as cli
from hyperrl.environments import make_env
from hyperrl.exporters.c99 import CompiledPolicy
from hyperrl.loading import load_agent


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    env = VecNormalize(DummyVecEnv([lambda: make_env("Pendulum-v1")]), clip_obs=0.7)
    model = PPO("MlpPolicy", env, n_steps=64, device="cpu", seed=0, policy_kwargs={"net_arch": [8]}).learn(
        128
    )
    model.save(folder / "model.zip")
    env.save(str(folder / "normalizer.pkl"))
    return folder, model, env


def refused(capsys, *arguments):
    assert cli(["export", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def test_a_run_is_exported_beside_its_checkpoints(finished_run, tmp_path, capsys):
    path = finished_run.folder.path
    out = tmp_path / "out"
    assert cli(["export", str(path), "--format", "c99,npz", "--format", "onnx", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert sorted(one.name for one in out.iterdir()) == ["c99-16x16", "npz-16x16", "onnx-16x16"]
    assert printed.count("largest difference from the trained model's own predict") == 3
    agent, steps = load_agent(finished_run.folder)
    observations = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    expected, _ = agent.predict(observations, deterministic=True)
    np.testing.assert_allclose(CompiledPolicy(out / "c99-16x16")(observations), expected, atol=1e-5)
    origin = json.loads((out / "c99-16x16" / "manifest.json").read_text())["provenance"]
    assert (origin["agent"], origin["env"], origin["steps"]) == ("td3", "Pendulum-v1", steps)
    assert cli(["export", "--verify", str(out / "onnx-16x16")]) == 0
    assert "the policy acts as it must" in capsys.readouterr().out
    (out / "c99-16x16" / "policy.c").write_text("/* nothing */\n")
    assert "policy.c was changed since it was exported" in refused(capsys, "--verify", out / "c99-16x16")


def test_the_default_place_and_int8(finished_run, tmp_path, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished_run.folder.path, run)
    assert cli(["export", str(run), "--weights", "int8", "--episodes", "2", "--prefix", "swing"]) == 0
    printed = capsys.readouterr().out
    assert "int8 weights" in printed
    assert "lost to int8:" in printed
    place = run / "export" / "c99-16x16"
    assert printed.strip().endswith(str(place))
    assert (place / "swing.h").is_file()
    assert "is not empty" in refused(capsys, run)
    assert cli(["export", str(run), "--overwrite"]) == 0
    assert not (place / "swing.h").exists()


def test_a_model_file_with_its_normaliser(model_file, capsys, tmp_path):
    folder, model, env = model_file
    out = tmp_path / "out"
    options = ["--agent", "ppo", "--env", "Pendulum-v1", "--vec-normalize", folder / "normalizer.pkl"]
    arguments = ["export", folder / "model.zip", *options, "--trust-pickle", "--out", out]
    assert cli(list(map(str, arguments))) == 0
    draw = np.random.default_rng(1)
    observations = (draw.normal(size=(50, 3)) * [1, 1, 5]).astype(np.float32)
    normalised = env.normalize_obs(observations)
    assert (np.abs(normalised) == np.float32(0.7)).mean() > 0.1
    expected, _ = model.predict(normalised, deterministic=True)
    np.testing.assert_allclose(CompiledPolicy(out)(observations), expected, atol=1e-5)


def test_refusals(finished_run, model_file, tmp_path, capsys, monkeypatch):
    run, zipped = finished_run.folder.path, model_file[0] / "model.zip"
    out = ["--out", tmp_path / "out"]
    assert "export needs the folder of a run" in refused(capsys)
    assert "did you mean 'c99'" in refused(capsys, run, "--format", "c98", *out)
    assert "has the one architecture [16, 16]" in refused(capsys, run, "--architecture", "8,8", *out)
    assert "--architecture must be widths such as 16,16" in refused(capsys, run, "--architecture", "a", *out)
    assert "the format npz has no int8 weights" in refused(
        capsys, run, "--format", "npz", "--weights", "int8", *out
    )
    assert "max_loss must be a number from 0 to 1" in refused(capsys, run, "--max-loss", "7", *out)
    assert "episodes must be a whole number" in refused(capsys, run, "--episodes", "-1", *out)
    assert "there is no folder" in refused(capsys, tmp_path / "no-run")
    assert "--env is for a .zip file" in refused(capsys, run, "--env", "Pendulum-v1")
    assert "add --trust-pickle" in refused(capsys, zipped, "--agent", "ppo", "--env", "Pendulum-v1")
    assert "does not say how it was trained" in refused(capsys, zipped, "--trust-pickle")
    named = [zipped, "--agent", "ppo", "--env", "Pendulum-v1", "--trust-pickle"]
    assert "holds one policy" in refused(capsys, *named, "--checkpoint", "best")
    assert "seed must be a whole number" in refused(capsys, run, "--seed", "abc", *out)
    assert "leave the run away" in refused(capsys, run, "--verify", tmp_path)
    assert "holds no exported policy" in refused(capsys, "--verify", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "no-such-compiler" in refused(capsys, run, *out)
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(finished_run, tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = refused(capsys, finished_run.folder.path, "--format", "onnx", "--out", tmp_path / "x")
    assert "pip install 'hyperrl[onnx]'" in words
    assert not list(tmp_path.iterdir())


def test_exporters_are_listed(capsys):
    assert cli(["list", "exporters"]) == 0
    assert "hyperrl.exporters.c99:C99Exporter" in capsys.readouterr().out
