# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import Observation
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ContainerCheck,
    ExecCheck,
    Gate,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import (
    End,
    LogView,
    Question,
    Reply,
    judge_log,
    judge_reply,
    no_container,
    not_asked,
    observe_container,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

WEB, LOAD = ServiceGate("web"), ServiceGate("load", "job")
GATE = Gate((WEB, LOAD), success_threshold=3, timeout=10.0, max_restarts=3)


def seen(container: Container, service: ServiceGate = WEB, before: int = 0) -> tuple[bool, bool, str]:
    observation = observe_container(GATE, service, container, before)
    return observation.ok, observation.fatal, observation.answer


def box(**fields: t.Any) -> Container:
    return Container("c", "shop-web-1", **fields)


CONTAINERS = [
    pytest.param(box(), WEB, (True, False, "running"), id="runs"),
    pytest.param(box(health="healthy"), WEB, (True, False, "running and healthy"), id="runs and is healthy"),
    pytest.param(box(health="starting"), WEB, (False, False, "running but starting"), id="starting"),
    pytest.param(
        box(health="unhealthy", health_output="no\ndb"),
        WEB,
        (False, False, "running but unhealthy; its health check said: no db"),
        id="unhealthy may mend",
    ),
    pytest.param(box(status="created"), WEB, (False, False, "created (last exit code 0)"), id="not started"),
    pytest.param(
        box(status="restarting", exit_code=2, restarts=3, policy="always"),
        WEB,
        (False, False, "restarting (last exit code 2)"),
        id="restarts that are borne",
    ),
    pytest.param(
        box(status="restarting", restarts=4, exit_code=2, policy="always"),
        WEB,
        (False, True, "restarted 4 times, the last time after exit code 2"),
        id="restarts that climb",
    ),
    pytest.param(
        box(status="exited", exit_code=7),
        WEB,
        (False, True, "ended with exit code 7 and is not restarted (restart policy: no)"),
        id="died for good",
    ),
    pytest.param(
        box(status="exited"),
        WEB,
        (False, True, "ended with exit code 0 and is not restarted (restart policy: no)"),
        id="a service that ends has failed, whatever its exit code",
    ),
    pytest.param(
        box(status="exited", exit_code=1, policy="always"),
        WEB,
        (False, False, "exited (last exit code 1)"),
        id="stopped, may be started again",
    ),
    pytest.param(box(), LOAD, (False, False, "the job has not ended: running"), id="job runs"),
    pytest.param(box(status="exited"), LOAD, (True, False, "ended with exit code 0"), id="job done"),
    pytest.param(
        box(status="exited", exit_code=3),
        LOAD,
        (False, True, "ended with exit code 3 and is not restarted (restart policy: no)"),
        id="job failed",
    ),
    pytest.param(
        box(status="restarting", exit_code=3, policy="on-failure", max_retries=5),
        LOAD,
        (False, False, "the job has not ended: restarting"),
        id="job tries again",
    ),
]


@pytest.mark.parametrize(("container", "service", "expected"), CONTAINERS)
def test_a_containers_state_is_judged_by_its_lifecycle(
    container: Container, service: ServiceGate, expected: tuple[bool, bool, str]
) -> None:
    assert seen(container, service) == expected


def test_restarts_from_before_the_gate_do_not_count() -> None:
    assert seen(box(restarts=9, policy="always"), before=6)[0]
    assert seen(box(restarts=10, policy="always"), before=6)[1]


def wants(**container: t.Any) -> ServiceGate:
    return ServiceGate("web", container_check=ContainerCheck(**container))


WANTED = [
    pytest.param(box(health="starting"), wants(health="any"), (True, False, "running"), id="health is not looked at"),
    pytest.param(
        box(health="healthy"), wants(health="healthy"), (True, False, "running and healthy"), id="a health check"
    ),
    pytest.param(
        box(),
        wants(health="healthy"),
        (False, True, "running, but it has no health check; give it one, or do not ask for health: healthy"),
        id="no health check where there must be one",
    ),
    pytest.param(
        box(status="restarting", restarts=1, exit_code=2, policy="always"),
        wants(restarts=0),
        (False, True, "restarted 1 time, the last time after exit code 2"),
        id="no restart is borne",
    ),
    pytest.param(box(restarts=9, policy="always"), wants(restarts=9), (True, False, "running"), id="many are borne"),
    pytest.param(
        box(status="exited", exit_code=3),
        wants(state="exited", exit_code=3),
        (True, False, "ended with exit code 3"),
        id="the exit code that is wanted",
    ),
    pytest.param(
        box(status="exited"),
        wants(state="exited", exit_code=3),
        (False, True, "ended with exit code 0, not 3, and is not restarted (restart policy: no)"),
        id="another exit code",
    ),
    pytest.param(box(), wants(state="exited"), (False, False, "it has not ended: running"), id="not ended yet"),
]


@pytest.mark.parametrize(("container", "service", "expected"), WANTED)
def test_a_container_may_be_wanted_otherwise(
    container: Container, service: ServiceGate, expected: tuple[bool, bool, str]
) -> None:
    assert seen(container, service) == expected


KILLED = "killed: out of memory, limit 64 MB"
OUT_OF_MEMORY = [
    pytest.param(
        box(status="exited", exit_code=137, oom_killed=True, memory=64_000_000),
        f"ended with exit code 137 ({KILLED}) and is not restarted (restart policy: no)",
        id="ended",
    ),
    pytest.param(
        box(status="restarting", exit_code=137, oom_killed=True, memory=64_000_000, policy="always"),
        f"restarting (last exit code 137, {KILLED})",
        id="being restarted",
    ),
    pytest.param(
        box(status="restarting", restarts=4, exit_code=137, oom_killed=True, memory=64 * 1024**2, policy="always"),
        "restarted 4 times, the last time after exit code 137 (killed: out of memory, limit 64 MiB)",
        id="restarted too often",
    ),
    pytest.param(
        box(status="exited", exit_code=1, oom_killed=True, memory=64_000_000),
        f"ended with exit code 1 (a process in it was {KILLED}) and is not restarted (restart policy: no)",
        id="not its first process",
    ),
    pytest.param(
        box(status="exited", exit_code=137, oom_killed=True),
        "ended with exit code 137 (killed: out of memory, no limit of its own) and is not restarted"
        " (restart policy: no)",
        id="the host's memory",
    ),
]


@pytest.mark.parametrize(("container", "answer"), OUT_OF_MEMORY)
def test_memory_that_ran_out_is_named_with_its_limit(container: Container, answer: str) -> None:
    assert seen(container)[2] == answer


def test_of_what_runs_again_its_end_is_told_only_where_somebody_saw_it() -> None:
    again = box(restarts=4, memory=64_000_000, policy="always")
    assert observe_container(GATE, WEB, again, 0).answer == "restarted 4 times"
    killed = observe_container(GATE, WEB, again, 0, end=End(137, oom_killed=True))
    assert killed.answer == f"restarted 4 times, the last time after exit code 137 ({KILLED})"


def test_all_checks_of_a_service_without_a_container_fail() -> None:
    one, other = no_container(ServiceGate("web", checks=(TcpCheck(1),)))
    assert (one.check, one.ok, one.asked, one.answer) == (
        *("container", False, True),
        "there is no container of this service",
    )
    assert (other.check, other.ok, other.asked) == ("tcp :1", False, False)


def ask(check: Check, container: Container | None = None) -> Question:
    return Question("web", check.label, check, container or box())


CHECK = HttpCheck(8000, expect="a == `1`", max_latency=2.0)
EXEC = ExecCheck(("pg_isready", "-q"), expect_output="^ok$", max_latency=1.0)

REPLIES = [
    pytest.param(CHECK, Reply(200, b'{"a": 1}', 0.5), True, 'status 200: {"a": 1}', id="right"),
    pytest.param(CHECK, Reply(503, b"busy\n", 0.1), False, "status 503, not 200: busy", id="status"),
    pytest.param(
        CHECK,
        Reply(200, b'{"a": 2}'),
        False,
        "status 200, expect 'a == `1`' gave false, not true: {\"a\": 2}",
        id="wrong",
    ),
    pytest.param(
        CHECK, Reply(200, b"<p>"), False, "status 200, no JSON, which expect 'a == `1`' needs: <p>", id="no JSON"
    ),
    pytest.param(CHECK, Reply(200, b'{"a": 1}', 2.5), False, "took 2.500 s, allowed are 2 s", id="too slow"),
    pytest.param(CHECK, Reply(error="refused", latency=0.1), False, "refused", id="no answer"),
    pytest.param(HttpCheck(1, expect="a"), Reply(200, b'{"a": 1}'), False, "gave 1, not true", id="truthy is not true"),
    pytest.param(HttpCheck(1, expect="length(a)"), Reply(200, b"{}"), False, "cannot be evaluated", id="does not fit"),
    pytest.param(HttpCheck(1, status=404), Reply(404, b"\xff\0"), True, "status 404", id="bytes that are no text"),
    pytest.param(TcpCheck(1, 0.1), Reply(latency=0.05), True, "accepted a connection", id="connected"),
    pytest.param(TcpCheck(1, 0.1), Reply(latency=0.2), False, "took 0.200 s, allowed are 0.1 s", id="connected late"),
    pytest.param(TcpCheck(1), Reply(error="1.1.1.1:1 refused"), False, "1.1.1.1:1 refused", id="not connected"),
    pytest.param(EXEC, Reply(0, b"ok", 0.5), True, "exit code 0: ok", id="command"),
    pytest.param(EXEC, Reply(2, b"no\ndb\n", 0.5), False, "exit code 2, not 0: no db", id="command's exit code"),
    pytest.param(ExecCheck(("x",), 2), Reply(2), True, "exit code 2", id="an exit code that is wanted"),
    pytest.param(
        EXEC, Reply(0, b"okay", 0.5), False, "exit code 0, but nothing printed matches '^ok$': okay", id="output"
    ),
    pytest.param(EXEC, Reply(0, b"ok", 1.5), False, "took 1.500 s, allowed are 1 s: ok", id="slow command"),
    pytest.param(EXEC, Reply(error="did not end within 2 s"), False, "did not end within 2 s", id="hanging command"),
]


@pytest.mark.parametrize(("check", "reply", "ok", "answer"), REPLIES)
def test_an_answer_is_judged_whole(check: Check, reply: Reply, ok: bool, answer: str) -> None:
    observation = judge_reply(ask(check), reply)
    assert observation.ok is ok
    assert answer in observation.answer
    assert not observation.fatal


LOGS = [
    pytest.param(LogCheck("x"), LogView("x is up"), (True, False, "found: x is up"), id="there"),
    pytest.param(
        LogCheck("x"), LogView(last="y"), (False, False, "no line matches; the last one is: y"), id="not there yet"
    ),
    pytest.param(LogCheck("x"), LogView(), (False, False, "no line matches; nothing was logged"), id="silence"),
    pytest.param(LogCheck("^$"), LogView(""), (True, False, "found: "), id="an empty line"),
    pytest.param(LogCheck("x", absent=True), LogView(last="y"), (True, False, "no line matches"), id="rightly absent"),
    pytest.param(
        LogCheck("x", absent=True),
        LogView("x broke"),
        (False, True, "a line that must not appear: x broke"),
        id="forbidden",
    ),
    pytest.param(LogCheck("x"), LogView(error="no"), (False, False, "no"), id="unreadable now"),
    pytest.param(
        LogCheck("x", absent=True), LogView(error="no", final=True), (False, True, "no"), id="unreadable ever"
    ),
]


@pytest.mark.parametrize(("check", "view", "expected"), LOGS)
def test_what_was_logged_is_judged(check: LogCheck, view: LogView, expected: tuple[bool, bool, str]) -> None:
    observation = judge_log(ask(check), view)
    assert (observation.ok, observation.fatal, observation.answer) == expected


def test_a_line_that_never_came_is_not_waited_for_when_the_container_has_ended() -> None:
    observation = judge_log(ask(LogCheck("x"), box(status="exited")), LogView())
    assert (observation.ok, observation.fatal) == (False, True)


def test_secrets_show_in_no_answer() -> None:
    mask = Masker(["hunter2"])
    answers: list[Observation] = [
        judge_reply(ask(CHECK), Reply(500, b"pw hunter2"), mask),
        judge_reply(ask(EXEC), Reply(1, b"pw hunter2"), mask),
        judge_reply(ask(EXEC), Reply(error="it said: hunter2"), mask),
        judge_log(ask(LogCheck("pw")), LogView("pw hunter2"), mask),
        judge_log(ask(LogCheck("x")), LogView(last="pw hunter2"), mask),
        observe_container(GATE, WEB, box(health="unhealthy", health_output="hunter2"), 0, mask),
    ]
    assert ["********" in one.answer and "hunter2" not in one.answer for one in answers] == [True] * len(answers)


def test_a_question_that_waits_for_its_container_counts_as_no_attempt() -> None:
    waiting = not_asked(ask(CHECK))
    assert (waiting.ok, waiting.asked, waiting.check) == (False, False, "http GET :8000/")
