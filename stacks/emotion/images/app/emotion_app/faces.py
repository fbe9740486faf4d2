# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find faces: Viola and Jones' cascade of Haar features, as OpenCV's XML files hold it, in NumPy.

OpenCV itself would be three quarters of this service's image. The cascade's numbers and the meaning of its fields are
OpenCV's; see P. Viola, M. Jones, "Rapid object detection using a boosted cascade of simple features" (2001).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

import defusedxml.ElementTree
import numpy as np
from PIL import Image

from .errors import ModelError

Grey = np.ndarray[t.Any, np.dtype[np.uint8]]  # height, width
Numbers = np.ndarray[t.Any, np.dtype[np.float64]]

_LONGEST = 240  # pixels; a face that is smaller than 24 of these is not looked for
_SCALE = 1.2
_STEP = 2  # pixels between two windows
_VALUES = 200_000  # of the integral in one go: what fits a processor's cache
_NEIGHBOURS = 4  # windows that must agree on a face
_OVERLAP = 0.35  # intersection over union from which two windows mean the same face


class Box(t.NamedTuple):
    """A square of a picture, in its pixels."""

    left: int
    top: int
    size: int


@dataclass(frozen=True)
class _Stage:
    """Stumps: features of rectangles, and what each says below and above its threshold.

    A rectangle is four corners of the integral, so a feature is a weighted sum of at most twelve of its values: xs, ys
    and weights have a line for each stump.
    """

    xs: Numbers
    ys: Numbers
    weights: Numbers
    thresholds: Numbers
    below: Numbers
    above: Numbers
    least: float

    def passes(self, sums: Numbers, row: int, corners: t.Any, spread: Numbers) -> t.Any:
        """Tell which windows may hold a face."""
        places = (self.ys * row + self.xs).astype(np.intp)
        said = np.zeros(len(corners))
        step = max(1, _VALUES // (12 * len(corners)))
        for first in range(0, len(places), step):
            part = slice(first, first + step)
            values = np.einsum("wsc,sc->ws", sums.take(corners[:, None, None] + places[part]), self.weights[part])
            low = values < self.thresholds[part] * spread[:, None]
            said += np.where(low, self.below[part], self.above[part]).sum(1)
        return said >= self.least


class Cascade:
    """A detector for upright frontal faces."""

    def __init__(self, window: int, stages: tuple[_Stage, ...]) -> None:
        self._window = window
        self._stages = stages

    def find(self, picture: Grey) -> list[Box]:
        """Return the faces, the largest first."""
        shrink = max(1.0, max(picture.shape) / _LONGEST)
        found: list[tuple[float, float, float]] = []
        scale = shrink
        while min(picture.shape) / scale >= self._window:
            width, height = round(picture.shape[1] / scale), round(picture.shape[0] / scale)
            small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
            found += [(x * scale, y * scale, self._window * scale) for x, y in self._windows(small)]
            scale *= _SCALE
        return _grouped(found)

    def _windows(self, picture: Grey) -> t.Iterator[tuple[int, int]]:
        """Give the corners of the windows that every stage takes for a face."""
        values = picture.astype(np.float64)
        sums, squares = _integral(values), _integral(values**2)
        height, width = picture.shape
        row = width + 1
        ys, xs = np.mgrid[0 : height - self._window + 1 : _STEP, 0 : width - self._window + 1 : _STEP]
        corners = (ys * row + xs).ravel()
        inner = (1, 1, self._window - 2, self._window - 2)
        area = (self._window - 2) ** 2
        variance = area * _rectangle(squares, row, corners, *inner) - _rectangle(sums, row, corners, *inner) ** 2
        spread = np.sqrt(np.where(variance > 0, variance, 1.0))
        for stage in self._stages:
            if not len(corners):
                return
            alive = stage.passes(sums, row, corners, spread)
            corners, spread = corners[alive], spread[alive]
        yield from ((corner % row, corner // row) for corner in corners.tolist())


def _integral(values: Numbers) -> Numbers:
    """Return the sums of all values above and to the left, row by row, with a row and a column of zeros before."""
    return np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0))).ravel()


def _rectangle(sums: Numbers, row: int, corners: t.Any, x: int, y: int, width: int, height: int) -> Numbers:
    """Return the sum of the values in a rectangle of each window, by the windows' corners in the integral."""
    start = corners + (y * row + x)
    below = start + height * row
    return t.cast(Numbers, sums.take(below + width) - sums.take(start + width) - sums.take(below) + sums.take(start))


def _grouped(windows: list[tuple[float, float, float]]) -> list[Box]:
    """Windows that mean the same face become one; those that too few agree on go."""
    groups: list[list[tuple[float, float, float]]] = []
    for window in windows:
        group = next((group for group in groups if _overlap(np.mean(group, axis=0), window) >= _OVERLAP), None)
        if group is None:
            groups.append([window])
        else:
            group.append(window)
    means = (np.mean(group, axis=0) for group in groups if len(group) >= _NEIGHBOURS)
    boxes = [Box(round(x), round(y), round(size)) for x, y, size in means]
    return sorted(boxes, key=lambda box: (-box.size, box.left, box.top))


def _overlap(one: t.Any, other: t.Any) -> float:
    """Intersection over union of two squares."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[2], other[1] + other[2]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return float(shared / (one[2] ** 2 + other[2] ** 2 - shared))


def load_cascade(path: Path) -> Cascade:
    """Read a cascade of stumps, in the form of OpenCV 1 and 2. Raises ModelError."""
    try:
        root: t.Any = t.cast(t.Any, defusedxml.ElementTree.parse(path).getroot())[0]
        window = int(root.findtext("size").split()[0])
        return Cascade(window, tuple(_stage(stage) for stage in root.find("stages")))
    except (OSError, ValueError, TypeError, AttributeError, IndexError, SyntaxError) as error:
        raise ModelError(f"{path} is no cascade of Haar features: {error}") from error


def _stage(stage: t.Any) -> _Stage:
    stumps = [node for tree in stage.find("trees") for node in tree]
    corners = np.array([_corners(node.find("feature").find("rects")) for node in stumps])
    said = np.array(
        [[float(node.findtext(name)) for name in ("threshold", "left_val", "right_val")] for node in stumps]
    )
    xs, ys, weights = corners.transpose(2, 0, 1)
    thresholds, below, above = said.T
    return _Stage(xs, ys, weights, thresholds, below, above, float(stage.findtext("stage_threshold")))


def _corners(rectangles: t.Any) -> list[tuple[float, float, float]]:
    """Return x, y and weight of the integral's values whose sum is a feature, filled up to three rectangles."""
    found: list[tuple[float, float, float]] = []
    for line in rectangles:
        x, y, width, height, weight = (float(word) for word in line.text.split())
        found += [(x, y, weight), (x + width, y, -weight), (x, y + height, -weight), (x + width, y + height, weight)]
    return found + [(0.0, 0.0, 0.0)] * (12 - len(found))
