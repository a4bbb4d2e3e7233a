"""What torch needs to compile for a CPU: a C++ compiler, and a folder that keeps what was compiled."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class CompileWarning(UserWarning):
    """Something cannot be compiled, or not as it should be: the same is computed in more time."""


@contextmanager
def cache_folder(part: str = "") -> Iterator[None]:
    """Let torch keep what it compiles in the user's cache folder, so that no later process does it again.

    The folder is `$TORCHINDUCTOR_CACHE_DIR` if it is set, else `hyperrl/torchinductor` in `$XDG_CACHE_HOME`
    or `~/.cache`, and in it one for machines of this kind, since torch itself does not tell code for one
    processor from code for another, and homes are shared. The variable is how torch is told; it is put back
    afterwards, so that neither what else is compiled in this process nor a process that it starts gets into
    our folder. Where ours cannot be written, torch's own folder for temporary files serves, with a warning.

    Args:
        part: Name of a folder within, for what shall not meet what was compiled before.
    """
    before = os.environ.get(_VARIABLE)
    if _is_of_the_user(before):
        assert before is not None
        os.environ[_VARIABLE] = str(Path(before) / machine_kind() / part)
    else:
        folder = _writable_folder(os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))
        if folder is not None:
            os.environ[_VARIABLE] = str(folder / machine_kind() / part)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


@cache
def missing_compiler() -> str | None:
    """Say what is missing to compile for a CPU, or None; the search takes a moment and is made once."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no C++ compiler: install g++ or clang++, or set the variable CXX"
    return None


@cache
def machine_kind() -> str:
    """Return a name for machines that can run each other's compiled code: processor, compiler and torch."""
    facts = [torch.__version__, torch.backends.cpu.get_cpu_capability(), platform.machine()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
        # Every core has the same lines.
        facts += sorted({line for line in lines if line.partition(":")[0].strip() in names})
    facts.append(_compiler_version())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _compiler_version() -> str:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        command = [get_cpp_compiler(), "--version"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (InvalidCxxCompiler, OSError, subprocess.SubprocessError):
        return ""


def _is_of_the_user(folder: str | None) -> bool:
    """Whether a user has set the variable: torch writes its own choice into it, too."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    return folder is not None and folder != default_cache_dir()


# What decides is passed for the cache: one look, and one warning, for each.
@cache
def _writable_folder(caches: str | None, home: str | None) -> Path | None:
    try:
        # By the XDG base directory specification a relative path counts as none.
        base = Path(caches) if caches and os.path.isabs(caches) else Path.home() / ".cache"
        folder = base / "hyperrl" / "torchinductor"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:
        # RuntimeError is what `Path.home` raises for a user without a home.
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"what is compiled is kept in a temporary folder, as the cache folder cannot be used: {reason}",
            CompileWarning,
            stacklevel=2,
        )
        return None
