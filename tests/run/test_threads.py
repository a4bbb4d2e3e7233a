import dataclasses
import warnings

import pytest
import torch

from hyperrl.cli import main
from hyperrl.errors import ConfigError
from hyperrl.run import threads
from hyperrl.run.threads import check_threads, computing_with
from hyperrl.train import check, resume, train


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def messages(count):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with computing_with(count):
            assert torch.get_num_threads() == count
    return [str(warning.message) for warning in told]


def test_one_thread_goes_without_saying():
    torch.set_num_threads(4)
    assert messages(1) == []
    # The process gets back what it had.
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_variable_that_asks_for_more_is_not_used_and_that_is_said_once(monkeypatch, variable):
    monkeypatch.setenv(variable, "3")
    (sentence,) = messages(1)
    assert sentence.startswith(f"{variable}=3 is not used: the run computes with one thread")


def test_threads_that_a_script_has_set_are_not_used_and_that_is_said():
    torch.set_num_threads(3)
    (sentence,) = messages(1)
    assert sentence.startswith("torch.set_num_threads(3) is not used")


def test_more_than_one_is_used_and_that_is_said_once(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (sentence,) = messages(3)
    assert sentence.startswith("the run computes with 3 threads: for small networks one is the fastest")


def test_more_than_cores_are_refused():
    check_threads(4)
    with pytest.raises(
        ConfigError, match="threads = 5 is more than the 4 CPU cores that this process may use"
    ):
        check_threads(5)


def test_nothing_is_started_with_more_threads_than_cores(small_config, tmp_path, capsys):
    out = tmp_path / "run"
    config = dataclasses.replace(small_config, threads=5, out=str(out))
    for verb in (check, train):
        with pytest.raises(ConfigError, match="threads = 5"):
            verb(config)
    assert not out.exists()
    arguments = ["train", "td3", "--env", "Pendulum-v1", "--threads", "5", "--out", str(out)]
    assert main(arguments) == 2
    assert main([*arguments, "--print-config"]) == 2
    assert not out.exists()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line.startswith("hyperrl: threads = 5 is more than") for line in told)


def test_a_run_is_not_continued_with_more_threads_than_cores(small_config, tmp_path):
    folder = train(dataclasses.replace(small_config, steps=60, out=str(tmp_path / "run"))).folder
    toml = folder.path / "run.toml"
    toml.write_text(toml.read_text().replace("threads = 1", "threads = 5"))
    status = folder.status()
    with pytest.warns(UserWarning, match="threads was 1"), pytest.raises(ConfigError, match="threads = 5"):
        resume(folder.path, 100)
    assert folder.status() == status
