# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.bench import release
from ansible_collections.emorobcare.fleet.tests.bench import release_report as report
from ansible_collections.emorobcare.fleet.tests.bench import release_stats as stats
from ansible_collections.emorobcare.fleet.tests.bench.images_report import with_block
from ansible_collections.emorobcare.fleet.tests.bench.release_measure import Result, Series
from ansible_collections.emorobcare.fleet.tests.bench.release_peers import EMOROBCARE, SMALL, Peer, Way
from ansible_collections.emorobcare.fleet.tests.faults._load import Record

ROOT = Path(__file__).resolve().parents[3]
ABOUT = {
    "machine": {"processor": "P", "cores": 2},
    "run": {"date": "2026-01-02", "rounds": 2, "engine": "26.1", "load_average": [0.5, 1.25]},
}


def record(began: float, seconds: float = 0.1, colour: str = "1", fault: str = "", kind: str = "new") -> Record:
    return Record(kind, began, seconds, colour, fault)


def event(at: float, action: str, container: str, service: str = "api") -> stats.Event:
    return stats.Event(at, action, service, container)


def run(began: float = 10.0, ended: float = 18.0, **more: t.Any) -> stats.Run:
    return stats.Run(began, ended, 0, **more)


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [
        pytest.param([], 0.0, id="nobody asked"),
        pytest.param([record(1), record(2)], 0.0, id="all was well"),
        pytest.param([record(1), record(2, fault="refused"), record(3)], 1.1, id="one failed"),
        pytest.param(
            [
                record(1, fault="refused"),
                record(2, fault="refused"),
                record(3),
                record(4),
                record(5, fault="x"),
                record(6),
            ],
            2.1 + 1.1,
            id="twice",
        ),
        pytest.param(
            [record(1), record(2, fault="refused"), record(3, fault="refused")], 1.1, id="not served to the end"
        ),
        pytest.param([record(3), record(2, fault="refused")], 1.1, id="in any order"),
    ],
)
def test_time_without_service_is_from_a_failure_to_the_next_good_answer(requests: list[Record], seconds: float) -> None:
    assert stats.without_service(requests) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [
        ([record(1, colour="old"), record(2, colour="new")], 0.0),
        ([record(1, colour="new"), record(1.05, colour="old"), record(2.1, colour="old")], 1.0),
        ([record(1, colour="new"), record(2, colour="none", fault="refused")], 0.0),
        ([record(1, colour="old")], 0.0),
    ],
)
def test_both_answer_from_the_first_of_the_new_to_the_last_of_the_old(requests: list[Record], seconds: float) -> None:
    assert stats.mixed(requests, "new") == pytest.approx(seconds)


HEALTHY = "health_status: healthy"


@pytest.mark.parametrize(
    ("events", "at"),
    [
        pytest.param(
            [event(1, "start", "a"), event(3, HEALTHY, "a"), event(9, HEALTHY, "a")], 3.0, id="the first time"
        ),
        pytest.param(
            [event(1, "start", "a"), event(2, HEALTHY, "a"), event(1, "start", "b"), event(4, HEALTHY, "b")],
            4.0,
            id="the last of them",
        ),
        pytest.param([event(1, HEALTHY, "old"), event(2, "start", "a")], None, id="not yet"),
        pytest.param([event(1, "start", "a", "redis"), event(2, HEALTHY, "a", "redis")], None, id="another service"),
        pytest.param([], None, id="nothing was started"),
    ],
)
def test_a_side_is_healthy_when_its_last_new_container_is(events: list[stats.Event], at: float | None) -> None:
    assert stats.healthy_at(events, {"api", "frontend"}) == at


def test_an_update_is_measured_from_what_all_recorded() -> None:
    steps = stats.read_steps("noise\nSTEP 15.5 switch\nSTEP 16.000001 retire\nSTEP 17.0 idle\n")
    done = run(steps=steps, events=(event(11, "start", "a"), event(15.2, HEALTHY, "a")))
    requests = [record(9), record(12, 0.9), record(15.8, 0.2, "2"), record(16, 0.1, "none", "reset", "other")]
    measured = stats.measure_update(done, requests, "2", "new", {"api"})
    assert measured.requests == 4
    assert (measured.failed, measured.faults) == (1, {"other": 1})
    assert measured.without_service == 0.0  # another kind failed
    assert measured.longest == 0.9
    assert measured.to_commit == pytest.approx(6.0, abs=0.001)
    assert measured.whole == 8.0
    assert measured.healthy_to_serves == pytest.approx(0.8)
    assert measured.gate_to_serves == pytest.approx(0.5)


def test_what_has_no_journal_is_committed_when_its_command_ends() -> None:
    measured = stats.measure_update(run(), [record(9)], "", "new", {"api"})
    assert measured.to_commit == 8.0
    assert (measured.healthy_to_serves, measured.gate_to_serves, measured.mixed) == (None, None, 0.0)


def test_what_the_agent_says_is_read() -> None:
    answer = {"began": 1.0, "ended": 2.0, "code": 0, "output": "STEP 1.5 gate\n"}
    event_ = {"at": 1.2, "action": "start", "service": "api", "container": "a"}
    assert stats.read_run({**answer, "events": [event_]}).step("gate") == 1.5


@pytest.mark.parametrize(
    ("values", "part", "value"),
    [([1.0], 0.99, 1.0), ([1.0, 2.0], 0.5, 1.0), ([1.0, 2.0, 3.0], 0.5, 2.0), (list(range(1, 101)), 0.99, 99)],
)
def test_percentiles_are_of_the_nearest_rank(values: list[float], part: float, value: float) -> None:
    assert stats.percentile(values, part) == value


def test_latencies_are_those_of_good_answers() -> None:
    assert stats.latency([record(1, 0.001), record(2, 0.002), record(3, 9.0, fault="late")]) == stats.Latency(
        1, 2, 2, 2
    )
    assert stats.latency([record(1, fault="refused")]) is None


WRK = """Running 15s test @ http://127.0.0.1:18080/api/small
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.40ms    3.10ms  60.35ms   93.26%
    Req/Sec     1.96k   238.45     2.35k    80.00%
  Latency Distribution
     50%    3.66ms
     75%  950.00us
     90%    6.90ms
     99%    1.20s
  29296 requests in 15.01s, 4.39MB read
"""


def test_what_wrk_prints_is_read() -> None:
    assert stats.read_wrk(f"{WRK}Requests/sec:   1951.83\nTransfer/sec: 299.63KB\n") == stats.Wrk(
        1951.83, 3.66, 1200.0, 29296, 0
    )
    errors = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\n"
    assert stats.read_wrk(f"{WRK}{errors}Requests/sec:   1951.83\n").failed == 54321
    with pytest.raises(ValueError, match="no rate"):
        stats.read_wrk("unable to connect")


def peer(way: Way = "ours") -> Peer:
    return Peer(SMALL, way, ("compose.yml", "compose.release.yml"), "proxy:1")


def update(**more: t.Any) -> stats.Update:
    plain = stats.Update(1000, 0, {}, 0.0, 0.2, 4.0, 5.0, 0.4, 0.1, 0.0)
    return dataclasses.replace(plain, **more)


def measured() -> list[Result]:
    ours = Result(peer(), [update(), update(to_commit=6.0)], [1.0, 1.2], [stats.PowerCut(3.0, "the old release")])
    ours.wrk_quiet, ours.wrk_update = stats.Wrk(2000, 3, 9, 30000, 0), stats.Wrk(1500, 4, 20, 45000, 0)
    late = stats.PowerCut(None, "", {"api": 0, "frontend": 1}, 12.0, False, {"api": 1, "frontend": 1})
    other = Result(
        peer("compose"), [update(failed=90, without_service=2.5, to_commit=10.0, gate_to_serves=None)], [0.5], [late]
    )
    other.wrk_quiet, other.wrk_update = stats.Wrk(2500, 2, 8, 30000, 0), stats.Wrk(900, 4, 20, 45000, 700)
    return [ours, other]


SERIES = Series(
    20, 10, 300.0, 99999, (), 30, 0.0, stats.Latency(2, 20, 300, 50), stats.Latency(1, 5, 60, 50), None, None, (4.0,)
)


def test_tables_hold_all_beside_ours_and_what_misses_its_figure_is_bold() -> None:
    text = report.tables(measured(), SERIES, ABOUT)
    assert "| stack_release | 0 | 2000 | 0.00 | 0.20 | 5.00 (4.00 to 6.00) | 1.00x | 0.40 | 0.10 | 0.00 |" in text
    assert "| docker compose up --wait | 90 | 1000 | 2.50 | 0.20 | 10.0 | 2.00x |  |  | 0.00 |" in text
    assert "| 12.00, 1 of 1 failed |" in text.replace("12.0,", "12.00,")
    assert "| 1 of 1 not in time |" in text
    assert "20 updates and 10 rollbacks in 300 s" in text
    assert "Load average before all and after each stack: 0.5, 1.25." in text
    bad = measured()
    bad[0].updates.append(update(failed=1, gate_to_serves=9.0))
    bad[0].updates.append(update(gate_to_serves=9.0))
    bad[0].updates.append(update(gate_to_serves=9.0))
    bad[0].no_op = [1.6]
    text = report.tables(bad, None, ABOUT)
    assert "| **1** |" in text
    assert "**9.00 (0.10 to 9.00)**" in text
    assert "**1.60**" in text


def test_what_is_stored_has_every_sample() -> None:
    stored = json.loads(json.dumps(report.results(measured(), SERIES, ABOUT)))
    other = stored["stacks"]["bench"]["docker compose up --wait"]
    assert other["failed"] == 90
    assert other["without_service"] == {"median": 2.5, "min": 2.5, "max": 2.5}
    assert len(stored["stacks"]["bench"]["stack_release"]["updates"]) == 2
    assert stored["series"]["rollbacks"] == 10


def test_the_document_has_a_place_for_the_tables() -> None:
    document = (ROOT / "docs" / "measurements.md").read_text()
    assert "new" in with_block(document, "new", report.BEGIN, report.END)


@pytest.mark.parametrize("way", SMALL.ways)
def test_every_way_brings_up_the_files_of_the_release(way: Way) -> None:
    request = peer(way).up(7)
    if way == "ours":
        assert request["options"]["parameters"]["RELEASE"] == "7"
        return
    (argv,) = request["argvs"]
    assert f"/root/bench/bench-{way}/compose.release.yml" in argv
    assert request["environment"]["RELEASE"] == "7"
    assert peer(way).update(8)["do"] == ("commands" if way == "compose" else "rollout")
    assert ("drain" in peer(way).update(8)) == (way == "draining")


def test_all_have_their_own_names_and_ports() -> None:
    ports = {peer(way).port for way in SMALL.ways}
    names = {SMALL.project(way) for way in SMALL.ways}
    assert len(ports) == len(names) == len(SMALL.ways)
    assert EMOROBCARE.parameters("compose", 1) != EMOROBCARE.parameters("compose", 2)


@pytest.mark.parametrize(
    ("words", "whole"),
    [([], True), (["--repeat", "1"], False), (["--stacks", "bench"], False), (["--parts", "series"], False)],
)
def test_only_a_run_of_everything_is_a_whole_one(words: list[str], whole: bool) -> None:
    assert release.is_whole(release.options(words)) is whole


@pytest.mark.parametrize("words", [["--repeat", "0"], ["--stacks", "none"], ["--parts", "none"]])
def test_a_run_of_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        release.options(words)
