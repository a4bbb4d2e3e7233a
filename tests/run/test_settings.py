import dataclasses
import math
import random

import pytest

from hyperrl.config import RunConfig
from hyperrl.errors import HyperRLError, RunFolderError
from hyperrl.run import RunFolder
from hyperrl.run.settings import about, check_settings

CONFIG = RunConfig(
    "td3",
    "Ant-v5",
    seed=3,
    env_kwargs={"healthy_z_range": [0.2, math.inf]},
    agent_kwargs={"gamma": 0.9, "policy_kwargs": {"net_arch": [8], "scale": math.nan}},
)


@pytest.fixture
def run(tmp_path):
    folder = RunFolder.create(dataclasses.replace(CONFIG, out=str(tmp_path / "run")))
    folder.store.save(7, weights={}, state=None, about=about(folder.config()))
    return folder


def check(run, config):
    return check_settings(config, run.checkpoint(), run.path / "run.toml")


def test_the_settings_that_a_run_was_trained_with_pass(run):
    assert check(run, run.config()) == []
    assert check(run, dataclasses.replace(CONFIG, out="elsewhere")) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 4}, "seed was 3 when the checkpoint step-000000000007 was written and is 4 now; put it"),
        ({"env": "Ant-v4"}, "env was Ant-v5 .* is Ant-v4 now"),
        ({"env_kwargs": {}}, r"env_kwargs.healthy_z_range was \[0.2, inf\] .* is not there now"),
        ({"agent_kwargs": {**CONFIG.agent_kwargs, "tau": 1}}, "agent_kwargs.tau was not there .* is 1 now"),
        ({"n_envs": 2}, "n_envs was 1"),
        ({"policy": "CnnPolicy"}, "policy was MlpPolicy"),
    ],
)
def test_other_settings_are_refused_by_name(run, change, sentence):
    with pytest.raises(RunFolderError, match=f"run.toml is not what the run was trained with: {sentence}"):
        check(run, dataclasses.replace(CONFIG, **change))


def test_settings_of_the_machine_and_the_length_may_change_and_are_said(run):
    changed = dataclasses.replace(CONFIG, steps=7, device="cpu", step_timeout=300.0, eval_every=5)
    notes = check(run, changed)
    assert [note.split()[0] for note in notes] == ["steps", "device", "eval_every", "step_timeout"]
    assert notes[0].endswith(f"is 7 now in {run.path / 'run.toml'}: the run continues with that")


def test_a_checkpoint_without_a_copy_passes(run):
    run.store.save(9, weights={}, state=None, about={"agent": "td3", "env": "Ant-v5"})
    assert check(run, dataclasses.replace(CONFIG, seed=9)) == []


def test_no_flipped_bit_goes_unseen(run):
    whole, checkpoint = (run.path / "run.toml").read_bytes(), run.checkpoint()
    seen = harmless = 0
    for bit in random.Random(0).sample(range(8 * len(whole)), 600):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        (run.path / "run.toml").write_bytes(changed)
        try:
            config = run.config()
            seen += bool(check_settings(config, checkpoint, run.path / "run.toml"))
        except HyperRLError:
            seen += 1
        else:
            # Space between words.
            harmless += repr(dataclasses.replace(config, out=None)) == repr(CONFIG)
    assert seen > 500
    assert seen + harmless >= 600
