# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import (
    Decision,
    Observation,
    Round,
    decide,
    decide_soak,
    explain,
    ready_seconds,
    summarise,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, ServiceGate

GATE = Gate((ServiceGate("web"),), success_threshold=3, timeout=10.0, max_restarts=3)


def history(words: str) -> list[Round]:
    """One round a second for each letter: + passed, e passed early, r passed after a restart, - failed, ! for good."""
    rounds, life = [], 0
    for second, letter in enumerate(words):
        life += letter == "r"
        seen = Observation("web", "container", "shop-web-1", letter in "+re", letter, fatal=letter == "!")
        rounds.append(Round(float(second), (seen,), frozenset({f"web@{life}"}), early=letter == "e"))
    return rounds


DECISIONS = [
    pytest.param("", "continue", 0, id="nothing seen yet"),
    pytest.param("++", "continue", 2, id="not often enough yet"),
    pytest.param("+++", "pass", 3, id="often enough"),
    pytest.param("--+++", "pass", 3, id="slow but well in the end"),
    pytest.param("++-++", "continue", 2, id="a failure in between starts the count anew"),
    pytest.param("++r+", "continue", 2, id="a restart in between starts the count anew"),
    pytest.param("++r++", "pass", 3, id="a restart is no failure by itself"),
    pytest.param("+eeee", "continue", 1, id="events do not hasten a success"),
    pytest.param("-e++", "pass", 3, id="the first round of a row may have come early"),
    pytest.param("-ee+e+", "pass", 3, id="what an event brings between two pauses is left out"),
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


SOAKS = [
    pytest.param("", "continue", id="nothing seen yet"),
    pytest.param("+", "continue", id="well so far"),
    pytest.param("+--+--+--+-", "continue", id="a failure now and then is borne"),
    pytest.param("+--+--+--++", "pass", id="and passes when the time is over"),
    pytest.param("+++++++++++", "pass", id="it held for the whole time"),
    pytest.param("++---", "fail", id="failed too often in a row"),
    pytest.param("+!", "fail", id="dead for good"),
    pytest.param("+++++++++--", "continue", id="failing when the time is over: look again"),
    pytest.param("+++++++++---", "fail", id="failing after the time too"),
    pytest.param("+++++++++--+", "pass", id="well again after the time"),
]


@pytest.mark.parametrize(("words", "verdict"), SOAKS)
def test_after_the_switch_a_gate_must_go_on_holding(words: str, verdict: str) -> None:
    decision = decide_soak(GATE, history(words))
    assert decision.verdict == verdict
    assert (decision.culprit is not None) is (verdict == "fail")


def test_a_soak_shorter_than_the_rounds_of_a_failure_does_not_pass_what_always_fails() -> None:
    short = Gate(GATE.services, success_threshold=3, timeout=0.5)
    assert [decide_soak(short, history("-" * count)).verdict for count in (1, 2, 3)] == ["continue", "continue", "fail"]


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


def test_attempts_failures_and_latencies_are_added_up() -> None:
    def request(ok: bool, latency: float) -> Observation:
        return Observation("web", "http GET :1/", "c", ok, f"took {latency}", latency=latency)

    unasked = Observation("web", "http GET :1/", "c", False, "not asked", asked=False)
    (record,) = summarise([Round(0, (unasked,)), Round(1, (request(False, 0.5),)), Round(2, (request(True, 0.1),))])
    assert (record.attempts, record.failures, record.ok) == (2, 1, True)
    assert (record.latency, record.slowest, record.median, record.answer) == (0.1, 0.5, 0.3, "took 0.1")


def test_a_check_that_measures_nothing_has_no_latencies() -> None:
    (record,) = summarise([Round(0, (Observation("web", "container", "c", True, "running"),))])
    assert (record.latency, record.slowest, record.median) == (None, None, None)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_check_holds_when_it_does_in_every_container_of_its_service(order: tuple[bool, bool]) -> None:
    rounds = [Round(n, tuple(Observation("web", "container", f"c{ok}", ok, "") for ok in order)) for n in range(2)]
    (record,) = summarise(rounds)
    assert (record.attempts, record.failures, record.ok) == (4, 2, False)


def test_readiness_is_counted_from_the_containers_start() -> None:
    start, end = "1970-01-01T00:00:10Z", "1970-01-01T00:00:13.5Z"

    def box(**fields: str) -> Container:
        return Container("c", "shop-web-1", **fields)  # type: ignore[arg-type]  # strings only

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
