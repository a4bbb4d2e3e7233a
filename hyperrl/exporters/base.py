"""What is exported, and what an exporter promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.exporters.budget import Budget, budget_of
from hyperrl.exporters.interface import Interface
from hyperrl.exporters.parity import Closeness
from hyperrl.exporters.vectors import Vectors
from hyperrl.plain_policy import PlainPolicy

Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From observations ``[N, in]`` to actions ``[N, out]``."""


@dataclass(frozen=True, eq=False)
class Artefact:
    """All that an exporter sees.

    Attributes:
        policy: The policy.
        vectors: Observations and the actions that they must give.
        close: How near exported actions must come.
        interface: What the numbers are.
        prefix: What names of functions and files begin with.
        weights: "float32" or "int8".
        calibration: Observations ``[N, in]`` that int8 activations are scaled by.
        provenance: Where the policy comes from, JSON values.
    """

    policy: PlainPolicy
    vectors: Vectors
    close: Closeness
    interface: Interface
    prefix: str = "policy"
    weights: str = "float32"
    calibration: NDArray[np.float32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """What the policy costs."""
        bits = 8 if self.weights == "int8" else 32
        return budget_of(self.policy.sizes, bits, normalised=self.policy.normaliser is not None)


class Exporter(ABC):
    """Writes a policy as files, and brings them back to act; built without arguments.

    A third party registers one by an entry point in the group ``hyperrl.exporters`` and proves it with
    `hyperrl.testing.check_exporter`.

    Attributes:
        name: The name of the format.
        weights: The kinds of weights that it can write.
        usage: A paragraph of Markdown for the artefact's README: how to use the files. ``@p@`` stands for the
            prefix of names, ``@P@`` for the same in capitals.
    """

    name: ClassVar[str]
    weights: ClassVar[tuple[str, ...]] = ("float32",)
    usage: ClassVar[str] = ""

    def check(self) -> None:
        """Refuse to begin where something is missing on this machine.

        Raises:
            HyperRLError: A package or compiler is missing.
        """
        return

    @abstractmethod
    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files.

        Args:
            artefact: What to write.
            folder: Where; it exists.

        Returns:
            What `load` needs to know of them, JSON values; it becomes part of the manifest.

        Raises:
            ExportError: This policy cannot be written in this format.
        """

    @abstractmethod
    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Bring exported files back to act, by what they are made for: a compiler, a runtime.

        Args:
            folder: Where they are.
            details: What `export` returned.

        Raises:
            HyperRLError: They cannot be loaded, or what loads them is missing.
        """
