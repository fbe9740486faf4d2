# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What people read at the end of a deployment: a table of each host, or why it failed. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Outcome = t.Literal["ok", "failed"]
Goal = t.Literal["deploy", "remove", "predict"]

_HEAD = ("SERVICE", "STATE", "URL", "MODEL", "TIME")
_NOTHING = "-"
_MARGIN = "  "


@dataclass(frozen=True)
class Wanted:
    """What a task asks for: which release of which stack (its id, or nothing), and what is to become of it."""

    stack: str
    release: str
    goal: Goal

    @property
    def title(self) -> str:
        """Stack and short id: C(emorobcare 9f86d081884c)."""
        return f"{self.stack} {self.release[:12]}".rstrip()


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
        return f"{self.wanted.title} on {self.host}"


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
    stack, id_ = document.get("stack") or args.get("stack") or "stack", args.get("id") or ""
    goal: Goal = "remove" if args.get("state") == "absent" else "deploy"
    return Wanted(str(stack), str(id_), "predict" if check_mode else goal)


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
    if one.wanted.goal == "predict":
        pending = one.result.get("pending") or []
        verdict = "would change" if changed else "would stay as it is"
        return [f"{one.title}: {verdict} (check mode)", *(f"{_MARGIN}{item}" for item in pending)]
    if one.wanted.goal == "remove":
        return [f"{one.title}: {'removed' if changed else 'was not there'}, whole run {whole:.0f} s"]
    services = one.result.get("services") or []
    verdict = f"up in {one.seconds:.1f} s" if changed else "up already, nothing changed"
    return [
        *(table([_HEAD, *map(service_row, services)]) if services else ()),
        f"{one.title}: {verdict}, whole run {whole:.0f} s",
    ]


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
    return [
        f"{one.title}: FAILED after {one.seconds:.1f} s",
        *(f"{_MARGIN}{line}" for line in (table(known) if known else ())),
        *([f"{_MARGIN}log:"] if log else []),
        *(f"{_MARGIN * 2}{line}" for line in log),
    ]
