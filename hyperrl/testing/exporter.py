"""The conformance kit for exporters."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import HyperRLError
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.building import OWN_FILES
from hyperrl.exporters.interface import Interface
from hyperrl.exporters.parity import closeness
from hyperrl.exporters.vectors import build_vectors
from hyperrl.plain_policy import ActionHead, ObservationNormaliser, PlainPolicy
from hyperrl.registry import exporters

_ROLLOUT = 96


class ExporterCheckError(HyperRLError, AssertionError):
    """An exporter does not keep a promise of its interface."""


def hard_policies(seed: int = 0) -> dict[str, PlainPolicy]:
    """Return policies, each of which shows a mistake that an easier one would hide.

    Args:
        seed: Seed of their weights.

    Returns:
        Policies by what is hard about them.
    """
    draw = np.random.default_rng(seed)
    low, high = np.array([-0.3, 1.0, -5.0]), np.array([2.0, 1.5, 7.0])
    tanh_head = ActionHead(low, high, "tanh", "unscale")
    clip_head = ActionHead(low, high, "none", "clip")
    mixed = ObservationNormaliser(
        draw.normal(size=5) * [1, 50, 1, 3, 0.1], np.array([4.0, 1e-2, 30.0, 1e-4, 1.0]), clip=1.5
    )
    # Its epsilon is as large as its variance, so that it matters on which side of the root it is.
    tiny = ObservationNormaliser(draw.normal(size=5), np.full(5, 2e-8), epsilon=1e-8, clip=5.0)
    # A number that hardly ever changed while training: its mean must keep more digits than float32 has.
    constant = ObservationNormaliser(
        np.array([1.1, 700.3, -9.81, 0.0, 2.7]), np.array([0.0, 1e-7, 0.0, 1.0, 0.0])
    )
    return {
        "normaliser with an active clip": _policy(draw, (5, 7, 6, 3), "tanh", tanh_head, mixed),
        "epsilon that matters": _policy(draw, (5, 6, 3), "relu", clip_head, tiny),
        "constant observations": _policy(draw, (5, 6, 3), "tanh", tanh_head, constant),
        "clipped actions, asymmetric bounds": _policy(draw, (4, 16, 9, 3), "relu", clip_head, gain=3.0),
        "squashed actions, asymmetric bounds": _policy(draw, (4, 9, 16, 3), "relu", tanh_head),
        "smoothly limited actions": _policy(
            draw, (4, 8, 3), "elu", ActionHead(low * 3, high * 3, "scaled_tanh", "clip", 2.5), gain=3.0
        ),
        "limited mean under the squash": _policy(
            draw, (4, 8, 3), "relu", ActionHead(low, high, "tanh", "unscale", mean_clip=0.4), gain=2.0
        ),
        "actions without bounds": _policy(draw, (4, 6, 3), "tanh", ActionHead.unbounded(3), _unclipped(draw)),
        "bounds on one side": _policy(
            draw, (3, 6, 2), "tanh", ActionHead(np.array([-np.inf, 0.0]), np.array([0.1, np.inf]))
        ),
        "square layers": _policy(draw, (6, 6, 6, 6), "tanh", ActionHead(np.full(6, -1.0), np.full(6, 1.0))),
        "one neuron": _policy(
            draw, (1, 1, 1), "tanh", ActionHead(np.array([-2.0]), np.array([2.0]), "tanh", "unscale")
        ),
        "no hidden layer": _policy(draw, (5, 3), "relu", clip_head, mixed),
        "wide and deep": _policy(
            draw, (18, 64, 32, 128, 16, 4), "relu", ActionHead(np.full(4, 0.0), np.full(4, 1.0))
        ),
        **{
            f"activation {name}": _policy(draw, (4, 9, 7, 3), name, clip_head, gain=1.5)
            for name in ("elu", "leaky_relu", "sigmoid", "silu", "gelu", "softplus", "mish")
        },
        "a different activation in each layer": _mixed_activations(draw),
    }


def check_exporter(exporter: str | type[Exporter], *, seed: int = 0, fast: bool = False) -> tuple[str, ...]:
    """Check that an exporter keeps the promises of `Exporter`.

    What it writes acts as the policy does, on policies that are hard in one way each; on one observation as
    in a batch; wherever the folder lies; it writes nothing but files within the folder, the same bytes each
    time, under the prefix that is asked for; what it says of them is JSON; observations are left as they are.

    Args:
        exporter: Name of a registered exporter, or an `Exporter` class.
        seed: Seed of weights and observations.
        fast: Whether to take fewer policies, one for each stage.

    Returns:
        The names of the checks, all of which passed.

    Raises:
        ExporterCheckError: If a promise is broken; the sentence names the exporter, the check and what was
            wrong.
    """
    cls = exporters.get(exporter) if isinstance(exporter, str) else exporter
    label = exporter if isinstance(exporter, str) else exporter.__name__
    tool: Exporter = cls()
    tool.check()
    policies = hard_policies(seed)
    chosen = dict(list(policies.items())[:_FAST]) if fast else policies
    checks: dict[str, Callable[[], None]] = {
        f"actions, {name}": _parity_check(tool, policy, seed) for name, policy in chosen.items()
    }
    easy = _case(next(iter(policies.values())), seed)
    for name, check in _CHECKS.items():
        checks[name] = _bound(check, tool, easy)
    for name, run in checks.items():
        try:
            run()
        except _BrokenPromiseError as broken:
            raise ExporterCheckError(f"exporter {label}, {name}: {broken}") from None
        except Exception as error:
            raise ExporterCheckError(f"exporter {label}, {name}: {type(error).__name__}: {error}") from error
    return tuple(checks)


def _unclipped(draw: np.random.Generator) -> ObservationNormaliser:
    """Return a normaliser of four observations of different sizes, without a clip.

    Args:
        draw: Random numbers.
    """
    return ObservationNormaliser(draw.normal(size=4) * 3, np.array([0.2, 9.0, 1.0, 25.0]), clip=np.inf)


_FAST = 7


class _BrokenPromiseError(Exception):
    """What was wrong, before the exporter's and the check's names are put in front."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _BrokenPromiseError(otherwise)


def _policy(
    draw: np.random.Generator,
    sizes: tuple[int, ...],
    activation: str,
    head: ActionHead,
    normaliser: ObservationNormaliser | None = None,
    gain: float = 1.0,
) -> PlainPolicy:
    """Return a policy whose weights are as large as trained ones, with biases that cannot be overlooked."""
    weights = [draw.normal(size=(after, before)) * np.sqrt(2 / before) for before, after in pairwise(sizes)]
    weights[-1] = weights[-1] * gain
    biases = [draw.normal(size=after) * 0.5 for after in sizes[1:]]
    return PlainPolicy.from_arrays(weights, biases, activation=activation, head=head, normaliser=normaliser)


def _mixed_activations(draw: np.random.Generator) -> PlainPolicy:
    policy = _policy(draw, (4, 6, 6, 6, 2), "relu", ActionHead(np.array([-1.0, -2.0]), np.array([1.0, 3.0])))
    names = ("tanh", "relu", "elu", "identity")
    layers = [replace(layer, activation=name) for layer, name in zip(policy.layers, names, strict=True)]
    return replace(policy, layers=tuple(layers))


@dataclass(frozen=True, eq=False)
class _Case:
    """An artefact to be exported."""

    artefact: Artefact
    observations: NDArray[np.float32]


def _case(policy: PlainPolicy, seed: int) -> _Case:
    draw = np.random.default_rng([seed, 1])
    inputs, outputs = policy.sizes[0], policy.sizes[-1]
    rollout = draw.normal(size=(_ROLLOUT, inputs))
    if policy.normaliser is not None:
        rollout = policy.normaliser.mean + 1.2 * rollout * policy.normaliser.deviation
    vectors = build_vectors(policy, rollout)
    close = closeness(policy, vectors.actions32, vectors.actions64)
    # Names as an environment may give them, to be survived by whatever is written.
    interface = Interface(
        tuple(f'o{index} */ /* "θ" \\' for index in range(inputs)),
        tuple("m/s²" for _ in range(inputs)),
        tuple(f"motor {index}??/" for index in range(outputs)),
        tuple("%" for _ in range(outputs)),
        0.01,
        {"frame": "x forward, y left, z up"},
    )
    artefact = Artefact(policy, vectors, close, interface, calibration=rollout.astype(np.float32))
    return _Case(artefact, vectors.observations)


@contextmanager
def _exported(tool: Exporter, artefact: Artefact) -> Iterator[tuple[Path, dict[str, Any], Act]]:
    """Export, move the folder elsewhere, and load."""
    with tempfile.TemporaryDirectory(prefix="hyperrl-check-") as place:
        written, moved = Path(place, "written"), Path(place, "moved")
        written.mkdir()
        details = tool.export(artefact, written)
        shutil.move(written, moved)
        yield moved, details, tool.load(moved, details)


def _parity_check(tool: Exporter, policy: PlainPolicy, seed: int) -> Callable[[], None]:
    def check() -> None:
        case = _case(policy, seed)
        vectors, close = case.artefact.vectors, case.artefact.close
        with _exported(tool, case.artefact) as (_, _, act):
            errors = close.errors(act(case.observations.copy()), vectors.actions64)
        row, column = np.unravel_index(int(errors.argmax()), errors.shape)
        _require(
            float(errors.max()) <= close.tolerance,
            f"action {column} differs by {errors.max():.2g} of half its range from the policy, more than "
            f"{close.tolerance:.2g}, at test vector {row} ({vectors.kinds[int(row)]})",
        )

    return check


def _bound(check: Callable[[Exporter, _Case], None], tool: Exporter, case: _Case) -> Callable[[], None]:
    return lambda: check(tool, case)


def _check_batches(tool: Exporter, case: _Case) -> None:
    with _exported(tool, case.artefact) as (_, _, act):
        given = case.observations.copy()
        together = act(given)
        _require(np.array_equal(given, case.observations), "acting changes the observations")
        _require(np.asarray(together).dtype == np.float32, "actions are not float32")
        for row in (0, len(together) - 1):
            alone = act(case.observations[row : row + 1].copy())
            worst = case.artefact.close.errors(alone, together[row : row + 1]).max()
            _require(worst <= case.artefact.close.tolerance, "one observation alone gives another action")
        again = act(case.observations.copy())
        _require(np.array_equal(together, again), "the same observations give another action the second time")


def _check_files(tool: Exporter, case: _Case) -> None:
    with (
        _exported(tool, case.artefact) as (first, details, _),
        _exported(tool, case.artefact) as (second, _, _),
    ):
        names = sorted(path.name for path in first.iterdir())
        _require(bool(names), "nothing is written")
        _require(all((first / name).is_file() for name in names), "something else than files is written")
        _require(names == sorted(path.name for path in second.iterdir()), "other files are written each time")
        for name in names:
            same = (first / name).read_bytes() == (second / name).read_bytes()
            _require(same, f"{name} has other bytes each time")
        taken = sorted(OWN_FILES & set(names))
        _require(not taken, f"{taken} belong to the artefact, not to a format")
        try:
            round_trip = json.loads(json.dumps(details, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise _BrokenPromiseError(f"what export returns is no JSON: {error}") from None
        _require(round_trip == details, "what export returns is no JSON")


def _check_prefix(tool: Exporter, case: _Case) -> None:
    named = replace(case.artefact, prefix="hover_2")
    with _exported(tool, named) as (folder, _, act):
        names = [path.name for path in folder.iterdir()]
        _require(any("hover_2" in name for name in names), "no file has the prefix that was asked for")
        errors = named.close.errors(act(case.observations.copy()), named.vectors.actions64)
        _require(float(errors.max()) <= named.close.tolerance, "with a prefix the actions are others")


def _check_description(tool: Exporter, case: _Case) -> None:
    _require(isinstance(tool.name, str) and bool(tool.name), "it has no name")
    _require("float32" in tool.weights, "it does not export float32 weights")
    _require(bool(tool.usage.strip()), "it does not say how its files are used")


_CHECKS: Mapping[str, Callable[[Exporter, _Case], None]] = {
    "batches": _check_batches,
    "files": _check_files,
    "prefix": _check_prefix,
    "description": _check_description,
}
