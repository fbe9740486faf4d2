# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What people read while a model is fetched: how far, how fast, how long still, on one line. Pure.

The notes that it reads are those of module_utils/_model_progress.py.
"""

from __future__ import annotations

import json
import math
import typing as t
from dataclasses import dataclass

_SCHEMA = 1
_WINDOW = 30.0  # seconds: a rate over less jumps about, over more it hides that a source became slow
_QUIET = 10.0  # seconds without anything new after which to say so
_PHASES = {"fetch": "", "verify": "verifying", "publish": "publishing"}
_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))


@dataclass(frozen=True)
class Report:
    """How far a task was at a moment: sizes in bytes, times in seconds since the epoch by the clock of the host."""

    phase: str
    total: int
    done: int
    resumed: int
    started: float
    updated: float


class Watch:
    """Makes lines out of what is read, one after the other, of one task's notes."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._reports: tuple[Report, ...] = ()
        self._news = 0.0  # when the last new report came

    def line(self, text: str, now: float, width: int | None = None) -> str:
        """Return the line for what was read at C(now) (seconds of any clock); nothing where there is no report."""
        report = read_report(text)
        if report is None:
            return ""
        if not self._reports or self._reports[-1] != report:
            self._reports = recent(self._reports, report)
            self._news = now
        return render(self._label, report, rate(self._reports), now - self._news, width)


def read_report(text: str) -> Report | None:
    """Read the notes; None where there are none, or none that can be understood.

    What a connection brings may have other lines around them, as from a shell's start files.
    """
    try:
        document = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(document, dict)
        or document.get("schema") != _SCHEMA
        or document.get("phase") not in tuple(_PHASES)
    ):
        return None
    numbers = [document.get(name) for name in ("total", "done", "resumed", "started", "updated")]
    if not all(_is_number(number) for number in numbers):
        return None
    total, done, resumed, started, updated = t.cast("list[float]", numbers)
    return Report(document["phase"], int(total), int(done), int(resumed), float(started), float(updated))


def recent(reports: tuple[Report, ...], new: Report) -> tuple[Report, ...]:
    """Add a report; keep those before it that its rate is to be told from, at least one."""
    kept = [one for one in reports if (one.phase, one.started) == (new.phase, new.started)]
    while len(kept) > 1 and new.updated - kept[1].updated >= _WINDOW:
        del kept[0]
    return (*kept, new)


def rate(reports: t.Sequence[Report]) -> float:
    """Return the bytes per second of late, or while there is one report only, since the start."""
    first, last = reports[0], reports[-1]
    count = last.done - (first.done if len(reports) > 1 else first.resumed)
    span = last.updated - (first.updated if len(reports) > 1 else first.started)
    return max(count / span, 0.0) if span > 0 else 0.0


def render(label: str, report: Report, speed: float, quiet: float = 0.0, width: int | None = None) -> str:
    """Return a line of not more than C(width) columns; what matters least stands at the end, and goes first.

    C(speed) is in bytes per second; C(quiet) is for how many seconds nothing new has come.
    """
    parts = [f"{label}:"]
    if _PHASES[report.phase]:
        parts.append(_PHASES[report.phase])
    if report.total > 0:
        parts.append(f"{min(100 * report.done // report.total, 100)} %")
    parts.append(_amount(report))
    if quiet >= _QUIET:
        parts.append(f"nothing new for {_duration(quiet)}")
    elif speed > 0:
        if report.total > report.done:
            parts.append(f"{_duration((report.total - report.done) / speed)} left")
        parts.append(f"{_size(speed)}/s")
    return _fit(parts, width)


def until_turn(now: float, period: float, turn: float) -> float:
    """Return the seconds until the next of the moments that are C(period) apart and C(turn) after a whole one.

    More than 0, at most C(period). So those who share a screen and a clock show their lines in turn.
    """
    return period - (now - turn) % period


def printable(text: str) -> str:
    """Return a text without what would steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _is_number(value: t.Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63 and math.isfinite(value)
    )


def _fit(parts: list[str], width: int | None) -> str:
    while width is not None and len(parts) > 1 and len("  ".join(parts)) > width:
        parts = parts[:-1]
    return "  ".join(parts)[:width]


def _amount(report: Report) -> str:
    if report.total <= 0:
        return _size(report.done)
    name, unit = _unit(report.total)
    digits = 0 if unit == 1 else 1
    return f"{report.done / unit:.{digits}f}/{report.total / unit:.{digits}f} {name}"


def _size(count: float) -> str:
    name, unit = _unit(count)
    return f"{count / unit:.{0 if unit == 1 else 1}f} {name}"


def _unit(count: float) -> tuple[str, int]:
    return next(((name, unit) for name, unit in _UNITS if count >= unit), _UNITS[-1])


def _duration(seconds: float) -> str:
    """Two places are enough: nobody plans by the seconds of an hour."""
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
