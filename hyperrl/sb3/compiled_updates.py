"""What every algorithm with compiled updates shares: when it compiles, why it cannot, in which precision."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback

from hyperrl.compiled import PRECISIONS, CompileWarning, NotCompiledError, matmul_precision
from hyperrl.errors import ConfigError, unknown_name

WORTH_COMPILING = 20_000
"""Updates from which on compiling pays, also where nothing is cached yet."""

COMPILING = (
    "compiling the updates, which takes up to a minute the first time on a machine "
    '("compile = false" does without)'
)
"""What is said before the first updates, which would seem to hang."""

_Result = TypeVar("_Result")


class CompiledUpdates(BaseAlgorithm):
    """Mixin for algorithms whose gradient step also exists as one compiled graph.

    Takes every argument of the algorithm that it is mixed into, and:

    Args:
        compile: True compiles the gradient step before the first update (seconds, the first time up to a
            minute); False never does; "auto" does when `learn` is to make at least 20,000 updates. Both ways
            draw the same random numbers and compute the same up to rounding. What "auto" chose holds for an
            agent that goes on: in later calls of `learn` with ``reset_num_timesteps=False``, also once it was
            saved and loaded, and in a run that is resumed, however long each part of the whole is.
        precision: Precision of float32 matrix products in updates: "highest", or "high" (TF32) and "medium"
            (bfloat16) where the hardware has them. Those compute something else, only nearly as good.

    Raises:
        ConfigError: ``compile`` is something else, or the machine lacks the precision.
        UnknownNameError: No precision has that name.
    """

    announces = False
    """Whether `learn` says that "auto" does not compile, also where ``verbose`` is 0; runs set it."""

    def __init__(
        self, *args: Any, compile: bool | str = "auto", precision: str = "highest", **kwargs: Any
    ) -> None:
        _check_choices(compile, precision)
        self.compile = compile
        self.precision = precision
        # What "auto" chose when the agent began to learn; None before.
        self._auto: bool | None = None
        # Whether this learning goes on without graphs, for a reason that was given.
        self._refused = False
        # Graphs that could not be compiled.
        self._failed: Any = None
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
        self._refused = False
        if reset_num_timesteps:
            # As below, where it is too late for what is expected.
            self.num_timesteps = 0
        if self._auto is None or reset_num_timesteps:
            updates = self.expected_updates(total_timesteps)
            self._auto = updates >= WORTH_COMPILING
            says = self.verbose >= 1 or (self.announces and self.compile == "auto")
            if says and not self.compiles(updates):
                print(
                    f"not compiling the updates, of which about {updates:,} are to be made", file=sys.stderr
                )
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_compiled", "_failed", "_refused"]

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what a checkpoint remembers besides: what "auto" chose."""
        return {"auto": self._auto}

    def restore_checkpoint_state(self, state: Mapping[str, Any]) -> None:
        """Go on as the agent did whose `checkpoint_state` this is.

        Args:
            state: What it returned.
        """
        chose, self._auto = self._auto, state["auto"]
        if self.compile == "auto" and self._auto != chose:
            how = "compiled" if self._auto else "not compiled"
            print(
                f'the updates are {how}, as when the run began ("compile" decides otherwise)', file=sys.stderr
            )

    def _updates(self) -> Any:
        """Return the compiled updates if this call of `train` is to use them, else None."""
        if self._refused or not (self.compile is True or (self.compile == "auto" and self._auto)):
            return None
        made, constants, parts = self._compiled
        same = len(parts) == len(self._parts()) and all(map(operator.is_, parts, self._parts()))
        if made is None or not same or constants != self._constants():
            refused = self._why_not_compiled()
            if refused is not None:
                warnings.warn(f"the updates are not compiled: {refused}", CompileWarning, stacklevel=3)
                self._refused = True
                return None
            if made is None:
                # Also where nothing else is printed: the first updates would seem to hang.
                print(COMPILING, file=sys.stderr)
            made = self._make_compiled()
            self._compiled = made, self._constants(), self._parts()
        if made is self._failed:
            return None
        made.refresh()
        return made

    def _attempt(self, updates: Any, step: Callable[..., _Result], *arguments: Any) -> _Result | None:
        """Make a step with graphs, or give them up for the ordinary updates if they cannot be compiled.

        Args:
            updates: What `_updates` returned.
            step: Makes the step; the random numbers that it draws are torch's, on the agent's device.
            arguments: Its arguments.

        Returns:
            What the step returns; None where there are no graphs, or none any more: nothing has changed then,
            and nothing was drawn.
        """
        if updates is None or updates is self._failed:
            return None
        on_gpu = self.device.type == "cuda"
        # Graphs are compiled when they are first called, with numbers drawn for them.
        drawn = torch.cuda.get_rng_state(self.device) if on_gpu else torch.get_rng_state()
        try:
            return step(*arguments)
        except NotCompiledError as error:
            sentence = f"{error}; the ordinary updates are made instead, which takes longer"
            warnings.warn(sentence, CompileWarning, stacklevel=3)
            self._failed = updates
            if on_gpu:
                torch.cuda.set_rng_state(drawn, self.device)
            else:
                torch.set_rng_state(drawn)
            return None

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
