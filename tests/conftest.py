"""Fixtures that several test folders share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hyperrl.config import RunConfig
from hyperrl.run import Run
from hyperrl.train import train

# Tests run beside each other; more threads each only get in each other's way.
torch.set_num_threads(1)

SMALL_TD3 = {
    "learning_rate": 1e-3,
    "buffer_size": 1000,
    "learning_starts": 50,
    "batch_size": 16,
    "action_noise": {"kind": "normal", "sigma": 0.1},
    "policy_kwargs": {"net_arch": [16, 16]},
}


@pytest.fixture(scope="session")
def runs_roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a new temporary place each time.

    They lie in one folder: to make another numbered folder, pytest looks through all those beside it, which
    took milliseconds in each of thousands of tests.
    """
    folder = tmp_path_factory.mktemp("runs")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def runs_root(runs_roots: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Send every run without a folder of its own to a temporary place."""
    root = next(runs_roots)
    root.mkdir()
    monkeypatch.setenv("HYPERRL_RUNS", str(root))
    return root


@pytest.fixture(scope="session")
def small_config() -> RunConfig:
    """A run of TD3 that takes about a second."""
    return RunConfig("td3", "Pendulum-v1", steps=300, eval_episodes=2, eval_every=100, agent_kwargs=SMALL_TD3)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, small_config: RunConfig) -> Run:
    """A finished run, not to be changed."""
    import dataclasses

    out = tmp_path_factory.mktemp("finished") / "run"
    return train(dataclasses.replace(small_config, out=str(out)))
