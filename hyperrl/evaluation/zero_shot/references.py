"""What a policy could earn in a context: experts of a few contexts, and what is assumed between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperrl.context import ContextSpace, Region
from hyperrl.context.region import gaps
from hyperrl.context.space import Array
from hyperrl.errors import ContextError

MEASURED = "measured"
"""An expert was trained in this very context."""
INTERPOLATED = "interpolated"
"""The context lies within the range of the experts'."""
EXTRAPOLATED = "extrapolated"
"""The context lies outside of the range of the experts': the value is a guess."""


@dataclass(frozen=True)
class Expert:
    """A policy of one context.

    Attributes:
        context: Its context, in the order of the space.
        value: Its mean return there.
        episodes: Over how many episodes; 0 where a table gave the value.
        source: The run or table it comes from.
        key: What says that the number need not be measured again.
    """

    context: tuple[float, ...]
    value: float
    episodes: int
    source: str
    key: str = ""


@dataclass(frozen=True)
class Expected:
    """What an expert would earn in some contexts.

    Attributes:
        values: Returns, shape [n].
        kinds: `MEASURED`, `INTERPOLATED` or `EXTRAPOLATED`, for each.
    """

    values: Array
    kinds: tuple[str, ...]


def expected_returns(experts: Sequence[Expert], space: ContextSpace, contexts: Array) -> Expected:
    """Estimate what an expert would earn in each context.

    In one dimension it is the line through the experts' values, beyond their ends the nearest value; in more
    dimensions the mean of all, weighted by the inverse squares of distances in normalised units (Shepard
    1968, "A two-dimensional interpolation function for irregularly-spaced data"). Along a circle both go the
    short way round, and the ends are those of `Region.around`.

    Args:
        experts: The experts.
        space: The space of contexts.
        contexts: Shape [n, d].

    Raises:
        ContextError: There is no expert, or two have the same context.
    """
    if not experts:
        raise ContextError("expected returns need at least one expert")
    own = np.array([expert.context for expert in experts], np.float64).reshape(len(experts), -1)
    keys = [space.key(row) for row in own]
    for key, row in zip(keys, own, strict=True):
        if keys.count(key) > 1:
            raise ContextError(f"there are two experts of the context {space.text(row)}: give one")
    places, wanted = space.normalise(own), space.normalise(contexts)
    values = np.array([expert.value for expert in experts])
    squares = (gaps(space, wanted[:, None], places[None], places[None]) ** 2).sum(axis=-1)
    within = Region.around(space, own).contains(contexts)
    if len(space) == 1:
        order = np.argsort(places[:, 0])
        turn = float(np.ptp(space.normalise([space.low, space.high]))) if space.params[0].periodic else None
        found = np.interp(wanted[:, 0], places[order, 0], values[order], period=turn)
        found = np.where(within, found, values[squares.argmin(axis=1)])
    else:
        weights = 1.0 / np.maximum(squares, 1e-18)
        found = np.asarray((weights * values).sum(axis=1) / weights.sum(axis=1))
    kinds = []
    for index, is_within in enumerate(within):
        asked = space.key(contexts[index])
        if asked in keys:
            found[index] = values[keys.index(asked)]
            kinds.append(MEASURED)
        else:
            kinds.append(INTERPOLATED if is_within else EXTRAPOLATED)
    return Expected(found, tuple(kinds))


def normalised_scores(returns: Array, random: Array, expert: Array) -> Array:
    """Return (R - random) / (expert - random); NaN where the expert is no better than chance.

    Args:
        returns: Shape [contexts, episodes].
        random: Mean returns of random actions [contexts].
        expert: Returns of the experts [contexts].
    """
    width = np.where(expert > random, expert - random, np.nan)
    return np.asarray((returns - random[:, None]) / width[:, None])
