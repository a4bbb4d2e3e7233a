"""`hyperrl architectures`: what every architecture of a run earns and costs, and which one to take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.architectures import Choice
    from hyperrl.evaluation.choice import Candidate


@dataclass(frozen=True)
class ArchitecturesArguments:
    """Evaluate every architecture of a run, write DIR/eval/architectures.csv and .png, and choose one.

    The choice is the best policy within the limits; with --min-return, the smallest one that reaches it.
    """

    run: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """The run's folder."""
    max_params: Annotated[str | None, flag("N")] = None
    """Most weights and biases."""
    max_flash: Annotated[str | None, flag("BYTES")] = None
    """Most bytes of flash, weights as float32."""
    max_macs: Annotated[str | None, flag("N")] = None
    """Most multiply-accumulates for one action."""
    deadline_us: Annotated[str | None, flag("US")] = None
    """Most microseconds for one action on --mcu, by the longest estimate."""
    mcu: Annotated[str | None, flag("NAME")] = None
    """A microcontroller: STM32F405, STM32H743, Teensy4.1, ESP32 or ESP32-C3."""
    min_return: Annotated[str | None, flag("R")] = None
    """Least mean return; the lower end of the interval counts."""
    screening: Annotated[str, flag("K")] = "8"
    """Most episodes that an architecture plays before the last round; 0 makes all finalists (8)."""
    episodes: Annotated[str, flag("K")] = "20"
    """Fresh episodes of the finalists, at least 2 (20)."""
    finalists: Annotated[str, flag("N")] = "3"
    """Finalists of each class of size (3)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of this evaluation (0)."""
    checkpoint: Annotated[str, flag("latest|best|STEPS")] = "latest"
    """Which weights (latest)."""
    again: tyro.conf.FlagCreatePairsOff[bool] = False
    """Evaluate even what was evaluated before with the same settings."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status.

    Raises:
        HyperRLError: The arguments are wrong, the run cannot be evaluated, or nothing is within the limits.
    """
    arguments = parse(ArchitecturesArguments, argv, "architectures")
    if not arguments.run:
        raise UsageError(
            "architectures needs the folder of a run, for example hyperrl architectures runs/my-run"
        )

    from hyperrl.architectures import architectures
    from hyperrl.evaluation.choice import Limits

    names = ("max_params", "max_flash", "max_macs", "deadline_us", "min_return")
    given: dict[str, Any] = {
        name: parse_value(text) for name in names if (text := getattr(arguments, name)) is not None
    }
    choice = architectures(
        arguments.run,
        Limits(mcu=arguments.mcu, **given),
        screening=parse_value(arguments.screening),
        episodes=parse_value(arguments.episodes),
        finalists=parse_value(arguments.finalists),
        seed=parse_value(arguments.seed),
        checkpoint=arguments.checkpoint,
        again=arguments.again,
    )
    print(summary(choice, arguments.mcu))
    return 0


def summary(choice: Choice, mcu: str | None) -> str:
    """Return the Pareto front as a table, the choice and what to do with it.

    Args:
        choice: What `hyperrl.architectures` found.
        mcu: Name of the microcontroller whose times are shown; None for the default one.
    """
    from hyperrl.architectures import DEFAULT_MCU

    config, mcu = choice.folder.config(), mcu or DEFAULT_MCU
    lines = [
        f"{config.agent} on {config.env}, checkpoint {choice.checkpoint} after {choice.steps:,} steps: "
        f"{len(choice.candidates):,} architectures",
        f"Pareto front, mean return of {choice.front[0].episodes} fresh episodes with 95 % interval:",
        f"  {'architecture':<16}{'params':>9}{'MACs':>9}{'flash':>9}  {f'us on {mcu}':<18}{'return':>10}",
    ]
    lines += [_row(one, mcu) for one in choice.front]
    chosen, returns = ",".join(map(str, choice.chosen.architecture)), choice.chosen.returns
    lines += [
        "",
        f"chosen: {chosen}, return {returns.estimate:.1f} [{returns.low:.1f}, {returns.high:.1f}], "
        f"{choice.chosen.budget.parameters:,} parameters",
        str(choice.table),
        str(choice.picture),
        "",
        "next:",
        f"  hyperrl export {shlex.quote(str(choice.folder.path))} --architecture {chosen} --format c99",
    ]
    return "\n".join(lines)


def _row(one: Candidate, mcu: str) -> str:
    low, high = one.budget.microseconds(mcu)
    return (
        f"  {','.join(map(str, one.architecture)):<16}{one.budget.parameters:>9,}{one.budget.macs:>9,}"
        f"{one.budget.flash_bytes:>9,}  {f'{low:.3g} to {high:.3g}':<18}{one.returns.estimate:>10.1f}  "
        f"[{one.returns.low:.1f}, {one.returns.high:.1f}]"
    )
