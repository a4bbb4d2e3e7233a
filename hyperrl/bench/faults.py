"""The same faults, injected into hyperrl and into plain Stable-Baselines3, and how much was lost each time.

Every number is counted: each case lets a fault really happen (a process is killed by its id, a file may not
grow, a bit is flipped, an environment raises) through the same code for both libraries, each of which is
used as its documentation says. What "lost" means is part of every row. To read the rows of Stable-Baselines3
("SB3") fairly:

- *Killed or out of space while saving*: the same TD3 agent of 6 MB is saved again under the same name, as
  `EvalCallback` does with its best model and `model.save` in every example. `CheckpointCallback` writes to a
  new name each time and removes nothing: its older files survive this fault.
- *Damage*: SB3's zip files have checksums, so that no flipped bit goes unseen in the weights; its replay
  buffer is a pickle without any. An error counts as named if it is the one that the library raises on purpose
  (`ValueError` "wasn't a zip-file" of SB3, `CheckpointCorruptError`) and names the file.
- *Crafted files*: SB3's documentation says that models are unpickled and should come from sources one trusts.
- *NaN while learning*: `learn` as it is, without SB3's `VecCheckNan`, which one has to ask for. PPO is SB3's
  own on both sides, trained by hyperrl as a plugin.
- *SIGTERM*: both write a checkpoint every 200 steps; SB3 by `CheckpointCallback` with its replay buffer.
- *Resume*: SB3's way is `save`, `save_replay_buffer`, `load`, `load_replay_buffer`,
  ``learn(..., reset_num_timesteps=False)``, and it does not promise to be exact.
- *Workers*: `SubprocVecEnv` and `WorkerVecEnv`, both with "forkserver". SB3's worker prints the environment's
  traceback on the terminal; what counts is what the parent's error says, which is all that a program sees.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from hyperrl.bench import fault_files, fault_saving, fault_training, fault_workers
from hyperrl.bench.fault_cases import SCALES, Fault, Inject, Scale, settings_of
from hyperrl.bench.fault_libraries import LIBRARIES, Hyperrl, Job, Library
from hyperrl.bench.fault_process import in_child
from hyperrl.errors import UsageError, unknown_name

_UNNAMED = "it fails without the library's error for damaged files that names the file"
FAULTS = (
    Fault(
        "SIGKILL while a checkpoint is overwritten",
        fault_saving.kills,
        {"gone": "no whole checkpoint, as new as the last save that ended, can be loaded"},
    ),
    Fault(
        "disk full while a checkpoint is overwritten",
        fault_saving.limits,
        {"gone": "neither the checkpoint before nor the new one can be loaded"},
    ),
    Fault(
        "one bit flipped in a checkpoint",
        fault_files.flips,
        {"silent": "other weights or optimisers are loaded without a word", "unnamed": _UNNAMED},
    ),
    Fault(
        "one bit flipped in a saved replay buffer",
        fault_files.replay_flips,
        {"silent": "other transitions are loaded without a word", "unnamed": _UNNAMED},
    ),
    Fault(
        "a file of a checkpoint cut short",
        fault_files.cuts,
        {"silent": "other weights or optimisers are loaded without a word", "unnamed": _UNNAMED},
    ),
    Fault(
        "malicious pickle in a member of a saved file",
        fault_files.crafted,
        {"run": "its code is run"},
    ),
    Fault(
        "one NaN or infinite reward or observation while learning",
        fault_training.non_finite,
        {
            "kept": "learning ends well with weights that are not finite",
            "unnamed": "it fails without a word on reward or observation",
        },
    ),
    Fault(
        "SIGTERM while learning",
        fault_training.terminations,
        {"steps": "the steps since the last periodic checkpoint are in none"},
    ),
    Fault(
        "200 steps, save, load, 200 steps",
        fault_training.resumes,
        {"differs": "other weights than after 400 steps in one go"},
    ),
    Fault(
        "an environment's worker raises",
        fault_workers.raises,
        {"message": "the environment's message is not in the parent's error"},
    ),
    Fault(
        "an environment's worker is killed",
        fault_workers.deaths,
        {"unnamed": "the parent's error names neither environment nor signal"},
    ),
    Fault(
        "an environment's worker hangs",
        fault_workers.hangs,
        {"hangs": f"the parent still waits after {fault_workers.PATIENCE:g} s"},
    ),
    Fault(
        "NaN or infinity in an observation to predict",
        fault_training.predictions,
        {"action": "an action that is not finite comes back"},
    ),
    Fault(
        "a setting that cannot be right",
        fault_training.wrong_settings,
        {"accepted": "training starts, or ends without an error"},
    ),
)


class Laboratory:
    """A process apart, in which faults are injected; use it in a `with` statement.

    It imports everything once, learns nothing and starts no threads, so that each fault and library gets a
    forked child that is like a new process. What is said on its standard error goes nowhere: much of it is
    about faults.

    Raises:
        UsageError: This system cannot fork processes and limit their files.
    """

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("faults are injected into processes that fork: use Linux or macOS")
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare)

    def __enter__(self) -> Laboratory:
        """Do nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)

    def inject(self, fault: Inject, library: Library, scale: Scale) -> tuple[int, dict[str, int], float]:
        """Let all cases of a fault happen.

        Args:
            fault: What happens.
            library: To whom.
            scale: How often.

        Returns:
            The number of cases, how often what was lost, and the seconds that it took.
        """
        cases, lost, seconds = self._pool.submit(_in_folder, fault, library, scale).result()
        return cases, lost, seconds


def say_at_once(line: str) -> None:
    """Print a line, also into a pipe, as soon as it is there.

    Args:
        line: The line.
    """
    print(line, flush=True)


def scale_named(name: str) -> Scale:
    """Return a scale.

    Args:
        name: "pull-request" or "nightly".

    Raises:
        UnknownNameError: There is no such scale.
    """
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]


def measure(
    scale: Scale,
    *,
    faults: Sequence[Fault] = FAULTS,
    libraries: Sequence[Library] = LIBRARIES,
    say: Callable[[str], None] = say_at_once,
) -> list[dict[str, Any]]:
    """Inject faults and count.

    Args:
        scale: How often.
        faults: Which faults.
        libraries: Into which libraries.
        say: Gets a line on every fault that was injected.

    Returns:
        A row for each fault, meaning of lost and library, see `rows_of`.

    Raises:
        UsageError: This system cannot inject faults.
    """
    rows = []
    with Laboratory() as laboratory:
        for fault in faults:
            for library in libraries:
                result = laboratory.inject(fault.inject, library, scale)
                rows += rows_of(fault, library, *result)
                say(f"{fault.name}, {library.name}: {result[0]} cases, {result[2]:.0f} s")
    order = [(fault.name, means) for fault in faults for means in fault.lost_means.values()]
    return sorted(rows, key=lambda row: order.index((row["fault"], row["lost_means"])))


def rows_of(
    fault: Fault, library: Library, cases: int, lost: Mapping[str, int], seconds: float
) -> list[dict[str, Any]]:
    """Return the rows of one fault and library, one for each meaning of "lost".

    Args:
        fault: The fault.
        library: The library.
        cases: How often it happened.
        lost: How often what was lost.
        seconds: What all cases took.

    Raises:
        ValueError: Something was lost that the fault has no words for.
    """
    if unknown := set(lost) - set(fault.lost_means):
        raise ValueError(f"the fault {fault.name!r} does not say what it means to lose {sorted(unknown)}")
    return [
        {
            "fault": fault.name,
            "lost_means": means,
            "cases": cases,
            "library": library.name,
            "lost": lost.get(key, 0),
            "seconds": round(seconds, 1),
        }
        for key, means in fault.lost_means.items()
    ]


def overview(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Put the libraries side by side.

    Args:
        rows: What `measure` returned.

    Returns:
        A line for each fault and meaning: "fault", "lost means" and by library "3 of 40".
    """
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault(
            (row["fault"], row["lost_means"]), {"fault": row["fault"], "lost_means": row["lost_means"]}
        )
        line[f"lost by {row['library']}"] = f"{row['lost']} of {row['cases']}"
    return list(lines.values())


def _prepare() -> None:
    """Make the process of the laboratory ready: it is silent, and has imported what its children need."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    torch.set_num_threads(1)
    for algorithm in Hyperrl.acting:
        agent: Any = Hyperrl().build(Job(algorithm, "Pendulum-v1", 1, settings=settings_of(algorithm)))
        # An optimiser's first step imports much of torch. Nothing is learned: there are no gradients.
        agent.actor.optimizer.step()


def _in_folder(fault: Inject, library: Library, scale: Scale) -> list[Any]:
    # The folder of the faults is the working directory: MuJoCo writes its warnings there.
    with tempfile.TemporaryDirectory(prefix="hyperrl-faults-") as name:
        return list(in_child(lambda: _count(fault, library, Path(name).resolve(), scale)))


def _count(fault: Inject, library: Library, folder: Path, scale: Scale) -> list[Any]:
    os.chdir(folder)
    cases, lost, start = 0, Counter[str](), time.perf_counter()
    for found in fault(library, folder, scale):
        cases += 1
        lost.update(set(found))
    return [cases, lost, time.perf_counter() - start]
