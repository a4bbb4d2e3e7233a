"""Small JSON files that vouch for themselves: each carries the SHA-256 of its own content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperrl.errors import CheckpointCorruptError, CheckpointError
from hyperrl.run.reading import opened

# Raised whenever an older hyperrl could not read what is written.
FORMAT = 1
# A manifest takes about 150 bytes for every replay segment.
_AT_MOST = 2**26


def seal(table: Mapping[str, Any]) -> bytes:
    """Return a table as JSON that carries the format's number and its own SHA-256.

    Args:
        table: JSON values by name.
    """
    content = {"format": FORMAT, **table}
    return _canonical({**content, "sha256": sha256(_canonical(content))})


def unseal(data: bytes, path: Path) -> dict[str, Any]:
    """Parse what `seal` returned.

    Args:
        data: What was read.
        path: Where, for the message.

    Raises:
        CheckpointCorruptError: A single bit of it differs.
        CheckpointError: A newer hyperrl wrote it.
    """
    table = parse_json(data, path)
    content = {key: value for key, value in table.items() if key != "sha256"}
    if data != _canonical({**content, "sha256": sha256(_canonical(content))}):
        raise CheckpointCorruptError(f"{path} is damaged: its content is not what its own checksum says")
    check_format(content, path)
    return content


def check_format(table: Mapping[str, Any], path: Path) -> None:
    """Refuse a format that this version cannot read.

    Args:
        table: A verified table with the format's number.
        path: Where it was read, for the message.

    Raises:
        CheckpointError: A newer hyperrl wrote it.
        CheckpointCorruptError: There is no such format.
    """
    found = table.get("format")
    if type(found) is not int or found < 1:
        raise CheckpointCorruptError(f"{path} is malformed: it has no valid format number")
    if found > FORMAT:
        raise CheckpointError(
            f"{path} has format {found} of a newer hyperrl, this one reads up to {FORMAT}: upgrade hyperrl"
        )


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Parse a JSON object, whatever it may contain.

    Args:
        data: What was read.
        path: Where, for the message.

    Raises:
        CheckpointCorruptError: It is no JSON object; or a number or its depth is beyond all reason.
    """
    try:
        table = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise CheckpointCorruptError(f"{path} is damaged: it nests too deeply") from error
    except ValueError as error:
        raise CheckpointCorruptError(f"{path} is damaged: {error}") from error
    if not isinstance(table, dict):
        raise CheckpointCorruptError(f"{path} is damaged: it does not hold a JSON object")
    return table


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, 64 hexadecimal digits.

    Args:
        data: The bytes.
    """
    return hashlib.sha256(data).hexdigest()


def read_sealed(path: Path) -> bytes:
    """Read a pointer or a manifest.

    Args:
        path: The file.

    Raises:
        CheckpointCorruptError: It is missing, cannot be read, or is larger than any that was ever written.
    """
    with opened(path) as file:
        data = file.read(_AT_MOST + 1)
    if len(data) > _AT_MOST:
        raise CheckpointCorruptError(f"{path} is damaged: it is larger than {_AT_MOST} bytes")
    return data


def _canonical(table: Mapping[str, Any]) -> bytes:
    return (json.dumps(table) + "\n").encode("ascii")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
