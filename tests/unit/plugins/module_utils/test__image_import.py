# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _image_import
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Engine, ImageEngineError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_import import (
    ImageImportError,
    Order,
    import_base,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import Recipe

ID = f"sha256:{'0' * 64}"
RECIPE = Recipe("trixie", ("netbase",), environment={"PATH": "/usr/bin", "GREETING": 'say "$HOME" \\'})


def archive(size: int = 10) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("./etc/netbase")
        info.size = size
        tar.addfile(info, io.BytesIO(b"x" * size))
    return buffer.getvalue()


class Host(Engine):
    """A host whose commands mmdebstrap and docker are scripts; `tagged` is what got a reference."""

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda argv: pytest.fail(f"unexpected command {argv}"))
        self.tagged: list[tuple[str, str]] = []
        self.image = folder / "image"
        self.work = folder / "work"
        self.commands = folder / "bin"
        self.archive = folder / "archive"
        for made in (self.work, self.commands):
            made.mkdir()
        self.archive.write_bytes(archive())
        self.mmdebstrap(f"cat {self.archive}")
        self.docker(f"cat >{self.image}; echo Loaded image ID: {ID}")

    def tag(self, image: str, reference: str) -> None:
        self.tagged.append((image, reference))

    def make(self, **changes: t.Any) -> None:
        import_base(self, self.order(**changes))

    def mmdebstrap(self, script: str) -> None:
        self._write("mmdebstrap", script)

    def docker(self, script: str) -> None:
        self._write("docker", script)

    def _write(self, name: str, script: str) -> None:
        command = self.commands / name
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)

    def order(self, **changes: t.Any) -> Order:
        values = {"reference": "stack/base:1", "recipe": RECIPE, "labels": {}, "mirror": None, **changes}
        return Order(**{"work_directory": str(self.work), **values})

    @property
    def names(self) -> list[str]:
        """The paths in the layer of the image that docker was given."""
        with tarfile.open(self.image) as image:
            layer = next(member for member in image if member.name.endswith("/layer.tar"))
            with tarfile.open(fileobj=image.extractfile(layer)) as tar:
                return tar.getnames()

    def member(self, pattern: str) -> t.Any:
        """A JSON document of the image that docker was given."""
        with tarfile.open(self.image) as image:
            found = next(member for member in image if re.fullmatch(pattern, member.name))
            return json.load(t.cast("t.IO[bytes]", image.extractfile(found)))


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{host.commands}:/usr/bin:/bin")
    return host


def test_the_image_has_labels_variables_and_a_time_that_does_not_change(host: Host) -> None:
    host.make(labels={"b": "2", "a": "1 1"})
    config = host.member(r"[0-9a-f]{64}\.json")
    assert config["config"] == {"Env": ["PATH=/usr/bin", 'GREETING=say "$HOME" \\'], "Labels": {"a": "1 1", "b": "2"}}
    assert config["created"] == "2025-01-01T00:00:00Z"
    assert config["history"] == [
        {"created": "2025-01-01T00:00:00Z", "created_by": "stack/base:1 of Debian trixie"},
    ]


def test_a_foreign_base_is_of_foreign_packages_and_says_so(host: Host) -> None:
    host.mmdebstrap(f'echo "$@" >{host.work}/told; cat {host.archive}')
    host.make(foreign=PLATFORMS[2])
    assert "--architectures=armhf" in (host.work / "told").read_text()
    config = host.member(r"[0-9a-f]{64}\.json")
    assert (config["architecture"], config["variant"]) == ("arm", "v7")


def test_the_same_packages_give_the_same_image_to_the_byte(host: Host) -> None:
    host.make()
    first = host.image.read_bytes()
    host.make()
    assert host.image.read_bytes() == first


def test_what_was_unpacked_is_imported_and_then_gets_its_reference(host: Host) -> None:
    host.make()
    assert host.tagged == [(ID, "stack/base:1")]
    assert host.names == ["etc", "etc/netbase"]


def test_packages_are_unpacked_in_a_folder_of_the_work_directory_that_goes_afterwards(host: Host) -> None:
    host.mmdebstrap(f'echo "$TMPDIR" >{host.work}/told; touch "$TMPDIR/left"; cat {host.archive}')
    host.make()
    told = Path((host.work / "told").read_text().strip())
    assert told.parent == host.work
    assert os.listdir(host.work) == ["told"]


FAILURES = [
    pytest.param("echo 'E: Unable to locate package x' >&2; exit 25", "has no package x", id="before anything came"),
    pytest.param("head -c 700 {archive}; echo 'E: boom' >&2; exit 1", "E: boom", id="in the middle"),
    pytest.param("cat {archive}; echo 'E: boom' >&2; exit 1", "E: boom", id="after everything came"),
    pytest.param("head -c 700 {archive}; kill -9 $$", "mmdebstrap said:\n  nothing", id="killed"),
    pytest.param("echo this is no archive", "mmdebstrap said:\n  nothing", id="something else came"),
]


@pytest.mark.parametrize(("script", "message"), FAILURES)
def test_when_mmdebstrap_fails_nothing_gets_the_reference_and_nothing_is_left(
    host: Host, script: str, message: str
) -> None:
    host.archive.write_bytes(archive(100_000))
    host.mmdebstrap(script.format(archive=host.archive))
    with pytest.raises(ImageImportError, match=f"(?s)stack/base:1 cannot be made: .*{message}"):
        host.make()
    assert host.tagged == []
    assert os.listdir(host.work) == []


def test_when_the_recipe_does_not_fit_nothing_gets_the_reference(host: Host) -> None:
    recipe = Recipe("trixie", ("netbase",), rename={"/usr/bin/busybox": "/usr/bin/wget"})
    with pytest.raises(ImageImportError, match="stack/base:1 cannot be made: rename: the packages have no file"):
        host.make(recipe=recipe)
    assert host.tagged == []


ENGINE_FAILURES = [
    pytest.param("cat >/dev/null; echo boom >&2; exit 1", id="at the end"),
    pytest.param("echo boom >&2; exit 1", id="at once"),
    pytest.param("head -c 100 >/dev/null; echo boom; exit 0", id="before the end, in good order"),
]


@pytest.mark.parametrize("script", ENGINE_FAILURES)
def test_when_the_engine_refuses_its_words_are_told(host: Host, script: str) -> None:
    host.archive.write_bytes(archive(10_000_000))
    host.docker(script)
    with pytest.raises(ImageEngineError, match=r"docker image load failed .*boom"):
        host.make()
    assert host.tagged == []
    assert os.listdir(host.work) == []


def test_what_follows_the_archive_does_not_keep_mmdebstrap_from_its_end(host: Host) -> None:
    host.mmdebstrap(f"cat {host.archive}; head -c 1000000 /dev/zero")
    host.make()
    assert len(host.tagged) == 1


def test_mmdebstrap_is_ended_when_the_recipe_does_not_fit_though_it_has_more_to_say(host: Host) -> None:
    host.archive.write_bytes(archive(10_000_000))
    host.mmdebstrap(f"set -e; cat {host.archive}; cat {host.archive}; touch {host.work}/ended")
    recipe = Recipe("trixie", ("netbase",), rename={"/usr/bin/busybox": "/usr/bin/wget"})
    with pytest.raises(ImageImportError):
        host.make(recipe=recipe)
    assert os.listdir(host.work) == []


@pytest.mark.parametrize("command", ["mmdebstrap", "docker"])
def test_a_missing_command_is_named(host: Host, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host.mmdebstrap(f"/bin/cat {host.archive}")
    (host.commands / command).unlink()
    monkeypatch.setenv("PATH", str(host.commands))
    with pytest.raises(ImageImportError, match=f"no {command} command"):
        host.make()


def test_a_full_disk_is_refused_before_anything_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_import, "_NEEDED_BYTES", 10**18)
    with pytest.raises(ImageImportError, match=r"MB left and a base needs .* MB .*set work_directory"):
        host.make()
    assert os.listdir(host.work) == []


def test_a_work_directory_that_is_missing_is_named(host: Host) -> None:
    with pytest.raises(
        ImageImportError, match=r"work_directory /nonexistent cannot be used: No such file or directory"
    ):
        host.make(work_directory="/nonexistent")
