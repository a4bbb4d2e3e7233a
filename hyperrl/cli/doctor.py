"""`hyperrl doctor`: check this installation or a run; the table is made to be pasted into an issue."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hyperrl.cli.arguments import parse
from hyperrl.cli.doctor_run import checks_of_run
from hyperrl.cli.finding import Finding
from hyperrl.cli.listing import table
from hyperrl.errors import PluginError
from hyperrl.registry import Registry, agents, kinds
from hyperrl.run.folder import RunFolder
from hyperrl.run.manifest import available_cores, cpu_name, package_versions

_ESSENTIAL = ("torch", "stable-baselines3", "gymnasium", "mujoco", "numpy", "safetensors")
_STEPS = 500
_WRITTEN_BYTES = 8 * 2**20
_FREE_BYTES = 2**30
_RENDER_SECONDS = 60.0
_RENDER = (
    "import gymnasium; env = gymnasium.make('InvertedPendulum-v5', render_mode='rgb_array');"
    "env.reset(); print(env.render().shape)"
)


@dataclass(frozen=True)
class DoctorArguments:
    """Check this installation, and a run if one is named, and print a table to paste into issues.

    The exit status is 1 if something essential fails.
    """

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DIR", help_behavior_hint="")]] = ""
    """A run's folder, whose state, versions and checkpoints are looked at, too."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        0, or 1 if something essential fails.

    Raises:
        UsageError: The arguments are wrong.
        RunFolderError: There is no run in the folder.
    """
    run = parse(DoctorArguments, argv, "doctor").run
    checks = CHECKS if not run else (*CHECKS, *checks_of_run(RunFolder.open(run)))
    findings = [finding for check in checks for finding in _guarded(check)]
    print(table([("check", "result", "detail"), *((f.what, f.verdict, f.detail) for f in findings)]))
    failed = [finding.what for finding in findings if finding.verdict == "FAIL"]
    if failed:
        print(f"hyperrl doctor: something essential fails: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def check_versions() -> Iterator[Finding]:
    """Look at Python and the packages."""
    right = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if right else "FAIL", f"{platform.python_version()} on {platform.platform()}"
    )
    for name, version in package_versions().items():
        missing = "FAIL" if name in _ESSENTIAL else "warn"
        yield Finding(name, missing if version is None else "ok", version or "not installed")


def check_machine() -> Iterator[Finding]:
    """Look at the processor, torch's threads and the GPU."""
    import torch

    yield Finding("cpu", "ok", f"{cpu_name()}, {available_cores()} cores")
    yield Finding("torch threads", "ok", f"{torch.get_num_threads()} by default; training uses 1 unless told")
    if torch.cuda.is_available():
        yield Finding("gpu", "ok", f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}")
    else:
        yield Finding("gpu", "ok", "none, device 'auto' is the CPU")


def check_mujoco_simulation() -> Iterator[Finding]:
    """Step a MuJoCo task."""
    from hyperrl.environments import make_env

    env = make_env("HalfCheetah-v5")
    env.reset(seed=0)
    env.action_space.seed(0)
    start = time.perf_counter()
    for _ in range(_STEPS):
        env.step(env.action_space.sample())
    speed = _STEPS / (time.perf_counter() - start)
    env.close()
    yield Finding("mujoco steps", "ok", f"{speed:,.0f} steps/s of HalfCheetah-v5")


def check_rendering() -> Iterator[Finding]:
    """Render a frame, with the chosen backend or else with the first that works."""
    chosen = os.environ.get("MUJOCO_GL")
    for backend in (chosen,) if chosen else ("egl", "osmesa", "glfw"):
        if _renders(backend):
            yield Finding("rendering", "ok", f"MUJOCO_GL={backend}")
            return
    tried = f"MUJOCO_GL={chosen} does not work" if chosen else "neither egl nor osmesa nor glfw works"
    yield Finding("rendering", "warn", f"{tried}: training works, videos do not")


def _renders(backend: str) -> bool:
    """Try a backend in another process, because a missing display can end the process."""
    # The working directory is a temporary one because MuJoCo may write a log there.
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _RENDER],
                env={**os.environ, "MUJOCO_GL": backend},
                cwd=folder,
                capture_output=True,
                timeout=_RENDER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def check_disk() -> Iterator[Finding]:
    """Look at the free disk and the write speed where runs go."""
    place = Path(os.environ.get("HYPERRL_RUNS") or "runs").absolute()
    # Nothing is written into a run, not even for a moment.
    while not place.is_dir() or (place / "run.toml").exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    yield Finding("free disk", "ok" if free >= _FREE_BYTES else "warn", f"{free / 2**30:.1f} GiB at {place}")
    start = time.perf_counter()
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(bytes(_WRITTEN_BYTES))
        file.flush()
        os.fsync(file.fileno())
    speed = _WRITTEN_BYTES / 2**20 / (time.perf_counter() - start)
    yield Finding("write speed", "ok", f"{speed:,.0f} MiB/s")


def check_entry_points() -> Iterator[Finding]:
    """Import every registered agent and hypernetwork kind."""
    for registry, what in ((agents, "agents"), (kinds, "kinds")):
        yield _entry_points(registry, what)


def _entry_points(registry: Registry, what: str) -> Finding:
    names = registry.names()
    if not names:
        return Finding(
            what, "FAIL", "none registered: install the package, with pip install -e . in a checkout"
        )
    broken = []
    for name in names:
        try:
            registry.get(name)
        except PluginError as error:
            broken.append(str(error))
    return Finding(what, "FAIL" if broken else "ok", "; ".join(broken) or ", ".join(names))


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_versions,
    check_machine,
    check_mujoco_simulation,
    check_rendering,
    check_disk,
    check_entry_points,
)


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return the check's findings; a check that raises is itself a finding."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except Exception as error:
        name = getattr(check, "__name__", "check").removeprefix("check_").replace("_", " ")
        findings.append(Finding(name, "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())}"))
    return findings
