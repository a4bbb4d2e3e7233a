"""The counters of faults: they find what is lost in doubles that lose it, and nothing where nothing is."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pickle
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperrl.bench import fault_envs, fault_files, fault_saving, fault_training, fault_workers, faults
from hyperrl.bench.fault_cases import Fault, Scale, parameters_digest, replay_digest, settings_of
from hyperrl.bench.fault_libraries import Hyperrl, Job, StableBaselines3
from hyperrl.bench.fault_process import ChildDiedError, in_child
from hyperrl.bench.faults import FAULTS, Laboratory, measure, overview, rows_of, scale_named
from hyperrl.cli import main
from hyperrl.errors import UnknownNameError

FEW = Scale(kills=6, limits=3, flips=6, cuts=5, signals=1, workers=1, seeds=1)


class Small(Hyperrl):
    """hyperrl with fewer algorithms."""

    algorithms = ("hyper-td3",)
    acting = ("hyper-td3",)


class SmallSB3(StableBaselines3):
    """Stable-Baselines3 with fewer algorithms."""

    algorithms = ("td3",)
    acting = ("td3",)


class Careless(SmallSB3):
    """Removes the old file long before the new one is there."""

    def saver(self, agent, folder):
        path = folder / "model.zip"

        def save():
            path.unlink(missing_ok=True)
            time.sleep(0.02)
            agent.save(path)

        return save


class Forgetful(SmallSB3):
    """Says that it has saved, and has not, from the second time on."""

    def saver(self, agent, folder):
        return lambda: (folder / "model.zip").exists() or agent.save(folder / "model.zip")


class Trusting(SmallSB3):
    """Keeps bare bytes, and takes whatever bytes there are."""

    def train(self, job, folder):
        folder.mkdir()
        agent = self.build(job)
        weights = torch.nn.utils.parameters_to_vector(agent.policy.parameters())
        (folder / "weights").write_bytes(weights.detach().numpy().tobytes())

    def load(self, job, folder):
        agent = self.build(job)
        data = (folder / "weights").read_bytes()
        whole = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
        flat = torch.tensor(np.resize(whole, sum(p.numel() for p in agent.policy.parameters())))
        torch.nn.utils.vector_to_parameters(flat, agent.policy.parameters())
        return agent

    def files(self, folder):
        return [folder / "weights"]


class Crashing(Trusting):
    """Dies when a file is not what it was, without a word."""

    def load(self, job, folder):
        data = (folder / "weights").read_bytes()
        expected = folder.parent / "expected"
        if not expected.exists():
            expected.write_bytes(data)
        if data != expected.read_bytes():
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().load(job, folder)


class Unpickling(SmallSB3):
    """Loads everything by pickle."""

    def train(self, job, folder):
        folder.mkdir()
        (folder / "model").write_bytes(pickle.dumps({}))

    def files(self, folder):
        return [folder / "model"]

    def replay_files(self, folder):
        return []

    def load(self, job, folder):
        return pickle.loads((folder / "model").read_bytes())


@pytest.fixture(scope="module")
def laboratory():
    with Laboratory() as laboratory:
        yield laboratory


@pytest.fixture
def lost(laboratory):
    """Counts what a fault costs a library."""

    def count(inject, library, **changes):
        cases, lost, seconds = laboratory.inject(inject, library, Scale(**{**vars(FEW), **changes}))
        assert seconds > 0
        return cases, lost

    return count


def test_a_killed_save_costs_hyperrl_nothing_and_a_careless_library_its_only_checkpoint(lost):
    assert lost(fault_saving.kills, Small()) == (6, {})
    cases, found = lost(fault_saving.kills, Careless())
    assert cases == 6
    assert found["gone"] >= 3


def test_an_old_checkpoint_does_not_pass_for_the_last_one(lost):
    assert lost(fault_saving.kills, Forgetful(), kills=2)[1]["gone"] >= 1


def test_a_full_disk_costs_hyperrl_nothing_and_others_what_they_had(lost):
    assert lost(fault_saving.limits, Small()) == (3, {})
    assert lost(fault_saving.limits, Careless()) == (3, {"gone": 3})


@pytest.mark.parametrize("inject", [fault_files.flips, fault_files.cuts])
def test_damage_is_found_or_other_weights_are_loaded(lost, inject):
    cases, found = lost(inject, Small())
    assert (cases > 0, found) == (True, {})
    cases, found = lost(inject, Trusting())
    assert found == {"silent": cases}
    assert lost(inject, Crashing()) == (cases, {"unnamed": cases})


def test_damage_of_the_replay_buffer(lost):
    assert lost(fault_files.replay_flips, Small()) == (6, {})
    assert sum(lost(fault_files.replay_flips, SmallSB3())[1].values()) >= 4


@pytest.mark.slow
def test_no_code_in_a_file_is_run(lost):
    cases, found = lost(fault_files.crafted, Small())
    # Seven files in two forms each, four of them in a third one, and a model of another library.
    assert cases >= 7 * 2 + 4 + 10
    assert found == {}


def test_code_in_a_file_that_is_run_is_noticed(lost):
    assert lost(fault_files.crafted, Unpickling()) == (2, {"run": 1})


@pytest.mark.slow
def test_nan_while_learning_costs_hyperrl_nothing(lost):
    assert lost(fault_training.non_finite, Small()) == (6, {})


def test_nan_while_learning_is_noticed(lost):
    cases, found = lost(fault_training.non_finite, SmallSB3())
    assert cases == 6
    assert found["kept"] >= 3


def test_a_signal_while_learning(lost):
    assert lost(fault_training.terminations, Small()) == (1, {})
    assert lost(fault_training.terminations, SmallSB3()) == (1, {"steps": 1})


@pytest.mark.parametrize(
    ("library", "expected"),
    [pytest.param(Small, {}, marks=pytest.mark.slow), (SmallSB3, {"differs": 2})],
)
def test_a_resumed_run_is_the_same_or_differs(lost, library, expected):
    assert lost(fault_training.resumes, library()) == (2, expected)


@pytest.mark.parametrize(
    ("inject", "key"),
    [(fault_workers.raises, "message"), (fault_workers.deaths, "unnamed"), (fault_workers.hangs, "hangs")],
)
@pytest.mark.parametrize("library", [pytest.param(Small, marks=pytest.mark.slow), SmallSB3])
def test_workers(lost, inject, key, library):
    # What loses nothing is published every night; here it matters that a loss is found.
    assert lost(inject, library()) == (1, {} if library is Small else {key: 1})


@pytest.mark.slow
def test_predictions_and_settings_cost_hyperrl_nothing(lost):
    assert lost(fault_training.predictions, Small()) == (12, {})
    assert lost(fault_training.wrong_settings, Small()) == (24, {})


def test_predictions_and_settings_that_pass_are_noticed(lost):
    assert lost(fault_training.predictions, SmallSB3())[1]["action"] >= 6
    assert 12 <= lost(fault_training.wrong_settings, SmallSB3())[1]["accepted"] <= 24


def one_of_three(library, folder, scale):
    """A fault: the first of three cases loses something."""
    assert list(folder.iterdir()) == []
    yield {"a"}
    yield ()
    yield set()


def failing(library, folder, scale):
    """A fault whose injection fails."""
    yield ()
    raise OSError("no room for the fault")


def test_cases_are_counted_for_each_fault_and_library(laboratory, monkeypatch):
    # Another one takes seconds to start.
    monkeypatch.setattr(faults, "Laboratory", lambda: contextlib.nullcontext(laboratory))
    said = []
    one = Fault("one", one_of_three, {"a": "it is gone", "b": "it is late"})
    rows = measure(FEW, faults=[one], libraries=[Small(), SmallSB3()], say=said.append)
    assert [(row["lost_means"], row["library"], row["lost"], row["cases"]) for row in rows] == [
        ("it is gone", "hyperrl", 1, 3),
        ("it is gone", "sb3", 1, 3),
        ("it is late", "hyperrl", 0, 3),
        ("it is late", "sb3", 0, 3),
    ]
    assert overview(rows)[0] == {
        "fault": "one",
        "lost_means": "it is gone",
        "lost by hyperrl": "1 of 3",
        "lost by sb3": "1 of 3",
    }
    assert len(said) == 2


def test_a_fault_that_cannot_be_injected_is_no_zero(laboratory):
    with pytest.raises(RuntimeError, match="no room for the fault"):
        laboratory.inject(failing, Small(), FEW)


def test_what_was_lost_must_have_words():
    with pytest.raises(ValueError, match=r"lose \['b'\]"):
        rows_of(Fault("one", one_of_three, {"a": "it is gone"}), Small(), 1, {"b": 1}, 0.1)


def test_every_fault_says_what_lost_means():
    meanings = [(fault.name, means) for fault in FAULTS for means in fault.lost_means.values()]
    assert len(set(meanings)) == len(meanings)
    assert all(fault.inject.__doc__.count('"') >= 2 * len(fault.lost_means) for fault in FAULTS[:3])


def test_the_scales():
    assert scale_named("pull-request").kills == 200
    assert scale_named("nightly").flips == 20_000
    with pytest.raises(UnknownNameError, match="did you mean 'nightly'"):
        scale_named("nightli")


# ------------------------------------------------------------------------------------------------ its parts


def test_a_child_answers_fails_dies_or_is_late():
    assert in_child(lambda: {"pid": os.getpid()})["pid"] != os.getpid()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        in_child(lambda: 1 // 0)
    with pytest.raises(ChildDiedError, match="status -9"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ChildDiedError, match="status -9"):
        in_child(lambda: time.sleep(100), seconds=0.05)
    assert len(in_child(lambda: "x" * 1_000_000)) == 1_000_000


def test_the_faulty_environment(tmp_path):
    env = fault_envs.FaultyEnv("reward", float("inf"), at=2, steps_file=str(tmp_path / "steps"))
    env.reset(seed=0)
    rewards = [env.step(np.zeros(1))[1] for _ in range(3)]
    assert [np.isfinite(reward) for reward in rewards] == [True, False, True]
    assert int.from_bytes((tmp_path / "steps").read_bytes(), "little") == 2
    env = fault_envs.FaultyEnv("raise", call="reset", at=2)
    env.reset()
    with pytest.raises(ValueError, match=fault_envs.MESSAGE):
        env.reset()


def test_digests_see_one_bit():
    agent = StableBaselines3().build(Job("td3", "Pendulum-v1", 1, settings=settings_of("td3")))
    before = parameters_digest(agent)
    weight = next(agent.policy.parameters())
    with torch.no_grad():
        weight.view(-1).view(torch.int32)[0] ^= 1
    assert parameters_digest(agent) != before
    rows = replay_digest(agent)
    agent.replay_buffer.pos = 1
    assert replay_digest(agent) != rows
    ones = SimpleNamespace(replay_buffer=agent.replay_buffer)
    filled = replay_digest(ones)
    agent.replay_buffer.rewards[0] = 1.0
    assert replay_digest(ones) != filled


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_the_verb_writes_its_table_and_judges(tmp_path, capsys, monkeypatch, lost, status):
    fault = Fault("one", one_of_three, {"a": "it is gone"})
    rows = [*rows_of(fault, Small(), 3, {"a": lost}, 0.1), *rows_of(fault, SmallSB3(), 3, {"a": 3}, 0.1)]
    asked = []
    monkeypatch.setattr(faults, "measure", lambda scale: asked.append(scale) or rows)
    assert main(["bench", "faults", "--scale", "nightly", "--out", str(tmp_path)]) == status
    assert asked == [scale_named("nightly")]
    with (tmp_path / "faults.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["fault", "lost_means", "cases", "library", "lost", "seconds"]
    assert [row["lost"] for row in table] == [str(lost), "3"]
    assert json.loads((tmp_path / "manifest.json").read_text())["faults.csv"]["scale"] == "nightly"
    assert f"{lost} of 3" in capsys.readouterr().out


def test_an_unknown_scale_writes_nothing(tmp_path, capsys):
    assert main(["bench", "faults", "--scale", "huge", "--out", str(tmp_path / "x")]) == 2
    assert "unknown scale 'huge'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
