# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_progress import Progress
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import (
    Report,
    Watch,
    printable,
    rate,
    read_report,
    recent,
    render,
    until_turn,
)

GB = 10**9
NOTES: dict[str, t.Any] = {
    "schema": 1,
    "model": "asr/3",
    "phase": "fetch",
    "total": 4 * GB,
    "done": 2 * GB,
    "resumed": GB,
    "started": 1000.0,
    "updated": 1010.0,
    "pid": 7,
}


def report(done: int = 0, updated: float = 1000.0, **changed: t.Any) -> Report:
    values = {"phase": "fetch", "total": 4 * GB, "resumed": 0, "started": 1000.0, **changed}
    return Report(done=done, updated=updated, **values)


def test_what_the_module_notes_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    with Progress(str(path), "asr/3", clock=lambda: 1010.0) as progress:
        progress.tell("verify", 2 * GB, 4 * GB, GB)
        text = path.read_text()
    assert read_report(text) == report(2 * GB, 1010.0, phase="verify", resumed=GB, started=1010.0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps(NOTES), id="one line"),
        pytest.param(json.dumps(NOTES, indent=2) + "\n", id="many lines"),
        pytest.param("Welcome to robot-1\r\n" + json.dumps(NOTES) + "\r\n", id="after a greeting"),
    ],
)
def test_notes_are_read_as_connections_bring_them(text: str) -> None:
    assert read_report(text) == report(2 * GB, 1010.0, resumed=GB)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat: no such file",
        json.dumps(NOTES)[:40],
        "[1, 2]",
        "{}",
        "{" * 100_000 + "}",
        *(
            json.dumps({**NOTES, **wrong})
            for wrong in (
                {"schema": 2},
                {"phase": "\x1b[2J"},
                {"phase": ["fetch"]},
                {"total": "4"},
                {"total": None},
                {"done": -1},
                {"done": True},
                {"done": 10**400},
                {"updated": float("nan")},
                {"updated": float("inf")},
            )
        ),
    ],
)
def test_what_are_no_notes_is_no_report(text: str) -> None:
    assert read_report(text) is None


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param([report(3 * GB, 1010, resumed=GB)], GB / 5, id="the first: since the start, without the resumed"),
        pytest.param([report(resumed=GB, done=GB)], 0, id="at the start"),
        pytest.param([report(GB, 1010), report(2 * GB, 1012)], GB / 2, id="of late"),
        pytest.param([report(GB, 1010), report(GB, 1012)], 0, id="nothing came"),
        pytest.param([report(GB, 1010), report(0, 1012)], 0, id="a file was begun anew"),
        pytest.param([report(GB, 1010), report(2 * GB, 1009)], 0, id="the clock was set back"),
    ],
)
def test_the_rate_is_that_of_late(reports: list[Report], expected: float) -> None:
    assert rate(reports) == expected


@pytest.mark.parametrize(
    ("before", "new", "kept"),
    [
        pytest.param([], report(updated=1000), 0, id="the first"),
        pytest.param([report(updated=s) for s in (1000, 1010, 1020)], report(updated=1029), 3, id="all of late"),
        pytest.param([report(updated=s) for s in (1000, 1010, 1020)], report(updated=1045), 2, id="the window moves"),
        pytest.param([report(updated=1000)], report(updated=2000), 1, id="rare looks"),
        pytest.param([report(updated=1000)], report(updated=1001, phase="verify"), 0, id="another phase"),
        pytest.param([report(updated=1000)], report(updated=1001, started=1001), 0, id="begun anew"),
    ],
)
def test_a_rate_is_told_from_half_a_minute_of_one_phase(before: list[Report], new: Report, kept: int) -> None:
    assert recent(tuple(before), new) == (*before[len(before) - kept :], new)


LINES = [
    pytest.param(report(GB), 2.5e6, 0, "r: a/1:  25 %  1.0/4.0 GB  20 min 0 s left  2.5 MB/s", id="fetching"),
    pytest.param(report(GB, phase="verify"), GB, 0, "r: a/1:  verifying  25 %  1.0/4.0 GB  3 s left  1.0 GB/s", id="v"),
    pytest.param(report(4 * GB, phase="publish"), 0, 0, "r: a/1:  publishing  100 %  4.0/4.0 GB", id="publishing"),
    pytest.param(report(), 0, 0, "r: a/1:  0 %  0.0/4.0 GB", id="nothing yet"),
    pytest.param(report(5 * GB), 1, 0, "r: a/1:  100 %  5.0/4.0 GB  1 B/s", id="more than was foreseen"),
    pytest.param(report(1500, total=0), 2e3, 0, "r: a/1:  1.5 kB  2.0 kB/s", id="size unknown"),
    pytest.param(report(5, total=9), 0, 0, "r: a/1:  55 %  5/9 B", id="small"),
    pytest.param(report(GB), 1e5, 0, "r: a/1:  25 %  1.0/4.0 GB  8 h 20 min left  100.0 kB/s", id="hours"),
    pytest.param(report(GB), 1e6, 9.9, "r: a/1:  25 %  1.0/4.0 GB  50 min 0 s left  1.0 MB/s", id="quiet for a moment"),
    pytest.param(report(GB), 1e6, 75, "r: a/1:  25 %  1.0/4.0 GB  nothing new for 1 min 15 s", id="stalled"),
]


@pytest.mark.parametrize(("one", "speed", "quiet", "line"), LINES)
def test_a_line_says_how_far_how_long_and_how_fast(one: Report, speed: float, quiet: float, line: str) -> None:
    assert render("r: a/1", one, speed, quiet) == line


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "r: a/1:  25 %  1.0/4.0 GB  5 min 0 s left  10.0 MB/s"),
        (52, "r: a/1:  25 %  1.0/4.0 GB  5 min 0 s left  10.0 MB/s"),
        (51, "r: a/1:  25 %  1.0/4.0 GB  5 min 0 s left"),
        (40, "r: a/1:  25 %  1.0/4.0 GB"),
        (13, "r: a/1:  25 %"),
        (12, "r: a/1:"),
        (4, "r: a"),
    ],
)
def test_a_narrow_terminal_gets_what_matters_most(width: int, line: str) -> None:
    assert render("r: a/1", report(GB), 1e7, width=width) == line


def test_a_source_that_went_silent_is_told_until_something_comes() -> None:
    watch = Watch("r: a/1")
    silent = json.dumps(NOTES)
    assert watch.line("", 0.0) == ""
    assert watch.line(silent, 1.0) == "r: a/1:  50 %  2.0/4.0 GB  20 s left  100.0 MB/s"
    assert watch.line(silent, 9.0) == "r: a/1:  50 %  2.0/4.0 GB  20 s left  100.0 MB/s"
    assert watch.line(silent, 31.0) == "r: a/1:  50 %  2.0/4.0 GB  nothing new for 30 s"
    fresh = json.dumps({**NOTES, "done": 3 * GB, "updated": 1040.0})
    assert watch.line(fresh, 32.0) == "r: a/1:  75 %  3.0/4.0 GB  30 s left  33.3 MB/s"


@pytest.mark.parametrize(
    ("now", "period", "turn", "seconds"),
    [(100.0, 1, 0, 1.0), (100.25, 1, 0, 0.75), (100.0, 5, 3, 3.0), (103.0, 5, 3, 5.0), (104.5, 5, 3, 3.5)],
)
def test_hosts_take_turns_by_the_clock(now: float, period: float, turn: float, seconds: float) -> None:
    assert until_turn(now, period, turn) == pytest.approx(seconds)


def test_a_name_does_not_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\r\x9bé") == "a?[2Jb???é"
