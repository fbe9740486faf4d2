# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What people read at the end of a deployment: a table of each host, or why it failed. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Outcome = t.Literal["ok", "failed"]
Goal = t.Literal["deploy", "back", "remove"]

_GOALS: t.Mapping[str, Goal] = {"rolled_back": "back", "absent": "remove"}
_HEAD = ("SERVICE", "STATE", "URL", "MODEL", "TIME")
_VERDICTS: t.Mapping[Goal, tuple[str, str]] = {"deploy": ("up", "up already"), "back": ("back on it", "on it already")}
_NOTHING = "-"
_MARGIN = "  "


@dataclass(frozen=True)
class Wanted:
    """What a task asks for: which release of which stack (its id, its beginning, or nothing), and what becomes of it.

    `predict`: only to tell.
    """

    stack: str
    release: str
    goal: Goal
    predict: bool = False


@dataclass(frozen=True)
class Deployment:
    """What emorobcare.fleet.stack_release was asked for and returned on a host, and how long it took in seconds."""

    host: str
    wanted: Wanted
    outcome: Outcome
    result: t.Mapping[str, t.Any]
    seconds: float

    @property
    def title(self) -> str:
        """Stack, short id and host: C(emorobcare 9f86d081884c on robot-1)."""
        release = str(self.result.get("release") or self.wanted.release)
        return f"{f'{self.wanted.stack} {release[:12]}'.rstrip()} on {self.host}"


def summary_lines(deployments: t.Sequence[Deployment], whole: float) -> list[str]:
    """Return the lines to print; C(whole) is how long the run took in seconds."""
    lines: list[str] = []
    for one in deployments:
        lines += [""] if lines else []
        lines += _failure(one) if one.outcome == "failed" else _success(one, whole)
    return lines


def report_lines(result: t.Mapping[str, t.Any]) -> list[str]:
    """Return the lines for what emorobcare.fleet.image_report returned: its table, and where the page is."""
    lines = [str(line) for line in result.get("table") or ()]
    return [*lines, f"report: {result['dest']}", ""] if lines else []


def read_wanted(args: t.Mapping[str, t.Any], check_mode: bool) -> Wanted:
    """Read the options of a task, which may be incomplete or of any type if it failed early."""
    release = args.get("release")
    document: t.Mapping[str, t.Any] = release if isinstance(release, t.Mapping) else {}
    stack = document.get("stack") or args.get("stack") or "stack"
    goal = _GOALS.get(str(args.get("state")), "deploy")
    release = args.get("to") if goal == "back" else args.get("id")
    return Wanted(str(stack), str(release or ""), goal, check_mode)


def table(rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Return the rows with their columns aligned; nothing trails a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def service_row(service: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the cells of one service."""
    ready = service.get("ready_seconds")
    return (
        str(service["service"]),
        _state(service),
        service.get("url") or _NOTHING,
        ", ".join(service.get("models") or ()) or _NOTHING,
        _NOTHING if ready is None else f"{ready:.1f} s",
    )


def _state(service: t.Mapping[str, t.Any]) -> str:
    state = str(service.get("state") or _NOTHING)
    if state == "exited" and service.get("lifecycle") == "job":
        return "finished"
    # "running" says nothing more where there is a health check.
    return str(service.get("health") or state) if state == "running" else state


def _success(one: Deployment, whole: float) -> list[str]:
    changed = bool(one.result.get("changed"))
    if one.wanted.predict:
        return _prediction(one, changed)
    if one.wanted.goal == "remove":
        return [f"{one.title}: {'removed' if changed else 'was not there'}, whole run {whole:.0f} s"]
    services = one.result.get("services") or []
    verdict, already = _VERDICTS[one.wanted.goal]
    colour = one.result.get("colour")
    parts = [
        f"{verdict} in {one.seconds:.1f} s" if changed else f"{already}, nothing changed",
        *([f"{colour} serves"] if colour else []),
        f"whole run {whole:.0f} s",
    ]
    return [*(table([_HEAD, *map(service_row, services)]) if services else ()), f"{one.title}: {', '.join(parts)}"]


def _prediction(one: Deployment, changed: bool) -> list[str]:
    would = "would go back to it" if one.wanted.goal == "back" else "would change"
    lines = [*_gap(one.result.get("gap") or {}), *(one.result.get("pending") or [])]
    verdict = would if changed else "would stay as it is"
    return [f"{one.title}: {verdict} (check mode)", *(f"{_MARGIN}{line}" for line in lines)]


def _gap(gap: t.Mapping[str, t.Any]) -> list[str]:
    services, seconds = gap.get("services") or [], gap.get("seconds")
    if not services:
        return []
    long = "a while, how long is not known yet" if seconds is None else f"about {max(round(seconds), 1)} s"
    return [f"{', '.join(services)} will not answer for {long}"]


def _failure(one: Deployment) -> list[str]:
    result = one.result
    back = result.get("rolled_back_to")
    facts = {
        "reason": result.get("reason"),
        "service": result.get("service"),
        "check": result.get("check"),
        "last answer": result.get("answer"),
        # The message says all of the above in one sentence.
        "message": None if result.get("check") else result.get("msg"),
        "back on": f"release {back[:12]}" if back else None,
    }
    known = [(f"{name}:", str(value)) for name, value in facts.items() if value]
    log = result.get("log") or []
    what = "going back FAILED" if one.wanted.goal == "back" else "FAILED"
    return [
        f"{one.title}: {what} after {one.seconds:.1f} s",
        *(f"{_MARGIN}{line}" for line in (table(known) if known else ())),
        *([f"{_MARGIN}log:"] if log else []),
        *(f"{_MARGIN * 2}{line}" for line in log),
    ]
