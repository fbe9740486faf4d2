# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._summary import (
    Deployment,
    Goal,
    Outcome,
    Wanted,
    read_wanted,
    service_row,
    summary_lines,
    table,
)

ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
API: dict[str, t.Any] = {
    "service": "api",
    "lifecycle": "stateless",
    "state": "running",
    "health": "healthy",
    "url": "http://127.0.0.1:8080/api/docs",
    "models": ["all-minilm-l6-v2/1"],
    "ready_seconds": 2.31,
}
JOB: dict[str, t.Any] = {
    "service": "load",
    "lifecycle": "job",
    "state": "exited",
    "health": None,
    "url": None,
    "models": [],
    "ready_seconds": None,
}


def deployment(
    result: dict[str, t.Any],
    outcome: Outcome = "ok",
    goal: Goal = "deploy",
    host: str = "robot-1",
    predict: bool = False,
) -> Deployment:
    return Deployment(host, Wanted("emorobcare", ID, goal, predict), outcome, result, 14.24)


def test_columns_are_aligned_and_nothing_trails() -> None:
    assert table([("A", "LONG", "C"), ("aaa", "b", "c"), ("", "é", "")]) == ["A    LONG  C", "aaa  b     c", "     é"]


MINILM = "all-minilm-l6-v2/1"

ROWS = [
    pytest.param({}, ("api", "healthy", API["url"], MINILM, "2.3 s"), id="healthy"),
    pytest.param({"health": "unhealthy"}, ("api", "unhealthy", API["url"], MINILM, "2.3 s"), id="unhealthy"),
    pytest.param({"state": "restarting"}, ("api", "restarting", API["url"], MINILM, "2.3 s"), id="restarting"),
    pytest.param({"health": None}, ("api", "running", API["url"], MINILM, "2.3 s"), id="no health check"),
    pytest.param({"models": ["a/1", "b/2"]}, ("api", "healthy", API["url"], "a/1, b/2", "2.3 s"), id="two models"),
    pytest.param({"models": [], "url": None}, ("api", "healthy", "-", "-", "2.3 s"), id="no model, no url"),
    pytest.param({"ready_seconds": 0.0}, ("api", "healthy", API["url"], MINILM, "0.0 s"), id="ready at once"),
    pytest.param(JOB, ("load", "finished", "-", "-", "-"), id="job that ended"),
    pytest.param({**JOB, "lifecycle": "stateless"}, ("load", "exited", "-", "-", "-"), id="service that ended"),
]


@pytest.mark.parametrize(("service", "cells"), ROWS)
def test_a_row_says_what_people_want_to_know(service: dict[str, t.Any], cells: tuple[str, ...]) -> None:
    assert service_row({**API, **service}) == cells


LINES = [
    pytest.param(
        deployment({"changed": True, "services": [API, JOB]}),
        [
            "SERVICE  STATE     URL                             MODEL               TIME",
            "api      healthy   http://127.0.0.1:8080/api/docs  all-minilm-l6-v2/1  2.3 s",
            "load     finished  -                               -                   -",
            "emorobcare 9f86d081884c on robot-1: up in 14.2 s, whole run 55 s",
        ],
        id="deployed",
    ),
    pytest.param(
        deployment({"changed": False, "services": [JOB]}),
        [
            "SERVICE  STATE     URL  MODEL  TIME",
            "load     finished  -    -      -",
            "emorobcare 9f86d081884c on robot-1: up already, nothing changed, whole run 55 s",
        ],
        id="nothing to do",
    ),
    pytest.param(
        deployment({"changed": True}, goal="remove"),
        ["emorobcare 9f86d081884c on robot-1: removed, whole run 55 s"],
        id="removed",
    ),
    pytest.param(
        deployment({"changed": False}, goal="remove"),
        ["emorobcare 9f86d081884c on robot-1: was not there, whole run 55 s"],
        id="nothing to remove",
    ),
    pytest.param(
        deployment({"changed": True, "services": [API], "pending": ["image x is not there"]}, predict=True),
        ["emorobcare 9f86d081884c on robot-1: would change (check mode)", "  image x is not there"],
        id="predicted",
    ),
    pytest.param(
        deployment({"changed": False, "services": [API]}, predict=True),
        ["emorobcare 9f86d081884c on robot-1: would stay as it is (check mode)"],
        id="nothing predicted",
    ),
    pytest.param(
        deployment({"changed": True, "services": [JOB], "colour": "green"}),
        [
            "SERVICE  STATE     URL  MODEL  TIME",
            "load     finished  -    -      -",
            "emorobcare 9f86d081884c on robot-1: up in 14.2 s, green serves, whole run 55 s",
        ],
        id="deployed on a side",
    ),
    pytest.param(
        deployment({"changed": True, "gap": {"services": ["cache", "db"], "seconds": 4.2}}, predict=True),
        [
            "emorobcare 9f86d081884c on robot-1: would change (check mode)",
            "  cache, db will not answer for about 4 s",
        ],
        id="a gap is told beforehand",
    ),
    pytest.param(
        deployment({"changed": True, "gap": {"services": ["db"], "seconds": None}}, predict=True),
        [
            "emorobcare 9f86d081884c on robot-1: would change (check mode)",
            "  db will not answer for a while, how long is not known yet",
        ],
        id="a gap of unknown length",
    ),
    pytest.param(
        deployment({"changed": True, "release": "3f9a" * 16, "colour": "blue"}, goal="back"),
        ["emorobcare 3f9a3f9a3f9a on robot-1: back on it in 14.2 s, blue serves, whole run 55 s"],
        id="went back",
    ),
    pytest.param(
        deployment({"changed": False, "release": "3f9a" * 16}, goal="back"),
        ["emorobcare 3f9a3f9a3f9a on robot-1: on it already, nothing changed, whole run 55 s"],
        id="need not go back",
    ),
    pytest.param(
        deployment({"changed": True, "gap": {"services": ["db"], "seconds": 0.3}}, goal="back", predict=True),
        [
            "emorobcare 9f86d081884c on robot-1: would go back to it (check mode)",
            "  db will not answer for about 1 s",
        ],
        id="would go back",
    ),
    pytest.param(
        deployment({"reason": "irreversible", "msg": "going back past migrate …"}, "failed", "back"),
        [
            "emorobcare 9f86d081884c on robot-1: going back FAILED after 14.2 s",
            "  reason:   irreversible",
            "  message:  going back past migrate …",
        ],
        id="may not go back",
    ),
    pytest.param(
        deployment(
            {
                "reason": "gate_failed",
                "service": "api",
                "check": "http POST :8000/embed",
                "answer": "status 500, not 200: no",
                "msg": "release 9f86d081884c was not committed: …",
                "log": ["starting", "Traceback"],
                "rolled_back_to": "0123456789abcdef",
            },
            "failed",
        ),
        [
            "emorobcare 9f86d081884c on robot-1: FAILED after 14.2 s",
            "  reason:       gate_failed",
            "  service:      api",
            "  check:        http POST :8000/embed",
            "  last answer:  status 500, not 200: no",
            "  back on:      release 0123456789ab",
            "  log:",
            "    starting",
            "    Traceback",
        ],
        id="gate failed",
    ),
    pytest.param(
        deployment({"reason": "port_taken", "msg": "port 8080 is taken", "rolled_back_to": None}, "failed"),
        [
            "emorobcare 9f86d081884c on robot-1: FAILED after 14.2 s",
            "  reason:   port_taken",
            "  message:  port 8080 is taken",
        ],
        id="refused",
    ),
    pytest.param(
        deployment({}, "failed"), ["emorobcare 9f86d081884c on robot-1: FAILED after 14.2 s"], id="nothing known"
    ),
]


@pytest.mark.parametrize(("one", "lines"), LINES)
def test_a_deployment_is_summed_up(one: Deployment, lines: list[str]) -> None:
    assert summary_lines([one], 55.4) == lines


def test_hosts_are_told_apart_by_an_empty_line_and_no_deployment_prints_nothing() -> None:
    both = summary_lines([deployment({}, goal="remove"), deployment({}, goal="remove", host="robot-2")], 3)
    assert both == [
        "emorobcare 9f86d081884c on robot-1: was not there, whole run 3 s",
        "",
        "emorobcare 9f86d081884c on robot-2: was not there, whole run 3 s",
    ]
    assert summary_lines([], 3) == []


WANTED = [
    pytest.param({"release": {"stack": "demo"}, "id": ID}, False, Wanted("demo", ID, "deploy"), id="release"),
    pytest.param({"stack": "demo", "state": "absent"}, False, Wanted("demo", "", "remove"), id="removal"),
    pytest.param({"stack": "demo", "state": "absent"}, True, Wanted("demo", "", "remove", True), id="check mode"),
    pytest.param(
        {"stack": "demo", "state": "rolled_back", "to": "3f9a", "id": ID},
        False,
        Wanted("demo", "3f9a", "back"),
        id="rollback",
    ),
    pytest.param(
        {"stack": "demo", "state": "rolled_back"}, True, Wanted("demo", "", "back", True), id="rollback, check mode"
    ),
    pytest.param(
        {"release": "{{ not yet rendered }}"}, False, Wanted("stack", "", "deploy"), id="task that failed early"
    ),
]


@pytest.mark.parametrize(("args", "check_mode", "wanted"), WANTED)
def test_what_a_task_asks_for_is_read_from_its_options(
    args: dict[str, t.Any], check_mode: bool, wanted: Wanted
) -> None:
    assert read_wanted(args, check_mode) == wanted
