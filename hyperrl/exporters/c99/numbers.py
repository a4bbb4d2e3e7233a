"""Numbers and texts as C writes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError

_PER_LINE = 8
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_RESERVED = """
    alignas alignof and asm auto bool break case catch char class const constexpr continue default
    delete do double else enum explicit export extern false float for friend goto if inline int long
    main mutable namespace new not operator or private protected public register restrict return short
    signed sizeof static struct switch template this throw true try typedef typename union unsigned
    using virtual void volatile wchar_t while xor
"""
_KEYWORDS = frozenset(_RESERVED.split())


def check_prefix(prefix: str) -> str:
    """Return a prefix that names in C and file names can begin with.

    Args:
        prefix: As given.

    Raises:
        ConfigError: It is no identifier of C and C++.
    """
    if _NAME.fullmatch(prefix) is None or prefix.lower() in _KEYWORDS:
        raise ConfigError(
            "a prefix must be a letter followed by up to 30 letters, digits or underscores, and no word of C "
            f"or C++, got {prefix!r}"
        )
    return prefix


def literal(number: Any) -> str:
    """Return the shortest decimal constant of type float that stands for exactly this float32.

    Args:
        number: A finite number.
    """
    text = np.format_float_scientific(np.float32(number), unique=True, trim="0", exp_digits=2)
    return f"{text}f"


def array(kind: str, name: str, values: NDArray[Any]) -> str:
    """Return the definition of a constant array, row by row.

    Args:
        kind: Its type in C, for example "float".
        name: Its name.
        values: The numbers, of any shape.
    """
    flat = values.reshape(-1)
    words = [literal(value) if kind == "float" else str(int(value)) for value in flat]
    return f"static const {kind} {name}[{flat.size}] = {{\n{rows(words)}\n}};\n"


def rows(words: list[str]) -> str:
    """Return words in lines, with commas between them.

    Args:
        words: Constants.
    """
    lines = [", ".join(words[start : start + _PER_LINE]) for start in range(0, len(words), _PER_LINE)]
    return ",\n".join(f"    {line}" for line in lines)


def comment_text(text: str) -> str:
    """Return a text that is safe within a comment of C.

    Args:
        text: Any text, for example a name that an environment gives.
    """
    line = " ".join(text.split()).encode("ascii", "replace").decode("ascii")
    return line.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
