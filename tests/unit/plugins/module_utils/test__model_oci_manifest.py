# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci_manifest import (
    Index,
    Manifest,
    choose_layer,
    choose_manifest,
    file_paths,
    parse_document,
    verified,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._registry import (
    INDEX,
    MANIFEST,
    OCTETS,
    RAW,
    TAR,
    TITLE,
    digest_of,
    entry,
    index,
    layer,
    manifest,
)

Layer = dict[str, t.Any]
WEIGHTS = layer(b"weights", "model.safetensors")
CONFIG = layer(b"{}", "config.json", "application/vnd.cncf.model.weight.config.v1.raw")


def artifact(*layers: Layer) -> Manifest:
    document = parse_document(manifest(*layers), "shown")
    assert isinstance(document, Manifest)
    return document


@pytest.mark.parametrize(
    ("layers", "path", "content"),
    [
        pytest.param([WEIGHTS, CONFIG], "config.json", b"{}", id="by the model specification's path"),
        pytest.param([WEIGHTS, layer(b"x", "a/b", OCTETS, TITLE)], "a/b", b"x", id="by its title"),
        pytest.param([WEIGHTS], "", b"weights", id="the only one"),
        pytest.param([layer(b"x")], "", b"x", id="the only one, without a name"),
        pytest.param([WEIGHTS, WEIGHTS], "", b"weights", id="the same one twice"),
    ],
)
def test_a_file_is_found_in_its_layer(layers: list[Layer], path: str, content: bytes) -> None:
    assert choose_layer(artifact(*layers), path, "shown").digest == digest_of(content)


@pytest.mark.parametrize(
    ("layers", "path", "says"),
    [
        pytest.param([WEIGHTS, CONFIG], "", "2 layers; say which.*model.safetensors, config.json", id="which one"),
        pytest.param([WEIGHTS], "x", "no layer of the artifact has the path 'x'; there is model.safetens", id="none"),
        pytest.param([WEIGHTS, layer(b"y", "model.safetensors")], "model.safetensors", "2 layers of the", id="two"),
        pytest.param([], "", "has no layer", id="empty"),
    ],
)
def test_a_layer_that_cannot_be_told_is_refused_with_what_there_is(layers: list[Layer], path: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        choose_layer(artifact(*layers), path, "shown")
    assert caught.value.reason == "unavailable"
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("media_type", "what"),
    [
        (TAR, "an archive"),
        (f"{TAR}+gzip", "an archive"),
        (f"{TAR}+zstd", "an archive"),
        ("application/vnd.oci.image.layer.v1.tar", "an archive"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "an archive"),
        ("application/gzip", "an archive"),
        ("application/vnd.docker.ai.gguf.v3", "not known to be a plain file"),
    ],
)
def test_a_layer_that_is_no_plain_file_is_refused_with_the_way_out(media_type: str, what: str) -> None:
    with pytest.raises(ModelError, match=f"which is {what}") as caught:
        choose_layer(artifact(layer(b"x", "m", media_type)), "m", "shown")
    assert "ends in .raw" in str(caught.value)
    assert media_type in str(caught.value)


def test_octets_without_a_name_are_refused() -> None:
    with pytest.raises(ModelError, match="not known to be a plain file"):
        choose_layer(artifact(layer(b"x", "", OCTETS)), "", "shown")


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        ([WEIGHTS, CONFIG], ("model.safetensors", "config.json")),
        ([layer(b"x")], ("",)),
        ([WEIGHTS, WEIGHTS], ("model.safetensors",)),
    ],
)
def test_an_artifact_names_its_files(layers: list[Layer], paths: tuple[str, ...]) -> None:
    assert file_paths(artifact(*layers), "shown") == paths


@pytest.mark.parametrize(
    ("layers", "says"),
    [([WEIGHTS, layer(b"x")], "has no path"), ([WEIGHTS, layer(b"x", "docs", TAR)], "an archive"), ([], "no layer")],
)
def test_an_artifact_is_named_whole_or_not_at_all(layers: list[Layer], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        file_paths(artifact(*layers), "shown")


@pytest.mark.parametrize(
    ("data", "size", "reason"),
    [(b"abd", 3, "digest_mismatch"), (b"abd", None, "digest_mismatch"), (b"abcd", 3, "size_mismatch")],
)
def test_a_document_that_was_changed_is_not_believed(data: bytes, size: int | None, reason: str) -> None:
    assert verified(b"abc", digest_of(b"abc"), "shown", 3) == b"abc"
    with pytest.raises(ModelError) as caught:
        verified(data, digest_of(b"abc"), "shown", size)
    assert caught.value.reason == reason


def described(**change: t.Any) -> bytes:
    return json.dumps({"mediaType": MANIFEST, "layers": [{**WEIGHTS, **change}]}).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html>", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "no OCI manifest"),
        (b'{"mediaType": "application/vnd.oci.image.config.v1+json", "layers": []}', "no OCI manifest"),
        (json.dumps({"mediaType": MANIFEST, "layers": {}}).encode(), "no list 'layers'"),
        (json.dumps({"mediaType": INDEX, "manifests": ["x"]}).encode(), r"manifests\[0\] of the manifest is no object"),
        (described(digest="sha512:" + "0" * 128), "only sha256 digests"),
        (described(digest="sha256:../../../etc/shadow"), "only sha256 digests"),
        (described(digest=None), "only sha256 digests"),
        (described(size=-1), "no number of bytes"),
        (described(size=True), "no number of bytes"),
        (described(mediaType=None), "has no mediaType"),
        (described(annotations=["x"]), "annotations that are no object"),
    ],
)
def test_a_document_that_is_no_manifest_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        parse_document(data, "shown")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (manifest(WEIGHTS), Manifest),
        (index(entry(b"x")), Index),
        (b'{"schemaVersion": 2, "layers": []}', Manifest),
        (b'{"schemaVersion": 2, "manifests": []}', Index),
        (b'{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []}', Manifest),
    ],
)
def test_manifests_and_indexes_are_told_apart(document: bytes, kind: type) -> None:
    assert isinstance(parse_document(document, "shown"), kind)


def test_a_name_of_several_manifests_is_refused_with_their_digests() -> None:
    both = parse_document(index(entry(b"x", "v1"), entry(b"y", "v1")), "shown")
    assert isinstance(both, Index)
    with pytest.raises(ModelError, match="2 manifests go by that name") as caught:
        choose_manifest(both.entries, "shown")
    assert digest_of(b"y") in str(caught.value)
    assert choose_manifest(both.entries[:1] * 2, "shown").digest == digest_of(b"x")


def test_a_raw_type_of_any_vendor_will_do() -> None:
    assert RAW.endswith(".raw")
    assert choose_layer(artifact(layer(b"x", "m", "application/vnd.acme.v2.RAW")), "m", "shown").size == 1
