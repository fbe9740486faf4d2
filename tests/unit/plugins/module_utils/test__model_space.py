# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Found, Plan, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_space import (
    Space,
    bytes_needed,
    check_space,
    inodes_needed,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

A, B = "a" * 64, "b" * 64


def a_file(path: str, sha256: str, size: int = 10, source: str = "https://h/m", **more: t.Any) -> WantedFile:
    return WantedFile(path, sha256, size, (parse_source(source, path),), **more)


FILES = (a_file("a", A, 100), a_file("d/b", B, 20))
WANTED = Wanted("speech", "1", "present", FILES)


def test_files_take_whole_blocks_and_folders_one_each() -> None:
    plan = make_plan(WANTED, Found())  # 100 and 20 bytes; the version's folder and d
    assert bytes_needed(plan, block=4096) == 4 * 4096
    assert inodes_needed(plan) >= 4


def test_the_biggest_wheel_is_counted_beside_the_content() -> None:
    sources = ("pip://x==1!/1", "pip://x==1!/2", "pip://y==1!/1", "https://h/1")
    files = tuple(
        a_file(str(number), digit * 64, 1000 * (number + 1), source)
        for number, (digit, source) in enumerate(zip("1234", sources))
    )
    plan = make_plan(Wanted("speech", "1", "present", files), Found())
    assert bytes_needed(plan, block=1) == 10_000 + 3000 + 1  # content, the wheels of x or y, the folder


def test_a_plan_that_fits_exactly_passes_and_one_byte_less_does_not() -> None:
    plan = make_plan(WANTED, Found())
    check_space(plan, Space("/", bytes_needed(plan, 1), inodes_needed(plan), 1))
    with pytest.raises(ModelError, match=r"not enough space on /srv: 122 bytes .* needed, 121 bytes") as caught:
        check_space(plan, Space("/srv", bytes_needed(plan, 1) - 1, None, 1))
    assert caught.value.reason == "no_space"
    assert caught.value.details == {"needed": 122, "available": 121, "mount": "/srv"}


def test_too_few_inodes_are_refused() -> None:
    plan = make_plan(WANTED, Found())
    with pytest.raises(ModelError, match="not enough inodes on /srv"):
        check_space(plan, Space("/srv", 1 << 40, inodes_needed(plan) - 1, 4096))


def test_without_anything_to_fetch_a_full_disk_is_fine() -> None:
    check_space(Plan("publish", links=FILES), Space("/", 0, 0, 4096))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (90_868_376, "90.9 MB"), (14_000_000_000, "14.0 GB")],
)
def test_sizes_are_shown_in_decimal_units(size: int, text: str) -> None:
    assert human(size) == text


def test_a_partial_file_needs_only_the_space_that_it_lacks() -> None:
    whole, rest = (make_plan(WANTED, Found(resumable=resumable)) for resumable in ({}, {A: 60}))
    assert bytes_needed(whole, 1) - bytes_needed(rest, 1) == 60
    assert inodes_needed(whole) == inodes_needed(rest)


def test_notes_on_large_content_take_space_of_their_own() -> None:
    small, large = (
        make_plan(Wanted("speech", "1", "present", (a_file("a", A, size),)), Found())
        for size in (16 << 20, (16 << 20) + 1)
    )
    assert bytes_needed(large, 4096) - bytes_needed(small, 4096) == 3 * 4096
    assert inodes_needed(large) - inodes_needed(small) == 2
