import pytest

from hyperrl.run.folder import RunFolder
from hyperrl.sweep import records
from hyperrl.sweep.records import last_line, log_beside, read_record, settle_log


def test_a_finished_run_is_read(finished_run):
    record = read_record(finished_run.folder.path)
    assert (record.status, record.steps, record.error) == ("finished", 300, "")
    assert record.first_return == pytest.approx(finished_run.return_before)
    assert record.last_return == pytest.approx(finished_run.return_after)
    assert 0 < record.seconds < 60


def test_what_is_not_there_waits(tmp_path):
    assert read_record(tmp_path / "none").status == records.WAITING
    (tmp_path / "status.json").write_text("{")
    assert read_record(tmp_path).status == records.WAITING


@pytest.mark.parametrize(
    ("state", "alive", "status"),
    [
        ("created", False, "interrupted"),
        ("running", False, "interrupted"),
        ("running", True, "running"),
        ("failed", True, "running"),
        ("stopped", False, "stopped"),
        ("failed", False, "failed"),
    ],
)
def test_the_state_of_the_folder_becomes_a_status(tmp_path, state, alive, status):
    RunFolder(tmp_path).set_status(state, 7, "it broke" if state == "failed" else None)
    record = read_record(tmp_path, alive=alive)
    assert record.status == status
    assert record.error == ("it broke" if status == "failed" else "")


def test_steps_after_the_last_checkpoint_do_not_count_for_an_interrupted_run(finished_run, tmp_path):
    import shutil

    path = tmp_path / "run"
    shutil.copytree(finished_run.folder.path, path)
    RunFolder(path).set_status("running", 299)
    assert read_record(path).steps == 300
    shutil.rmtree(path / "ckpt")
    assert read_record(path).steps == 0


def test_half_a_table_of_evaluations_is_no_table(tmp_path):
    RunFolder(tmp_path).set_status("running", 7)
    (tmp_path / "eval").mkdir()
    for text in ("", "steps,seconds,episode,return\n", "steps,seconds,episode,return\n0,0.1\n", "a,b\n1,2\n"):
        (tmp_path / "eval" / "evaluations.csv").write_text(text)
        assert read_record(tmp_path).last_return is None


def test_a_log_moves_into_the_folder_once_there_is_a_run(tmp_path):
    path = tmp_path / "run"
    log_beside(path).write_text("said\n")
    assert settle_log(path) == tmp_path / "run.log"
    path.mkdir()
    assert settle_log(path) == tmp_path / "run.log"
    (path / "run.toml").touch()
    assert settle_log(path) == path / "run.log"
    assert (path / "run.log").read_text() == "said\n"
    assert settle_log(path) == path / "run.log"


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"Traceback\nhyperrl: it broke \xff\n\n")
    assert last_line(log) == "it broke \N{REPLACEMENT CHARACTER}"
