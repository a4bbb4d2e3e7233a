"""The contexts of a family of tasks: named parameters in a fixed order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.context.param import DIGITS, ContextParam, rounded
from hyperrl.errors import ContextError, NonFiniteError, ShapeError, unknown_name

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ContextSpace:
    """The parameters of a context, in the order that arrays have.

    Contexts are float64 arrays of shape ``[d]``, batches of them ``[n, d]``, in the units of the parameters.

    Attributes:
        params: The parameters.

    Raises:
        ContextError: There is no parameter, or two have the same name.
    """

    params: tuple[ContextParam, ...]

    def __post_init__(self) -> None:
        """Refuse an empty space and doubled names."""
        object.__setattr__(self, "params", tuple(self.params))
        if not self.params:
            raise ContextError("a context needs at least one parameter")
        for name in self.names:
            if self.names.count(name) > 1:
                raise ContextError(f"the context has two parameters called {name!r}: rename one")

    def __len__(self) -> int:
        """Return the number of parameters d."""
        return len(self.params)

    def __iter__(self) -> Iterator[ContextParam]:
        """Go through the parameters."""
        return iter(self.params)

    def __getitem__(self, name: str) -> ContextParam:
        """Return a parameter by its name.

        Raises:
            UnknownNameError: There is none of this name.
        """
        return self.params[self.index(name)]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(param.name for param in self.params)

    @cached_property
    def low(self) -> Array:
        """The least values of all, shape [d]."""
        return np.array([param.low for param in self.params])

    @cached_property
    def high(self) -> Array:
        """The greatest values, shape [d]."""
        return np.array([param.high for param in self.params])

    @cached_property
    def default(self) -> Array:
        """The context of the task as it was published, shape [d]."""
        return np.array([param.default for param in self.params])

    @cached_property
    def train_low(self) -> Array:
        """The least values in training, shape [d]."""
        return np.array([param.train_low for param in self.params])

    @cached_property
    def train_high(self) -> Array:
        """The greatest values in training, shape [d]."""
        return np.array([param.train_high for param in self.params])

    def index(self, name: str) -> int:
        """Return where a parameter stands.

        Raises:
            UnknownNameError: There is none of this name.
        """
        if name not in self.names:
            raise unknown_name("context parameter", str(name), self.names)
        return self.names.index(name)

    def array(self, context: Mapping[str, float] | ArrayLike | None = None) -> Array:
        """Return a context as an array, checked.

        Args:
            context: Values by name, where what is missing takes its default; or all values in the order of
                the parameters; None for the default.

        Returns:
            A new array of shape [d].

        Raises:
            UnknownNameError: A name is unknown.
            ShapeError: There are more or fewer values than parameters.
            NonFiniteError: A value is NaN or infinite.
            BoundsError: A value is out of range.
            ContextError: A value is no number.
        """
        if context is None:
            return self.default.copy()
        if isinstance(context, Mapping):
            given = {self.params[self.index(name)].name: value for name, value in context.items()}
            values: list[Any] = [given.get(param.name, param.default) for param in self.params]
        else:
            try:
                plain = np.asarray(context)
            except ValueError as error:
                raise ShapeError(f"a context is a row of numbers, got {context!r}") from error
            if plain.shape != (len(self),):
                raise ShapeError(
                    f"a context of {', '.join(self.names)} has {len(self)} values, got shape {plain.shape}"
                )
            values = plain.tolist()
        return np.array([param.check(value) for param, value in zip(self.params, values, strict=True)])

    def arrays(self, contexts: Sequence[Any] | Array, names: Sequence[str] | None = None) -> Array:
        """Return several contexts as one array, checked.

        Args:
            contexts: Each as `array` takes it.
            names: What the columns are said to be, compared with the parameters where given.

        Returns:
            Shape [n, d].

        Raises:
            ContextError: The names are in another order, or not those of the parameters; or this is no list.
            HyperRLError: As `array`.
        """
        if names is not None and tuple(names) != self.names:
            raise ContextError(
                f"the contexts are of {', '.join(names)}, but this task's are of {', '.join(self.names)}, in "
                "this order"
            )
        if isinstance(contexts, Mapping) or not isinstance(contexts, Iterable):
            raise ContextError(f"contexts must be a list of them, got {contexts!r}")
        rows = [self.array(context) for context in contexts]
        return np.stack(rows) if rows else np.zeros((0, len(self)))

    def as_dict(self, context: ArrayLike) -> dict[str, float]:
        """Return the values of one context by name."""
        return dict(zip(self.names, self.array(context).tolist(), strict=True))

    def text(self, context: ArrayLike) -> str:
        """Return one context as text, for example "mass=1.2,friction=0.8"."""
        return self.label(self.array(context))

    def label(self, context: Array) -> str:
        """Return what `text` does, without checking the context.

        Args:
            context: Values in the space, shape [d].
        """
        return self._form % tuple(context.tolist())

    def parse(self, text: str) -> Array:
        """Return the context that a text such as "mass=1.2,friction=0.8" says; what is missing is default.

        Raises:
            ContextError: The text is of another form, or a name comes twice.
            HyperRLError: As `array`.
        """
        values: dict[str, float] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not equals:
                raise ContextError(f"a context is written like {self.text(self.default)!r}, got {text!r}")
            if name in values:
                raise ContextError(f"the context {text!r} has two values of {name}")
            try:
                values[name] = float(number)
            except ValueError:
                raise ContextError(f"the context {name} must be a number, got {number!r}") from None
        return self.array(values)

    def key(self, context: ArrayLike) -> tuple[float, ...]:
        """Return a hashable form, the same for contexts that differ by rounding or by a full turn alone.

        Args:
            context: Shape [d].
        """
        values = [rounded(value) for value in np.asarray(context, np.float64).tolist()]
        pairs = zip(self, values, strict=True)
        return tuple(
            rounded(param.low) if param.periodic and value == rounded(param.high) else value
            for param, value in pairs
        )

    def normalise(self, contexts: ArrayLike) -> Array:
        """Map contexts so that the range of training becomes [-1, 1], without any clipping.

        The map is affine, in the logarithm where a parameter says so. Beyond 1 and below -1 is what training
        never had.

        Args:
            contexts: Shape [..., d].
        """
        low, width = self._scaled_range
        return np.asarray(2 * (self._scaled(np.asarray(contexts, np.float64)) - low) / width - 1)

    def denormalise(self, normalised: ArrayLike) -> Array:
        """Invert `normalise`.

        Args:
            normalised: Shape [..., d].
        """
        low, width = self._scaled_range
        scaled = (np.asarray(normalised, np.float64) + 1) / 2 * width + low
        with np.errstate(over="ignore"):
            return np.where(self._log, np.exp(np.where(self._log, scaled, 0.0)), scaled)

    def subset(self, names: Sequence[str]) -> ContextSpace:
        """Return the space of some of the parameters, in the order of `names`.

        Raises:
            UnknownNameError: A name is unknown.
            ContextError: A name comes twice, or there is none.
        """
        return ContextSpace(tuple(self[name] for name in names))

    def with_train(self, ranges: Mapping[str, Sequence[float]]) -> ContextSpace:
        """Return the space with other ranges of training.

        Args:
            ranges: Low and high by name.

        Raises:
            UnknownNameError: A name is unknown.
            ContextError: A range is none.
        """
        if not isinstance(ranges, Mapping):
            raise ContextError(f"ranges must be a table of low and high by name, got {ranges!r}")
        params = list(self.params)
        for name, bounds in ranges.items():
            index = self.index(name)
            # What is no range is refused by the parameter.
            train: Any = bounds
            params[index] = dataclasses.replace(params[index], train=train)
        return ContextSpace(tuple(params))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the space as plain data."""
        return [param.to_json() for param in self.params]

    @classmethod
    def from_json(cls, values: Sequence[Mapping[str, Any]]) -> ContextSpace:
        """Build a space from what `to_json` returned.

        Raises:
            ContextError: This is no list.
            HyperRLError: As `ContextParam.from_json`.
        """
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise ContextError(f"a space of contexts is a list of parameters, got {values!r}")
        return cls(tuple(ContextParam.from_json(value) for value in values))

    @cached_property
    def _form(self) -> str:
        return ",".join(f"{name}=%.{DIGITS}g" for name in self.names)

    @cached_property
    def _has_log(self) -> bool:
        return any(param.log for param in self.params)

    @cached_property
    def _log(self) -> NDArray[np.bool_]:
        return np.array([param.log for param in self.params])

    @cached_property
    def _scaled_range(self) -> tuple[Array, Array]:
        low, high = self._scaled(self.train_low), self._scaled(self.train_high)
        return low, np.where(high > low, high - low, 1.0)

    def _scaled(self, values: Array) -> Array:
        if values.shape[-1:] != (len(self),):
            raise ShapeError(
                f"contexts of {', '.join(self.names)} have {len(self)} values, got shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise NonFiniteError(f"contexts must be finite, got {values[~np.isfinite(values)][0]}")
        if not self._has_log:
            return values
        return np.where(self._log, np.log(np.where(self._log, values, 1.0)), values)
