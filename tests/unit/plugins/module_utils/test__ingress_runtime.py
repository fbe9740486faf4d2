# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    Ingress,
    Publish,
    description,
    live_map,
    render,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_files import (
    IngressPlaces,
    install,
    saved_colour,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_runtime import IngressRuntime
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._master import MAP, Master, stat

OLD = render(Ingress("x", (), http=Publish("", 80)), [])
NEW = render(Ingress("x", ()), [])
KNOWS_BOTH = stat("blue-a-1,s1,0,UP,L4OK", "green-a-1,s1,0,UP,L4OK")
KNOWS_BLUE = stat("blue-a-1,s1,0,UP,L4OK")


class Engine:
    """Runs `haproxy -c` as it is told to end."""

    def __init__(self) -> None:
        self.answer = Answer(0, "", "")
        self.asked: list[list[str]] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.asked.append(list(argv))
        return self.answer

    def watch(self, *_args: t.Any, **_more: t.Any) -> Answer:
        raise AssertionError

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise AssertionError(argv)


@pytest.fixture(name="places")
def places_fixture(tmp_path: pathlib.Path) -> IngressPlaces:
    places = IngressPlaces(str(tmp_path / "i"))
    install(places, OLD, "blue")
    return places


@pytest.fixture(name="engine")
def engine_fixture() -> Engine:
    return Engine()


@pytest.fixture(name="runtime")
def runtime_fixture(places: IngressPlaces, engine: Engine) -> IngressRuntime:
    return IngressRuntime(places, "demo-ingress-1", engine)


@pytest.fixture(name="master")
def master_fixture(places: IngressPlaces) -> t.Iterator[Master]:
    with Master(pathlib.Path(places.run)) as master:
        master.answers |= {"@!19 show stat": KNOWS_BOTH, "@!8 show stat": KNOWS_BOTH}
        yield master


def test_a_switch_tells_every_worker_and_a_restart(
    runtime: IngressRuntime, master: Master, places: IngressPlaces
) -> None:
    assert runtime.switch("green")
    assert master.told == [f"@!19 set map {MAP} live green", f"@!8 set map {MAP} live green"]
    assert (runtime.live(), saved_colour(places)) == ("green", "green")
    assert not runtime.switch("green")
    assert len(master.told) == 2


def test_an_old_worker_that_does_not_know_the_colour_is_left_alone(runtime: IngressRuntime, master: Master) -> None:
    master.answers["@!8 show stat"] = KNOWS_BLUE
    runtime.switch("green")
    assert master.told == [f"@!19 set map {MAP} live green"]


def test_a_switch_that_haproxy_does_not_do_is_taken_back(
    runtime: IngressRuntime, master: Master, places: IngressPlaces
) -> None:
    master.answers[f"@!19 set map {MAP} live green"] = "entry not found.\n"
    with pytest.raises(ReleaseError, match="did not switch: entry not found") as caught:
        runtime.switch("green")
    assert caught.value.reason == "ingress_failed"
    assert pathlib.Path(places.live_map).read_bytes() == live_map("blue")


def test_a_file_that_lags_behind_is_written(runtime: IngressRuntime, master: Master, places: IngressPlaces) -> None:
    """A run was killed between HAProxy and the file, or the file was lost."""
    pathlib.Path(places.live_map).unlink()
    assert runtime.switch("blue")
    assert saved_colour(places) == "blue"


def test_a_drain_ends_when_nothing_is_under_way(runtime: IngressRuntime, master: Master) -> None:
    left = iter(["2", "1", "0", "0"])
    master.answers["@!8 show stat"] = lambda: stat(f"green-a-1,s1,{next(left, '0')},UP,L4OK", "blue-a-1,s1,9,UP,L4OK")
    assert runtime.drain("green", timeout=30) == 0
    assert master.told == []


def test_what_is_left_after_a_drain_is_cut_in_every_worker(runtime: IngressRuntime, master: Master) -> None:
    master.answers["@!8 show stat"] = lambda: stat(
        f"green-a-1,s1,{2 - len(master.told)},UP,L4OK", "blue-a-1,s1,9,UP,L4OK"
    )
    master.answers["@!8 show sess"] = "0x1: fe=http be=green-a-1 srv=s1\n0x2: fe=http be=green-a-1 srv=s1\n"
    assert runtime.drain("green", timeout=0) == 2
    assert master.told == ["@!8 shutdown session 0x1", "@!8 shutdown session 0x2"]


def test_a_drain_waits_for_clients_that_an_old_worker_could_only_lead_to_the_old_side(
    runtime: IngressRuntime, master: Master
) -> None:
    master.live = "green"
    clients = iter(["1", "1"])
    master.answers["@!8 show stat"] = lambda: stat(f"http,FRONTEND,{next(clients, '0')},STOP,", "blue-a-1,s1,0,UP,L4OK")
    assert runtime.drain("blue", timeout=30) == 0
    assert master.asked.count("@!8 show stat") > 2


def test_what_serves_is_not_drained(runtime: IngressRuntime, master: Master) -> None:
    with pytest.raises(ReleaseError, match="blue serves; switch before you drain it"):
        runtime.drain("blue", timeout=0)


def test_an_ingress_that_never_answers_is_not_waited_for_for_ever(runtime: IngressRuntime) -> None:
    with pytest.raises(ReleaseError) as caught:
        runtime.wait_until_answers(time.monotonic() + 0.05)
    assert caught.value.reason == "ingress_unavailable"


def test_an_ingress_that_runs_something_else_is_not_waited_for_for_ever(
    runtime: IngressRuntime, master: Master
) -> None:
    master.answers["@1 show info"] = "Name: HAProxy\n"
    with pytest.raises(ReleaseError) as caught:
        runtime.wait_until_answers(time.monotonic() + 0.05)
    assert caught.value.reason == "ingress_failed"


def test_a_worker_that_ended_meanwhile_is_no_fault(runtime: IngressRuntime, master: Master) -> None:
    master.answers["@!8 show stat"] = "Can't find the target PID matching the prefix '@!8'\n"
    assert runtime.sessions("blue") == 0


@pytest.mark.parametrize("last", ["show sess", "shutdown session 0x1", "show stat"])
def test_a_worker_that_ends_while_it_is_asked_is_no_fault(
    runtime: IngressRuntime, master: Master, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """The master then neither answers nor hangs up."""
    monkeypatch.setattr("ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_runtime._ANSWER", 0.1)
    master.answers["@!8 show stat"] = stat("green-a-1,s1,1,UP,L4OK", "blue-a-1,s1,9,UP,L4OK")
    master.answers["@!8 show sess"] = "0x1: fe=http be=green-a-1 srv=s1\n"

    def end() -> str:
        if last == "show stat" and not master.told:
            return stat("green-a-1,s1,1,UP,L4OK", "blue-a-1,s1,9,UP,L4OK")
        master.answers["show proc"] = "# workers\n19 worker 0 0d 3.0\n"
        time.sleep(0.3)
        return ""

    master.answers[f"@!8 {last}"] = end
    assert runtime.drain("green", timeout=0) == (0 if last == "show sess" else 1)


def test_a_worker_that_is_there_and_says_nothing_is_a_fault(
    runtime: IngressRuntime, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_runtime._ANSWER", 0.1)

    def hang() -> str:
        time.sleep(0.3)
        return ""

    master.answers["@!8 show stat"] = hang
    with pytest.raises(ReleaseError, match="gave no answer to '@!8'"):
        runtime.sessions("blue")


def test_waiting_for_a_side_ends_when_each_backend_has_a_server_up(runtime: IngressRuntime, master: Master) -> None:
    states = iter(["MAINT (resolution),", "UP,", "UP,L4OK"])
    master.answers["@1 show stat"] = lambda: stat(f"green-a-1,s1,0,{next(states)}", "green-b-1,s1,0,UP,L4OK")
    runtime.wait_until_up("green", time.monotonic() + 30)


def test_a_backend_without_a_server_is_named(runtime: IngressRuntime, master: Master) -> None:
    master.answers["@1 show stat"] = stat("green-a-1,s1,0,DOWN,L4CON", "green-b-1,s1,0,UP,L4OK")
    with pytest.raises(ReleaseError, match=r"no server is up of green-a-1 \(s1: DOWN L4CON\)") as caught:
        runtime.wait_until_up("green", time.monotonic())
    assert (caught.value.reason, caught.value.details) == ("ingress_not_up", {"backends": ["green-a-1"]})


def runs(master: Master, config: str) -> None:
    master.answers["@1 show info"] = f"Name: HAProxy\nDescription: {description(config)}\n"


def test_a_reload_reads_first_then_replaces_and_keeps_the_previous(
    runtime: IngressRuntime, master: Master, engine: Engine, places: IngressPlaces
) -> None:
    state = pathlib.Path(places.server_state)
    master.answers["@1 show servers state"] = "1\n# be_id\n"
    seen: list[bytes] = []

    def reload() -> str:
        seen.append(state.read_bytes())
        runs(master, NEW)
        return "Success=1\n--\n"

    master.answers["reload"] = reload
    runs(master, OLD)
    assert runtime.reload(NEW)
    assert engine.asked == [
        ["docker", "exec", "--", "demo-ingress-1", "haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg.candidate"]
    ]
    assert pathlib.Path(places.config_file).read_text() == NEW
    assert pathlib.Path(places.previous).read_text() == OLD
    assert seen == [b"1\n# be_id\n"]
    assert not state.exists()
    assert not pathlib.Path(places.candidate).exists()
    assert not runtime.reload(NEW)
    assert master.told == ["reload"]


def test_a_configuration_that_cannot_be_read_never_replaces_the_file(
    runtime: IngressRuntime, master: Master, engine: Engine, places: IngressPlaces
) -> None:
    engine.answer = Answer(1, "", "[ALERT]    (1) : config : unknown keyword 'x'\n")
    with pytest.raises(ReleaseError, match=r"serves on with the one it has: config : unknown keyword 'x'$"):
        runtime.reload(NEW)
    assert pathlib.Path(places.config_file).read_text() == OLD
    assert sorted(path.name for path in pathlib.Path(places.config).iterdir()) == ["haproxy.cfg", "live.map"]
    assert master.told == []


def test_a_reload_that_fails_puts_the_file_back(runtime: IngressRuntime, master: Master, places: IngressPlaces) -> None:
    master.answers["reload"] = "Success=0\n--\n[ALERT]    (1) : cannot bind socket [0.0.0.0:1]\n"
    with pytest.raises(ReleaseError, match="cannot bind socket") as caught:
        runtime.reload(NEW)
    assert caught.value.reason == "ingress_invalid"
    assert pathlib.Path(places.config_file).read_text() == OLD


def test_a_file_that_is_newer_than_what_runs_is_loaded(
    runtime: IngressRuntime, master: Master, places: IngressPlaces
) -> None:
    """A run was killed between the file and the reload."""
    install(places, NEW, "blue")
    runs(master, OLD)

    def reload() -> str:
        runs(master, NEW)
        return "Success=1\n"

    master.answers["reload"] = reload
    assert runtime.reload(NEW)


def test_nobody_who_answers_is_told_with_the_way_out(runtime: IngressRuntime, places: IngressPlaces) -> None:
    with pytest.raises(ReleaseError, match=r"does not answer: No such file .*docker logs") as caught:
        runtime.live()
    assert caught.value.reason == "ingress_unavailable"
    pathlib.Path(places.run, "master.sock").symlink_to("/dev/null")
    with pytest.raises(ReleaseError, match="it is no socket"):
        runtime.live()


def test_the_path_of_the_socket_may_be_long(
    tmp_path: pathlib.Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = IngressPlaces(str(tmp_path / ("long" * 40)))
    install(places, OLD, None)
    monkeypatch.chdir(places.run)
    with Master(pathlib.Path(".")):
        assert IngressRuntime(places, "c", engine).live() == "blue"
