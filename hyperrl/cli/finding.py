"""One line of what `hyperrl doctor` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: What was looked at.
        verdict: "ok", "warn" for what some features need, "FAIL" for what everything needs.
        detail: What was found.
    """

    what: str
    verdict: str
    detail: str
