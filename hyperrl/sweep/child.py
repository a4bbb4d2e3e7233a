"""The process of one run of a sweep: it begins the run or continues it, and ends with whoever started it.

`python -m hyperrl.sweep.child PARENT DIR` reads the run's configuration from stdin.
"""

from __future__ import annotations

import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperrl.env_process.guards import die_with_parent
from hyperrl.errors import HyperRLError, RunStoppedError

if TYPE_CHECKING:
    from hyperrl.config import RunConfig

# A process of this run that was killed, perhaps on another machine, may need a moment to be gone.
_WAIT_FOR_LOCK_SECONDS = 60.0
# What a run writes before its first checkpoint; what else lies there is somebody's, and is not removed.
_OF_A_RUN = {"run", "manifest", "status", "owner", "tb", "ckpt", "eval"}


def main(argv: Sequence[str]) -> int:
    """Do one run.

    Args:
        argv: The process id of the parent, and the run's folder, which is for those who look at the list of
            processes.

    Returns:
        The exit status: 0 when the run is finished, 1 after an error of the program, 2 after one that is
        explained in the last line, and after a signal what `hyperrl.run.signals` says.
    """
    # Before the seconds that imports take, in which the parent may be killed, too.
    die_with_parent(int(argv[0]), "spawn", by_kernel=True)
    warnings.showwarning = lambda message, *_: print(
        f"hyperrl: warning: {message}", file=sys.stderr, flush=True
    )

    from hyperrl.config import RunConfig

    try:
        carry_on(RunConfig.from_toml(sys.stdin.read(), "the run's configuration"))
        return 0
    except RunStoppedError as stop:
        status, sentence = stop.exit_status, str(stop)
    except HyperRLError as error:
        status, sentence = 2, str(error)
    except Exception as error:
        traceback.print_exc()
        status, sentence = 1, " ".join(f"{type(error).__name__}: {error}".split())
    print(f"hyperrl: {sentence}", file=sys.stderr, flush=True)
    return status


def carry_on(config: RunConfig) -> None:
    """Bring a run to its end from wherever it is: not begun, stopped, killed, failed, or done already.

    Args:
        config: The configuration, with the run's folder as `out`.

    Raises:
        RunStoppedError: A signal stopped the run.
        HyperRLError: The run failed, or another process works on it.
    """
    from hyperrl.run.files import remove_tree
    from hyperrl.run.folder import RunFolder
    from hyperrl.run.lock import RunLock
    from hyperrl.train import resume, train

    path = Path(str(config.out))
    if not path.exists():
        train(config)
        return
    _wait_until_free(path)
    if RunFolder(path).store.names():
        resume(path)
        return
    if {child.name.partition(".")[0] for child in path.iterdir()} <= _OF_A_RUN:
        # Killed before its first checkpoint: there is nothing to continue from.
        with RunLock(path):
            remove_tree(path)
    train(config)


def _wait_until_free(path: Path) -> None:
    from hyperrl.run.lock import RunLock

    end = time.monotonic() + _WAIT_FOR_LOCK_SECONDS
    while RunLock(path).holder() is not None and time.monotonic() < end:
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
