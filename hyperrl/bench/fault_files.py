"""Faults of files that were saved long ago: bits flip, ends are missing, somebody put code in."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from hyperrl.bench.fault_cases import Lost, Scale, parameters_digest, replay_digest, settings_of
from hyperrl.bench.fault_libraries import Job, Library, StableBaselines3
from hyperrl.bench.fault_process import ChildDiedError, in_child

# The replay buffer is full: what was never written cannot be damaged.
_JOB = Job("td3", "Pendulum-v1", 100, settings=settings_of("td3", buffer_size=100))
# A file that is read wrongly can ask for endless work.
_SECONDS = 60.0


def flips(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Flip one bit of a checkpoint's files, anywhere, and load them.

    "silent": weights or optimisers are other than those saved, and there was no warning. "unnamed": it failed
    without the error that the library has for damaged files and that names them.
    """
    saved = _Saved(library, folder, library.files, parameters_digest)
    yield from saved.flipped(scale.flips)


def replay_flips(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Do the same to the files of the replay buffer; "silent" is about its transitions."""
    saved = _Saved(library, folder, library.replay_files, replay_digest)
    yield from saved.flipped(scale.flips)


def cuts(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Cut a checkpoint's files, one at a time in turn, at evenly spaced parts of their length.

    "silent" and "unnamed" mean what they mean for `flips`.
    """
    saved = _Saved(library, folder, library.files, parameters_digest)
    for number in range(1, scale.cuts + 1):
        path = saved.paths[number % len(saved.paths)]
        data = saved.data[path]
        yield saved.loaded_with(path, data[: len(data) * number // (scale.cuts + 1)])


def crafted(library: Library, folder: Path, scale: Scale) -> Iterator[Lost]:
    """Put a pickle that runs code into every file and every member of it, in every form, and load.

    Checksums are made right again, as a forger would. hyperrl also imports the model files of
    Stable-Baselines3, those of the same forger. "run": the code was run.
    """
    marker = folder / "executed"
    saved = folder / "saved"
    in_child(lambda: library.train(_JOB, saved))
    for path in [*library.files(saved), *library.replay_files(saved)]:
        originals = {other: other.read_bytes() for other in _files_below(saved)}
        for data in _with_code(originals[path], marker):
            path.write_bytes(data)
            library.settle(saved)
            yield _code_is_run(lambda: library.load(_JOB, saved), marker)
            for other, original in originals.items():
                other.write_bytes(original)
    yield from _crafted_imports(library, folder, marker)


class _Saved:
    """Files of a training that are damaged, loaded and made whole again."""

    def __init__(
        self,
        library: Library,
        folder: Path,
        files: Callable[[Path], Sequence[Path]],
        digest: Callable[[BaseAlgorithm], str],
    ) -> None:
        self._library, self._digest = library, digest
        self._folder = folder / "saved"
        in_child(lambda: library.train(_JOB, self._folder))
        self.paths = list(files(self._folder))
        self.data = {path: path.read_bytes() for path in self.paths}
        self._expected, self._usual_warnings = in_child(self._load)

    def flipped(self, count: int) -> Iterator[Lost]:
        """Flip so many bits, one at a time; each bit of each file is as likely."""
        sizes = [len(self.data[path]) for path in self.paths]
        random_number = random.Random(0)
        for _ in range(count):
            path = random_number.choices(self.paths, sizes)[0]
            data = bytearray(self.data[path])
            bit = random_number.randrange(8 * len(data))
            data[bit // 8] ^= 1 << bit % 8
            yield self.loaded_with(path, data)

    def loaded_with(self, path: Path, data: bytes | bytearray) -> Lost:
        """Load with another content of one file, and return what was lost."""
        path.write_bytes(data)
        try:
            found: str | None = in_child(self._verdict, _SECONDS)
        except ChildDiedError:
            found = "unnamed"
        finally:
            path.write_bytes(self.data[path])
        return () if found is None else {found}

    def _verdict(self) -> str | None:
        try:
            digest, said = self._load()
        except Exception as error:  # A damaged file can fail to load in any way: that is what is counted.
            named = isinstance(error, self._library.damage) and str(self._folder) in str(error)
            return None if named else "unnamed"
        silent = digest != self._expected and set(said) <= set(self._usual_warnings)
        return "silent" if silent else None

    def _load(self) -> tuple[str, list[str]]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            agent = self._library.load(_JOB, self._folder)
        return self._digest(agent), [str(warning.message) for warning in said]


class _Code:
    """Unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._marker,)


def _with_code(data: bytes, marker: Path) -> Iterator[bytes]:
    """Yield a file's content with code in each of its members, in each form that something may unpickle."""
    code = pickle.dumps(_Code(marker))
    yield code
    file = io.BytesIO()
    torch.save({"weights": _Code(marker)}, file)
    yield file.getvalue()
    try:
        table = json.loads(data)
    except ValueError:
        table = None
    if isinstance(table, dict):
        # The form in which Stable-Baselines3 keeps Python objects in JSON.
        entry = {":type:": "object", ":serialized:": base64.b64encode(code).decode()}
        yield json.dumps(dict.fromkeys(table, entry)).encode()
    if zipfile.is_zipfile(io.BytesIO(data)) and not _is_weights(data):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        for name, member in members.items():
            for other in _with_code(member, marker):
                yield _zipped({**members, name: other})


def _is_weights(data: bytes) -> bool:
    """Whether an archive is one of torch's own, of which `torch.save` above makes the crafted one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _crafted_imports(library: Library, folder: Path, marker: Path) -> Iterator[Lost]:
    theirs = StableBaselines3()
    saved = folder / "foreign"
    in_child(lambda: theirs.train(_JOB, saved))
    (path,) = theirs.files(saved)
    if not in_child(lambda: library.import_foreign(_JOB, path, folder / "imported")):
        return
    for number, data in enumerate(_with_code(path.read_bytes(), marker)):
        path.write_bytes(data)
        target = folder / f"imported-{number}"
        yield _code_is_run(partial(library.import_foreign, _JOB, path, target), marker)


def _code_is_run(read: Callable[[], object], marker: Path) -> Lost:
    def attempt() -> None:
        try:
            read()
        except Exception:  # Refused or failed: it only matters what has happened until then.
            return

    in_child(attempt, _SECONDS)
    if not marker.exists():
        return ()
    marker.rmdir()
    return {"run"}


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
