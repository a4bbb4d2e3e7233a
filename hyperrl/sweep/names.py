"""Names of the runs of a sweep: readable, fit for a folder, the same whenever the file is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

_LONGEST_VALUE = 32
# File systems allow 255 bytes, and files beside the folder add a few.
_LONGEST_NAME = 200


def run_name(settings: Mapping[str, Any]) -> str:
    """Return the name of a run, for example "td3_Hopper-v5_learning_rate=0.001_s0".

    Args:
        settings: Agent, environment, seed and what else the grid decides, by dotted name. The name depends on
            nothing else, so a value that is added to an axis leaves the other names as they are.
    """
    others = sorted(set(settings) - {"agent", "env", "seed"})
    lasts = [key.rpartition(".")[2] for key in others]
    parts = [_plain(settings["agent"]), _plain(settings["env"])]
    for key, last in zip(others, lasts, strict=True):
        shown = key if lasts.count(last) > 1 else last
        parts.append(f"{_plain(shown)}={_shortened(_plain(_text(settings[key])), _LONGEST_VALUE)}")
    return _shortened("_".join([*parts, f"s{_plain(_text(settings['seed']))}"]), _LONGEST_NAME)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value))
    return str(value)


def _plain(text: object) -> str:
    """Return the text with a dash for whatever a folder's name or a shell could stumble over."""
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", str(text)).strip(".") or "unnamed"


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: longest - 9]}-{digest}"
