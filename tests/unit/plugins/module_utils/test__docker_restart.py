# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _docker_restart
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import Answer, Engine, Launch
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_hold import Port
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import (
    Noted,
    Order,
    Ran,
    argv_of,
    carry_out,
    main,
    note_as_json,
    read_note,
    with_former,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import VAIN, HostError

WEB = Ran("w", "web", "2026-01-01T00:00:01Z", kept=True)
JOB = Ran("j", "job", "2026-01-01T00:00:02Z", kept=False, removed=True)


@dataclass
class Fake:
    """An engine in memory: containers by id, with what each is started as, and whether a start works.

    Those with exit codes in `codes` end as soon as they are started.
    """

    live: bool = True
    startable: bool = True
    up: dict[str, str] = field(default_factory=lambda: {"j": JOB.started, "w": WEB.started})
    at: dict[str, str] = field(default_factory=lambda: {"j": JOB.started, "w": WEB.started})
    codes: dict[str, int] = field(default_factory=dict)
    there: list[str] = field(default_factory=lambda: ["j", "w"])
    tasks: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def __call__(
        self,
        argv: t.Sequence[str],
        content: str = "",
        patience: float = 0,
        environment: t.Mapping[str, str] | None = None,
    ) -> Answer:
        words = " ".join(argv)
        self.asked.append(words)
        if words.startswith("docker container ls"):
            return Answer(0, "\n".join(self.up))
        if words.startswith("docker info"):
            return Answer(0, str(self.live).lower())
        if words.startswith("docker container start"):
            if self.startable:
                self.at.update(dict.fromkeys(argv[4:], f"anew at {len(self.asked)}"))
                self.up.update({id_: self.at[id_] for id_ in argv[4:] if id_ not in self.codes})
            return Answer(0)
        if words.startswith("docker container inspect"):
            return Answer(0, json.dumps([self._shown(id_) for id_ in argv[4:] if id_ in self.there]))
        return Answer(0)

    def _shown(self, id_: str) -> dict[str, t.Any]:
        policy = "always" if id_ == "w" else "no"
        ports = {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]} if id_ == "w" else {}
        return {
            "Id": id_,
            "Name": "/web" if id_ == "w" else "/job",
            "Config": {"Labels": {"com.docker.swarm.task.id": "t"} if id_ in self.tasks else None},
            "State": {"Running": id_ in self.up, "StartedAt": self.at[id_], "ExitCode": self.codes.get(id_, 0)},
            "HostConfig": {"RestartPolicy": {"Name": policy}, "AutoRemove": id_ == "j"},
            "NetworkSettings": {"Ports": ports},
        }


Restart = t.Callable[..., t.Any]


@pytest.fixture(name="patched")
def patched_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> t.Callable[[t.Callable[[Fake], None]], Restart]:
    """Restart a fake engine; what the start does to it is given."""

    def patched(start: t.Callable[[Fake], None]) -> Restart:
        def restart(fake: Fake, **more: t.Any) -> t.Any:
            monkeypatch.setattr(_docker_restart, "find_engine", lambda run, pid_file: Engine(7, "1", "docker.service"))
            monkeypatch.setattr(_docker_restart, "start_anew", lambda *words: start(fake))
            return carry_out("restart", Order(drain=0), fake, str(tmp_path), **more)

        return restart

    return patched


Patched = t.Callable[[t.Callable[[Fake], None]], Restart]


def stopped(fake: Fake) -> None:
    fake.up.clear()


def test_where_containers_outlive_the_engine_nothing_is_started(patched: Patched, tmp_path: Path) -> None:
    fake = Fake()
    report = patched(lambda engine: None)(fake)
    assert (report.restarted, report.lost, report.live_restore, report.held) == ((), (), True, True)
    assert not any("container start" in words for words in fake.asked)
    assert read_note(str(tmp_path)) is None


def test_where_they_do_not_all_of_them_are_started_in_their_order(patched: Patched) -> None:
    fake = Fake(live=False)
    report = patched(stopped)(fake)
    assert "docker container start -- w j" in fake.asked
    assert (report.restarted, report.live_restore) == (("web", "job"), False)


def test_a_job_that_ended_by_itself_meanwhile_is_not_run_once_more(patched: Patched) -> None:
    def ended(fake: Fake) -> None:
        del fake.up["j"]

    fake = Fake()
    report = patched(ended)(fake)
    assert (report.restarted, "j" in fake.up) == ((), False)


def test_what_a_swarm_runs_is_left_to_it(patched: Patched) -> None:
    fake = Fake(live=False, tasks=("j",))
    report = patched(stopped)(fake)
    assert ("docker container start -- w" in fake.asked, report.restarted) == (True, ("web",))


def test_what_the_engine_removes_when_it_ends_is_told(patched: Patched) -> None:
    def removed(fake: Fake) -> None:
        fake.up.clear()
        fake.there.remove("j")

    assert patched(removed)(Fake(live=False)).lost == ("job",)


@pytest.mark.parametrize("live", [True, False])
def test_a_container_that_the_engine_has_lost_sight_of_is_a_failure(patched: Patched, live: bool) -> None:
    def hidden(fake: Fake) -> None:
        fake.up.clear()
        fake.there.clear()

    with pytest.raises(HostError, match="does not know what ran before: web") as caught:
        patched(hidden)(Fake(live=live))
    assert caught.value.reason == "restart_failed"


def test_a_container_that_does_not_run_again_is_a_failure(patched: Patched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker_restart, "_PATIENCE", 0.0)
    with pytest.raises(HostError, match="does not run again: web, job") as caught:
        patched(stopped)(Fake(live=False, startable=False))
    assert caught.value.reason == "restart_failed"


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_that_is_run_once_more_and_ends_has_come_back_if_it_ended_well(
    patched: Patched, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(_docker_restart, "_PATIENCE", 0.0)
    fake = Fake(live=False, codes={"j": code})
    if code:
        with pytest.raises(HostError, match="does not run again: job"):
            patched(stopped)(fake)
    else:
        assert patched(stopped)(fake).restarted == ("web", "job")


def test_what_was_stopped_once_more_is_started_once_more_however_well_it_ended(patched: Patched) -> None:
    fake = Fake(live=False, at={"j": "by the try before", "w": WEB.started})
    patched(stopped)(fake)
    assert "docker container start -- w j" in fake.asked


def test_a_container_has_come_back_when_it_ran_whatever_it_does_then(patched: Patched) -> None:
    class Flickering(Fake):
        def _shown(self, id_: str) -> dict[str, t.Any]:
            shown = super()._shown(id_)
            if any("container start" in words for words in self.asked):
                turn = sum("container inspect" in words for words in self.asked) % 2
                shown["State"].update(Running=turn == (id_ == "w"), ExitCode=1)
            return shown

    assert patched(stopped)(Flickering(live=False)).restarted == ("web", "job")


def test_on_the_way_back_what_does_not_run_again_is_told_and_another_try_is_in_vain(
    patched: Patched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_docker_restart, "_PATIENCE", 0.0)
    fake = Fake(live=False, startable=False)
    with pytest.raises(HostError, match="does not run again: web, job") as caught:
        patched(stopped)(fake, way_back=True)
    assert caught.value.details == {"vain": True}
    assert any("delete table" in words for words in fake.asked), "connections are let go"
    assert read_note(str(tmp_path)) is None


def test_after_a_start_that_failed_the_next_one_brings_back_what_ran_before(patched: Patched, tmp_path: Path) -> None:
    def fails(fake: Fake) -> None:
        fake.up.clear()
        raise HostError("the engine did not start", reason="restart_failed")

    fake = Fake(live=False)
    with pytest.raises(HostError):
        patched(fails)(fake)
    assert not any("delete table" in words for words in fake.asked), "connections are refused until the next start"
    noted = read_note(str(tmp_path))
    assert noted is not None
    assert [one.name for one in noted.containers] == ["web", "job"]
    report = patched(lambda engine: None)(fake)
    assert (sorted(fake.up), report.restarted) == (["j", "w"], ("web", "job"))
    assert any("delete table" in words for words in fake.asked)


def test_a_note_is_for_root_alone_and_counts_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = Noted((WEB,), (Port(80),), True, Launch("dockerd", ("-D",), {"HTTP_PROXY": "secret"}))
    folder = tmp_path / "notes"
    with _docker_restart.alone(str(folder)):
        (folder / "note.json").write_text(json.dumps(note_as_json(noted)))
    assert folder.stat().st_mode & 0o077 == 0
    assert read_note(str(folder)) == noted
    monkeypatch.setattr(_docker_restart, "_RECENT", -1.0)
    assert read_note(str(folder)) is None


def test_what_runs_now_and_what_ran_before_are_put_together() -> None:
    engine = Engine(7, "1", "docker.service")
    former, now = Noted((WEB,), (Port(80),), False), Noted((JOB,), (Port(81),), True)
    assert with_former(former, now, engine) == Noted((WEB, JOB), (Port(80), Port(81)), True)
    assert with_former(former, None, engine) == former
    assert with_former(None, now, engine) == now
    assert with_former(None, None, engine) == Noted()


def test_the_command_for_who_takes_over_says_all_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Order]] = []
    monkeypatch.setattr(_docker_restart, "carry_out", lambda action, order, way_back: asked.append((action, order)))
    order = Order(5.5, 7, 0.5, "/run/other.pid")
    for action in ("restart", "reload"):
        program, *words = argv_of("/x.pyz", action, order)
        assert (program, main(words)) == ("/x.pyz", 0)
    assert asked == [("restart", order), ("reload", Order(5.5, pid_file="/run/other.pid"))]


@pytest.mark.parametrize(("details", "code"), [({}, 1), ({"vain": True}, VAIN)])
def test_a_failure_of_the_program_is_said_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], details: dict[str, bool], code: int
) -> None:
    def fails(action: str, order: Order, way_back: bool) -> None:
        assert way_back
        raise HostError("it did not start", reason="restart_failed", **details)

    monkeypatch.setattr(_docker_restart, "carry_out", fails)
    assert main(["restart"]) == code
    assert capsys.readouterr().err == "it did not start\n"


def test_an_engine_that_does_not_run_has_nothing_to_reload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_docker_restart, "find_engine", lambda run, pid_file: Engine())
    fake = Fake()
    assert carry_out("reload", Order(), fake, str(tmp_path)) is None
    assert fake.asked == []
