"""What an artefact says to people: README.md and budget.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperrl.exporters.base import Artefact, Exporter
from hyperrl.exporters.budget import CODE_BYTES, Budget
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS


def readme(exporter: Exporter, artefact: Artefact, table: Mapping[str, Any]) -> str:
    """Return the text of an artefact's README.

    Args:
        exporter: What wrote it.
        artefact: What was written.
        table: The manifest's content.
    """
    policy = artefact.policy
    parts = [
        f"# A policy of {policy.parameters:,} parameters\n",
        f"{'-'.join(map(str, policy.sizes))}, {artefact.weights} weights, exported by hyperrl as "
        f"`{exporter.name}`. It takes observations as the environment gives them and gives what "
        "`predict(deterministic=True)` of the trained agent returned: normaliser, clip, squash and bounds "
        "are inside.\n",
        "## Use\n",
        exporter.usage.replace("@p@", artefact.prefix).replace("@P@", artefact.prefix.upper()),
        "## Observations\n",
        _rows(table["observations"], ("index", "name", "unit")),
        "## Actions\n",
        _rows(table["actions"], ("index", "name", "unit", "low", "high")),
    ]
    period = table["control_period_seconds"]
    if period is not None:
        parts.append(
            f"One action every {1000 * period:g} ms, as in training, at most "
            f"{1000 * table['largest_jitter_seconds']:g} ms sooner or later: at another rate it is another "
            "policy.\n"
        )
    if table["wrappers"]:
        parts.append(
            f"In training the wrappers {', '.join(table['wrappers'])} lay between the environment and the "
            "policy. They are not inside: do yourself what they do to observations and actions.\n"
        )
    for key, value in table["conventions"].items():
        parts.append(f"{key}: {value}\n")
    parts += [_proof(table), _origin(table)]
    return "\n".join(parts)


def budget_text(budget: Budget) -> str:
    """Return the text of budget.md.

    Args:
        budget: The cost of the policy.
    """
    times = "\n".join(
        f"| {name} ({chip.board}), {chip.megahertz:g} MHz | {chip.cycles_per_mac[0]:.1f} to "
        f"{chip.cycles_per_mac[1]:.1f} | {budget.microseconds(name)[0]:,.1f} to "
        f"{budget.microseconds(name)[1]:,.1f} |"
        for name, chip in MICROCONTROLLERS.items()
    )
    return (
        "# Budget\n\n"
        "| what | how much |\n|---|---|\n"
        f"| parameters | {budget.parameters:,} |\n"
        f"| multiply-accumulates for one action | {budget.macs:,} |\n"
        f"| flash, weights | {budget.weight_bytes:,} bytes |\n"
        f"| flash, normaliser | {budget.normaliser_bytes:,} bytes |\n"
        f"| flash, code (estimate) | {CODE_BYTES:,} bytes |\n"
        f"| RAM, buffers | {budget.ram_bytes:,} bytes |\n\n"
        "| microcontroller | cycles per multiply-accumulate | microseconds for one action |\n|---|---|---|\n"
        f"{times}\n\n"
        "The times are estimates, not measurements of this policy. They scale times that the RLtools\n"
        "project published for a network of 13,696 multiply-accumulates (fastest and slowest of its builds)\n"
        "by the number of multiply-accumulates; in the smallest networks activations and calls add to them.\n"
        "The same times are given for int8, for which nothing was published. Measure on your own board.\n"
    )


def _rows(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = ["" if row[column] is None else _cell(row[column]) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split()).replace("|", "\\|")


def _proof(table: Mapping[str, Any]) -> str:
    lines = ["## Proof\n"]
    parity = table["parity"]
    for name, error in parity["largest_errors"].items():
        lines.append(f"- largest difference from {name}: {error:.2g} of half the action range")
    lines.append(f"- test vectors: {parity['vectors']}, in `test_vectors.npz` and `test_vectors.json`")
    evaluation = table["evaluation"]
    if evaluation is not None:
        low, high = evaluation["return_interval_95"]
        lines.append(
            f"- return in {evaluation['episodes']} new episodes, played by these files: "
            f"{evaluation['return_mean']:.5g}, 95 % interval {low:.5g} to {high:.5g}"
        )
    if evaluation is not None and "lost_share" in evaluation:
        lines.append(
            f"- float32 weights have a return of {evaluation['float32_return_mean']:.5g} in the same episodes"
        )
    lines.append("- `hyperrl export --verify DIR` compares hashes and actions again\n")
    return "\n".join(lines)


def _origin(table: Mapping[str, Any]) -> str:
    origin = table["provenance"]
    known = [f"- {key.replace('_', ' ')}: {origin[key]}" for key in _ORIGIN if origin.get(key) is not None]
    known.append(f"- licence of the generated code: {table['licence']['generated_code']}")
    known.append(f"- licence of the weights: {table['licence']['weights']}")
    return "\n".join(["## Where it comes from\n", *known, ""])


_ORIGIN = ("agent", "env", "env_kwargs", "seed", "checkpoint", "steps", "git")
