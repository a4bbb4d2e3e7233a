"""`hyperrl fly`: fly the simulated quadrotor through the compiled files of an artefact."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from hyperrl.cli.arguments import flag, parse
from hyperrl.config import parse_value
from hyperrl.errors import UsageError

if TYPE_CHECKING:
    from hyperrl.fly import Flights


@dataclass(frozen=True)
class FlyArguments:
    """Fly the simulated quadrotor through an artefact's Crazyflie controller, compiled on this computer."""

    artefact: tyro.conf.Positional[Annotated[str, flag("DIR")]] = ""
    """A folder that `hyperrl export --format crazyflie` wrote."""
    task: Annotated[str, flag("hover|trajectory")] = "hover"
    """Stay at a point, or follow a moving one (hover)."""
    seconds: Annotated[str, flag("S")] = "10"
    """Length of each flight (10)."""
    seed: Annotated[str, flag("S")] = "0"
    """Seed of the first start; the others take the numbers that follow (0)."""
    flights: Annotated[str, flag("K")] = "1"
    """How many flights (1)."""
    domain_randomisation: tyro.conf.FlagCreatePairsOff[bool] = False
    """Give each flight another robot: mass, inertia, motors."""
    csv: Annotated[str, flag("FILE")] = ""
    """Write the first flight as a table."""
    summary: Annotated[str, flag("FILE")] = ""
    """Write a row for each flight as a table."""
    plot: Annotated[str, flag("FILE.png")] = ""
    """Draw the first flight."""
    video: Annotated[str, flag("FILE.gif|.webp")] = ""
    """Film the first flight."""


def main(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The arguments after the verb.

    Returns:
        The exit status: 0 if every flight was flown to its end, otherwise 1.

    Raises:
        HyperRLError: The arguments are wrong, or the artefact cannot be flown.
    """
    arguments = parse(FlyArguments, argv, "fly")
    if not arguments.artefact:
        raise UsageError(
            "fly needs the folder of an artefact, for example hyperrl fly runs/my-run/export/crazyflie-16"
        )
    if arguments.video and "DISPLAY" not in os.environ and "mujoco" not in sys.modules:
        # Read when MuJoCo is imported, and not to be changed after: without a screen nothing else can draw.
        os.environ.setdefault("MUJOCO_GL", "egl")

    from hyperrl.fly import fly

    flown = fly(
        arguments.artefact,
        task=arguments.task,
        seconds=parse_value(arguments.seconds),
        seed=parse_value(arguments.seed),
        flights=parse_value(arguments.flights),
        domain_randomisation=arguments.domain_randomisation,
        table=arguments.csv or None,
        plot=arguments.plot or None,
        video=arguments.video or None,
        summary=arguments.summary or None,
    )
    print(summary(flown))
    return 0 if all(flight.completed for flight in flown.flights) else 1


def summary(flown: Flights) -> str:
    """Return how the flights went, in a few lines.

    Args:
        flown: The flights.
    """
    import numpy as np

    from hyperrl.evaluation.flight import SETTLED_AFTER

    flights, policy = flown.flights, flown.manifest["policy"]
    done = [flight for flight in flights if flight.completed]
    seconds = max(len(flight.times) * flight.period for flight in flights)
    lines = [
        f"{policy['parameters']:,} parameters, {policy['macs']:,} multiply-accumulates, compiled C, "
        f"task {flown.task}",
        f"flights of {seconds:g} s flown to their end: {len(done)} of {len(flights)}",
    ]
    lines += [
        f"  seed {flight.seed}: ended after {len(flight.times) * flight.period:.2f} s, "
        + ("crashed" if flight.crashed else f"the controller gave up: {flight.reason.name.lower()}")
        for flight in flights
        if not flight.completed
    ]
    settled = [flight.settled for flight in done if len(flight.settled)]
    parts = {"whole flight": [flight.errors for flight in done], f"from {SETTLED_AFTER:g} s on": settled}
    for name, errors in parts.items():
        if errors:
            joined = np.concatenate(errors)
            numbers = f"mean {joined.mean():.4f} m, largest {joined.max():.4f} m"
            lines.append(f"distance from the setpoint, {name}: {numbers}")
    if done:
        returns = [flight.episode_return for flight in done]
        lines.append(f"return of the first 500 steps: mean {np.mean(returns):.1f}, least {min(returns):.1f}")
    lines.append(
        f"largest distance from the same flights in the environment, without the controller: "
        f"{flown.difference:.2g} m"
    )
    return "\n".join([*lines, *map(str, flown.files)])
