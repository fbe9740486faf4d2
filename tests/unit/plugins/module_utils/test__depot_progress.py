# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_progress import Meter, progress_line


class Stream(io.StringIO):
    """A stream that is a terminal, or is not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(terminal: bool, times: list[float]) -> str:
    stream, clock = Stream(terminal), Clock()
    meter = Meter(stream, clock)
    for number, seconds in enumerate(times, 1):
        clock.now = 100.0 + seconds
        meter(number * 1_000_000, 10_000_000)
    meter.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 1000, 5.0, "0 B of 1.0 kB"),
        (500, 1000, 5.0, "500 B of 1.0 kB, 50 %, 100 B a second, 5 s left"),
        (1_000_000_000, 61_000_000_000, 10.0, "1.0 GB of 61.0 GB, 1 %, 100.0 MB a second, 10 min left"),
        (1000, 1000, 0.0, "1.0 kB of 1.0 kB"),
        (2000, 1000, 5.0, "2.0 kB of 1.0 kB"),
        (0, 0, 0.0, "0 B of 0 B"),
    ],
)
def test_a_line_says_how_far_it_is_and_how_long_it_takes(done: int, total: int, seconds: float, line: str) -> None:
    assert progress_line(done, total, seconds) == line


def test_a_short_errand_writes_nothing() -> None:
    assert shown(True, [0.05, 0.1]) == ""
    assert shown(False, [1.0, 9.0]) == ""


def test_on_a_terminal_one_line_is_written_over_and_cleared() -> None:
    text = shown(True, [0.3, 0.35, 0.6])
    assert text.count("\n") == 0
    assert [part.split(",")[0].strip() for part in text.split("\r")] == [
        "",
        "1.0 MB of 10.0 MB",
        "3.0 MB of 10.0 MB",
        "",
        "",
    ]


def test_in_a_log_lines_stay_and_are_far_apart() -> None:
    assert [line.split(",")[0] for line in shown(False, [5.0, 11.0, 12.0, 22.0]).splitlines()] == [
        "2.0 MB of 10.0 MB",
        "4.0 MB of 10.0 MB",
    ]
