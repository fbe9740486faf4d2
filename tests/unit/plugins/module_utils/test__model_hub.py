# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub import HubOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HubSource
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._hub import (
    COMMIT,
    Hub,
    Repo,
    digest_of,
    fake_hub,
)

WEIGHTS, CONFIG = b"weights" * 1000, b'{"layers": 12}'
FILES = {"model.safetensors": WEIGHTS, "config.json": CONFIG, "folder/a b#c?.json": b"[]"}
LARGE = frozenset({"model.safetensors"})


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Hub]:
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    repos = {
        "org/open": Repo(FILES, LARGE),
        "org/private": Repo(FILES, LARGE, token="s3cret"),
        "org/gated": Repo(FILES, LARGE, gated=True),
    }
    with fake_hub(repos) as hub:
        yield hub


@contextlib.contextmanager
def origin_for(hub: Hub, token: str | None = None) -> t.Iterator[HubOrigin]:
    with contextlib.closing(HubOrigin(Network(hub_url=f"{hub.web.url}/", hub_token=token))) as origin:
        yield origin


def read(origin: HubOrigin, source: HubSource, start: int = 0, stop: int | None = None) -> bytes:
    with origin.open(source, start, stop) as stream:
        assert stream.offset == start
        content = b""
        buffer = memoryview(bytearray(1000))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
    return content


@pytest.mark.parametrize("api", [True, False], ids=["hub", "mirror without listings"])
@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("revision", [COMMIT, "main", "refs/pr/1"])
def test_files_come_from_the_hub_and_from_the_storage_that_it_sends_to(
    hub: Hub, api: bool, path: str, revision: str
) -> None:
    hub.api = api
    source = HubSource("org/open", revision, path)
    with origin_for(hub) as origin:
        assert read(origin, source) == FILES[path]
        assert read(origin, source, 1, 7) == FILES[path][1:7]
        assert origin.probe(source).size == len(FILES[path])


def test_the_digest_of_a_large_file_is_announced_before_its_bytes_are_asked_for(hub: Hub) -> None:
    with origin_for(hub) as origin:
        source = HubSource("org/open", COMMIT, "model.safetensors")
        assert origin.announced_sha256(source) == digest_of(WEIGHTS)
        assert origin.probe(source) == Told(len(WEIGHTS), "", True)
        assert origin.announced_sha256(HubSource("org/open", COMMIT, "config.json")) is None
        assert origin.announced_sha256(HubSource("org/open", COMMIT, "nope")) is None
        assert origin.announced_sha256(HubSource("org/nope", COMMIT, "config.json")) is None
    assert hub.storage.requests == []


@pytest.mark.parametrize("repo", ["org/open", "org/renamed"])
def test_a_mirror_without_listings_announces_by_the_headers_of_a_file(hub: Hub, repo: str) -> None:
    hub.api = False
    with origin_for(hub) as origin:
        source = HubSource(repo, COMMIT, "model.safetensors")
        assert origin.announced_sha256(source) == digest_of(WEIGHTS)
        assert origin.probe(source) == Told(len(WEIGHTS), "", True)
        assert origin.announced_sha256(HubSource(repo, COMMIT, "config.json")) is None
        assert origin.announced_sha256(HubSource(repo, COMMIT, "nope")) is None
        assert read(origin, source) == WEIGHTS
    assert hub.web.paths("HEAD").count(f"/org/open/resolve/{COMMIT}/model.safetensors") == 1


def test_a_storage_that_refuses_is_not_taken_for_the_hub(hub: Hub) -> None:
    hub.signature = "old"
    with origin_for(hub) as origin, pytest.raises(ModelError, match="a signed URL expired"):
        read(origin, HubSource("org/open", COMMIT, "model.safetensors"))


def test_the_hub_is_asked_once_for_all_files_of_a_repository(hub: Hub) -> None:
    with origin_for(hub) as origin, ThreadPoolExecutor(4) as threads:
        sources = [HubSource("org/open", COMMIT, path) for path in FILES] * 5
        list(threads.map(origin.announced_sha256, sources))
        list(threads.map(origin.probe, sources))
    assert len(hub.web.requests) == 2  # the pages of the listing


def test_the_token_goes_to_the_hub_and_not_to_the_storage_behind_it(hub: Hub) -> None:
    with origin_for(hub, "s3cret") as origin:
        source = HubSource("org/private", COMMIT, "model.safetensors")
        assert origin.announced_sha256(source) == digest_of(WEIGHTS)
        assert read(origin, source) == WEIGHTS
    assert {asked.authorization for asked in hub.web.requests} == {"Bearer s3cret"}
    assert {asked.authorization for asked in hub.storage.requests} == {None}


@pytest.mark.parametrize("api", [True, False], ids=["hub", "mirror without listings"])
@pytest.mark.parametrize(
    ("source", "token", "status", "says"),
    [
        (HubSource("org/nope", COMMIT, "m"), None, 401, "it is private or gated: check the name, or give hub_token"),
        (HubSource("org/nope", COMMIT, "m"), "s3cret", 404, "or hub_token may not see it"),
        (HubSource("org/private", COMMIT, "config.json"), None, 401, "give hub_token"),
        (HubSource("org/private", COMMIT, "config.json"), "wr0ng", 401, "hub_token is refused"),
        (HubSource("org/gated", COMMIT, "config.json"), None, 403, "is gated: accept its terms on http"),
        (HubSource("org/gated", COMMIT, "model.safetensors"), "s3cret", 403, "the account that hub_token is of"),
        (HubSource("org/open", "nope", "config.json"), None, 404, "no such revision"),
        (HubSource("org/open", COMMIT, "nope"), None, 404, "no such file at that revision"),
    ],
)
def test_a_refusal_names_the_way_out(
    hub: Hub, source: HubSource, token: str | None, status: int, says: str, api: bool
) -> None:
    hub.api = api
    with origin_for(hub, token) as origin, pytest.raises(ModelError) as caught:
        read(origin, source)
    assert says in str(caught.value)
    assert (caught.value.reason, caught.value.transient) == ("unavailable", False)
    assert (caught.value.details["status"], caught.value.details["source"]) == (status, source.shown)
    assert not [secret for secret in ("s3cret", "wr0ng") if secret in str(caught.value)]


@pytest.mark.parametrize(
    ("url", "token", "says"),
    [
        ("ftp://hub", None, "must be https://host"),
        ("hub", None, "must be https://host"),
        ("https://", None, "must be https://host"),
        ("https://me:hunter2@hub", None, "a token goes into hub_token"),
        ("https://hub/?token=hunter2", None, "a token goes into hub_token"),
        ("http://hub.example.org", "hunter2", "in the clear"),
    ],
)
def test_a_hub_url_that_cannot_be_or_that_would_give_the_token_away_is_refused(
    url: str, token: str | None, says: str
) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        HubOrigin(Network(hub_url=url, hub_token=token))
    assert caught.value.reason == "invalid"
    assert "hunter2" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_may_be_tried_again() -> None:
    with contextlib.closing(HubOrigin(Network(hub_url="http://127.0.0.1:1", connect_timeout=1))) as origin:
        source = HubSource("org/open", COMMIT, "config.json")
        assert origin.announced_sha256(source) is None
        with pytest.raises(ModelError) as caught:
            read(origin, source)
    assert caught.value.transient
