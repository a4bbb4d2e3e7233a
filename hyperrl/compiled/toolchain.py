"""What torch needs to compile for a CPU: a C++ compiler, and a folder that keeps what was compiled."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def use_cache_folder() -> Path:
    """Keep compiled code in the user's cache folder, so that the next process need not compile again.

    The folder is `$TORCHINDUCTOR_CACHE_DIR` if it is set, else `hyperrl/torchinductor` in
    `$XDG_CACHE_HOME` or `~/.cache`; torch itself would use the folder for temporary files.

    Returns:
        The folder; torch makes it when needed.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # torch writes its own choice into the variable as soon as parts of it are imported.
    if os.environ.get(_CACHE_VARIABLE, default_cache_dir()) == default_cache_dir():
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        os.environ[_CACHE_VARIABLE] = str(Path(base) / "hyperrl" / "torchinductor")
    return Path(os.environ[_CACHE_VARIABLE])


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
