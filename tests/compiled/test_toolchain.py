import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from hyperrl.compiled import CompiledFunction, CompileWarning, NotCompiledError
from hyperrl.compiled.toolchain import _writable_folder, cache_folder, machine_kind

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("XDG_CACHE_HOME", VARIABLE):
        monkeypatch.delenv(name, raising=False)
    _writable_folder.cache_clear()


def used():
    """The folder, without that for machines of this kind."""
    with cache_folder():
        folder = os.environ.get(VARIABLE)
    return folder if folder is None else str(folder).removesuffix(f"/{machine_kind()}")


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


def test_each_kind_of_machine_has_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with cache_folder("again"):
        assert os.environ[VARIABLE] == str(tmp_path / machine_kind() / "again")
    here = machine_kind()
    try:
        for name, other in (
            ("torch.backends.cpu.get_cpu_capability", lambda: "AVX2 of another"),
            ("hyperrl.compiled.toolchain._compiler_version", lambda: "g++ 1.0"),
            ("platform.machine", lambda: "riscv64"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(name, other)
                machine_kind.cache_clear()
                assert machine_kind() != here
        machine_kind.cache_clear()
        assert machine_kind() == here
    finally:
        machine_kind.cache_clear()


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


ON_ANOTHER = """
import torch
from hyperrl.compiled import CompiledFunction
torch.manual_seed(0)
x = torch.randn(37, 53)
value = lambda x, y: (x * y).tanh().sum(1) + y.exp().mean(1)
function = CompiledFunction(lambda x, y: {"z": value(x, y)}, "f", strict=True)
function.bind(x)
y = torch.randn(37, 53)
print((function(y)["z"] - value(x, y)).abs().max().item())
"""


@pytest.mark.slow
def test_code_for_another_processor_is_not_run(tmp_path):
    # The same folder, as in a home that several machines share.
    for capability in ("", "avx2", "default"):
        env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        if capability:
            env["ATEN_CPU_CAPABILITY"] = capability
        done = subprocess.run(
            [sys.executable, "-c", ON_ANOTHER],
            env=env,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(done.stdout) < 1e-3, capability
