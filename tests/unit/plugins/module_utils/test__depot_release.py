# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release manifest: read as it was written, and refused where it cannot be relied on."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    VERSION,
    Image,
    Manifest,
    Model,
    content_id,
    parse_manifest,
    version_key,
)

DIGESTS = {
    name: character * 64 for name, character in zip(("doc", "file", "im", "ic", "il", "mm", "mf", "deb"), "abcdef01")
}
MANIFEST = Manifest(
    fleet="robots",
    stack="shop",
    counter=3,
    created=1_800_000_000,
    minimum_version="0.1.0",
    hardware=("pi5",),
    architecture="arm64",
    release=DIGESTS["doc"],
    files={"compose.yml": DIGESTS["file"]},
    images=(Image("shop/api:1", DIGESTS["im"], DIGESTS["ic"], (DIGESTS["il"],)),),
    models=(Model("words", "1", DIGESTS["mm"], {"words.bin": DIGESTS["mf"]}),),
    packages={"trixie": {"pool/a.deb": DIGESTS["deb"]}},
    runtime={},
    blobs={digest: number for number, digest in enumerate(DIGESTS.values(), 10)},
    assumes=frozenset({DIGESTS["il"]}),
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert parse_manifest(MANIFEST.encode()) == MANIFEST


def test_a_depot_carries_all_but_what_is_assumed() -> None:
    assert set(MANIFEST.blobs) - set(MANIFEST.carried) == {DIGESTS["il"]}
    assert MANIFEST.size == sum(range(10, 18))


def test_blobs_are_in_the_order_in_which_media_are_filled() -> None:
    assert MANIFEST.named == tuple(DIGESTS.values())


def test_the_same_content_is_known_again_whenever_it_is_written() -> None:
    again = dataclasses.replace(MANIFEST, counter=9, created=1, assumes=frozenset())
    assert content_id(again) == content_id(MANIFEST)
    assert content_id(dataclasses.replace(MANIFEST, hardware=())) != content_id(MANIFEST)


def changed(**keys: t.Any) -> bytes:
    return json.dumps({**json.loads(MANIFEST.encode()), **keys}).encode()


def test_the_unchanged_manifest_of_these_cases_is_read() -> None:
    assert parse_manifest(changed()) == MANIFEST


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        pytest.param({"schema": 2}, "schema", id="another schema"),
        pytest.param({"fleet": "../x"}, "fleet", id="a fleet that is a path"),
        pytest.param({"stack": "Shop"}, "stack", id="a stack with capitals"),
        pytest.param({"counter": 0}, "counter", id="a counter below 1"),
        pytest.param({"counter": True}, "counter", id="a counter that is none"),
        pytest.param({"created": "today"}, "created", id="a time in words"),
        pytest.param({"created": 10**18}, "to 253402300799", id="a time that no calendar has"),
        pytest.param({"minimum_version": "latest"}, "minimum_version", id="a version in words"),
        pytest.param({"architecture": "vax"}, "architecture", id="an unknown architecture"),
        pytest.param({"release": "a"}, "release", id="a digest that is none"),
        pytest.param({"files": {"../compose.yml": "a" * 64}}, "files", id="a path that leads out"),
        pytest.param({"files": {"/etc/passwd": "a" * 64}}, "files", id="an absolute path"),
        pytest.param({"files": {"a\\b": "a" * 64}}, "files", id="a path for other systems"),
        pytest.param(
            {"models": [{"name": "..", "version": "1", "manifest": "a" * 64, "files": {}}]}, "models", id="a model"
        ),
        pytest.param(
            {"images": [{"reference": "-v", "manifest": "", "config": "", "layers": []}]}, "images", id="an image"
        ),
        pytest.param({"blobs": {}}, "not among its blobs", id="blobs that are left out"),
        pytest.param({"blobs": {**MANIFEST.blobs, "9" * 64: 1}}, "no part of the release", id="a blob that is nothing"),
        pytest.param({"blobs": {**MANIFEST.blobs, DIGESTS["il"]: -1}}, "blobs", id="a size below 0"),
        pytest.param({"assumes": ["9" * 64]}, "assumed", id="something assumed that is nothing"),
        pytest.param({"assumes": [DIGESTS["doc"]]}, "assumed", id="the document assumed"),
        pytest.param({"images": None}, "TypeError", id="no list of images"),
    ],
)
def test_what_cannot_be_relied_on_is_refused(keys: dict[str, t.Any], names: str) -> None:
    with pytest.raises(DepotError, match="cannot be relied on") as refusal:
        parse_manifest(changed(**keys))
    assert refusal.value.reason == "manifest_invalid"
    assert names in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"\xff"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(DepotError) as refusal:
        parse_manifest(data)
    assert refusal.value.reason == "manifest_invalid"


def test_versions_are_compared_by_number() -> None:
    assert version_key("0.10.0") > version_key("0.9.9")
    assert version_key("1.0.0-rc1") == version_key("1.0.0")


def test_the_version_is_the_collections_own() -> None:
    galaxy = pathlib.Path(__file__).parents[4] / "galaxy.yml"
    assert yaml.safe_load(galaxy.read_text(encoding="utf-8"))["version"] == VERSION
