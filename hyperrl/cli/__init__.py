"""The command line: `hyperrl VERB ...`, one file per verb, loaded when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from hyperrl.errors import HyperRLError, RunStoppedError, unknown_name

# Verb, module whose `main(argv) -> int` runs it, and what it does.
VERBS = {
    "train": ("hyperrl.cli.train", "train an agent and leave a run folder"),
    "sweep": ("hyperrl.cli.sweep", "do all runs of a grid of settings, side by side"),
    "zero-shot": ("hyperrl.cli.zero_shot", "solve a family of tasks and learn policies for all of them"),
    "resume": ("hyperrl.cli.resume", "continue a run that was stopped, killed or failed"),
    "evaluate": ("hyperrl.cli.evaluate", "measure the policy of a run on new episodes"),
    "adapt": ("hyperrl.cli.adapt", "measure how fast an agent adapts to tasks that it never saw"),
    "compare": ("hyperrl.cli.compare", "compare methods in contexts that they were not trained in"),
    "architectures": ("hyperrl.cli.architectures", "compare and choose among the architectures of a run"),
    "gradient-quality": ("hyperrl.cli.gradient_quality", "compare a critic's action gradient with rollouts"),
    "export": ("hyperrl.cli.export", "write a policy as C, ONNX, torch or NumPy, proved to act the same"),
    "fly": ("hyperrl.cli.fly", "fly the simulated quadrotor through an artefact's compiled code"),
    "import": ("hyperrl.cli.importing", "make a run folder of a model of Stable-Baselines3"),
    "list": ("hyperrl.cli.listing", "show the agents, environments, hypernetwork kinds or exporters"),
    "bench": ("hyperrl.bench.cli", "measure speed, learning and what faults destroy"),
    "doctor": ("hyperrl.cli.doctor", "check this installation, or a run"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The arguments after the program's name; None takes those of the process.

    Returns:
        The exit status: 0 for success, 2 for anything wrong in what was asked for; after a signal see
        `hyperrl.run.signals`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(arguments)
    except RunStoppedError as stop:
        _say(str(stop), stop)
        return stop.exit_status
    except HyperRLError as error:
        _say(str(error), error)
        return 2
    except KeyboardInterrupt as stop:
        _say("stopped", stop)
        return 130
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough; Python would complain once more when it closes
        # stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        import hyperrl

        print(f"hyperrl {hyperrl.__version__}")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS)
    status: int = importlib.import_module(VERBS[verb][0]).main(arguments[1:])
    return status


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the sentence of a warning, without the place in the code that nobody asked for."""
    with contextlib.suppress(OSError):  # Whoever read it may be gone: no reason to end a run.
        print(f"hyperrl: warning: {message}", file=file or sys.stderr, flush=True)


def _say(sentence: str, error: BaseException) -> None:
    """Print a sentence, and after it where a run that had begun lies."""
    with contextlib.suppress(OSError):
        text = "; ".join([f"hyperrl: {sentence}", *getattr(error, "__notes__", ())])
        print(text, file=sys.stderr, flush=True)


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        [
            "usage: hyperrl VERB ...",
            "",
            "Hypernetworks in reinforcement learning, on Stable-Baselines3.",
            "",
            *lines,
            "",
            "hyperrl VERB --help explains a verb; hyperrl --version prints the version.",
            "For example: hyperrl train hyper-td3 --env HalfCheetah-v5 --steps 100000",
        ]
    )
