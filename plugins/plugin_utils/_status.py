# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What people read of a host's stacks: what runs since when, what went wrong last, what to go back to. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._summary import table

_HEAD = ("SERVICE", "SIDE", "STATE", "RESTARTS", "SINCE")
_NOTHING = "-"
_MARGIN = "  "

Stack = t.Mapping[str, t.Any]


def status_lines(found: t.Mapping[str, t.Any], host: str) -> list[str]:
    """Return the lines for what emorobcare.fleet.stack_release_info returned on a host."""
    stacks: t.Sequence[Stack] = found.get("stacks") or ()
    engine = found.get("engine")
    lines = [f"{host}: {engine}"] if engine else []
    if not stacks:
        return [*lines, f"{host}: no stack"]
    for stack in stacks:
        lines += ["", *_stack_lines(stack, host)] if lines else _stack_lines(stack, host)
    return lines


def _stack_lines(stack: Stack, host: str) -> list[str]:
    services = stack["services"]
    facts = [(f"{name}:", text) for name, text in _facts(stack) if text]
    return [
        f"{stack['stack']} on {host}: {_verdict(stack)}",
        *(table([_HEAD, *map(_service_row, services)]) if services else ()),
        *(f"{_MARGIN}{line}" for line in (table(facts) if facts else ())),
    ]


def _verdict(stack: Stack) -> str:
    if stack["problem"]:
        return f"not known ({stack['problem']['reason']})"
    if not stack["release"]:
        return "no release"
    environment = f" ({stack['environment']})" if stack["environment"] else ""
    colour = f", {stack['colour']} serves" if stack["colour"] else ""
    return f"release {stack['release'][:12]}{environment} since {_time(stack['since'])}{colour}"


def _facts(stack: Stack) -> t.Iterator[tuple[str, str]]:
    problem, failure, gate = stack["problem"], stack["failure"], stack["gate"]
    yield "problem", problem["message"] if problem else ""
    yield "under way", _under_way(stack)
    if gate and gate["seconds"] is not None:
        yield "gate", f"its slowest service was ready after {gate['seconds']:.1f} s"
    yield "overridden", ", ".join(stack["overrides"])
    yield "kept", ", ".join(_kept(one) for one in stack["kept"])
    if failure:
        release = f"release {failure['release'][:12]}, " if failure["release"] else ""
        yield "last failure", f"{_time(failure['at'])}, {release}{failure['reason']}: {failure['message']}"


def _under_way(stack: Stack) -> str:
    phase = stack["phase"]
    if phase in (None, "idle"):
        return "a run looks at the host" if stack["working"] else ""
    release = f" of release {stack['candidate'][:12]}" if stack["candidate"] else ""
    how = "a run is at work" if stack["working"] else "it was cut off; the next run ends it, or boot does"
    return f"step {phase}{release} ({how})"


def _kept(one: t.Mapping[str, t.Any]) -> str:
    notes = [_time(one["since"])]
    notes += [f"cannot undo {', '.join(one['irreversible'])}"] if one["irreversible"] else []
    notes += [] if one["complete"] else ["its document is gone"]
    return f"{one['release'][:12]} ({'; '.join(notes)})"


def _service_row(service: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    return (
        str(service["service"]),
        service["side"] or _NOTHING,
        _state(service),
        str(service["restarts"]),
        _time(service["since"]) if service["since"] else _NOTHING,
    )


def _state(service: t.Mapping[str, t.Any]) -> str:
    state, code = str(service["state"]), service["exit_code"]
    if state == "running":
        return str(service["health"] or state)
    if state == "exited" and service["lifecycle"] == "job" and code == 0:
        return "finished"
    return state if code is None else f"{state} ({code})"


def _time(stamp: str) -> str:
    """Return a time in UTC as people write it, to the second: C(2026-11-21 09:30:00)."""
    return str(stamp).rstrip("Z").partition(".")[0].replace("T", " ")
