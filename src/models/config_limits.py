"""Limits of configurations from files, checked before anything is built from them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_LAYERS = 128
"""Layers or blocks of a part; published networks have at most 48."""
MAX_WINDOW = 64
"""Side of Swin's windows, pixels; their index has its fourth power of entries."""
MAX_SIZE = 65_536
"""Any other whole number: widths, queries, classes, pixels."""
_MAX_LENGTH = 256
_MAX_DEPTH = 6
_LAYERS = re.compile(r"layers|depths|blocks|updates")
_FLOATS = ((re.compile(r"drop|prob"), (0.0, 1.0)), (re.compile("eps"), (1e-12, 0.1)), (re.compile(""), (-1e4, 1e4)))
_INDEX = re.compile(r"(index|indices)$")
"""Positions in lists, which count from the end where negative, and label values without a class."""
_POSITIVE = re.compile(r"heads|queries|classes|stride|window|patch|divisor|(?<!decoder_)layers$|width|dim$|size$")


def check_limits(value: Any, name: str = "", depth: int = 0) -> None:
    """Check all numbers of a configuration: within limits that no network exceeds, heads and sizes at least 1.

    Raises:
        ValueError: if a value is out of range, a text or list is too long, or values are nested too deeply.
    """
    if isinstance(value, Mapping | Sequence) and len(value) > _MAX_LENGTH:
        kind = "characters" if isinstance(value, str) else "entries"
        raise ValueError(f"{name} has {len(value)} {kind}; expected at most {_MAX_LENGTH}")
    if depth > _MAX_DEPTH:
        raise ValueError(f"{name} is nested more than {_MAX_DEPTH} levels deep; expected the config of a network")
    if isinstance(value, Mapping):
        for key, one in value.items():
            check_limits(one, str(key)[:_MAX_LENGTH], depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            check_limits(one, name, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool) and not _FLOATS[0][0].search(name):
        high = MAX_LAYERS if _LAYERS.search(name) else MAX_WINDOW if "window" in name else MAX_SIZE
        low = -MAX_LAYERS if _INDEX.search(name) else int(_POSITIVE.search(name) is not None)
        if not low <= value <= high:
            # Python refuses to print integers of more than 4300 digits.
            shown = value if value.bit_length() < 64 else f"a number of {value.bit_length()} bits"
            raise ValueError(f"{name} is {shown}; expected {low}..{high}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Written so that NaN, which compares with nothing, fails.
        least, most = next(limits for pattern, limits in _FLOATS if pattern.search(name))
        if not least <= value <= most:
            raise ValueError(f"{name} is {value}; expected {least:g}..{most:g}")
