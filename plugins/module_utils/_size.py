# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Sizes as people write them. Nothing here does I/O."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
_UNITS: dict[str, int] = {
    "B": 1,
    **{name: 1000**power for power, name in enumerate(("kB", "MB", "GB", "TB"), 1)},
    **{name: 1024**power for power, name in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
    "KB": 1000,
}


def in_bytes(text: str) -> int:
    """Return the bytes that a size with a unit ("14GB", "1.5 GiB") stands for.

    Raises:
        ValueError: it is no such size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no size with a unit")
    return int(float(match[1]) * _UNITS[match[2]] + 0.5)


def human(size: int) -> str:
    """Return a number of bytes for people, in the decimal units of disk makers."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def as_text(count: int) -> str:
    """Return a number of bytes in the largest unit of which it is a whole multiple."""
    fitting = (name for name, unit in sorted(_UNITS.items(), key=lambda item: -item[1]) if count % unit == 0)
    name = next(fitting) if count else "B"
    return f"{count // _UNITS[name]} {name}"
