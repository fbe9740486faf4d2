# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import typing as t
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import (
    Ended,
    HostPip,
    PipOrigin,
    download_command,
    environment,
    targets,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import PipSource

SOURCE = PipSource("a-model", "1.0", "a_model/m.bin")
OWN = [sys.executable, "-m", "pip"]
NO_MATCH = (
    "ERROR: Could not find a version that satisfies the requirement a-model==1.0 (from versions: none)\n"
    "ERROR: No matching distribution found for a-model==1.0\n"
)
NO_NETWORK = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError': /simple/a-model/\n" + NO_MATCH
)


class Host:
    """A host whose commands are answered from a transcript. `pip` says which interpreter has one."""

    def __init__(self, pip: t.Callable[[str], bool] = lambda _program: True, ensurepip: bool = False) -> None:
        self.commands: list[list[str]] = []
        self.downloads: list[tuple[str, t.Callable[[str], None] | None]] = []
        self._pip = pip
        self._ensurepip = ensurepip

    def answer_download(self, stderr: str = "", make: t.Callable[[str], None] | None = None) -> None:
        self.downloads.append((stderr, make))

    def run(self, command: t.Sequence[str], folder: str) -> Ended:
        self.commands.append(list(command))
        if command[-1] == "--version":
            return self._done(0 if self._pip(command[0]) else 1)
        if command[1:3] == ["-c", "import ensurepip, venv"]:
            return self._done(0 if self._ensurepip else 1)
        if command[1:3] == ["-m", "venv"]:
            return self._done(0)
        stderr, make = self.downloads.pop(0)
        if make:
            make(command[command.index("--dest") + 1])
        return self._done(0 if make else 1, stderr)

    @staticmethod
    def _done(code: int, stderr: str = "") -> Ended:
        return Ended(code, "", stderr)

    def asked_for(self) -> list[str | None]:
        """The --python-version of each download."""
        downloads = [command for command in self.commands if "download" in command]
        return [c[c.index("--python-version") + 1] if "--python-version" in c else None for c in downloads]


def wheel(folder: str, members: t.Mapping[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(os.path.join(folder, "a_model-1.0-py3-none-any.whl"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members or {"a_model/m.bin": b"content", "a_model/n.bin": b"more"}).items():
            archive.writestr(name, content)


def read(origin: PipOrigin, source: PipSource = SOURCE) -> bytes:
    with origin.open(source) as stream:
        content = b""
        buffer = memoryview(bytearray(3))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
        assert stream.told == Told(len(content), "", False)
        assert stream.offset == 0
    return content


@contextlib.contextmanager
def pip_origin(host: Host, folder: Path) -> t.Iterator[PipOrigin]:
    with contextlib.closing(PipOrigin(HostPip(host.run), str(folder), 60, 4)) as origin:
        yield origin


def test_the_wheel_is_downloaded_once_for_all_of_its_files_and_removed(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(make=wheel)
    with pip_origin(host, tmp_path) as origin:
        assert read(origin) == b"content"
        assert read(origin, PipSource("a-model", "1.0", "a_model/n.bin")) == b"more"
    assert host.asked_for() == [None]
    assert not list(tmp_path.iterdir())


def test_threads_that_want_the_wheel_at_once_have_it_downloaded_once(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(make=wheel)
    together = threading.Barrier(4)

    def member(name: str) -> bytes:
        together.wait()
        return read(origin, PipSource("a-model", "1.0", f"a_model/{name}.bin"))

    with pip_origin(host, tmp_path) as origin, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(member, ["m", "n", "m", "n"])) == [b"content", b"more", b"content", b"more"]
    assert host.asked_for() == [None]


def test_a_wheel_that_cannot_be_had_is_asked_for_once_and_every_file_told_so(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(NO_NETWORK)
    with pip_origin(host, tmp_path) as origin:
        for member in ("a_model/m.bin", "a_model/n.bin"):
            with pytest.raises(ModelError, match=f"pip://a-model==1.0!/{member}: pip cannot download"):
                read(origin, PipSource("a-model", "1.0", member))
    assert host.asked_for() == [None]


def test_asking_for_a_size_downloads_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    host = Host()
    with pip_origin(host, tmp_path) as origin:
        assert origin.probe(SOURCE) == Told(None, "", False)
    assert host.commands == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stop", [0, 3, 7, 99])
def test_a_member_is_served_from_its_beginning_and_no_further_than_asked(tmp_path: Path, stop: int) -> None:
    host = Host()
    host.answer_download(make=wheel)
    with pip_origin(host, tmp_path) as origin, origin.open(SOURCE, 2, stop, "validator") as stream:
        assert (stream.offset, stream.told.ranges) == (0, False)
        buffer = bytearray(20)
        count = stream.readinto(memoryview(buffer))
        assert bytes(buffer[:count]) == b"content"[:stop]
        assert stream.readinto(memoryview(buffer)) == 0


def test_a_wheel_for_another_python_serves_where_the_host_has_none(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(NO_MATCH)
    host.answer_download(NO_MATCH)
    host.answer_download(make=wheel)
    with pip_origin(host, tmp_path) as origin:
        assert read(origin) == b"content"
    assert host.asked_for() == [None, "3.13", "3.12"]


def test_when_no_python_has_a_wheel_what_pip_said_first_is_reported(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(NO_MATCH.replace("none", "0.9"))
    for _target in targets("x86_64")[1:]:
        host.answer_download(NO_MATCH)
    with pip_origin(host, tmp_path) as origin, pytest.raises(ModelError) as caught:
        read(origin)
    assert "pip finds no wheel of a-model==1.0" in str(caught.value)
    assert "(from versions: 0.9)" in str(caught.value)
    assert host.downloads == []


@pytest.mark.parametrize(
    ("stderr", "reason", "says"),
    [
        (NO_NETWORK, "unavailable", "check its index, proxy and certificate"),
        ("ERROR: HTTP error 401 Client Error: no for url https://me:hunter2@h/simple", "unavailable", "***@h"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "no_space",
            "wheel",
        ),
        ("", "unavailable", "nothing (code 1)"),
    ],
)
def test_a_pip_that_cannot_reach_its_index_is_asked_once(tmp_path: Path, stderr: str, reason: str, says: str) -> None:
    host = Host()
    host.answer_download(stderr)
    with pip_origin(host, tmp_path) as origin, pytest.raises(ModelError) as caught:
        read(origin)
    assert caught.value.reason == reason
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert host.asked_for() == [None]


def test_a_missing_member_is_reported_with_those_of_that_name(tmp_path: Path) -> None:
    host = Host()
    host.answer_download(make=lambda folder: wheel(folder, {"other/m.bin": b"", "a_model/": b""}))
    with pip_origin(host, tmp_path) as origin:
        with pytest.raises(ModelError, match=r"no file 'a_model/m\.bin'; there is other/m\.bin"):
            read(origin)
        with pytest.raises(ModelError, match=r"no file 'a_model/'$"):
            read(origin, PipSource("a-model", "1.0", "a_model/"))


def damage_data(folder: str) -> None:
    wheel(folder)
    path = Path(folder, "a_model-1.0-py3-none-any.whl")
    content = bytearray(path.read_bytes())
    content[content.index(b"a_model/m.bin") + len(b"a_model/m.bin")] ^= 0xFF
    path.write_bytes(content)


def damage_archive(folder: str) -> None:
    Path(folder, "a_model-1.0-py3-none-any.whl").write_bytes(b"<html>Sign in</html>")


@pytest.mark.parametrize("damage", [damage_data, damage_archive])
def test_a_damaged_wheel_is_reported(tmp_path: Path, damage: t.Callable[[str], None]) -> None:
    host = Host()
    host.answer_download(make=damage)
    with pip_origin(host, tmp_path) as origin, pytest.raises(ModelError, match="is damaged"):
        read(origin)


def test_the_command_names_no_index_runs_no_shell_and_cannot_take_the_requirement_for_an_option() -> None:
    command = download_command(OWN, "a==1", "/d", None, timeout=0.4, retries=2)
    assert command[:4] == [*OWN, "download"]
    assert command[-2:] == ["--", "a==1"]
    assert command[command.index("--timeout") + 1] == "1"
    assert command[command.index("--retries") + 1] == "2"
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert {"--no-deps", "--no-cache-dir", "--no-input"} < set(command)
    assert not [word for word in command if "index" in word]


def test_another_python_is_asked_for_with_its_tags_the_own_processor_first() -> None:
    first, second = targets("aarch64")[:2]
    assert first is None
    assert second is not None
    options = second.options()
    platforms = [options[i + 1] for i, word in enumerate(options) if word == "--platform"]
    assert options[options.index("--abi") + 1] == "cp313"
    assert platforms.index("manylinux2014_aarch64") < platforms.index("manylinux2014_x86_64")
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_aarch64", "linux_aarch64"} < set(platforms)


def test_pip_speaks_english_and_writes_where_space_was_checked() -> None:
    assert environment("/store/partial/x") == {
        "LC_ALL": "C",
        "TMPDIR": "/store/partial/x",
        "PIP_REQUIRE_VIRTUALENV": "0",
    }


PIPS = [
    pytest.param(lambda _program: True, OWN, id="the interpreter's own first"),
    pytest.param(lambda program: program == "/usr/bin/python3", ["/usr/bin/python3", "-m", "pip"], id="the system's"),
    pytest.param(lambda program: program == "/opt/bin/pip3", ["/opt/bin/pip3"], id="an executable"),
]


@pytest.mark.parametrize(("has_pip", "command"), PIPS)
def test_a_pip_is_found(
    has_pip: t.Callable[[str], bool], command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/bin/{name}")
    pip = HostPip(Host(has_pip).run)
    pip.require()
    assert pip.command(str(tmp_path)) == command


def test_pip_is_looked_for_once() -> None:
    host = Host()
    pip = HostPip(host.run)
    pip.require()
    pip.require()
    assert len(host.commands) == 1


def test_without_pip_ensurepip_makes_one_in_the_given_folder(tmp_path: Path) -> None:
    host = Host(lambda _program: False, ensurepip=True)
    assert HostPip(host.run).command(str(tmp_path)) == [f"{tmp_path}/venv/bin/python", "-m", "pip"]
    assert host.commands[-1] == [sys.executable, "-m", "venv", f"{tmp_path}/venv"]


def test_without_any_pip_the_way_out_is_named() -> None:
    with pytest.raises(ModelError, match="apt-get install python3-pip") as caught:
        HostPip(Host(lambda _program: False).run).require()
    assert caught.value.reason == "pip_missing"
