"""What torch needs to compile for a CPU: a C++ compiler, and a folder that keeps what was compiled."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class CompileWarning(UserWarning):
    """Something cannot be compiled, or not as it should be: the same is computed in more time."""


@contextmanager
def cache_folder() -> Iterator[None]:
    """Let torch keep what it compiles in the user's cache folder, so that no later process does it again.

    The folder is `$TORCHINDUCTOR_CACHE_DIR` if it is set, else `hyperrl/torchinductor` in `$XDG_CACHE_HOME`
    or `~/.cache`. The variable is how torch is told; it is put back afterwards, so that neither what else is
    compiled in this process nor a process that it starts gets into our folder. Where ours cannot be written,
    torch's own folder for temporary files serves, with a warning.
    """
    before = os.environ.get(_VARIABLE)
    if not _is_of_the_user(before):
        folder = _writable_folder(os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))
        if folder is not None:
            os.environ[_VARIABLE] = str(folder)
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
