# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _gate_probes
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ExecCheck,
    Gate,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import End, LogView, Question, Reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import (
    EngineProbes,
    GateRun,
    ProjectLook,
    log_tail,
    read_bodies,
    run_rounds,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker

CHECK = HttpCheck(8000, path="/x", method="POST", body_file="gate/x")
GATE = Gate((ServiceGate("web", checks=(CHECK,)),), success_threshold=2, timeout=30.0)


class Clock:
    """Time passes only when somebody waits; what happens cuts a wait short by half."""

    def __init__(self, *happens: bool) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.ended: dict[str, End] = {}
        self._happens = list(happens)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1000.0 + self.now

    def wait(self, seconds: float) -> bool:
        rung = self._happens.pop(0) if self._happens else False
        self.pauses.append(seconds)
        self.now += seconds / 2 if rung else seconds
        return rung


class Probes:
    """Answers each question as it is told to, and keeps what was asked."""

    def __init__(self, *replies: Reply, logs: t.Mapping[str, LogView] | None = None) -> None:
        self._replies, self._logs = list(replies), logs or {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def ask(self, question: Question, addresses: t.Sequence[str], limit: float) -> Reply:
        self.asked.append((question.label, tuple(addresses)))
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def read_log(self, container: Container, patterns: t.Collection[str], limit: float) -> t.Mapping[str, LogView]:
        self.asked.append((f"log of {container.id}", tuple(sorted(patterns))))
        return {pattern: self._logs.get(pattern, LogView()) for pattern in patterns}


FINE = Reply(200, b"fine", 0.1)


def box(status: str = "running", restarts: int = 0, name: str = "web", **more: t.Any) -> Container:
    fields = {"service": name, "status": status, "restarts": restarts, "addresses": ("10.0.0.2",), **more}
    return Container("c1", f"shop-{name}-1", **fields)


def replay(*states: tuple[Container, ...]) -> t.Callable[[], tuple[Container, ...]]:
    """See each state once, the last one ever after."""
    left = list(states)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def run_with(
    probes: Probes, *states: tuple[Container, ...], gate: Gate = GATE, clock: Clock | None = None, **more: t.Any
) -> GateRun:
    clock = clock or Clock()
    return run_rounds(gate, replay(*states or ((box(),),)), probes, clock, clock=clock, **more)


def test_requests_begin_when_the_container_is_well_and_the_gate_passes_after_enough_rounds() -> None:
    probes = Probes(FINE)
    run = run_with(probes, (), (box("created"),), (box(),))
    assert run.passed
    assert len(run.rounds) == 4
    assert probes.asked == [("http POST :8000/x", ("10.0.0.2",))] * 2


def test_pauses_are_short_and_grow_to_a_second_only_while_something_fails() -> None:
    clock = Clock()
    assert run_with(Probes(*[Reply(error="refused")] * 8, FINE), clock=clock).passed
    assert clock.pauses[0] == pytest.approx(0.375)
    assert clock.pauses[7] == 1.0
    assert clock.pauses[8] == 0.25


def test_the_gate_ends_when_its_time_is_over_and_not_later() -> None:
    clock = Clock()
    assert run_with(Probes(Reply(500)), clock=clock).decision.verdict == "timeout"
    assert clock.now == pytest.approx(30.0)


def test_a_dead_container_ends_the_gate_at_once() -> None:
    run = run_with(Probes(), (box("exited"),))
    assert (run.decision.verdict, len(run.rounds)) == ("fail", 1)


def test_what_happens_wakes_the_gate_and_does_not_hasten_its_success() -> None:
    clock = Clock(True, True, True)
    run = run_with(Probes(FINE), (box("created"),), (box(),), clock=clock)
    assert run.passed
    assert [one.early for one in run.rounds] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        pytest.param(None, "pass", id="counted from the first sight"),
        pytest.param({"c1": 3}, "pass", id="counted from what was known"),
        pytest.param({}, "fail", id="a new container counts from zero"),
    ],
)
def test_restarts_are_counted_from_the_right_number(before: dict[str, int] | None, verdict: str) -> None:
    run = run_with(Probes(FINE), (box(restarts=4),), restarts_before=before)
    assert run.decision.verdict == verdict


def test_how_an_earlier_life_ended_is_remembered() -> None:
    clock = Clock()
    clock.ended["c1"] = End(137, oom_killed=True)
    run = run_with(Probes(), (box(restarts=4),), clock=clock, restarts_before={})
    culprit = run.decision.culprit
    assert culprit is not None
    assert "exit code 137 (killed: out of memory" in culprit.answer


def logs(*checks: LogCheck, lifecycle: str = "stateless") -> Gate:
    return Gate((ServiceGate("web", lifecycle, checks),), success_threshold=1, timeout=30.0)


def test_a_containers_log_is_read_once_a_round_for_all_its_patterns() -> None:
    probes = Probes(logs={"up": LogView("up")})
    assert run_with(probes, gate=logs(LogCheck("up"), LogCheck("bad", absent=True))).passed
    assert probes.asked == [("log of c1", ("bad", "up"))]


def test_a_forbidden_line_of_a_container_that_is_not_well_yet_ends_the_gate_at_once() -> None:
    probes = Probes(logs={"bad": LogView("bad news")})
    run = run_with(probes, (box("created"),), (box(health="starting"),), gate=logs(LogCheck("bad", absent=True)))
    assert (run.decision.verdict, len(run.rounds)) == ("fail", 2)
    assert len(probes.asked) == 1


def test_the_log_of_a_job_that_has_ended_is_read() -> None:
    probes = Probes(logs={"12 rows": LogView("12 rows")})
    assert run_with(probes, (box("exited"),), gate=logs(LogCheck("12 rows"), lifecycle="job")).passed


def test_each_kind_of_question_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gate_probes, "send", lambda check, addresses, body, limit: Reply(body=b"sent " + body))
    monkeypatch.setattr(_gate_probes, "connect", lambda check, addresses, limit: Reply(body=b"connected"))
    monkeypatch.setattr(_gate_probes, "run_command", lambda docker, container, check, limit: Reply(body=b"ran"))
    probes = EngineProbes(Docker([]), {"gate/x": b"a file"})
    asked: list[Check] = [CHECK, HttpCheck(1, body=b"text"), TcpCheck(1), ExecCheck(("true",))]
    answers = [probes.ask(Question("web", "", check, box()), ("10.0.0.2",), 1.0).body for check in asked]
    assert answers == [b"sent a file", b"sent text", b"connected", b"ran"]


def test_bodies_are_read_from_their_folder_and_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    (root / "in").write_bytes(b"in")
    (tmp_path / "out").write_bytes(b"out")
    (root / "link").symlink_to(tmp_path / "out")

    def read(name: str, where: str | None = str(root)) -> dict[str, bytes]:
        return read_bodies([ServiceGate("web", checks=(HttpCheck(1, body_file=name),))], where)

    assert read("in") == {"in": b"in"}
    for name, message in (("link", "leads out"), ("none", "No such file")):
        with pytest.raises(ReleaseError, match=message):
            read(name)
    with pytest.raises(ReleaseError, match="needs files_root"):
        read("in", None)


class Docker(NoDocker):
    """Answers `container ls` and `container inspect` from what is there."""

    def __init__(self, there: list[str], projects: dict[str, list[str]] | None = None) -> None:
        self.there = there
        self.projects = projects
        self.said: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.said.append(argv[2])
        if argv[2] == "ls":
            if self.projects is None:
                return Answer(0, "\n".join(self.there), "")
            rows = [f"{name} {project}" for project, names in self.projects.items() for name in names]
            return Answer(0, "\n".join(rows), "")
        if argv[2] == "logs":
            return Answer(0, "out\n", f"err of {argv[-1]}\n")
        found = [self.inspected(name) for name in argv[argv.index("--") + 1 :] if name in self.there]
        return Answer(0, json.dumps(found), "")

    def inspected(self, name: str) -> dict[str, t.Any]:
        return {
            "Id": name,
            "Name": name,
            "Image": "",
            "State": {"Status": "running"},
            "Config": {"Labels": {"com.docker.compose.service": name[0]}},
            "HostConfig": {},
        }


def test_known_containers_are_inspected_without_listing_them_again() -> None:
    docker = Docker(["a1"])
    look = ProjectLook(docker, ["shop"], ["a"])
    assert [container.id for container in look()] == ["a1"]
    assert [container.id for container in look()] == ["a1"]
    assert docker.said == ["ls", "inspect", "inspect"]

    docker.there = ["a2"]
    assert [container.id for container in look()] == ["a2"]
    assert docker.said[3:] == ["inspect", "ls", "inspect"]


def test_a_service_without_a_container_is_looked_for_each_time() -> None:
    docker = Docker(["a1"])
    look = ProjectLook(docker, ["shop"], ["a", "b"])
    look()
    docker.there = ["a1", "b1"]
    assert [container.id for container in look()] == ["a1", "b1"]


def test_the_containers_of_several_projects_are_seen_as_one() -> None:
    docker = Docker(["a1", "b1"], {"shop-blue": ["a1"], "shop-data": ["b1"], "other": ["c1"]})
    look = ProjectLook(docker, ["shop-blue", "shop-data"], ["a", "b"])
    for _look in range(2):
        assert [container.id for container in look()] == ["a1", "b1"]
    assert docker.said == ["ls", "inspect", "inspect"]


def test_the_end_of_a_services_log_is_that_of_all_its_containers() -> None:
    containers = [box(name="web"), box(name="db")]
    assert log_tail(Docker([]), containers, "web") == ("out", "err of c1")
