"""What the artefact for the Crazyflie takes of the robot's flash and RAM."""

from __future__ import annotations

from hyperrl.exporters.base import Artefact
from hyperrl.exporters.budget import CODE_BYTES

CONTROLLER_CODE_BYTES = 2300
"""`hyperrl_controller.c` as compiled by clang -Os for a Cortex-M4 with single precision, without the C
library's sine, cosine and arc tangent, which the firmware has anyway."""
CONTROLLER_RAM_BYTES = 30
"""Its variables in the same build."""
SELF_TEST_CODE_BYTES = 230
"""The self-test's function in the same build."""
_FLOAT = 4


def footprint_text(artefact: Artefact) -> str:
    """Return a table in Markdown: flash and RAM of each part.

    Args:
        artefact: What is exported.
    """
    budget = artefact.budget
    vectors = artefact.vectors.observations.size + artefact.vectors.actions64.size
    rows = [
        ("weights", budget.weight_bytes + budget.normaliser_bytes, 0),
        ("code of the policy (estimate)", CODE_BYTES, budget.ram_bytes),
        ("controller, watchdog, observation", CONTROLLER_CODE_BYTES, CONTROLLER_RAM_BYTES),
        (
            f"self-test with {len(artefact.vectors.kinds)} vectors",
            SELF_TEST_CODE_BYTES + _FLOAT * vectors,
            0,
        ),
    ]
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    lines = [f"| {name} | {flash:,} | {ram:,} |" for name, flash, ram in rows]
    return "\n".join(["| part | flash, bytes | RAM, bytes |", "|---|---|---|", *lines])
