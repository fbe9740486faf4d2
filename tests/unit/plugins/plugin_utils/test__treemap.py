# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import random

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._treemap import Box, squarify

WITHIN = Box(10, 20, 60, 40)


def overlap(one: Box, other: Box) -> float:
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(wide, 0) * max(high, 0)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_as_sizes_and_fill_the_box_without_overlap(seed: int) -> None:
    sizes = sorted((random.Random(seed).randint(1, 10**6) for _one in range(40)), reverse=True)
    boxes = squarify(sizes, WITHIN)
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(2400 * size / sum(sizes))
        assert box.left >= 10 - 1e-9
        assert box.top >= 20 - 1e-9
        assert box.left + box.width <= 70 + 1e-9
        assert box.top + box.height <= 60 + 1e-9
    assert all(overlap(one, other) < 1e-6 for one, other in itertools.combinations(boxes, 2))


def test_the_example_of_the_paper_has_the_paper_s_first_rows() -> None:
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert boxes[0] == Box(0, 0, 3, 2)
    assert boxes[1] == Box(0, 2, 3, 2)
    assert (boxes[2].width, boxes[2].height) == pytest.approx((12 / 7, 7 / 3))
    assert (boxes[3].width, boxes[3].height) == pytest.approx((9 / 7, 7 / 3))


def test_nothing_is_a_sliver_where_sizes_are_alike() -> None:
    assert all(max(box.width / box.height, box.height / box.width) < 3 for box in squarify([5] * 23, WITHIN))


@pytest.mark.parametrize(("sizes", "count"), [([], 0), ([1], 1), ([10**12, 1], 2)])
def test_few_and_very_different_sizes_are_laid_out(sizes: list[int], count: int) -> None:
    assert len(squarify(sizes, WITHIN)) == count


def test_a_box_without_an_area_is_no_error() -> None:
    assert all(box.width * box.height == 0 for box in squarify([3, 2, 1], Box(0, 0, 0, 5)))
