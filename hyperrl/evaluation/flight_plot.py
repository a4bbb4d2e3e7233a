"""Flights as tables and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperrl.evaluation.flight import SETTLED_AFTER, Flight

_AXES = "xyz"


def flight_table(flight: Flight) -> bytes:
    """Return a flight as CSV, a row for each control period.

    Args:
        flight: The flight.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["time_s", *(f"{axis}_m" for axis in _AXES), *(f"setpoint_{axis}_m" for axis in _AXES)]
    head += ["position_error_m", *(f"velocity_{axis}_m_s" for axis in _AXES), "tilt_rad"]
    writer.writerow([*head, *(f"m{motor + 1}_share" for motor in range(flight.shares.shape[1])), "reward"])
    parts = [flight.times[:, None], flight.positions, flight.setpoints, flight.errors[:, None]]
    parts += [flight.velocities, flight.tilts[:, None], flight.shares, flight.rewards[:, None]]
    writer.writerows([f"{number:.7g}" for number in row] for row in np.concatenate(parts, axis=1))
    return text.getvalue().encode()


def flights_table(flights: Sequence[Flight], differences: Sequence[float]) -> bytes:
    """Return flights as CSV, a row for each.

    Args:
        flights: The flights.
        differences: Largest distance of each from the same flight in the environment, in m.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["seed", "completed", "reason", "seconds", "mean_error_m", "largest_error_m"]
    head += ["settled_mean_error_m", "settled_largest_error_m", "return", "difference_m"]
    writer.writerow(head)
    for flight, difference in zip(flights, differences, strict=True):
        row = [flight.seed, int(flight.completed), "crash" if flight.crashed else flight.reason.name.lower()]
        numbers = [len(flight.times) * flight.period]
        for errors in (flight.errors, flight.settled):
            numbers += [errors.mean(), errors.max()] if len(errors) else [np.nan, np.nan]
        writer.writerow([*row, *(f"{one:.6g}" for one in (*numbers, flight.episode_return, difference))])
    return text.getvalue().encode()


def plot_flight(flight: Flight, title: str) -> bytes:
    """Return a PNG: where the robot was and should have been, how far apart, the path, and the motors.

    Args:
        flight: The flight.
        title: Above the picture.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    places, distance, path, motors = figure.subplots(2, 2).flat
    for axis, name in enumerate(_AXES):
        line = places.plot(flight.times, flight.positions[:, axis], label=name, linewidth=1.2)[0]
        places.plot(flight.times, flight.setpoints[:, axis], "--", color=line.get_color(), linewidth=1)
    places.set_ylabel("position in m, dashed: setpoint")
    places.legend(loc="upper right")
    _draw_distance(distance, flight)
    path.plot(flight.setpoints[:, 0], flight.setpoints[:, 1], "--", color="black", linewidth=1)
    path.plot(flight.positions[:, 0], flight.positions[:, 1], linewidth=1.2)
    path.plot(*flight.positions[:1, :2].T, "o", markersize=4, color="black")
    path.set_xlabel("x in m, from above; the dot is the start")
    path.set_ylabel("y in m")
    path.set_aspect("equal", adjustable="datalim")
    for motor, share in enumerate(flight.shares.T):
        motors.plot(flight.times, share, linewidth=0.8, label=f"M{motor + 1}")
    motors.set_ylabel("command, share of full thrust")
    motors.legend(loc="upper right", ncols=2)
    for axes in (places, distance, motors):
        axes.set_xlabel("seconds")
    for axes in (places, distance, path, motors):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    data = io.BytesIO()
    figure.savefig(data, dpi=110, format="png")
    return data.getvalue()


def _draw_distance(axes: Axes, flight: Flight) -> None:
    axes.plot(flight.times, flight.errors, color="tab:red", linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylabel("distance from the setpoint in m")
    if len(flight.settled):
        axes.axvspan(SETTLED_AFTER, flight.times[-1], color="tab:green", alpha=0.08)
        mean, worst = flight.settled.mean(), flight.settled.max()
        axes.set_title(f"from {SETTLED_AFTER:g} s on: mean {mean:.3f} m, largest {worst:.3f} m", fontsize=10)
