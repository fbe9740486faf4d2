# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import (
    EMPTY_SHA256,
    Repository,
    catalog_of,
    document_reply,
    model_repository,
    model_tag,
    refuse_pinned,
    repository_of,
    route,
    split_reference,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import Depot

M, M2, B, OTHER = "a" * 64, "b" * 64, "c" * 64, "d" * 64
CATALOG = {
    "team/api": Repository({"1": M, "2": M2, "3": M2}, {M: 300, M2: 400}, {B: 1000}),
    "empty": Repository({}, {M: 300}, {OTHER: 0}),
}
BLOB = f"/v2/team/api/blobs/sha256:{B}"
ETAG = f'"sha256:{B}"'


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("mongo", "mongo"),
        ("mongo:7", "mongo"),
        ("mongo:7@sha256:" + M, "mongo"),
        ("emorobcare/api:3072f3e9a6b984ac", "emorobcare/api"),
        ("ghcr.io/org/x@sha256:" + M, "ghcr.io/org/x"),
        ("host.lan:5000/z/y:1", "host.lan-5000/z/y"),
        ("host.lan:5000/z", "host.lan-5000/z"),
        ("localhost:5000/Z", "localhost-5000/z"),
        ("models/tiny:1", "docker.io/models/tiny"),
        ("releases/x:1", "docker.io/releases/x"),
        ("modelsx/tiny:1", "modelsx/tiny"),
    ],
)
def test_an_image_is_in_the_repository_of_its_reference(reference: str, name: str) -> None:
    assert repository_of(reference) == name
    route_name = rf"/v2/{name}/tags/list"
    assert route({name: Repository()}, "GET", route_name, {}).status == 200


@pytest.mark.parametrize("reference", ["", ":7", "a//b", "a/", "-a", "a..b", "@sha256:" + M])
def test_what_can_be_no_reference_has_no_repository(reference: str) -> None:
    with pytest.raises(DepotError) as caught:
        repository_of(reference)
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("mongo", ("mongo", "latest", "")),
        ("h:5000/mongo", ("h:5000/mongo", "latest", "")),
        ("h:5000/mongo:7", ("h:5000/mongo", "7", "")),
        ("mongo@sha256:x", ("mongo", "", "sha256:x")),
        ("mongo:7@sha256:x", ("mongo", "7", "sha256:x")),
    ],
)
def test_a_reference_is_split_as_docker_splits_it(reference: str, parts: tuple[str, str, str]) -> None:
    assert split_reference(reference) == parts


def test_a_reference_with_a_digest_is_refused_with_what_to_write_instead() -> None:
    refuse_pinned(["mongo:7", "h:5000/x"])
    with pytest.raises(DepotError, match="Write mongo:7 in the Compose file") as caught:
        refuse_pinned(["api:1", f"mongo:7@sha256:{M}"])
    assert (caught.value.reason, caught.value.details) == ("invalid", {"image": f"mongo:7@sha256:{M}"})
    with pytest.raises(DepotError, match="Write x/y:<tag> in") as caught:
        refuse_pinned([f"x/y@sha256:{M}"], "image_unavailable")
    assert caught.value.reason == "image_unavailable"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("all-minilm-l6-v2", "models/all-minilm-l6-v2"),
        ("Phi", "models/phi"),
        ("a..b", "models/a-b"),
        ("a__b", "models/a__b"),
        ("a___b", "models/a-b"),
        ("a--b.c_d", "models/a--b.c_d"),
        ("x+y", "models/x-y"),
        ("x-.", "models/x"),
    ],
)
def test_every_model_has_a_repository_that_the_specification_allows(name: str, repository: str) -> None:
    assert model_repository(name) == repository
    assert route({repository: Repository()}, "GET", f"/v2/{repository}/tags/list", {}).status == 200


def test_a_models_version_is_its_tag() -> None:
    assert [model_tag(version) for version in ("1", "2024-01", "1.0+cu12")] == ["1", "2024-01", "1.0_cu12"]


def test_a_catalog_has_what_releases_name_and_nothing_else(tmp_path: Path) -> None:
    depot = Depot(tmp_path)
    image = depot.add_image("emo/api:1", b"layer one", b"layer two")
    model = depot.add_model("Tiny", "1+a", {"w": b"weights"})
    stray = depot.put(b"an unsigned extra")
    catalog = catalog_of([depot.manifest])
    assert set(catalog) == {"emo/api", "models/tiny"}
    assert catalog["emo/api"].tags == {"1": image.manifest}
    assert set(catalog["emo/api"].blobs) == {image.config, *image.layers}
    assert catalog["models/tiny"].tags == {"1_a": model.manifest}
    assert set(catalog["models/tiny"].blobs) == {EMPTY_SHA256, model.files["w"]}
    assert stray not in str(catalog)


def test_a_tag_that_moved_is_the_newest_releases_and_both_can_be_had_by_digest(tmp_path: Path) -> None:
    depot = Depot(tmp_path)
    old = depot.add_image("mongo:7", b"old")
    before = depot.release(9, created=100)
    new = depot.add_image("mongo:7", b"new")
    after = depot.release(2, created=200)
    for order in ([before, after], [after, before]):
        repository = catalog_of(order)["mongo"]
        assert repository.tags == {"7": new.manifest}
        assert set(repository.manifests) == {old.manifest, new.manifest}


def test_an_image_that_is_pinned_by_digest_is_reached_by_its_manifests_digest(tmp_path: Path) -> None:
    depot = Depot(tmp_path)
    image = depot.add_image(f"ghcr.io/o/x@sha256:{OTHER}", b"layer")
    repository = catalog_of([depot.manifest])["ghcr.io/o/x"]
    assert (repository.tags, set(repository.manifests)) == ({}, {image.manifest})


def error(body: bytes) -> str:
    return t.cast(str, json.loads(body)["errors"][0]["code"])


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/", 404, "UNSUPPORTED"),
        ("/v1/", 404, "UNSUPPORTED"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/v2/team/api", 404, "UNSUPPORTED"),
        ("/v2/team/api/referrers/sha256:" + M, 404, "UNSUPPORTED"),
        ("/v2/team/api/blobs/", 404, "UNSUPPORTED"),
        ("/v2/team/api/blobs/uploads/", 404, "UNSUPPORTED"),
        ("//[", 404, "UNSUPPORTED"),
        ("/v2/Team/manifests/1", 400, "NAME_INVALID"),
        ("/v2/../etc/manifests/1", 400, "NAME_INVALID"),
        ("/v2/a//b/tags/list", 400, "NAME_INVALID"),
        ("/v2/team/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/team/api/manifests/9", 404, "MANIFEST_UNKNOWN"),
        ("/v2/team/api/manifests/sha256:" + B, 404, "MANIFEST_UNKNOWN"),
        ("/v2/team/api/manifests/sha512:" + B, 400, "DIGEST_INVALID"),
        ("/v2/team/api/manifests/-x", 400, "MANIFEST_INVALID"),
        ("/v2/team/api/manifests/" + "x" * 129, 400, "MANIFEST_INVALID"),
        ("/v2/team/api/blobs/sha256:" + OTHER, 404, "BLOB_UNKNOWN"),
        ("/v2/team/api/blobs/sha256:" + M, 404, "BLOB_UNKNOWN"),
        ("/v2/team/api/blobs/sha256:" + B.upper(), 400, "DIGEST_INVALID"),
        ("/v2/team/api/blobs/1", 400, "DIGEST_INVALID"),
        ("/v2/team/api/tags/list?n=x", 400, "UNSUPPORTED"),
        ("/v2/team/api/tags/list?n=-1", 400, "UNSUPPORTED"),
    ],
)
def test_what_no_trusted_release_names_is_refused_with_the_specifications_code(
    target: str, status: int, code: str
) -> None:
    for method in ("GET", "HEAD"):
        reply = route(CATALOG, method, target, {})
        assert (reply.status, error(reply.body)) == (status, code)
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["Content-Length"] == str(len(reply.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("target", ["/v2/", BLOB, "/v2/team/api/blobs/uploads/", "/nothing"])
def test_nothing_can_be_written(method: str, target: str) -> None:
    reply = route(CATALOG, method, target, {})
    assert (reply.status, error(reply.body), reply.headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")


def test_the_base_says_that_this_is_a_registry() -> None:
    assert [route(CATALOG, "GET", path, {}).status for path in ("/v2/", "/v2")] == [200, 200]


@pytest.mark.parametrize("reference", ["1", "sha256:" + M, "sha256%3A" + M])
def test_a_manifest_is_found_by_tag_and_by_digest(reference: str) -> None:
    reply = route(CATALOG, "GET", f"/v2/team/api/manifests/{reference}", {})
    assert (reply.status, reply.manifest, reply.size) == (200, M, 300)
    assert reply.headers["Docker-Content-Digest"] == f"sha256:{M}"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b'{"mediaType":"application/vnd.oci.image.index.v1+json"}', "application/vnd.oci.image.index.v1+json"),
        (b"{}", "application/vnd.oci.image.manifest.v1+json"),
        (b'{"mediaType":"application/x\\r\\nSet-Cookie: a"}', "application/vnd.oci.image.manifest.v1+json"),
        (b'{"mediaType":7}', "application/vnd.oci.image.manifest.v1+json"),
        (b"[]", "application/vnd.oci.image.manifest.v1+json"),
        (b"\xff", "application/vnd.oci.image.manifest.v1+json"),
    ],
)
def test_a_manifest_goes_under_the_type_that_it_has(document: bytes, kind: str) -> None:
    reply = document_reply(route(CATALOG, "GET", "/v2/team/api/manifests/1", {}), document)
    assert (reply.headers["Content-Type"], reply.body, reply.manifest) == (kind, document, "")
    assert reply.headers["Content-Length"] == str(len(document))


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("", 200, 0, 1000),
        ("bytes=0-", 206, 0, 1000),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=990-", 206, 990, 1000),
        ("bytes=990-5000", 206, 990, 1000),
        ("bytes=-1", 206, 999, 1000),
        ("bytes=-5000", 206, 0, 1000),
        (" bytes=999-999 ", 206, 999, 1000),
        # What is no range, or several of them, is as good as none.
        ("bytes=20-10", 200, 0, 1000),
        ("bytes=-", 200, 0, 1000),
        ("bytes=1-2,5-6", 200, 0, 1000),
        ("bytes=a-b", 200, 0, 1000),
        ("bytes=" + "9" * 5000 + "-", 200, 0, 1000),
        ("lines=1-2", 200, 0, 1000),
    ],
)
def test_a_blob_is_sent_whole_or_in_the_range_that_was_asked_for(
    asked: str, status: int, start: int, stop: int
) -> None:
    reply = route(CATALOG, "GET", BLOB, {"range": asked})
    assert (reply.status, reply.blob, reply.size, reply.start, reply.stop) == (status, B, 1000, start, stop)
    assert reply.headers["Content-Length"] == str(stop - start)
    assert reply.headers.get("Content-Range") == (f"bytes {start}-{stop - 1}/1000" if status == 206 else None)
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["Docker-Content-Digest"] == f"sha256:{B}"
    assert reply.whole == (stop - start == 1000)


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_of_the_blob_is_told_how_large_it_is(asked: str) -> None:
    reply = route(CATALOG, "GET", BLOB, {"range": asked})
    assert (reply.status, reply.headers["Content-Range"], reply.blob) == (416, "bytes */1000", "")
    assert error(reply.body) == "RANGE_INVALID"


def test_an_empty_blob_has_no_ranges() -> None:
    target = f"/v2/empty/blobs/sha256:{OTHER}"
    assert route(CATALOG, "GET", target, {}).headers["Content-Length"] == "0"
    assert route(CATALOG, "GET", target, {"range": "bytes=0-"}).status == 416


@pytest.mark.parametrize(("validator", "status"), [(ETAG, 206), ('"sha256:other"', 200), ("W/" + ETAG, 200)])
def test_a_range_of_something_else_gets_all_of_this_instead(validator: str, status: int) -> None:
    reply = route(CATALOG, "GET", BLOB, {"range": "bytes=10-", "if-range": validator})
    assert (reply.status, reply.headers["ETag"]) == (status, ETAG)


@pytest.mark.parametrize(
    ("query", "tags", "link"),
    [
        ("", ["1", "2", "3"], None),
        ("?n=2", ["1", "2"], "n=2&last=2"),
        ("?n=2&last=2", ["3"], None),
        ("?n=3", ["1", "2", "3"], None),
        ("?n=0", [], None),
        ("?last=1", ["2", "3"], None),
    ],
)
def test_tags_are_listed_page_by_page(query: str, tags: list[str], link: str | None) -> None:
    reply = route(CATALOG, "GET", f"/v2/team/api/tags/list{query}", {})
    assert json.loads(reply.body) == {"name": "team/api", "tags": tags}
    assert reply.headers.get("Link") == (f'</v2/team/api/tags/list?{link}>; rel="next"' if link else None)


def test_a_release_without_images_and_models_serves_nothing(tmp_path: Path) -> None:
    release = replace(Depot(tmp_path).manifest, images=(), models=())
    assert catalog_of([release]) == catalog_of([]) == {}
    assert re.search("NAME_UNKNOWN", route({}, "GET", "/v2/a/tags/list", {}).body.decode())


@pytest.mark.parametrize(
    "name",
    [
        "oci-layout",
        "index.json",
        "depot.json",
        "metadata/timestamp.json",
        "metadata/1.root.json",
        "metadata/12.targets.json",
    ],
)
def test_files_of_the_depot_itself_are_given_out(name: str) -> None:
    assert route({}, "GET", f"/{name}", {}).file == name


@pytest.mark.parametrize(
    "name",
    [
        "receipts/robot/1.json",
        "metadata/root.json",
        "metadata/../oci-layout",
        "metadata/1.root.json.new",
        "partial/x",
        "",
    ],
)
def test_what_else_lies_there_is_not(name: str) -> None:
    reply = route({}, "GET", f"/{name}", {})
    assert (reply.status, reply.file) == (404, "")


def test_only_blobs_that_a_trusted_release_names_are_given_out() -> None:
    known, other = "a" * 64, "b" * 64
    reply = route({}, "GET", f"/blobs/sha256/{known}", {"range": "bytes=2-"}, {known: 10})
    assert (reply.status, reply.blob, reply.start, reply.stop) == (206, known, 2, 10)
    assert route({}, "GET", f"/blobs/sha256/{other}", {}, {known: 10}).status == 404
    assert route({}, "GET", f"/blobs/sha256/{known}.p0000", {}, {known: 10}).status == 404
    assert route({}, "PUT", f"/blobs/sha256/{known}", {}, {known: 10}).status == 405
