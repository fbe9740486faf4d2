# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import SCHEMA_FILE
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._units import seconds, size_in_bytes

DEFINITIONS = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["$defs"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2s", 2.0),
        ("500ms", 0.5),
        ("700ms", 0.7),
        ("2m", 120.0),
        ("1.5h", 5400.0),
        ("0.1s", 0.1),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations_are_seconds(value: str | float, expected: float) -> None:
    assert seconds(value) == expected
    assert isinstance(seconds(value), float)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("300MB", 300_000_000),
        ("300 MB", 300_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5GiB", 1_610_612_736),
        ("1.1GB", 1_100_000_000),
        ("2TiB", 2 * 1024**4),
        ("7B", 7),
        (7, 7),
    ],
)
def test_sizes_are_bytes(value: str | int, expected: int) -> None:
    assert size_in_bytes(value) == expected


def test_every_unit_that_the_schema_lets_through_is_understood() -> None:
    for name, read in (("duration", seconds), ("size", size_in_bytes)):
        alternatives = re.search(r"\(([A-Za-z|]+)\)\$$", DEFINITIONS[name]["pattern"])
        assert alternatives is not None
        for unit in alternatives[1].split("|"):
            assert re.fullmatch(DEFINITIONS[name]["pattern"], f"10{unit}")
            assert read(f"10{unit}") > 0


@pytest.mark.parametrize("text", ["two", "2", "2 weeks long"])
def test_what_has_no_unit_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        seconds(text)
