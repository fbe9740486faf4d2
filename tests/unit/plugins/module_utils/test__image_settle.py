# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import json
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _image_settle
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import Layer
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import ImageEngineError
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_settle import (
    ImageSettleError,
    settle_image,
    settled_config,
)

EPOCH = 1_735_689_600
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"User": "1"},
    "created": "2026-11-24T10:00:00.5Z",
    "container": "x",
    "moby.buildkit.buildinfo.v1": "x",
    "history": [{"created": "2020-01-01T00:00:00Z"}, {"created": "2026-11-24T10:00:00Z", "empty_layer": True}, {}],
    "rootfs": {"type": "layers", "diff_ids": ["sha256:base", "sha256:own"]},
}


def layer(time: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (("opt", tarfile.DIRTYPE), ("opt/file", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.uname = kind, time, "builder"
            entry.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"hello"))
    return buffer.getvalue()


def saved(layers: t.Sequence[tuple[str, bytes]], link: tuple[str, str] | None = None) -> bytes:
    """The archive that docker image save writes."""
    buffer = io.BytesIO()
    names = [name for name, _content in layers] + ([link[0]] if link else [])
    manifest = [{"Config": "config.json", "Layers": names}]
    documents = [("config.json", json.dumps(CONFIG).encode()), ("manifest.json", json.dumps(manifest).encode())]
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in [*layers, *documents]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link[0])
            entry.type, entry.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(entry)
    return buffer.getvalue()


class Host:
    """A docker command that saves what it is told to; `loaded` is what got loaded: layers, and the configuration."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.loaded: list[tuple[list[tuple[str, bytes]], dict[str, t.Any]]] = []
        self.refuses = 0
        (folder / "bin").mkdir()
        self.docker("cat $(dirname $0)/../saved")
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        monkeypatch.setattr(_image_settle, "load_image", self._load)

    def docker(self, script: str) -> None:
        (self.folder / "bin" / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / "docker").chmod(0o755)

    def settle(self, archive: bytes) -> str:
        (self.folder / "saved").write_bytes(archive)
        return settle_image("sha256:built", EPOCH, str(self.folder))

    def _load(self, layers: t.Sequence[Layer], config: bytes) -> str:
        contents = [(one.digest, Path(one.path).read_bytes() if one.path else b"") for one in layers]
        self.loaded.append((contents, json.loads(config)))
        if self.refuses:
            self.refuses -= 1
            raise ImageEngineError("refused")
        return "sha256:settled"


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_later_times_become_the_epoch_and_what_has_none_is_not_sent(host: Host) -> None:
    assert host.settle(saved([("a/layer.tar", layer(5)), ("b/layer.tar", layer(EPOCH + 9))])) == "sha256:settled"
    ((layers, config),) = host.loaded
    assert layers[0] == ("base", b"")
    with tarfile.open(fileobj=io.BytesIO(layers[1][1])) as tar:
        found = {entry.name: (entry.mtime, entry.uname) for entry in tar}
        assert t.cast("t.IO[bytes]", tar.extractfile("opt/file")).read() == b"hello"
    assert found == {"opt": (EPOCH, ""), "opt/file": (EPOCH, "")}
    assert config["rootfs"]["diff_ids"] == ["sha256:base", f"sha256:{layers[1][0]}"]
    assert [entry.name for entry in host.folder.iterdir() if entry.name.startswith("image-settle")] == []


def test_two_builds_at_two_times_become_the_same(host: Host) -> None:
    for later in (1, 1000):
        host.settle(saved([("a/layer.tar", layer(5)), ("b/layer.tar", layer(EPOCH + later))]))
    assert host.loaded[0] == host.loaded[1]


def test_a_store_that_wants_every_layer_gets_it(host: Host) -> None:
    host.refuses = 1
    assert host.settle(saved([("a/layer.tar", layer(5)), ("b/layer.tar", layer(6))])) == "sha256:settled"
    assert [content for _digest, content in host.loaded[1][0]] == [layer(5), layer(6)]


def test_packed_layers_and_layers_that_are_there_twice_are_read(host: Host) -> None:
    host.settle(saved([("blobs/sha256/a", gzip.compress(layer(EPOCH + 1)))], ("blobs/sha256/b", "a")))
    layers = host.loaded[0][0]
    assert len(layers) == 2
    assert layers[0] == layers[1]


def test_the_configuration_says_nothing_of_the_build() -> None:
    config = json.loads(settled_config(CONFIG, ["sha256:x"], EPOCH))
    assert set(config) == {"architecture", "os", "config", "created", "history", "rootfs"}
    assert config["created"] == "2025-01-01T00:00:00Z"
    assert [step["created"] for step in config["history"]] == [
        "2020-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z",
    ]


def test_half_an_archive_is_refused_and_nothing_is_loaded(host: Host) -> None:
    with pytest.raises(ImageSettleError, match="cannot be read"):
        host.settle(saved([("a/layer.tar", layer(5))])[:2000])
    assert host.loaded == []


def test_what_the_engine_says_is_told(host: Host) -> None:
    host.docker("echo boom >&2; exit 1")
    with pytest.raises(ImageEngineError, match=r"docker image save failed .*boom"):
        host.settle(b"")
