import csv
import dataclasses
from pathlib import Path

import pytest

from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, RunFolderError
from hyperrl.run.folder import RunFolder
from hyperrl.sweep.folder import SweepFolder
from hyperrl.sweep.records import RunRecord
from tests.sweep.small_sweeps import pretended


@pytest.fixture
def plan():
    return pretended("finish", "finish")


@pytest.fixture
def folder(tmp_path, plan):
    folder = SweepFolder(tmp_path / "sweep")
    folder.make()
    folder.write_plan(plan)
    return folder


def test_the_default_place_is_where_runs_are(plan, runs_root, monkeypatch):
    assert SweepFolder.default(plan).path == runs_root / "sweeps" / "pretended"
    monkeypatch.delenv("HYPERRL_RUNS")
    assert SweepFolder.default(plan).path == Path("runs/sweeps/pretended").absolute()


def test_the_same_plan_and_a_larger_one_are_welcome(folder, plan):
    RunFolder.create(folder.config(plan.runs[0]))
    folder.refuse_other(plan)
    folder.refuse_other(pretended("finish", "finish", "finish"))


def test_a_plan_without_a_run_that_has_begun_is_refused(folder, plan):
    RunFolder.create(folder.config(plan.runs[1]))
    with pytest.raises(ConfigError, match=r"has the run run-1, which pretended.toml does not have any more"):
        folder.refuse_other(pretended("finish"))


def test_a_run_that_has_not_begun_may_go_or_change(folder, plan):
    RunFolder.create(folder.config(plan.runs[0]))
    folder.refuse_other(pretended("finish"))
    folder.refuse_other(pretended("finish", "die"))


def test_a_changed_setting_is_named(folder, plan):
    RunFolder.create(folder.config(plan.runs[0]))
    sentence = "run-0 in .* was begun with agent_kwargs.act = 'finish', now pretended.toml gives .*'die'"
    with pytest.raises(ConfigError, match=sentence):
        folder.refuse_other(pretended("die"))
    fewer = dataclasses.replace(plan.runs[0], config=RunConfig("td3", "Pendulum-v1", steps=10))
    with pytest.raises(
        ConfigError, match=r"begun with agent_kwargs.act = 'finish', now .* gives no agent_kwargs"
    ):
        folder.refuse_other(dataclasses.replace(plan, runs=(fewer,)))


def test_half_a_configuration_is_no_run_unless_there_are_checkpoints(folder, plan):
    run = RunFolder.create(folder.config(plan.runs[0]))
    (run.path / "run.toml").write_text("agent = ")
    folder.refuse_other(plan)
    (run.checkpoints / "step-000000000001").mkdir()
    (run.checkpoints / "step-000000000001" / "manifest.json").write_text("{}")
    if run.store.names():
        with pytest.raises(ConfigError, match="is not valid TOML"):
            folder.refuse_other(plan)


def test_a_folder_with_other_things_is_refused(tmp_path, plan):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="already holds files: choose a new or an empty folder"):
        SweepFolder(tmp_path).refuse_other(plan)
    with pytest.raises(RunFolderError, match="cannot be used"):
        SweepFolder(tmp_path / "thesis.tex").refuse_other(plan)
    with pytest.raises(RunFolderError, match="cannot be made"):
        SweepFolder(tmp_path / "thesis.tex" / "x").make()


def test_one_process_works_there(folder, plan):
    with folder.locked(plan), pytest.raises(RunFolderError, match="is in use by process"):
        folder.locked(plan).__enter__()


def test_what_was_made_for_nothing_is_removed(tmp_path, plan):
    folder = SweepFolder(tmp_path / "a" / "b" / "c")
    missing = folder.make()
    with folder.locked(plan):
        pass
    folder.unmake(missing)
    assert list(tmp_path.iterdir()) == []
    folder.unmake(folder.make()[:0])
    assert folder.path.is_dir()


def test_the_table_has_a_row_for_each_run(folder, plan):
    records = {
        "run-0": RunRecord("finished", 10, 1.5, -3.0, 2.0),
        "run-1": RunRecord("failed", 3, error='it, "broke"'),
    }
    folder.write_table(plan, records)
    with (folder.path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        **{"name": "run-0", "agent": "td3", "env": "Pendulum-v1", "seed": "0", "status": "finished"},
        **{"steps": "10", "seconds": "1.5", "first_return": "-3.0", "last_return": "2.0", "error": ""},
    }
    assert (rows[1]["seconds"], rows[1]["error"]) == ("", 'it, "broke"')
    before = (folder.path / "runs.csv").stat().st_mtime_ns
    folder.write_table(plan, records)
    assert (folder.path / "runs.csv").stat().st_mtime_ns == before


def test_a_table_that_cannot_be_written_is_a_warning(folder, plan):
    (folder.path / "runs.csv").mkdir()
    with pytest.warns(UserWarning, match="runs.csv cannot be written"):
        folder.write_table(plan, {run.name: RunRecord("waiting") for run in plan.runs})
