import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from hyperrl.compiled import CompiledFunction, CompileWarning, NotCompiledError
from hyperrl.compiled.toolchain import _writable_folder, cache_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("XDG_CACHE_HOME", VARIABLE):
        monkeypatch.delenv(name, raising=False)
    _writable_folder.cache_clear()


def used():
    with cache_folder():
        return os.environ.get(VARIABLE)


def test_the_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert used() == str(tmp_path / "home/.cache/hyperrl/torchinductor")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert used() == str(tmp_path / "cache/hyperrl/torchinductor")
    # No folder of that name appears wherever somebody happens to be.
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert used() == str(tmp_path / "home/.cache/hyperrl/torchinductor")


def test_a_folder_of_the_users_own_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own"))
    assert used() == os.environ[VARIABLE] == str(tmp_path / "own")


@pytest.mark.parametrize("before", [None, default_cache_dir()])
def test_nothing_is_left_in_the_environment(monkeypatch, tmp_path, before):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if before is not None:
        # torch writes its own choice there.
        monkeypatch.setenv(VARIABLE, before)
    with pytest.raises(KeyError), cache_folder():
        os.environ.pop(VARIABLE + os.environ[VARIABLE].removeprefix(str(tmp_path)))
    assert os.environ.get(VARIABLE) == before


def no_home():
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("what", ["no home", "a file"])
def test_without_a_folder_that_can_be_written_a_temporary_one_serves(monkeypatch, tmp_path, what):
    if what == "no home":
        monkeypatch.setattr(Path, "home", no_home)
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(CompileWarning, match="kept in a temporary folder, as the cache folder cannot be used"):
        assert used() in (None, default_cache_dir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used()


def test_a_folder_of_the_users_own_that_cannot_be_written_is_no_crash(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    function = CompiledFunction(lambda state, inputs: {"y": state * inputs}, "a product", strict=True)
    function.bind(torch.ones(3))
    with pytest.raises(NotCompiledError, match="a product could not be compiled: "):
        function(torch.ones(3))


SCRIPT = """
import os, torch, warnings
from hyperrl.compiled import CompiledFunction
function = CompiledFunction(lambda state, inputs: {"y": state * inputs}, "a product", strict=True)
function.bind(torch.ones(3))
print(function(torch.full((3,), 2.0))["y"].tolist())
print(os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""))
"""


@pytest.mark.slow
def test_what_was_compiled_is_kept_in_the_users_cache_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert any((tmp_path / "hyperrl" / "torchinductor").rglob("*.so"))
    result, variable = done.stdout.splitlines()
    assert result == "[2.0, 2.0, 2.0]"
    # A process that is started from there gets nothing of ours.
    assert "hyperrl" not in variable
