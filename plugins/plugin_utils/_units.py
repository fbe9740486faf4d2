# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Durations and sizes as people write them."""

from __future__ import annotations

import re

from ansible_collections.emorobcare.fleet.plugins.module_utils._size import in_bytes

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PARTS = re.compile(r"([0-9.]+) ?([A-Za-z]+)")


def seconds(value: str | float) -> float:
    """Return a duration ("500ms", "2s", "1.5m", or a number of seconds) in seconds.

    The value is one that the schema let through.
    """
    if not isinstance(value, str):
        return float(value)
    match = _PARTS.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a number with a unit")
    # Rounded to a nanosecond, so that "700ms" is 0.7 and not 0.7000000000000001.
    return round(float(match[1]) * _SECONDS[match[2]], 9)


def size_in_bytes(value: str | int) -> int:
    """Return a size ("300MB", "1.5GiB", or a number of bytes) in bytes.

    The value is one that the schema let through.
    """
    if not isinstance(value, str):
        return value
    return in_bytes(value)
