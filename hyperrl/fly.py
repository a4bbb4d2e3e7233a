"""The verb `fly`: the simulated quadrotor, flown through the compiled files of an artefact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from hyperrl.environments import make_env
from hyperrl.errors import ArtefactError, ConfigError, RunFolderError
from hyperrl.evaluation.film import SUFFIXES, Film
from hyperrl.evaluation.flight import Flight, fly_in_environment
from hyperrl.evaluation.flight import fly as fly_once
from hyperrl.evaluation.flight_plot import flight_table, flights_table, plot_flight
from hyperrl.exporters.c99 import CompiledPolicy
from hyperrl.exporters.crazyflie import CompiledController
from hyperrl.exporters.manifest import read_manifest
from hyperrl.ranges import above, whole
from hyperrl.run.files import write_parts

ENV = "hyperrl/Quadrotor-v0"


@dataclass(frozen=True, eq=False)
class Flights:
    """What came of flying.

    Attributes:
        manifest: The artefact's manifest.
        task: What was flown.
        flights: The flights, at least one.
        difference: Largest distance in m, in any flight at any time, from the same flight in the environment
            as in training, where the policy alone is the compiled one. Some 1e-7 of rounding, or more where
            the controller showed the policy a smaller error than there was.
        files: What was written.
    """

    manifest: Mapping[str, Any]
    task: str
    flights: tuple[Flight, ...]
    difference: float
    files: tuple[Path, ...]


def fly(
    artefact: str | Path,
    *,
    task: str = "hover",
    seconds: float = 10.0,
    seed: int = 0,
    flights: int = 1,
    domain_randomisation: bool = False,
    table: str | Path | None = None,
    plot: str | Path | None = None,
    video: str | Path | None = None,
    summary: str | Path | None = None,
) -> Flights:
    """Fly the simulated quadrotor through an artefact's compiled controller.

    The simulation is `hyperrl/Quadrotor-v0`; `hyperrl_controller.c` gets the state a thousand times a second
    as the firmware would give it, assembles observations, acts at the policy's rate and commands the motors.

    Args:
        artefact: A folder that was exported in the format crazyflie.
        task: "hover" or "trajectory".
        seconds: Length of each flight.
        seed: Seed of the first start; the others take the numbers that follow.
        flights: How many.
        domain_randomisation: Whether each flight has another robot.
        table: A CSV of the first flight, where it is to be written.
        plot: A PNG of the first flight.
        video: A moving picture of the first flight, .gif or .webp.
        summary: A CSV with a row for each flight.

    Returns:
        The flights.

    Raises:
        ArtefactError: The folder is no such artefact, or was changed.
        ConfigError: A number is out of range, or a file's name is not right.
        UnsupportedEnvError: No pictures can be drawn on this machine.
        RunFolderError: A file cannot be written.
        HyperRLError: There is no compiler, or the code does not compile.
    """
    duration = float(above(0, 3600).check("seconds", seconds))
    count = int(whole(1, 10_000).check("flights", flights))
    first = int(whole(0, 2**31).check("seed", seed))
    wanted = _places(table, plot, video, summary)
    manifest, controller, policy = _compiled(Path(artefact))
    env = make_env(ENV, {"task": task, "domain_randomisation": domain_randomisation})
    film = None if video is None else Film(env)
    flown: list[Flight] = []
    differences: list[float] = []
    try:
        _check_period(env, manifest)
        for number in range(count):
            watch = film if number == 0 else None
            flight = fly_once(controller, env, first + number, duration, watch)
            truth = fly_in_environment(policy, env, first + number, len(flight.times))
            differences.append(float(np.abs(truth - flight.positions).max(initial=0.0)))
            flown.append(flight)
    finally:
        if film is not None:
            film.close()
        env.close()
    title = f"{task}, seed {first}: {manifest['policy']['parameters']:,} parameters, compiled C"
    _write(wanted, flown, differences, title, film)
    return Flights(manifest, task, tuple(flown), max(differences), tuple(wanted.values()))


def _compiled(folder: Path) -> tuple[Mapping[str, Any], CompiledController, CompiledPolicy]:
    manifest = read_manifest(folder)
    if manifest.get("exporter") != "crazyflie":
        raise ArtefactError(
            f"{folder} was exported as {manifest.get('exporter')}: export the run with --format crazyflie to "
            "fly it"
        )
    prefix = manifest["details"]["prefix"]
    return manifest, CompiledController(folder, prefix), CompiledPolicy(folder, prefix)


def _places(
    table: str | Path | None,
    plot: str | Path | None,
    video: str | Path | None,
    summary: str | Path | None,
) -> dict[str, Path]:
    """Refuse names of files that could not be written, before anything flies."""
    given = {
        "table": (table, (".csv",)),
        "plot": (plot, (".png",)),
        "video": (video, SUFFIXES),
        "summary": (summary, (".csv",)),
    }
    places: dict[str, Path] = {}
    for what, (name, suffixes) in given.items():
        if name is None:
            continue
        path = Path(name).expanduser()
        if path.suffix.lower() not in suffixes:
            raise ConfigError(f"the {what} must be a {' or '.join(suffixes)} file, got {str(name)!r}")
        if not path.absolute().parent.is_dir():
            raise RunFolderError(f"there is no folder {path.parent} for {path.name}: make it first")
        places[what] = path
    return places


def _check_period(env: gym.Env[Any, Any], manifest: Mapping[str, Any]) -> None:
    period, trained = env.unwrapped.dt, manifest.get("control_period_seconds")  # type: ignore[attr-defined]
    if trained is None or abs(period - trained) > 1e-9:
        raise ArtefactError(
            f"this policy acts every {trained} seconds, and {ENV} makes a step every {period:g}: it was "
            "trained with another frame_skip and cannot be flown here"
        )


def _write(
    wanted: Mapping[str, Path],
    flights: Sequence[Flight],
    differences: Sequence[float],
    title: str,
    film: Film | None,
) -> None:
    flight = flights[0]
    if wanted and not len(flight.times):
        raise ArtefactError(
            f"the controller gave up at once ({flight.reason.name}): there is nothing to show"
        )
    for what, path in wanted.items():
        if what == "table":
            data = flight_table(flight)
        elif what == "summary":
            data = flights_table(flights, differences)
        elif what == "plot":
            data = plot_flight(flight, title)
        elif film is not None:
            data = film.encode(path.suffix.lower())
        try:
            write_parts(path, [data])
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from error
