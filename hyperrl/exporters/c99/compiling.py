"""Compiling exported C on this machine, and acting with it."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ArtefactError, ConfigError, ExportError, MissingExtraError, ShapeError

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")
_FLOATS = ctypes.POINTER(ctypes.c_float)
_SECONDS = 300


def find_compiler() -> list[str]:
    """Return the command of a C compiler: `$CC`, or else cc, gcc or clang.

    Raises:
        MissingExtraError: There is none.
        ConfigError: The variable is no command.
    """
    try:
        chosen = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise ConfigError(
            f"the variable CC must be the command of a C compiler, got {os.environ['CC']!r}"
        ) from error
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]) is not None:
            return command
    missing = f"the compiler {chosen[0]!r} of the variable CC" if chosen else "a C compiler"
    raise MissingExtraError(
        f"{missing} is not installed, and C is only exported once it is compiled and compared: install gcc "
        "or clang, or set the variable CC"
    )


def compile_c(sources: list[Path], target: Path, *flags: str) -> None:
    """Compile C with every warning an error.

    Args:
        sources: The source files.
        target: The file to make.
        *flags: Further flags.

    Raises:
        MissingExtraError: There is no compiler.
        ExportError: It does not compile.
    """
    command = [*find_compiler(), *FLAGS, *flags, *map(str, sources), "-o", str(target), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(f"the C compiler {command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise ExportError(f"the exported C does not compile: {' '.join(lines[:1]) or 'no reason given'}")


def load_library(path: Path) -> ctypes.CDLL:
    """Load a compiled library, and leave the arithmetic of this process as it was.

    With -ffast-math compilers link in code that makes subnormal numbers zero in whatever loads the library.

    Args:
        path: The library.

    Raises:
        OSError: It cannot be loaded.
    """
    before = _has_subnormals()
    library = ctypes.CDLL(str(path))
    if before and not _has_subnormals():
        import torch

        torch.set_flush_denormal(False)
    return library


def _has_subnormals() -> bool:
    return bool(np.float64(5e-324) * np.float64(1) > 0)


class CompiledPolicy:
    """Exported C, compiled and loaded into this process; it acts as a policy in rollouts, too.

    It runs the code in the folder: only use one that you trust.

    Args:
        folder: A folder with the C files.
        prefix: What their names begin with.

    Attributes:
        observations: Size of an observation.
        actions: Size of an action.

    Raises:
        ArtefactError: The folder lacks a file.
        MissingExtraError: There is no compiler.
        ExportError: The code does not compile.
    """

    def __init__(self, folder: str | Path, prefix: str = "policy") -> None:
        folder = Path(folder)
        sources = [folder / f"{prefix}.c", folder / f"{prefix}_self_test.c"]
        for path in [*sources, folder / f"{prefix}.h"]:
            if not path.is_file():
                raise ArtefactError(f"{folder} holds no exported C: there is no {path.name}")
        # The library stays loaded when its file is gone.
        with tempfile.TemporaryDirectory(prefix="hyperrl-") as place:
            target = Path(place, f"{prefix}.so")
            compile_c(sources, target, "-fPIC", "-shared")
            try:
                library = load_library(target)
            except OSError as error:
                raise ExportError(f"the compiled policy cannot be loaded: {error}") from error
        self._act = getattr(library, f"{prefix}_act")
        self._act.argtypes, self._act.restype = [_FLOATS, _FLOATS], None
        self._self_test = getattr(library, f"{prefix}_self_test")
        self._self_test.argtypes, self._self_test.restype = [_FLOATS], ctypes.c_int
        self.observations = _constant(folder / f"{prefix}.h", f"{prefix.upper()}_OBSERVATIONS")
        self.actions = _constant(folder / f"{prefix}.h", f"{prefix.upper()}_ACTIONS")

    def __call__(self, observations: ArrayLike) -> NDArray[np.float32]:
        """Return actions for observations.

        Args:
            observations: ``[..., in]``, not normalised; rounded to float32.

        Returns:
            Actions ``[..., out]``.

        Raises:
            ShapeError: The last dimension is not the size of an observation.
        """
        given = np.ascontiguousarray(observations, np.float32)
        if given.ndim == 0 or given.shape[-1] != self.observations:
            raise ShapeError(
                f"observations must have shape [..., {self.observations}], got {list(given.shape)}"
            )
        rows = given.reshape(-1, self.observations)
        actions = np.empty((len(rows), self.actions), np.float32)
        for row, action in zip(rows, actions, strict=True):
            self._act(row.ctypes.data_as(_FLOATS), action.ctypes.data_as(_FLOATS))
        return actions.reshape(*given.shape[:-1], self.actions)

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], Any]:
        """Act as the algorithms of Stable-Baselines3 do with ``deterministic=True``.

        Args:
            observation: One observation ``[in]`` or a batch ``[B, in]``.
            state: Given back as it is.
            episode_start: Not used.
            deterministic: Not used.
        """
        return self(observation), state

    def self_test(self) -> tuple[bool, float]:
        """Run the embedded self-test.

        Returns:
            Whether it passed, and the largest error in units of half the action range.
        """
        largest = ctypes.c_float(0.0)
        failed = self._self_test(ctypes.byref(largest))
        return failed == 0, float(largest.value)


def _constant(path: Path, name: str) -> int:
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:2] == ["#define", name] and len(words) > 2 and words[2].isdigit():
            return int(words[2])
    raise ArtefactError(f"{path} does not define {name}")
