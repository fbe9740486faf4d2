# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_probe_inside, _host_probe_run
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import NAMES, Probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import PREFIX, Asked
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_run import probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker, Said

WELL: dict[str, t.Any] = {"bind_mount": [True, "written"], "volume": [True, "written"]}


class Engine(NoDocker):
    """An engine whose container does what a test says; `answers` by the first words of a command."""

    def __init__(self, folder: Path, said: dict[str, t.Any], **answers: Answer) -> None:
        self.volume, self.said, self.answers = folder, said, answers
        self.asked: list[str] = []
        self.removed: list[str] = []
        self.listener = socket.create_server(("0.0.0.0", 0))

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        words = "_".join(argv[1:3])
        self.asked.append(words)
        if words in self.answers:
            return self.answers[words]
        if argv[2] == "rm":
            self.removed.append(argv[1])
        if words == "container_create":
            self._create(argv)
        port = f"0.0.0.0:{self.listener.getsockname()[1]}\n"
        printed = {"volume_inspect": f"{self.volume}\n", "container_port": port, "container_inspect": "0\n"}
        return Answer(0, printed.get(words, ""), "")

    def _create(self, argv: t.Sequence[str]) -> None:
        shared = next(word for word in argv if word.endswith("target=/probe")).split(",")[1].partition("=")[2]
        self.token = json.loads(argv[-1])["token"]
        assert (Path(shared) / "given").read_text() == self.token
        for folder in (Path(shared), self.volume):
            (folder / "taken").write_text(self.token)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        threading.Thread(target=self._serve).start()
        return Said(b"WARNING: something\n" + json.dumps(self.said).encode() + b"\n")

    def _serve(self) -> None:
        """Be the published port, until the listener is shut."""
        with contextlib.suppress(OSError), self.listener.accept()[0] as connection:
            connection.sendall(self.token.encode())

    def shut(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Broken(Engine):
    """An engine that has gone, or whose container never says a word."""

    def stream(self, argv: t.Sequence[str]) -> Stream:
        return Said(b"exec format error\n", 1)


class Dying(Engine):
    """An engine that ends at a question; `last` is how that begins."""

    last = ""

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        if "_".join(argv[1:3]) == self.last:
            raise ReleaseError("the engine has gone", reason="docker_unavailable")
        return super().ask(argv, timeout)


@pytest.fixture(name="volume")
def volume_fixture(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def ask(engine: Engine, tmp_path: Path, **asked: t.Any) -> dict[str, Probe]:
    try:
        return probe(Asked(timeout=0.2, **asked), engine, str(tmp_path / "work"))
    finally:
        engine.shut()


def test_a_container_that_does_all_passes_and_leaves_nothing(volume: Path, tmp_path: Path) -> None:
    engine = Engine(volume, WELL)
    found = ask(engine, tmp_path)
    assert {name: one.status for name, one in found.items()} == {
        **dict.fromkeys(NAMES, "pass"),
        "dns": "not applicable",
        "outbound": "not applicable",
    }
    assert engine.removed == ["container", "network", "volume", "image"]
    assert os.listdir(tmp_path / "work") == []


def test_the_engine_that_is_asked_is_this_hosts_whatever_context_is_in_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def command_line(environment: t.Mapping[str, str]) -> t.NoReturn:
        assert environment["DOCKER_CONTEXT"] == "default"
        assert "DOCKER_HOST" not in environment
        raise ReleaseError("asked", reason="docker_failed")

    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    monkeypatch.setattr(_host_probe_run, "DockerCli", command_line)
    with pytest.raises(ReleaseError, match="asked"):
        probe(Asked(), work=str(tmp_path))


@pytest.mark.parametrize("last", ["volume_inspect", "container_port", "container_stop"])
def test_an_engine_that_ends_while_it_is_asked_fails_every_probe(volume: Path, tmp_path: Path, last: str) -> None:
    engine = Dying(volume, WELL)
    engine.last = last
    assert set(ask(engine, tmp_path).values()) == {Probe("fail", "the engine has gone")}


@pytest.mark.parametrize(
    ("name", "said", "answers", "detail"),
    [
        ("bind_mount", {"bind_mount": [False, "PermissionError: no"]}, {}, "PermissionError: no"),
        ("volume", {}, {"volume_inspect": Answer(0, "/nowhere\n", "")}, "does not find what a container wrote"),
        ("published_port", {}, {"container_port": Answer(1, "", "no public port")}, "no port is published: no public"),
        ("published_port", {}, {"container_port": Answer(0, "0.0.0.0:1\n", "")}, ":1 does not lead into the container"),
        ("sigterm", {}, {"container_inspect": Answer(0, "137\n", "")}, "ended with exit code 137"),
        (
            "sigterm",
            {},
            {"container_stop": Answer(1, "", "permission denied")},
            "docker stop failed: permission denied",
        ),
    ],
)
def test_what_a_container_cannot_do_fails_by_its_name(
    name: str, said: dict[str, t.Any], answers: dict[str, Answer], detail: str, volume: Path, tmp_path: Path
) -> None:
    found = ask(Engine(volume, {**WELL, **said}, **answers), tmp_path)
    assert [one for one in found if found[one].status == "fail"] == [name]
    assert detail in found[name].detail


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", "fail"), ("no-such-name.invalid", "not applicable")],
)
def test_what_the_host_itself_cannot_do_is_no_fault_of_containers(
    host: str, status: str, volume: Path, tmp_path: Path
) -> None:
    found = ask(Engine(volume, {**WELL, "dns": [False, "gaierror: try again"]}), tmp_path, dns=host)
    assert found["dns"].status == status
    assert host in found["dns"].detail


def test_without_an_engine_nothing_applies(volume: Path, tmp_path: Path) -> None:
    gone = Answer(1, "", "no")
    found = ask(Engine(volume, WELL, **{"version_--format": gone}), tmp_path)
    assert {one.status for one in found.values()} == {"not applicable"}


def test_without_an_image_nothing_applies(volume: Path, tmp_path: Path) -> None:
    found = ask(Engine(volume, WELL, image_import=Answer(1, "", "no space left")), tmp_path)
    assert {one.status for one in found.values()} == {"not applicable"}
    assert "no space left" in found["dns"].detail


@pytest.mark.parametrize(
    ("engine", "answers", "detail"),
    [
        (Engine, {"network_create": Answer(1, "", "no address pool is free")}, "no address pool is free"),
        (Engine, {"container_create": Answer(1, "", "unknown runtime")}, "unknown runtime"),
        (Broken, {}, "did not run: exec format error"),
    ],
)
def test_a_container_that_does_not_start_fails_everything(
    engine: type[Engine], answers: dict[str, Answer], detail: str, volume: Path, tmp_path: Path
) -> None:
    found = ask(engine(volume, WELL, **answers), tmp_path)
    assert {one.status for one in found.values()} == {"fail"}
    assert detail in found["sigterm"].detail


def test_what_a_killed_probe_left_is_removed_by_the_next_one_and_that_of_a_living_one_is_not(
    volume: Path, tmp_path: Path
) -> None:
    start = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    dead, living = f"{PREFIX}{os.getpid()}-1-00000000", f"{PREFIX}{os.getpid()}-{start}-00000000"
    for name in (dead, living, "not-ours"):
        (tmp_path / "work" / name).mkdir(parents=True)
    engine = Engine(volume, WELL)
    ask(engine, tmp_path)
    assert sorted(os.listdir(tmp_path / "work")) == sorted([living, "not-ours"])
    assert engine.removed.count("image") == 2


def test_what_cannot_be_removed_now_is_remembered(volume: Path, tmp_path: Path) -> None:
    engine = Engine(volume, WELL, image_rm=Answer(1, "", "it is in use"))
    ask(engine, tmp_path)
    assert len(os.listdir(tmp_path / "work")) == 1


def test_the_program_answers_for_the_host_as_it_does_for_a_container() -> None:
    program = Path(_host_probe_inside.__file__).read_text()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        order = Asked("localhost", address, 5.0).order()
        argv = [sys.executable, "-I", "-S", "-c", f"{program}\nmain(sys.argv[1])", order]
        said = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert said["outbound"] == [True, f"{address} takes connections"]
    assert said["dns"][0]


def test_an_engine_that_hangs_is_one_that_does_not_answer(volume: Path, tmp_path: Path) -> None:
    class Hangs(Engine):
        def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
            raise ReleaseError("gave no answer within 60 s", reason="docker_unavailable")

    found = ask(Hangs(volume, WELL), tmp_path)
    assert found["dns"] == Probe("not applicable", "gave no answer within 60 s")
