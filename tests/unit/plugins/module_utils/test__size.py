# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("14GB", 14_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("1KB", 1000),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("0.5B", 1),
        ("2TiB", 2 * 1024**4),
    ],
)
def test_a_size_with_a_unit_is_read(text: str, size: int) -> None:
    assert _size.in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "14", "GB", "14 gb", "14  GB", "-1GB", "1e3B", "1.GB", " 1GB", "14GB "])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size with a unit"):
        _size.in_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (64_000_000, "64 MB"),
        (64 * 1024**2, "64 MiB"),
        (1024**3, "1 GiB"),
        (1536 * 1024**2, "1536 MiB"),
        (14_000_000_000, "14 GB"),
        (1_234_567, "1234567 B"),
        (0, "0 B"),
    ],
)
def test_a_size_is_written_in_the_largest_unit_that_divides_it(size: int, text: str) -> None:
    assert _size.as_text(size) == text
    assert _size.in_bytes(text) == size
