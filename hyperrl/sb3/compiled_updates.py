"""What every algorithm with compiled updates shares: when it compiles, why it cannot, in which precision."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback

from hyperrl.compiled import PRECISIONS, CompileWarning, matmul_precision
from hyperrl.errors import ConfigError, unknown_name

WORTH_COMPILING = 20_000
"""Updates from which on compiling pays where graphs are cached; without a cache it is about level."""


class CompiledUpdates(BaseAlgorithm):
    """Mixin for algorithms whose gradient step also exists as one compiled graph.

    Takes every argument of the algorithm that it is mixed into, and:

    Args:
        compile: True compiles the gradient step before the first update (seconds, the first time up to a
            minute); False never does; "auto" does when `learn` is to make at least 20,000 updates. Both ways
            draw the same random numbers and compute the same up to rounding.
        precision: Precision of float32 matrix products in updates: "highest", or "high" (TF32) and "medium"
            (bfloat16) where the hardware has them. Those compute something else, only nearly as good.

    Raises:
        ConfigError: ``compile`` is something else, or the machine lacks the precision.
        UnknownNameError: No precision has that name.
    """

    def __init__(
        self, *args: Any, compile: bool | str = "auto", precision: str = "highest", **kwargs: Any
    ) -> None:
        _check_choices(compile, precision)
        self.compile = compile
        self.precision = precision
        # Whether this learning compiles; None before `learn` has decided.
        self._compiles: bool | None = None
        self._compiled: tuple[Any, Any, tuple[Any, ...]] = None, None, ()
        super().__init__(*args, **kwargs)
        lacking = missing_hardware(precision, self.device)
        if lacking is not None:
            raise ConfigError(lacking)

    def compiles(self, updates: int) -> bool:
        """Tell whether so many updates are compiled, other obstacles aside.

        Args:
            updates: Number of updates.
        """
        return updates >= WORTH_COMPILING if self.compile == "auto" else bool(self.compile)

    def expected_updates(self, total_timesteps: int) -> int:
        """Return about how many updates so many environment steps bring.

        Args:
            total_timesteps: Environment steps, over all environments together.
        """
        raise NotImplementedError

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        # A loaded model has taken whatever it was given.
        _check_choices(self.compile, self.precision)
        updates = self.expected_updates(total_timesteps)
        self._compiles = self.compiles(updates)
        if self.verbose >= 1 and not self._compiles:
            print(f"not compiling the updates, of which about {updates:,} are to be made", file=sys.stderr)
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_compiled", "_compiles"]

    def _updates(self) -> Any:
        """Return the compiled updates if this call of `train` is to use them, else None."""
        if not (self.compile is True if self._compiles is None else self._compiles):
            return None
        made, constants, parts = self._compiled
        same = len(parts) == len(self._parts()) and all(map(operator.is_, parts, self._parts()))
        if made is None or not same or constants != self._constants():
            refused = self._why_not_compiled()
            if refused is not None:
                warnings.warn(f"the updates are not compiled: {refused}", CompileWarning, stacklevel=3)
                self._compiles = False
                return None
            if made is None:
                # Also where nothing else is printed: the first updates would seem to hang.
                print(
                    "compiling the updates, which takes up to a minute the first time on a machine "
                    '("compile = false" does without)',
                    file=sys.stderr,
                )
            made = self._make_compiled()
            self._compiled = made, self._constants(), self._parts()
        made.refresh()
        return made

    def _make_compiled(self) -> Any:
        """Build what `_updates` returns; it has a method ``refresh``."""
        raise NotImplementedError

    def _constants(self) -> tuple[Any, ...]:
        """Return the numbers that become part of the graphs: others need other graphs."""
        raise NotImplementedError

    def _parts(self) -> tuple[Any, ...]:
        """Return the objects that graphs work on: if one is replaced, other graphs are needed."""
        return (self.policy,)

    def _why_not_compiled(self) -> str | None:
        """Say what about this agent cannot be compiled, or None."""
        raise NotImplementedError

    @contextmanager
    def _in_precision(self) -> Iterator[None]:
        with matmul_precision(self.precision):
            yield


def _check_choices(compile: object, precision: object) -> None:
    if not isinstance(compile, bool) and compile != "auto":
        raise ConfigError(f'compile must be true, false or "auto", got {compile!r}')
    if precision not in PRECISIONS:
        raise unknown_name("precision", str(precision), PRECISIONS)


def missing_hardware(precision: str, device: torch.device) -> str | None:
    """Say what a machine lacks for a precision of matrix products, or None.

    Args:
        precision: One of `hyperrl.compiled.PRECISIONS`.
        device: Where the networks run.
    """
    if precision == "highest":
        return None
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return None
        return f"precision {precision!r} needs a GPU of the Ampere generation or later: use 'highest'"
    if precision == "high":
        return "precision 'high' is TF32, which CPUs do not have: use 'highest', or 'medium' for bfloat16"
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    return "precision 'medium' needs a processor that multiplies in bfloat16: use 'highest'"
