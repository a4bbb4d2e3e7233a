"""C99 without malloc and without dependencies, for microcontrollers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hyperrl.errors import ExportError
from hyperrl.exporters.base import Act, Artefact, Exporter
from hyperrl.exporters.c99.compiling import CompiledPolicy, find_compiler
from hyperrl.exporters.c99.numbers import check_prefix
from hyperrl.exporters.c99.quantise import act_int8, quantise
from hyperrl.exporters.c99.self_test import self_test, test_main
from hyperrl.exporters.c99.source import header, source
from hyperrl.exporters.parity import INT8_SELF_TEST_TOLERANCE, SELF_TEST_TOLERANCE

# A policy that is hard to compute gets as much more room on a robot as it has here.
_ROOM_ON_ROBOTS = 10


class C99Exporter(Exporter):
    """`policy.h` and `policy.c`, with a self-test apart from them."""

    name: ClassVar[str] = "c99"
    weights: ClassVar[tuple[str, ...]] = ("float32", "int8")
    usage: ClassVar[str] = (
        "Add `@p@.h` and `@p@.c` to your firmware:\n\n"
        '```c\n#include "@p@.h"\n\nfloat observation[@P@_OBSERVATIONS];\nfloat action[@P@_ACTIONS];\n'
        "@p@_act(observation, action);\n```\n\n"
        "`@p@_self_test.c` is for the robot's start-up check: `@p@_self_test(0)` returns 0 if this "
        "processor computes what the trained policy does. On a computer:\n\n"
        "```\ncc -std=c99 -O2 @p@.c @p@_self_test.c @p@_test.c -lm -o @p@_test && ./@p@_test\n"
        "```\n\nWith an observation that is NaN or infinite every action is NaN: stop the motors then, "
        "`@p@_observation_is_finite` tells. Do not compile with -ffast-math: it may drop digits of the "
        "normaliser. The functions use static buffers and are not reentrant.\n"
    )

    def check(self) -> None:
        """Refuse to begin without a compiler.

        Raises:
            MissingExtraError: There is none.
        """
        find_compiler()

    def export(self, artefact: Artefact, folder: Path) -> dict[str, Any]:
        """Write files, see `Exporter.export`.

        Args:
            artefact: What to write.
            folder: Where.

        Raises:
            ConfigError: The prefix is no name in C.
            ExportError: A number does not fit in float32.
        """
        prefix = check_prefix(artefact.prefix)
        if artefact.weights == "int8":
            if artefact.calibration is None:
                raise ExportError("int8 weights need observations of a rollout to be scaled by")
            int8 = quantise(artefact.policy, artefact.calibration)
            expected = act_int8(artefact.policy, int8, artefact.vectors.observations)
            tolerance = INT8_SELF_TEST_TOLERANCE
        else:
            int8, expected = (), artefact.vectors.actions64.astype("float32")
            tolerance = max(SELF_TEST_TOLERANCE, _ROOM_ON_ROBOTS * artefact.close.tolerance)
        texts = {
            f"{prefix}.h": header(artefact, tolerance),
            f"{prefix}.c": source(artefact, int8),
            f"{prefix}_self_test.c": self_test(artefact, expected),
            f"{prefix}_test.c": test_main(artefact),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="ascii")
        return {"prefix": prefix}

    def load(self, folder: Path, details: Mapping[str, Any]) -> Act:
        """Compile and load, see `Exporter.load`.

        Args:
            folder: Where.
            details: What `export` returned.

        Raises:
            ExportError: It does not compile, or its self-test fails.
        """
        policy = CompiledPolicy(folder, details["prefix"])
        passed, largest = policy.self_test()
        if not passed:
            raise ExportError(f"the self-test of the exported C fails with an error of {largest:.2g}")
        return policy
