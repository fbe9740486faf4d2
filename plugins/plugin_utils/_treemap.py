# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Squarified treemaps: rectangles whose areas are as sizes, none of them a sliver. Pure.

The algorithm is that of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle. The units are the caller's."""

    left: float
    top: float
    width: float
    height: float


def squarify(sizes: t.Sequence[float], within: Box) -> list[Box]:
    """Return a rectangle for each size, in their order, that together fill C(within).

    Sizes must be more than 0 and go from large to small: in another order the rectangles get long and thin.
    """
    if not sizes:
        return []
    if within.width <= 0 or within.height <= 0:
        return [Box(within.left, within.top, 0.0, 0.0)] * len(sizes)
    scale = within.width * within.height / sum(sizes)
    boxes: list[Box] = []
    free, row = within, list[float]()
    for area in (size * scale for size in sizes):
        side = min(free.width, free.height)
        if row and _worst([*row, area], side) > _worst(row, side):
            laid, free = _lay(row, free)
            boxes += laid
            row = []
        row.append(area)
    return boxes + _lay(row, free)[0]


def _worst(areas: t.Sequence[float], side: float) -> float:
    """Return the ratio of the sides of the thinnest rectangle of a row along C(side)."""
    if side <= 0:
        return float("inf")
    whole = sum(areas)
    return max(side * side * max(areas) / (whole * whole), whole * whole / (side * side * min(areas)))


def _lay(areas: t.Sequence[float], free: Box) -> tuple[list[Box], Box]:
    """Lay a row along the shorter side of what is free; return its rectangles, and what is free then."""
    whole = sum(areas)
    boxes: list[Box] = []
    if free.width >= free.height:
        thick = min(whole / free.height, free.width) if free.height > 0 else 0.0
        top = free.top
        for area in areas:
            boxes.append(Box(free.left, top, thick, free.height * area / whole))
            top += boxes[-1].height
        return boxes, Box(free.left + thick, free.top, free.width - thick, free.height)
    thick = min(whole / free.width, free.height) if free.width > 0 else 0.0
    left = free.left
    for area in areas:
        boxes.append(Box(left, free.top, free.width * area / whole, thick))
        left += boxes[-1].width
    return boxes, Box(free.left, free.top + thick, free.width, free.height - thick)
