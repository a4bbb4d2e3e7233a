"""What a generator has worked out for a layout, kept for as long as the layout is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch

from hyperrl.nets.architectures.layout import Layout

_Plan = TypeVar("_Plan")


class Plans(Generic[_Plan]):
    """The plan for each layout; copies and pickles of this are empty, so that they hold no layout."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Layout, tuple[torch.device, _Plan]] = WeakKeyDictionary()

    def get(
        self, layout: Layout, device: torch.device, build: Callable[[Layout, torch.device], _Plan]
    ) -> _Plan:
        """Return the plan, made where it is not known yet.

        Args:
            layout: The architectures.
            device: Where the tensors of the plan are needed.
            build: Makes the plan.
        """
        known = self._known.get(layout)
        if known is None or known[0] != device:
            known = self._known[layout] = (device, build(layout, device))
        return known[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> Plans[_Plan]:
        return Plans()

    def __reduce__(self) -> tuple[type[Plans[_Plan]], tuple[()]]:
        return Plans, ()
