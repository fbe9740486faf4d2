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

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_images import (
    Content,
    Found,
    absent,
    fetch,
    known_content,
    look,
    save_images,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import image_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Answer
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import sha256

Members = list[tuple[str, t.Union[bytes, str]]]  # a text is what a link leads to


def layer(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("opt/file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


BASE, OWN = layer(b"base" * 1000), layer(b"own")


def config(*layers: bytes) -> bytes:
    # Spaces and order of an engine's own: it must come through byte for byte.
    return json.dumps(
        {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(one)}" for one in layers]}, "os": "linux"}, indent=1
    ).encode()


CONFIG = config(BASE, OWN, BASE)
ENTRY = {"RepoTags": ["demo/api:1"]}


def archive(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def old_docker() -> bytes:
    """What Docker saves until 24: a folder for each layer, a link for one that is there twice."""
    names = ["1/layer.tar", "2/layer.tar", "3/layer.tar"]
    manifest = json.dumps([{**ENTRY, "Config": f"{sha256(CONFIG)}.json", "Layers": names}]).encode()
    members: Members = [("1/VERSION", b"1.0"), ("1/json", b"{}"), ("1/layer.tar", BASE), ("2/layer.tar", OWN)]
    members += [("3/layer.tar", "../1/layer.tar"), (f"{sha256(CONFIG)}.json", CONFIG), ("manifest.json", manifest)]
    return archive(members)


def new_docker(packed: bool, index: list[dict[str, t.Any]]) -> bytes:
    """What Docker saves from 25 on: the OCI's layout; in the containerd store layers may be packed."""
    blobs = [gzip.compress(one, mtime=0) if packed else one for one in (BASE, OWN)]
    names = [f"blobs/sha256/{sha256(one)}" for one in blobs]
    entry: dict[str, t.Any] = {
        **ENTRY,
        "Config": f"blobs/sha256/{sha256(CONFIG)}",
        "Layers": [names[0], names[1], names[0]],
    }
    members: Members = list(zip(names, blobs))
    members += [
        (entry["Config"], CONFIG),
        ("index.json", json.dumps({"manifests": index}).encode()),
        ("manifest.json", json.dumps([entry]).encode()),
        ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    ]
    return archive(members)


OF_CONFIG = f"sha256:{sha256(CONFIG)}"
OF_MANIFEST = f"sha256:{'d' * 64}"


def found(id_: str = OF_CONFIG, layers: t.Sequence[bytes] = (BASE, OWN, BASE)) -> Found:
    return Found("demo/api:1", "demo/api:1", id_, tuple(map(sha256, layers)), 5_000)


@pytest.fixture(name="docker")
def docker_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Put a docker command on PATH that saves what it is told to, and notes what it was asked for."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def install(saved: bytes, more: str = "") -> None:
        (tmp_path / "saved").write_bytes(saved)
        command = tmp_path / "bin" / "docker"
        command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/saved\n{more}\n')
        command.chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("saved", "id_"),
    [
        (old_docker(), OF_CONFIG),
        (new_docker(False, [{"digest": "sha256:1"}]), OF_CONFIG),
        (new_docker(True, [{"digest": OF_MANIFEST}]), OF_MANIFEST),
    ],
    ids=["Docker 20.10", "Docker 25", "containerd's store"],
)
@pytest.mark.parametrize("kept", [True, False])
def test_every_layout_gives_the_same_blobs(
    saved: bytes, id_: str, kept: bool, tmp_path: Path, docker: t.Callable[..., None]
) -> None:
    docker(saved)
    folder = tmp_path / "scratch"
    folder.mkdir()
    (content,), blobs = save_images([found(id_)], str(folder) if kept else None)
    layers = tuple((sha256(one), len(one)) for one in (BASE, OWN, BASE))
    assert content == Content("demo/api:1", (sha256(CONFIG), len(CONFIG)), layers)
    assert content.manifest == image_manifest((sha256(CONFIG), len(CONFIG)), layers)
    assert {blob.sha256: blob.size for blob in blobs} == {sha256(one): len(one) for one in (CONFIG, BASE, OWN)}
    assert len(list(folder.iterdir())) == (2 if kept else 0)
    given = {b"".join(blob.source()) for blob in blobs}
    assert given == ({CONFIG, BASE, OWN} if kept else {CONFIG, b""})
    assert list(folder.iterdir()) == []  # a builder's disk takes each layer for as long as it must


def test_all_images_come_in_one_archive_each_once(docker: t.Callable[..., None], tmp_path: Path) -> None:
    docker(old_docker())
    again = Found("demo/web:1", "demo/api:1", OF_CONFIG, found().diff_ids, 0)
    contents, blobs = save_images([found(), again], None)
    assert [content.reference for content in contents] == ["demo/api:1", "demo/web:1"]
    assert len(blobs) == 3
    assert (tmp_path / "asked").read_text() == "image save -- demo/api:1\n"


def test_nothing_to_save_asks_nobody(docker: t.Callable[..., None], tmp_path: Path) -> None:
    docker(b"")
    assert save_images([], None) == ([], [])
    assert not (tmp_path / "asked").exists()


FLIPPED = bytearray(old_docker())
FLIPPED[FLIPPED.index(b"basebase")] ^= 1


@pytest.mark.parametrize(
    ("saved", "more", "image", "reason", "said"),
    [
        (bytes(FLIPPED), "", found(), "blob_corrupt", "other content than its diff id"),
        (old_docker(), "", found(OF_MANIFEST), "image_unavailable", "was replaced meanwhile"),
        (old_docker(), "", found(layers=(BASE, OWN)), "image_unavailable", "was replaced while"),
        (old_docker()[:3000], "", found(), "image_unavailable", "cannot be read"),
        (b"", "", found(), "image_unavailable", "cannot be read"),
        (old_docker()[:3000], "echo no space left >&2; exit 1", found(), "image_unavailable", "no space left"),
        (b"", "echo Cannot connect to the Docker daemon >&2; exit 1", found(), "image_unavailable", "start it"),
        (archive([("a/layer.tar", b"\x28\xb5\x2f\xfd" + bytes(600))]), "", found(), "image_unavailable", "zstd"),
    ],
    ids=["flipped", "other image", "other layers", "half", "empty", "disk full", "no engine", "zstd"],
)
def test_what_is_not_the_image_is_refused(
    saved: bytes, more: str, image: Found, reason: str, said: str, docker: t.Callable[..., None]
) -> None:
    docker(saved, more)
    with pytest.raises(DepotError) as caught:
        save_images([image], None)
    assert said in str(caught.value)
    assert caught.value.reason == reason


def test_the_builders_own_disk_is_not_filled(docker: t.Callable[..., None], tmp_path: Path) -> None:
    docker(old_docker())
    large = Found("demo/api:1", "demo/api:1", OF_CONFIG, found().diff_ids, 1 << 60)
    with pytest.raises(DepotError, match="remote_tmp") as caught:
        save_images([large], str(tmp_path))
    assert caught.value.reason == "no_space"


def test_an_image_is_known_only_if_every_blob_is() -> None:
    sizes = {sha256(one): len(one) for one in (CONFIG, BASE, OWN)}
    known = known_content(found(), sizes)
    assert known is not None
    assert known.config == (sha256(CONFIG), len(CONFIG))
    assert known.layers == tuple((sha256(one), len(one)) for one in (BASE, OWN, BASE))
    assert known_content(found(OF_MANIFEST), sizes) is None
    for one in (CONFIG, BASE, OWN):
        assert known_content(found(), {key: size for key, size in sizes.items() if key != sha256(one)}) is None


def raw(architecture: str, **more: t.Any) -> dict[str, t.Any]:
    return {"Id": f"id-{architecture}", "Os": "linux", "Architecture": architecture, "Size": 7, **more}


IMAGES = {
    "demo/api:1": raw("amd64", RootFS={"Layers": ["sha256:1"]}),
    "demo/api:1-arm64": raw("arm64", RootFS={"Layers": ["sha256:2"]}),
    "redis:7": raw("arm64", Variant="v8"),
    "scratch:1": raw("amd64", RootFS={"Layers": None}),
}


@pytest.mark.parametrize(
    ("reference", "architecture", "name", "layers"),
    [
        ("demo/api:1", "amd64", "demo/api:1", ("1",)),
        ("demo/api:1", "arm64", "demo/api:1-arm64", ("2",)),
        ("redis:7", "arm64", "redis:7", ()),
        ("scratch:1", "amd64", "scratch:1", ()),
    ],
)
def test_the_image_for_the_architecture_is_taken(
    reference: str, architecture: str, name: str, layers: tuple[str, ...]
) -> None:
    (image,) = look(
        [reference, reference], architecture, lambda names: {one: IMAGES[one] for one in names if one in IMAGES}
    )
    assert (image.reference, image.name, image.diff_ids) == (reference, name, layers)


@pytest.mark.parametrize(
    ("reference", "architecture", "said"),
    [
        ("gone:1", "amd64", "is not on this host"),
        ("redis:7", "amd64", "is for linux/arm64, and the depot is for linux/amd64"),
        ("demo/api:1", "armhf", r"platforms: \[linux/arm/v7\]"),
        (f"redis@sha256:{'a' * 64}", "amd64", "docker pull"),
    ],
)
def test_an_image_that_the_host_lacks_is_named_with_the_way_out(reference: str, architecture: str, said: str) -> None:
    with pytest.raises(DepotError, match=said) as caught:
        look([reference], architecture, lambda names: {one: IMAGES[one] for one in names if one in IMAGES})
    assert caught.value.reason == "image_unavailable"


class Registry:
    """An engine that pulls what a registry has, and notes what it was asked."""

    def __init__(self, has: t.Iterable[str], offers: t.Iterable[str] = ()) -> None:
        self.images = {name: raw("amd64") for name in has}
        self.offers = set(offers)
        self.asked: list[str] = []

    def ask(self, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        return {name: self.images[name] for name in names if name in self.images}

    def run(self, argv: list[str]) -> Answer:
        self.asked.append(" ".join(argv[1:3] if argv[1] == "image" else argv[1:2]))
        if argv[1] == "pull" and argv[-1] not in self.offers:
            return Answer(1, "", "no route to host")
        return Answer(0, "", "")


PINNED = "mongo:8.0@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("has", "lacking", "asked"),
    [
        pytest.param(["mongo:8.0-000000000000"], [], [], id="there"),
        pytest.param([PINNED], ["mongo:8.0-000000000000"], ["image tag"], id="there under its digest"),
        pytest.param([], ["mongo:8.0-000000000000"], ["pull", "image tag"], id="not there"),
    ],
)
def test_what_is_not_built_is_pulled_once_and_named(has: list[str], lacking: list[str], asked: list[str]) -> None:
    registry = Registry(has, [PINNED])
    assert fetch({"mongo:8.0-000000000000": PINNED}, "amd64", False, registry.ask, registry.run) == lacking
    assert registry.asked == asked


def test_check_mode_tells_what_would_be_pulled() -> None:
    registry = Registry([], ["redis:8"])
    assert fetch({"redis:8": "redis:8"}, "amd64", True, registry.ask, registry.run) == ["redis:8"]
    assert registry.asked == []


def test_what_cannot_be_pulled_is_refused_with_the_engines_words() -> None:
    registry = Registry([])
    with pytest.raises(DepotError, match="no route to host") as refusal:
        fetch({"redis:8": "redis:8"}, "amd64", False, registry.ask, registry.run)
    assert refusal.value.reason == "image_unavailable"


def test_images_that_would_be_built_first_are_told() -> None:
    registry = Registry(["demo/api:1", "demo/web:1-arm64"])
    assert absent(["demo/api:1", "demo/db:1"], "amd64", registry.ask) == ["demo/db:1"]
    assert absent(["demo/web:1"], "arm64", registry.ask) == []
