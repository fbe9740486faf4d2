# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub_api import (
    HubApi,
    HubFile,
    hub_refusal,
    next_query,
    parse_tree,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HubSource
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._hub import (
    COMMIT,
    Repo,
    digest_of,
    fake_hub,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._web import Asked, Reply, Web

DIGEST = "a" * 64


@contextlib.contextmanager
def api_for(url: str, token: str | None = None) -> t.Iterator[HubApi]:
    network = Network(hub_url=url, hub_token=token)
    with contextlib.closing(Transport(network)) as transport:
        yield HubApi(network, transport)


def tree(*entries: dict[str, t.Any]) -> bytes:
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ({"type": "file", "path": "a", "size": 3, "oid": "f" * 40}, HubFile("a", 3)),
        ({"type": "file", "path": "a", "size": 3, "lfs": {"oid": DIGEST, "size": 3}}, HubFile("a", 3, DIGEST)),
        (
            {"type": "file", "path": "a", "size": 3, "lfs": {"oid": f"sha256:{DIGEST}", "size": 3}},
            HubFile("a", 3, DIGEST),
        ),
        ({"type": "file", "path": "a", "size": 3, "lfs": {"oid": "odd", "size": 3}}, HubFile("a", 3)),
        ({"type": "directory", "path": "a", "size": 0}, None),
    ],
)
def test_a_listing_tells_sizes_and_the_digests_of_large_files(entry: dict[str, t.Any], file: HubFile | None) -> None:
    assert parse_tree(tree(entry), "shown") == ((file,) if file else ())


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"<html>", "unavailable", "no JSON"),
        (b"{}", "unavailable", "no list"),
        (tree({"type": "file", "path": "a"}), "unavailable", "without path or size"),
        (tree({"type": "file", "path": "a", "size": -1}), "unavailable", "without path or size"),
        (tree({"type": "file", "path": "a", "size": 3, "lfs": {"oid": DIGEST, "size": 4}}), "size_mismatch", "3 and 4"),
    ],
)
def test_a_listing_that_is_none_or_contradicts_itself_is_refused(data: bytes, reason: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        parse_tree(data, "shown")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("link", "query"),
    [
        (
            '<https://huggingface.co/api/models/o/m/tree/main?recursive=true&cursor=Zm8%3D>; rel="next"',
            "recursive=true&cursor=Zm8%3D",
        ),
        ('<https://h/a?x=1>; rel="prev", <https://h/a?x=3>; rel="next"', "x=3"),
        ("<https://h/a?x=3>; title=t; rel=next", "x=3"),
        ('<https://h/a?x=1>; rel="prev"', ""),
        ("", ""),
        ("<<<<;;;", ""),
    ],
)
def test_the_next_page_is_found(link: str, query: str) -> None:
    assert next_query(link) == query


def test_all_pages_are_read_from_the_hub_that_was_named() -> None:
    files = {f"{number}.bin": bytes(number) for number in range(5)}
    with fake_hub({"org/model": Repo(files, frozenset({"3.bin"}), token="s3cret")}) as hub:
        with api_for(hub.web.url, "s3cret") as api:
            found = api.files("org/model", COMMIT)
        assert {file.path: file.size for file in found} == {f"{number}.bin": number for number in range(5)}
        assert {file.path: file.sha256 for file in found if file.sha256} == {"3.bin": digest_of(bytes(3))}
        assert len(hub.web.requests) == 3


def test_a_listing_without_end_is_given_up() -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(200, b"[]", {"Link": f'<{asked.path}?cursor=x>; rel="next"'})

    with Web(answer) as web, api_for(web.url) as api, pytest.raises(ModelError, match="does not end"):
        api.files("org/model", "main")


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1"])
def test_a_branch_or_tag_is_resolved_to_its_commit(revision: str) -> None:
    with fake_hub({"org/model": Repo({})}) as hub, api_for(hub.web.url) as api:
        assert api.commit("org/model", revision) == COMMIT


@pytest.mark.parametrize("body", [b"", b"[]", b'{"sha": "main"}', b'{"sha": null}'])
def test_what_is_no_commit_is_not_pinned(body: bytes) -> None:
    with Web(lambda asked: Reply(200, body)) as web, api_for(web.url) as api, pytest.raises(ModelError) as caught:
        api.commit("org/model", "main")
    assert "does not say which commit" in str(caught.value)


def test_names_are_quoted_where_they_must_be() -> None:
    with api_for("https://hub/prefix/") as api:
        url = api.file_url(HubSource("org/model", "refs/pr/1", "a b/ü#?.json"))
        assert url == "https://hub/prefix/org/model/resolve/refs%2Fpr%2F1/a%20b/%C3%BC%23%3F.json"


@pytest.mark.parametrize(("status", "transient"), [(429, True), (503, True), (500, True), (403, False), (451, False)])
def test_a_busy_hub_may_be_tried_again_when_it_says(status: int, transient: bool) -> None:
    error = hub_refusal("shown", "page", status, "Busy", {"retry-after": "7"}, False)
    assert (error.transient, error.retry_after) == (transient, 7)
    assert f"shown: the hub answers {status} Busy" in str(error)
