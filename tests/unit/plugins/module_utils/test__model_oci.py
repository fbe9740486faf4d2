# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci import OciOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import OciSource
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._registry import (
    INDEX,
    TAR,
    Registry,
    digest_of,
    entry,
    fake_registry,
    index,
    layer,
    manifest,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._web import Reply, Web

WEIGHTS, CONFIG = b"weights" * 1000, b"{}"
MODEL = manifest(layer(WEIGHTS, "model.safetensors"), layer(CONFIG, "config.json"))


@pytest.fixture(name="registry")
def registry_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Registry]:
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with fake_registry() as registry:
        registry.push(MODEL, WEIGHTS, CONFIG)
        yield registry


@contextlib.contextmanager
def origin_for(login: str = "") -> t.Iterator[OciOrigin]:
    username, _colon, password = login.partition(":")
    network = Network(registry_username=username or None, registry_password=password or None)
    with contextlib.closing(OciOrigin(network)) as origin:
        yield origin


def named(registry: Registry, path: str = "", document: bytes = MODEL) -> OciSource:
    return OciSource(registry.web.place, "team/model", digest_of(document), path)


def read(origin: OciOrigin, source: OciSource, start: int = 0, stop: int | None = None) -> bytes:
    with origin.open(source, start, stop) as stream:
        assert stream.offset == start
        content = b""
        buffer = memoryview(bytearray(1000))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
    return content


def test_a_layer_is_chosen_announced_and_read_in_ranges(registry: Registry) -> None:
    with origin_for() as origin:
        source = named(registry, "model.safetensors")
        assert origin.announced_sha256(source) == digest_of(WEIGHTS).partition(":")[2]
        assert origin.probe(source) == Told(len(WEIGHTS), "", True)
        assert registry.web.paths() == [f"/v2/team/model/manifests/{source.digest}"]
        assert read(origin, source) == WEIGHTS
        assert read(origin, source, 100, 300) == WEIGHTS[100:300]
        assert read(origin, named(registry, "config.json")) == CONFIG


def test_a_manifest_is_asked_for_once_whatever_the_files_and_threads(registry: Registry) -> None:
    with origin_for() as origin, ThreadPoolExecutor(4) as threads:
        sources = [named(registry, path) for path in ("model.safetensors", "config.json")] * 4
        list(threads.map(origin.announced_sha256, sources))
    assert len(registry.web.requests) == 1


def test_a_blob_is_read_by_its_own_digest(registry: Registry) -> None:
    with origin_for() as origin:
        source = named(registry, "", WEIGHTS)
        assert f"sha256:{origin.announced_sha256(source)}" == digest_of(WEIGHTS)
        assert origin.probe(source).size == len(WEIGHTS)
        assert read(origin, source) == WEIGHTS
        assert origin.files(source) == (source,)


def test_an_index_of_one_manifest_is_followed(registry: Registry) -> None:
    outer = index(entry(MODEL))
    registry.push(outer)
    with origin_for() as origin:
        assert read(origin, named(registry, "config.json", outer)) == CONFIG


def test_the_files_of_an_artifact_are_named(registry: Registry) -> None:
    with origin_for() as origin:
        assert [source.path for source in origin.files(named(registry))] == ["model.safetensors", "config.json"]


@pytest.mark.parametrize(
    ("auth", "login", "scheme"),
    [("bearer", "", "Bearer"), ("bearer", "me:s3cret", "Bearer"), ("basic", "me:s3cret", "Basic")],
)
def test_credentials_answer_the_challenge_and_stay_with_the_registry(
    registry: Registry, auth: str, login: str, scheme: str
) -> None:
    registry.auth, registry.login = auth, login
    with origin_for(login) as origin:
        assert read(origin, named(registry, "model.safetensors")) == WEIGHTS
        assert read(origin, named(registry, "config.json")) == CONFIG
    assert registry.web.requests[0].authorization is None  # nothing is sent before it was asked for
    assert (registry.web.requests[-1].authorization or "").startswith(scheme)
    assert {asked.authorization for asked in registry.storage.requests} == {None}
    tokens = [asked for asked in registry.web.requests if asked.path == "/token"]
    assert len(tokens) == (auth == "bearer")
    for asked in tokens:
        assert asked.query == {"service": "reg", "scope": "repository:team/model:pull"}


def test_threads_that_are_asked_for_a_token_at_once_get_one(registry: Registry) -> None:
    registry.auth = "bearer"
    together = threading.Barrier(4)

    def one(path: str) -> bytes:
        together.wait()
        return read(origin, named(registry, path))

    with origin_for() as origin, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, ["config.json"] * 4)) == [CONFIG] * 4
    assert len(registry.tokens) == 1


def test_a_token_that_is_not_good_any_more_is_renewed(registry: Registry) -> None:
    registry.auth = "bearer"
    with origin_for() as origin:
        assert read(origin, named(registry, "config.json")) == CONFIG
        registry.tokens.append("revoked all before")
        assert read(origin, named(registry, "model.safetensors")) == WEIGHTS
    assert len(registry.web.paths()) - len([path for path in registry.web.paths() if path != "/token"]) == 2


@pytest.mark.parametrize(
    ("auth", "given", "says"),
    [
        ("bearer", "", "give them as registry_username and registry_password"),
        ("bearer", "me:wr0ng", "refuses registry_username and registry_password"),
        ("basic", "", "give them as registry_username and registry_password"),
        ("basic", "me:wr0ng", "refuses registry_username and registry_password"),
    ],
)
def test_wrong_credentials_are_told_by_their_option(registry: Registry, auth: str, given: str, says: str) -> None:
    registry.auth, registry.login = auth, "me:s3cret"
    with origin_for(given) as origin, pytest.raises(ModelError, match=says) as caught:
        read(origin, named(registry, "config.json"))
    assert (caught.value.reason, caught.value.transient) == ("unavailable", False)
    assert "wr0ng" not in str(caught.value)
    assert registry.storage.requests == []


@pytest.mark.parametrize("realm", ["http://auth.example.org/token", "file:///etc/passwd", "", "https://me:x@h/t"])
def test_credentials_go_to_no_token_service_without_tls(registry: Registry, realm: str) -> None:
    registry.auth, registry.login, registry.realm = "bearer", "me:s3cret", realm
    with origin_for("me:s3cret") as origin, pytest.raises(ModelError, match="no credentials are sent"):
        read(origin, named(registry, "config.json"))


def test_a_registry_elsewhere_is_only_asked_with_tls() -> None:
    with origin_for() as origin, pytest.raises(ModelError, match=r"registry\.invalid") as caught:
        read(origin, OciSource("registry.invalid", "team/model", digest_of(MODEL)))
    assert caught.value.reason == "unavailable"


@pytest.mark.parametrize(
    ("document", "path", "reason", "says"),
    [
        pytest.param(MODEL, "nope", "unavailable", "there is model.safetensors, config.json", id="no such file"),
        pytest.param(MODEL, "", "unavailable", "2 layers; say which", id="which file"),
        pytest.param(manifest(layer(b"x", "m", TAR)), "m", "unavailable", "which is an archive", id="archive"),
        pytest.param(index(entry(MODEL), entry(b"y")), "m", "unavailable", "2 manifests go by", id="which manifest"),
        pytest.param(index(entry(b"y")), "m", "unavailable", "has no manifest sha256:a1fce436", id="not pushed"),
    ],
)
def test_what_cannot_be_served_is_refused(
    registry: Registry, document: bytes, path: str, reason: str, says: str
) -> None:
    registry.push(document)
    with origin_for() as origin, pytest.raises(ModelError, match=says) as caught:
        origin.announced_sha256(named(registry, path, document))
    assert caught.value.reason == reason
    assert registry.storage.requests == []


def test_a_tampered_manifest_is_refused_and_nothing_in_it_believed(registry: Registry) -> None:
    evil = manifest(layer(b"evil", "model.safetensors"))
    registry.push(evil, b"evil")
    registry.manifests[digest_of(MODEL)] = evil
    with origin_for() as origin, pytest.raises(ModelError) as caught:
        read(origin, named(registry, "model.safetensors"))
    assert caught.value.reason == "digest_mismatch"
    assert registry.web.paths() == [f"/v2/team/model/manifests/{digest_of(MODEL)}"]


def test_a_layer_of_another_size_than_announced_is_refused(registry: Registry) -> None:
    registry.blobs[digest_of(CONFIG)] = b"{}  "
    with origin_for() as origin, pytest.raises(ModelError, match="has 4 bytes") as caught:
        read(origin, named(registry, "config.json"))
    assert caught.value.reason == "size_mismatch"


def test_a_manifest_without_end_is_not_read(registry: Registry) -> None:
    registry.manifests[digest_of(MODEL)] = b" " * (5 << 20)
    with origin_for() as origin, pytest.raises(ModelError, match="more than the 4194304 bytes"):
        read(origin, named(registry, "config.json"))


def test_a_registry_that_is_busy_may_be_tried_again() -> None:
    with Web(lambda asked: Reply(503, b"", {"Retry-After": "3"})) as web, origin_for() as origin:
        source = OciSource(web.place, "team/model", digest_of(MODEL), "m")
        assert origin.announced_sha256(source) is None
        with pytest.raises(ModelError) as caught:
            read(origin, source)
    assert (caught.value.transient, caught.value.retry_after) == (True, 3)


def test_an_index_is_known_by_its_type() -> None:
    assert INDEX in entry(b"x", "", INDEX)["mediaType"]
