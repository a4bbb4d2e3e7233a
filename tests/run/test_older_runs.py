"""Run folders from before transitions were packed into rows and MuJoCo was simulated natively."""

import dataclasses
from pathlib import Path

import pytest

from hyperrl.config import RunConfig
from hyperrl.errors import CheckpointError
from hyperrl.evaluate import evaluate
from hyperrl.run import session
from hyperrl.sb3 import off_policy
from hyperrl.train import resume, train
from tests.conftest import SMALL_TD3


def older(monkeypatch, out, agent):
    """Train as an older version did, which knew no setting `native`, and return the run's folder."""

    class Unpacked:
        @staticmethod
        def takes(*_):
            return False

    config = RunConfig(
        agent,
        "InvertedPendulum-v5",
        steps=60,
        eval_episodes=1,
        eval_every=0,
        native=False,
        out=str(out),
        agent_kwargs=SMALL_TD3,
    )
    about = session.about

    def without_native(config):
        said = about(config)
        return {**said, "settings": said["settings"].replace("native = false\n", "")}

    with monkeypatch.context() as patch:
        patch.setattr(off_policy, "PackedReplayBuffer", Unpacked)
        patch.setattr(session, "about", without_native)
        path = train(config).folder.path
    toml = path / "run.toml"
    toml.write_text(toml.read_text().replace("native = false\n", ""))
    return path


def test_a_replay_buffer_without_packed_rows_is_refused_with_what_to_do(monkeypatch, tmp_path):
    path = older(monkeypatch, tmp_path / "run", "compiled-td3")
    with pytest.raises(CheckpointError) as caught:
        resume(path, 100)
    assert str(caught.value) == (
        "the checkpoint's replay buffer is that of an older hyperrl, which did not keep transitions in "
        "packed rows: continue the run with the version that wrote it, or train it anew; hyperrl evaluate "
        "still measures it"
    )
    assert evaluate(path, 1).steps == 60


def test_other_simulations_are_refused_and_what_is_advised_works(monkeypatch, tmp_path):
    path = older(monkeypatch, tmp_path / "run", "td3")
    with pytest.raises(CheckpointError, match=r"simulated by Gymnasium, .*: set native = false in"):
        resume(path, 100)
    toml = Path(path) / "run.toml"
    config = RunConfig.from_toml(toml.read_text())
    toml.write_text(dataclasses.replace(config, native=False).to_toml())
    assert resume(path, 100).steps == 100
