# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._status import status_lines

STACK: dict[str, t.Any] = {
    "stack": "shop",
    "problem": None,
    "working": False,
    "phase": "idle",
    "candidate": None,
    "release": "9f86d081884c7d65",
    "environment": "prod",
    "since": "2026-11-21T09:30:00Z",
    "colour": "green",
    "overrides": [],
    "services": [],
    "gate": {"since": "2026-11-21T09:30:00Z", "seconds": 2.31},
    "kept": [],
    "failure": None,
}
API: dict[str, t.Any] = {
    "service": "api",
    "side": "green",
    "lifecycle": "stateless",
    "state": "running",
    "health": "healthy",
    "restarts": 2,
    "exit_code": None,
    "since": "2026-11-21T09:29:41.123456789Z",
}
JOB = {**API, "service": "load", "lifecycle": "job", "state": "exited", "health": None, "restarts": 0, "exit_code": 0}
GONE = {**JOB, "service": "web", "side": None, "lifecycle": "stateless", "state": "absent", "exit_code": None}
NOTHING = {"release": None, "environment": None, "since": None, "colour": None, "gate": None}
HEAD = "shop on robot-1: release 9f86d081884c (prod) since 2026-11-21 09:30:00, green serves"
GATE = "its slowest service was ready after 2.3 s"
KEPT = {"release": "3f9a11112222ffff", "since": "2026-11-20T08:00:00Z", "irreversible": [], "complete": True}

STACKS: list[t.Any] = [
    pytest.param(
        {"services": [API, JOB, {**GONE, "since": None}]},
        [
            HEAD,
            "SERVICE  SIDE   STATE     RESTARTS  SINCE",
            "api      green  healthy   2         2026-11-21 09:29:41",
            "load     green  finished  0         2026-11-21 09:29:41",
            "web      -      absent    0         -",
            f"  gate:  {GATE}",
        ],
        id="containers",
    ),
    pytest.param(
        {"services": [{**JOB, "exit_code": 7}, {**API, "health": None}], "colour": None, "environment": ""},
        [
            "shop on robot-1: release 9f86d081884c since 2026-11-21 09:30:00",
            "SERVICE  SIDE   STATE       RESTARTS  SINCE",
            "load     green  exited (7)  0         2026-11-21 09:29:41",
            "api      green  running     2         2026-11-21 09:29:41",
            f"  gate:  {GATE}",
        ],
        id="no sides, a job that failed",
    ),
    pytest.param(
        {
            "overrides": ["busy", "memory"],
            "kept": [KEPT, {**KEPT, "irreversible": ["migrate"], "complete": False}],
            "failure": {
                "at": "2026-11-22T00:00:00Z",
                "release": "aaaabbbbccccdddd",
                "reason": "gate_failed",
                "message": "api died",
            },
        },
        [
            HEAD,
            f"  gate:          {GATE}",
            "  overridden:    busy, memory",
            "  kept:          3f9a11112222 (2026-11-20 08:00:00), "
            "3f9a11112222 (2026-11-20 08:00:00; cannot undo migrate; its document is gone)",
            "  last failure:  2026-11-22 00:00:00, release aaaabbbbcccc, gate_failed: api died",
        ],
        id="history",
    ),
    pytest.param(
        {"phase": "gate", "candidate": "aaaabbbbccccdddd", "gate": None},
        [HEAD, "  under way:  step gate of release aaaabbbbcccc (it was cut off; the next run ends it, or boot does)"],
        id="cut off",
    ),
    pytest.param(
        {"phase": "soak", "candidate": "aaaabbbbccccdddd", "gate": None, "working": True},
        [HEAD, "  under way:  step soak of release aaaabbbbcccc (a run is at work)"],
        id="at work",
    ),
    pytest.param(
        {"working": True, "gate": None}, [HEAD, "  under way:  a run looks at the host"], id="nothing touched yet"
    ),
    pytest.param(NOTHING, ["shop on robot-1: no release"], id="taken off"),
    pytest.param(
        {**NOTHING, "phase": None, "problem": {"reason": "journal_newer", "message": "state.json has schema 9"}},
        ["shop on robot-1: not known (journal_newer)", "  problem:  state.json has schema 9"],
        id="no journal",
    ),
]


@pytest.mark.parametrize(("changes", "lines"), STACKS)
def test_a_stack_is_a_table_and_what_to_know_besides(changes: dict[str, t.Any], lines: list[str]) -> None:
    assert status_lines({"engine": None, "stacks": [{**STACK, **changes}]}, "robot-1") == lines


def test_stacks_are_told_apart_by_an_empty_line() -> None:
    stacks = [{**STACK, **NOTHING, "stack": name} for name in ("desk", "shop")]
    assert status_lines({"engine": None, "stacks": stacks}, "r") == [
        "desk on r: no release",
        "",
        "shop on r: no release",
    ]


def test_no_stack_and_no_engine_are_said() -> None:
    assert status_lines({"engine": None, "stacks": []}, "r") == ["r: no stack"]
    assert status_lines({"engine": "it sleeps", "stacks": []}, "r") == ["r: it sleeps", "r: no stack"]
