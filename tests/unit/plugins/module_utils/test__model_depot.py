# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_depot import DepotOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import DepotSource
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._registry import (
    INDEX,
    TAR,
    blob_path,
    digest_of,
    entry,
    index,
    layer,
    make_depot,
    manifest,
)

WEIGHTS, CONFIG = b"weights" * 100, b"{}"
MODEL = manifest(layer(WEIGHTS, "model.safetensors"), layer(CONFIG, "sub/config.json"))
SINGLE = manifest(layer(WEIGHTS))
NESTED = index(entry(MODEL, "inner"))


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Path:
    """A depot with a model by name, one of a single file, and one in an index of its own."""
    blobs = [WEIGHTS, CONFIG, MODEL, SINGLE, NESTED]
    entries = [entry(MODEL, "speech-1"), entry(SINGLE, "single"), entry(NESTED, "outer", INDEX)]
    return make_depot(tmp_path / "depot", blobs, *entries)


def read(source: DepotSource, start: int = 0, stop: int | None = None, origin: DepotOrigin | None = None) -> bytes:
    with (origin or DepotOrigin()).open(source, start, stop) as stream:
        assert stream.offset == start
        content = b""
        buffer = memoryview(bytearray(64))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
    return content


@pytest.mark.parametrize(
    ("name", "path", "content"),
    [
        pytest.param("speech-1", "model.safetensors", WEIGHTS, id="by name"),
        pytest.param("speech-1", "sub/config.json", CONFIG, id="in a folder of the artifact"),
        pytest.param("single", "", WEIGHTS, id="the only file"),
        pytest.param("inner", "sub/config.json", CONFIG, id="by its name in a nested index"),
        pytest.param("outer", "sub/config.json", CONFIG, id="by the nested index's name"),
        pytest.param(digest_of(MODEL), "sub/config.json", CONFIG, id="by the manifest's digest"),
        pytest.param(digest_of(NESTED), "sub/config.json", CONFIG, id="by the index's digest"),
        pytest.param(digest_of(WEIGHTS), "", WEIGHTS, id="by its own digest"),
    ],
)
def test_a_file_is_found_and_announced(depot: Path, name: str, path: str, content: bytes) -> None:
    origin, source = DepotOrigin(), DepotSource(str(depot), name, path)
    assert read(source, origin=origin) == content
    assert origin.probe(source).size == len(content)
    assert f"sha256:{origin.announced_sha256(source)}" == digest_of(content)


def test_a_range_of_a_file_is_read(depot: Path) -> None:
    assert read(DepotSource(str(depot), "single"), 10, 300) == WEIGHTS[10:300]


def test_a_manifest_that_no_index_lists_serves_by_its_digest(tmp_path: Path) -> None:
    depot = make_depot(tmp_path / "depot", [MODEL, CONFIG])
    assert read(DepotSource(str(depot), digest_of(MODEL), "sub/config.json")) == CONFIG


def test_the_files_of_an_artifact_are_named(depot: Path) -> None:
    origin = DepotOrigin()
    assert [source.path for source in origin.files(DepotSource(str(depot), "speech-1"))] == [
        "model.safetensors",
        "sub/config.json",
    ]
    for source in (DepotSource(str(depot), digest_of(WEIGHTS)), DepotSource(str(depot), "speech-1", "x")):
        assert origin.files(source) == (source,)


def tamper(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"config", b"c0nfig"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("blob", "damage", "reason"),
    [
        pytest.param(MODEL, tamper, "digest_mismatch", id="a manifest was changed"),
        pytest.param(MODEL, cut, "size_mismatch", id="a manifest was cut"),
        pytest.param(CONFIG, cut, "size_mismatch", id="a layer was not copied whole"),
        pytest.param(CONFIG, os.unlink, "unavailable", id="a layer is missing"),
        pytest.param(MODEL, os.unlink, "unavailable", id="a manifest is missing"),
    ],
)
def test_a_damaged_depot_is_refused(depot: Path, blob: bytes, damage: t.Callable[[Path], None], reason: str) -> None:
    damage(blob_path(depot, blob))
    with pytest.raises(ModelError) as caught:
        read(DepotSource(str(depot), "speech-1", "sub/config.json"))
    assert caught.value.reason == reason
    assert f"depot://{depot}!/speech-1!/sub/config.json" in str(caught.value)


def test_damage_elsewhere_in_the_depot_does_not_count(depot: Path) -> None:
    tamper(blob_path(depot, NESTED))
    assert read(DepotSource(str(depot), "speech-1", "sub/config.json")) == CONFIG


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("oci-layout", None, "cannot be read"),
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}', "must say imageLayoutVersion 1.0.0, not '2.0.0'"),
        ("oci-layout", "[]", "must say imageLayoutVersion 1.0.0, not None"),
        ("oci-layout", "<html>", "is this a depot"),
        ("oci-layout", " " * 5000, "more than 4096 bytes"),
        ("index.json", None, "cannot be read"),
        ("index.json", "{", "no JSON"),
        ("index.json", '{"layers": [], "mediaType": "application/vnd.oci.image.manifest.v1+json"}', "is no index"),
    ],
)
def test_a_folder_that_is_no_depot_is_refused(depot: Path, name: str, text: str | None, says: str) -> None:
    (depot / name).unlink()
    if text is not None:
        (depot / name).write_text(text)
    with pytest.raises(ModelError, match=says) as caught:
        read(DepotSource(str(depot), "single"))
    assert caught.value.reason == "unavailable"


def test_a_name_that_is_not_there_is_refused_with_those_that_are(depot: Path) -> None:
    with pytest.raises(ModelError, match="nothing named 'nope'; there is speech-1, single, outer, inner"):
        read(DepotSource(str(depot), "nope"))


def test_an_archive_is_refused(tmp_path: Path) -> None:
    packed = manifest(layer(b"tar", "m", TAR))
    depot = make_depot(tmp_path / "depot", [packed, b"tar"], entry(packed, "packed"))
    with pytest.raises(ModelError, match="which is an archive"):
        read(DepotSource(str(depot), "packed"))


def test_a_link_out_of_the_depot_is_not_followed(depot: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONFIG)
    blob_path(depot, CONFIG).unlink()
    blob_path(depot, CONFIG).symlink_to(secret)
    with pytest.raises(ModelError, match="a link that leads out of the depot"):
        read(DepotSource(str(depot), "speech-1", "sub/config.json"))
