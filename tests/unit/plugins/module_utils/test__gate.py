# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import (
    Decision,
    Observation,
    Reply,
    Round,
    decide,
    explain,
    judge_reply,
    observe_container,
    ready_seconds,
    summarise,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, HttpCheck, ServiceGate

WEB, LOAD = ServiceGate("web"), ServiceGate("load", "job")
GATE = Gate((WEB, LOAD), success_threshold=3, timeout=10.0, max_restarts=3)


def history(words: str) -> list[Round]:
    """One round a second for each letter: + passed, - failed, ! failed for good, r passed after a restart."""
    rounds, life = [], 0
    for second, letter in enumerate(words):
        life += letter == "r"
        seen = Observation("web", "container", "shop-web-1", letter in "+r", letter, fatal=letter == "!")
        rounds.append(Round(float(second), (seen,), frozenset({f"web@{life}"})))
    return rounds


DECISIONS = [
    pytest.param("", "continue", 0, id="nothing seen yet"),
    pytest.param("++", "continue", 2, id="not often enough yet"),
    pytest.param("+++", "pass", 3, id="often enough"),
    pytest.param("--+++", "pass", 3, id="slow but well in the end"),
    pytest.param("++-++", "continue", 2, id="a failure in between starts the count anew"),
    pytest.param("++r+", "continue", 2, id="a restart in between starts the count anew"),
    pytest.param("++r++", "pass", 3, id="a restart is no failure by itself"),
    pytest.param("+!", "fail", 0, id="dead for good"),
    pytest.param("-----------", "timeout", 0, id="never well"),
    pytest.param("+-+-+-+-+-+", "timeout", 1, id="flapping until the time is over"),
    pytest.param("--------+++", "pass", 3, id="well in the last moment"),
]


@pytest.mark.parametrize(("words", "verdict", "streak"), DECISIONS)
def test_history_decides(words: str, verdict: str, streak: int) -> None:
    decision = decide(GATE, history(words))
    assert decision.verdict == verdict
    if verdict != "fail":
        assert decision.streak == streak


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param("+!", "service web, container: !", id="dead"),
        pytest.param("-----------", "service web, container: - (still so after 10 s)", id="never well"),
        pytest.param(
            "+-+-+-+-+-+",
            "service web, container: - (it comes and goes: 1 rounds passed in a row, 3 are needed, within 10 s)",
            id="flapping",
        ),
    ],
)
def test_a_failure_is_explained(words: str, sentence: str) -> None:
    rounds = history(words)
    assert explain(decide(GATE, rounds), GATE, rounds) == sentence


def test_a_failure_to_blame_on_nothing_is_explained_too() -> None:
    assert explain(Decision("timeout"), GATE, []) == "the gate did not pass within 10 s"


def test_a_request_that_was_answered_is_blamed_before_one_that_was_not_asked() -> None:
    waiting = Observation("api", "http GET :1/", "c", False, "not asked", asked=False)
    down = Observation("db", "container", "c", False, "running but starting")
    decision = decide(GATE, [Round(10.0, (waiting, down))])
    assert decision.culprit == down


def test_an_answer_that_the_end_of_the_gate_cut_off_hides_no_whole_one() -> None:
    wrong = Observation("asr", "http POST :1/", "c", False, "status 200, but not what is expected")
    cut = Observation("asr", "http POST :1/", "c", False, "no complete answer within 1 s", cut=True)
    rounds = [Round(5.0, (wrong,)), Round(10.0, (cut,))]
    assert decide(GATE, rounds).culprit == wrong
    assert summarise(rounds)[0].answer == wrong.answer
    assert decide(GATE, rounds[1:]).culprit == cut


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
        box(restarts=4, exit_code=2, policy="always"),
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


CHECK = HttpCheck(8000, expect="a == `1`", max_latency=2.0)

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
]


@pytest.mark.parametrize(("check", "reply", "ok", "answer"), REPLIES)
def test_an_answer_is_judged_whole(check: HttpCheck, reply: Reply, ok: bool, answer: str) -> None:
    observation = judge_reply(WEB, check, "shop-web-1", reply)
    assert observation.ok is ok
    assert answer in observation.answer
    assert not observation.fatal


def test_attempts_failures_and_latencies_are_added_up() -> None:
    def request(ok: bool, latency: float) -> Observation:
        return Observation("web", "http GET :1/", "c", ok, f"took {latency}", latency=latency)

    unasked = Observation("web", "http GET :1/", "c", False, "not asked", asked=False)
    (record,) = summarise([Round(0, (unasked,)), Round(1, (request(False, 0.5),)), Round(2, (request(True, 0.1),))])
    assert (record.attempts, record.failures, record.ok) == (2, 1, True)
    assert (record.latency, max(record.latencies), record.answer) == (0.1, 0.5, "took 0.1")


def test_readiness_is_counted_from_the_containers_start() -> None:
    start, end = "1970-01-01T00:00:10Z", "1970-01-01T00:00:13.5Z"
    containers = [
        box(service="web", started_at=start),
        box(service="load", started_at=start, finished_at=end, status="exited"),
        box(service="old", started_at="1970-01-01T00:00:01Z"),
        box(service="new"),
    ]
    rounds = [
        Round(0, (Observation("web", "container", "c", False, ""),), time=11.0),
        Round(1, (Observation("web", "container", "c", True, ""),), time=12.0),
        Round(2, (Observation("web", "container", "c", True, ""),), time=13.0),
    ]
    assert ready_seconds(rounds, containers, since=5.0, jobs=["load"]) == {"web": 2.0, "load": 3.5}
