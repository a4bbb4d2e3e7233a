import fcntl
import json
import multiprocessing
import os
import signal
import threading

import pytest

from hyperrl.errors import RunFolderError
from hyperrl.run.lock import RunLock

FORK = multiprocessing.get_context("fork")


def hold(path, connection):
    with RunLock(path):
        connection.send("held")
        connection.recv()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until something is sent to it."""
    connection, other = FORK.Pipe()
    process = FORK.Process(target=hold, args=(tmp_path, other))
    process.start()
    assert connection.recv() == "held"
    process.let_go = lambda: connection.send("enough")
    yield process
    process.kill()
    process.join()


def test_another_process_is_named(tmp_path, holder):
    with pytest.raises(RunFolderError, match=f"in use by process {holder.pid} on .*: wait until"):
        RunLock(tmp_path).__enter__()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_lets_go(tmp_path, holder, number):
    os.kill(holder.pid, number)
    holder.join()
    assert holder.exitcode == -number
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "owner.json").exists()


def test_a_process_that_ends_lets_go(tmp_path, holder):
    holder.let_go()
    holder.join()
    assert holder.exitcode == 0
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()


def test_the_same_process_cannot_take_it_twice(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        RunLock(tmp_path).__enter__()


def test_it_can_be_taken_again(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path):
            assert (tmp_path / "owner.json").exists()
        assert not (tmp_path / "owner.json").exists()


def test_an_unreadable_owner_is_left_out(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / "owner.json").write_text("[]")
        with pytest.raises(RunFolderError, match="is in use: wait"):
            RunLock(tmp_path).__enter__()


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunLock(tmp_path / "file").__enter__()


def test_who_holds_it_is_told_without_a_trace(tmp_path, holder):
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert RunLock(tmp_path).holder().startswith(f"process {holder.pid} on ")
    (tmp_path / "owner.json").write_text("[]")
    assert RunLock(tmp_path).holder() == "another process"
    holder.kill()
    holder.join()
    assert RunLock(tmp_path).holder() is None
    assert {path for path in tmp_path.iterdir()} == set(before)


def test_nobody_holds_what_is_not_there(tmp_path):
    assert RunLock(tmp_path).holder() is None
    assert list(tmp_path.iterdir()) == []


def test_those_who_look_keep_nobody_out(tmp_path):
    with RunLock(tmp_path):
        pass
    descriptor = os.open(tmp_path / "run.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert RunLock(tmp_path).holder() is None
    threading.Timer(0.05, os.close, [descriptor]).start()
    with RunLock(tmp_path):
        assert RunLock(tmp_path).holder().startswith(f"process {os.getpid()} on ")
