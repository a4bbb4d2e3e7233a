"""Saves in real processes that are killed, and what can be loaded afterwards.

`python -m tests.faults.crash` is a process that imports everything once and forks a child for every save that
dies. Its parent reads one JSON object for every kill; see `crashes`.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch

from hyperrl.errors import CheckpointError
from hyperrl.run.store import CheckpointStore
from tests.faults.disk import KillingFiles, UnsyncedFiles

ROOT = Path(__file__).parents[2]
KEEP = 2
# Enough for a write to take some time; the size of a small policy.
WEIGHTS = 20_000
# How many checkpoints were written before: the next one is the first of all, of a step that is there already,
# the best of a new step, of a step whose older one is the best, and of a new step.
SITUATIONS = {"first": 0, "again": 5, "best": 6, "again beside the best": 7, "rotation": 8}


def crashes(mode, folder, *arguments, timeout=280):
    """Run one of the modes below in a process of its own and return what it says of every child.

    Args:
        mode: "anywhere", "operations", "limits" or "unprivileged".
        folder: An empty folder.
        *arguments: See there.
        timeout: Seconds that all of it may take.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash", mode, str(folder), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def save(store, count):
    """Write the checkpoint number `count`: all its arrays say so, and two of its three segments are older."""
    try:
        older = store.load(replay=False).segments[-2:]
    except CheckpointError:
        older = ()
    segment = store.append_segment({"rows": np.full((50, 4), count, np.float32)})
    return store.save(
        # Every step is saved twice.
        100 * (count // 2),
        weights={"w": torch.full((WEIGHTS,), float(count))},
        state={"count": count, "moments": torch.full((WEIGHTS,), count, dtype=torch.int32)},
        about={"count": count},
        segments=(*older, segment),
        best=count % 3 == 0,
    )


def loaded(store, name="latest"):
    """Return the number of a checkpoint, which must be whole and come without any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint = store.load(name)
    count = checkpoint.state()["count"]
    assert checkpoint.about == {"count": count}
    assert torch.equal(checkpoint.weights()["w"], torch.full((WEIGHTS,), float(count)))
    assert torch.equal(checkpoint.state()["moments"], torch.full((WEIGHTS,), count, dtype=torch.int32))
    assert (store.read_segment(checkpoint.segments[-1])["rows"] == count).all()
    return count


def all_sound(store):
    """Verify every checkpoint that there is, and that "best" is one that was the best."""
    for name in store.names():
        store.verify(name)
    if (store.folder / "best.json").exists():
        assert loaded(store, "best") % 3 == 0


def leftovers(store):
    """Return the names in a store that belong to no checkpoint."""
    names = {path.name for path in store.folder.iterdir()} - {"latest.json", "best.json", "replay"}
    referred = {s.name for name in store.names() for s in store.load(name).segments}
    rows = {path.name for path in (store.folder / "replay").iterdir()}
    return sorted((names - set(store.names())) | (rows - referred))


def forked(work):
    """Do some work in a child and return its exit status, negative for the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = work() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def anywhere(folder, points):
    """Kill saves from outside after evenly spaced times; nothing is restored in between."""
    store = CheckpointStore(folder, KEEP)
    seconds = []
    for count in range(6):
        start = time.perf_counter()
        save(store, count)
        seconds.append(time.perf_counter() - start)
    duration, first = statistics.median(seconds[2:]), 6
    for point in range(int(points)):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for count in itertools.count(first):
                    os.write(writer, b"s")
                    save(CheckpointStore(folder, KEEP), count)
                    os.write(writer, b"d")
            finally:
                os._exit(70)
        os.close(writer)
        marks = os.read(reader, 1)
        time.sleep(duration * point / int(points))
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        while more := os.read(reader, 4096):
            marks += more
        os.close(reader)
        count = loaded(store)
        all_sound(store)
        # It is at least the last save that ended, and at most the last one that began.
        done, begun = first - 1 + marks.count(b"d"), first - 1 + marks.count(b"s")
        yield {"status": status, "count": count, "done": done, "begun": begun}
        first = count + 1
    save(store, first)
    yield {"leftovers": leftovers(store), "count": loaded(store), "saved": first}


def operations(folder):
    """Kill a save before each of its operations, in each of the situations that it can meet."""
    for situation, count in SITUATIONS.items():
        origin = folder / f"{situation}-origin"
        for older in range(count):
            save(CheckpointStore(origin, KEEP, UnsyncedFiles()), older)
        if count:
            _leave_behind(origin)
        for number in itertools.count():
            place = folder / f"{situation}-{number}"
            if count:
                shutil.copytree(origin, place)
            store = CheckpointStore(place, KEEP, KillingFiles(number))
            status = forked(lambda store=store, count=count: save(store, count) and 0)
            yield {
                "situation": situation,
                "number": number,
                "status": status,
                "old": count - 1,
                "new": count,
                "count": _loaded_or_none(store, count),
                **_recovered(place),
            }
            shutil.rmtree(place)
            if status == 0:
                break


def limits(folder, *sizes):
    """Save in a child that may write no larger files than some size, as on a full disk."""
    for size in map(int, sizes):
        store = CheckpointStore(folder / str(size), KEEP)
        save(store, 0)

        def limited(store=store, size=size):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                save(store, 1)
            except OSError as error:
                return error.errno

        status = forked(limited)
        yield {"size": size, "status": status, "count": loaded(store), **_recovered(store.folder)}


def unprivileged(folder):
    """Work on folders that may not be written or read, in a child that is not root."""
    folder.chmod(0o755)
    store = CheckpointStore(folder / "read-only", KEEP)
    for count in range(3):
        save(store, count)
    _permit(store.folder, 0o555, 0o444)
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    status = forked(lambda: _as_nobody(folder, _save_to_read_only))
    after = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    yield {"status": status, "loaded": loaded(store), "unchanged": before == after}
    _permit(store.folder, 0o755, 0o644)

    store = CheckpointStore(folder / "forbidden", KEEP)
    for count in range(4):
        save(store, count)
    forbidden = store.folder / "step-000000000100" / "manifest.json"
    segments = {path.name for path in (store.folder / "replay").iterdir()}
    _permit(store.folder, 0o777, 0o666)
    forbidden.chmod(0)
    status = forked(lambda: _as_nobody(folder, _save_beside_forbidden))
    forbidden.chmod(0o644)
    yield {
        "status": status,
        "warning": (folder / "forbidden" / "warning").read_text(),
        "names": store.names(),
        "segments_lost": len(segments - {path.name for path in (store.folder / "replay").iterdir()}),
        "readable_again": loaded(store, "100"),
    }


def _permit(folder, folders, files):
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def _as_nobody(folder, work):
    # From a working directory, the private folders above it need not be crossed.
    os.chdir(folder)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresuid(65534, 65534, 65534)
    return work()


def _save_to_read_only():
    store = CheckpointStore(Path("read-only"), KEEP)
    assert loaded(store) == 2
    try:
        save(store, 3)
    except OSError as error:
        assert loaded(store) == 2
        return error.errno


def _save_beside_forbidden():
    store = CheckpointStore(Path("forbidden"), KEEP)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.load()
        (store.folder / "warning").write_text(str(caught[0].message))
        for count in (4, 6, 8):
            save(store, count)


def _loaded_or_none(store, count):
    """Return the number of the latest checkpoint, or -1 where the very first one was killed early."""
    if count:
        all_sound(store)
        return loaded(store)
    if not store.names():
        return -1
    with warnings.catch_warnings():
        # There may be no pointer yet.
        warnings.simplefilter("ignore")
        return store.load().state()["count"]


def _recovered(folder):
    """Save once more, without any fault."""
    store = CheckpointStore(folder, KEEP, UnsyncedFiles())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(store, 12)
    return {"afterwards": loaded(store), "leftovers": leftovers(store)}


def _leave_behind(folder):
    """Put into a store what killed saves leave behind."""
    half = folder / ".step-000000000300.new"
    half.mkdir()
    (half / "policy.safetensors").write_bytes(b"half")
    (folder / "latest.json.77.tmp").write_bytes(b"{")
    (folder / "replay" / f"{'0' * 32}.safetensors.77.tmp").write_bytes(b"half")
    (folder / "replay" / f"{'0' * 32}.safetensors").write_bytes(b"of no checkpoint")


if __name__ == "__main__":
    torch.set_num_threads(1)
    _mode, _folder, *_rest = sys.argv[1:]
    for _report in globals()[_mode](Path(_folder), *_rest):
        print(json.dumps(_report), flush=True)
