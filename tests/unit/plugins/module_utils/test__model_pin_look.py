# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Origin, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origins import make_origin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin import HubRequest, PinRequest
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin_look import (
    Pinned,
    Pinner,
    read_text,
    replace_text,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source, parse_source
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._hub import (
    COMMIT,
    Hub,
    Repo,
    digest_of,
    fake_hub,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._registry import (
    entry,
    layer,
    make_depot,
    manifest,
)

WEIGHTS, CONFIG = b"weights" * 1000, b'{"layers": 12}'
FILES = {"model.safetensors": WEIGHTS, "config.json": CONFIG, ".gitattributes": b"*"}


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Hub]:
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with fake_hub({"org/model": Repo(FILES, frozenset({"model.safetensors"}))}) as hub:
        yield hub


def source(text: str) -> Source:
    return parse_source(text, "test")


def no_commands(command: t.Sequence[str], _folder: str) -> t.Any:
    raise AssertionError(f"nothing here needs {command}")


def pin(running: Hub | None, **asked: t.Any) -> Pinned:
    network = Network(hub_url=running.web.url if running else "http://127.0.0.1:1")

    def make(wanted: Source) -> Origin:
        return make_origin(wanted, network, HostPip(no_commands), "/nonexistent", 0)

    with contextlib.closing(Pinner(make, Retry(count=0))) as pinner:
        return pinner.pin(PinRequest("speech", "1", **asked))


def test_a_branch_of_the_hub_is_pinned_at_its_commit_and_only_small_files_are_read(hub: Hub) -> None:
    pinned = pin(hub, hub=HubRequest("org/model", "main", (), (".gitattributes",)))
    assert [(pin.path, pin.sha256, pin.size, pin.digest_from) for pin in pinned.files] == [
        ("config.json", digest_of(CONFIG), len(CONFIG), "computed"),
        ("model.safetensors", digest_of(WEIGHTS), len(WEIGHTS), "announced"),
    ]
    assert pinned.files[1].sources[0].shown == f"hf://org/model@{COMMIT}/model.safetensors"
    assert (pinned.commits, pinned.bytes_read) == ({"org/model": COMMIT}, len(CONFIG))
    assert hub.storage.requests == []


def test_a_source_on_the_hub_is_pinned_at_the_commit_too(hub: Hub) -> None:
    (file,) = pin(hub, sources=(source("hf://org/model@v1.0/config.json"),)).files
    assert file.sources[0].shown == f"hf://org/model@{COMMIT}/config.json"


def test_an_artifact_in_a_depot_is_pinned_whole_without_reading_its_files(tmp_path: Path) -> None:
    artifact = manifest(layer(WEIGHTS, "model.safetensors"), layer(CONFIG, "sub/config.json"))
    depot = make_depot(tmp_path / "depot", [artifact, WEIGHTS, CONFIG], entry(artifact, "speech-1"))
    pinned = pin(None, sources=(source(f"depot://{depot}!/speech-1"),))
    assert [(pin.path, pin.sha256, pin.digest_from) for pin in pinned.files] == [
        ("model.safetensors", digest_of(WEIGHTS), "announced"),
        ("sub/config.json", digest_of(CONFIG), "announced"),
    ]
    assert pinned.files[1].sources[0].shown == f"depot://{depot}!/speech-1!/sub/config.json"
    assert pinned.bytes_read == 0


def test_a_file_that_nobody_announces_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(WEIGHTS)
    pinned = pin(None, sources=(source(f"file://{tmp_path}/m.bin"),))
    assert [(pin.path, pin.sha256, pin.digest_from) for pin in pinned.files] == [
        ("m.bin", digest_of(WEIGHTS), "computed")
    ]
    assert pinned.bytes_read == len(WEIGHTS)


def test_sources_of_one_file_are_compared_and_an_announced_digest_saves_reading(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(WEIGHTS)
    sources = (source(f"file://{tmp_path}/m.bin"), source(f"hf://org/model@{COMMIT}/model.safetensors"))
    pinned = pin(hub, named=(("m.bin", sources),))
    assert (pinned.files[0].digest_from, pinned.bytes_read, pinned.warnings) == ("announced", 0, ())
    assert pinned.files[0].sources == sources


@pytest.mark.parametrize(
    ("mirror", "announced", "reason", "says"),
    [
        pytest.param(b"short", None, "size_mismatch", "m has 5 bytes, .*safetensors has 7000 bytes", id="sizes"),
        pytest.param(b"x" * 7000, "", "digest_mismatch", "m has sha256 .*safetensors has sha256 ffff", id="digests"),
    ],
)
def test_sources_that_contradict_each_other_are_refused(
    hub: Hub, tmp_path: Path, mirror: bytes, announced: str | None, reason: str, says: str
) -> None:
    artifact = manifest(layer(mirror, "m"))
    depot = make_depot(tmp_path / "depot", [artifact, mirror], entry(artifact, "v1"))
    if announced is not None:
        hub.repos["org/model"].announced["model.safetensors"] = "f" * 64
    sources = (source(f"depot://{depot}!/v1!/m"), source(f"hf://org/model@{COMMIT}/model.safetensors"))
    with pytest.raises(ModelError, match=says) as caught:
        pin(hub, named=(("m.bin", sources),))
    assert caught.value.reason == reason


def test_bytes_that_are_not_as_many_as_another_source_announces_are_refused(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"{}")
    sources = (source(f"hf://org/model@{COMMIT}/config.json"), source(f"file://{tmp_path}/m"))
    with pytest.raises(ModelError, match="its sources are not one file") as caught:
        pin(hub, named=(("m.bin", sources),))
    assert caught.value.reason == "size_mismatch"


def test_a_source_that_is_not_here_is_pinned_with_a_warning(hub: Hub) -> None:
    sources = (source("depot:///media/stick!/v1!/m"), source(f"hf://org/model@{COMMIT}/config.json"))
    pinned = pin(hub, named=(("m.json", sources),))
    assert pinned.files[0].sources == sources
    assert pinned.files[0].sha256 == digest_of(CONFIG)
    assert "m.json: a source could not be checked: depot:///media/stick!/v1!/m" in pinned.warnings[0]


def test_a_file_that_no_source_has_is_refused(hub: Hub) -> None:
    with pytest.raises(ModelError, match="file:///nonexistent/m cannot be read") as caught:
        pin(hub, named=(("m", (source("file:///nonexistent/m"),)),))
    assert caught.value.reason == "unavailable"


class Weak:
    """An origin whose connections break: each brings up to so many bytes, of a file of that version."""

    def __init__(self, *connections: tuple[int, str], ranges: bool = True, size: int | None = len(WEIGHTS)) -> None:
        self.opened: list[tuple[int, str]] = []
        self._connections = list(connections)
        self._ranges = ranges
        self._size = size

    def probe(self, _source: Source) -> Told:
        return Told(self._size, "", True)

    @contextlib.contextmanager
    def open(self, _source: Source, start: int = 0, _stop: int | None = None, validator: str = "") -> t.Iterator[t.Any]:
        self.opened.append((start, validator))
        count, version = self._connections.pop(0)
        offset = start if self._ranges and validator == version else 0
        yield Flow(Told(self._size, version, self._ranges), offset, WEIGHTS[offset : offset + count])

    def close(self) -> None:
        pass


class Flow:
    def __init__(self, told: Told, offset: int, content: bytes) -> None:
        self.told = told
        self.offset = offset
        self._content = content

    def readinto(self, buffer: memoryview) -> int:
        part, self._content = self._content[:1000], self._content[1000:]
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize(
    ("origin", "opened"),
    [
        pytest.param(Weak((3000, "a"), (9000, "a")), [(0, ""), (3000, "a")], id="gone on with"),
        pytest.param(Weak((3000, ""), (9000, "")), [(0, ""), (0, "")], id="without a version"),
        pytest.param(Weak((3000, "a"), (9000, "b")), [(0, ""), (3000, "a")], id="another version"),
        pytest.param(Weak((3000, "a"), (9000, "a"), ranges=False), [(0, ""), (3000, "a")], id="without ranges"),
    ],
)
def test_a_connection_that_breaks_is_made_again_and_the_digest_is_that_of_one_version(
    origin: Weak, opened: list[tuple[int, str]]
) -> None:
    pinner = Pinner(lambda _source: t.cast("Origin", origin), Retry(count=1), sleep=lambda _seconds: None)
    (file,) = pinner.pin(PinRequest("speech", "1", sources=(source("https://h/m"),))).files
    assert (file.sha256, file.size) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    assert origin.opened == opened


def test_a_source_that_keeps_breaking_is_given_up() -> None:
    origin = Weak(*[(3000, "")] * 3)
    pinner = Pinner(lambda _source: t.cast("Origin", origin), Retry(count=2), sleep=lambda _seconds: None)
    with pytest.raises(ModelError, match="ended after 3000 of 7000 bytes") as caught:
        pinner.pin(PinRequest("speech", "1", sources=(source("https://h/m"),)))
    assert caught.value.reason == "truncated"


def test_a_text_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "pins.yml"
    assert read_text(str(path)) is None
    replace_text(str(path), "ü\n")
    assert (read_text(str(path)), path.stat().st_mode & 0o777) == ("ü\n", 0o644)
    path.chmod(0o600)
    replace_text(str(path), "2\n")
    assert (read_text(str(path)), path.stat().st_mode & 0o777) == ("2\n", 0o600)
    assert [file.name for file in tmp_path.iterdir()] == ["pins.yml"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"dest '.*/nope/pins\.yml' cannot be written: No such file"):
        replace_text(f"{tmp_path}/nope/pins.yml", "")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_text(str(tmp_path))
