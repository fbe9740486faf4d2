# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Iterator

import pytest
from emorobcare_api.app import MAX_BODY, MAX_TEXT, Parts, create_app
from emorobcare_api.documents import Document
from emorobcare_api.errors import QueryError
from emorobcare_api.library import Library
from emorobcare_api.parts import Part
from fastapi.testclient import TestClient


def opened(name: str, value: t.Any) -> Part[t.Any]:
    check = getattr(value, "check", lambda: None)
    part = Part(name, lambda: value, lambda _: check())
    asyncio.run(part.open())
    return part


@pytest.fixture
def parts(letters: t.Any, documents: t.Any, vectors: t.Any, triples: t.Any) -> Parts:
    library = Library(letters, documents, vectors)
    return Parts(
        model=opened("model", letters),
        documents=opened("documents", documents),
        vectors=opened("vectors", vectors),
        library=opened("library", library),
        triples=opened("triples", triples),
    )


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts)) as client:
        yield client


def test_a_sentence_is_embedded(client: TestClient) -> None:
    answer = client.post("/embed", json={"text": "ab"})
    assert answer.status_code == 200
    assert len(answer.json()["vector"]) == 26


def test_a_kept_sentence_is_listed_and_found(client: TestClient) -> None:
    created = client.post("/documents", json={"text": "  abba  ", "id": "one"})
    assert (created.status_code, created.json()) == (201, {"id": "one", "text": "abba"})
    assert client.get("/documents").json() == {"total": 1, "documents": [{"id": "one", "text": "abba"}]}
    results = client.get("/search", params={"q": "abba", "limit": 3}).json()["results"]
    assert [(hit["id"], hit["text"], round(hit["score"], 6)) for hit in results] == [("one", "abba", 1)]


def test_a_sentence_without_id_gets_one_of_its_own(client: TestClient) -> None:
    first, second = (client.post("/documents", json={"text": "ab"}).json()["id"] for _round in range(2))
    assert first != second


def test_sending_a_document_again_is_200_and_another_one_under_its_id_is_409(client: TestClient) -> None:
    client.post("/documents", json={"text": "ab", "id": "one"})
    assert client.post("/documents", json={"text": "ab", "id": "one"}).status_code == 200
    conflict = client.post("/documents", json={"text": "xy", "id": "one"})
    assert (conflict.status_code, "another sentence" in conflict.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("method", "path", "options", "said"),
    [
        ("POST", "/embed", {"json": {}}, "body.text"),
        ("POST", "/embed", {"json": {"text": "   "}}, "at least 1"),
        ("POST", "/embed", {"json": {"text": "a" * (MAX_TEXT + 1)}}, str(MAX_TEXT)),
        ("POST", "/embed", {"json": {"text": "a", "txet": "b"}}, "body.txet"),
        ("POST", "/embed", {"json": {"text": 5}}, "body.text"),
        ("POST", "/embed", {"content": b"{", "headers": {"Content-Type": "application/json"}}, "body"),
        ("POST", "/documents", {"json": {"text": "a", "id": "../etc"}}, "body.id"),
        ("POST", "/documents", {"json": {"text": "a", "id": "x" * 65}}, "body.id"),
        ("POST", "/documents", {"json": {"text": "a", "id": ""}}, "body.id"),
        ("GET", "/search", {}, "query.q"),
        ("GET", "/search?q=a&limit=0", {}, "query.limit"),
        ("GET", "/search?q=a&limit=101", {}, "query.limit"),
        ("GET", "/documents?offset=-1", {}, "query.offset"),
        ("GET", "/sparql", {}, "query.query"),
    ],
)
def test_bad_input_is_422_and_says_where(
    client: TestClient, method: str, path: str, options: dict[str, t.Any], said: str
) -> None:
    answer = client.request(method, path, **options)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_body_that_is_not_text_is_400(client: TestClient) -> None:
    answer = client.post("/embed", content=b"\xff", headers={"Content-Type": "application/json"})
    assert (answer.status_code, "detail" in answer.json()) == (400, True)


def test_a_body_that_is_too_large_is_413_before_it_is_read(client: TestClient) -> None:
    answer = client.post("/embed", json={"text": "a" * MAX_BODY})
    assert (answer.status_code, str(MAX_BODY) in answer.json()["detail"]) == (413, True)


def test_a_body_of_undeclared_length_is_413(client: TestClient) -> None:
    assert client.post("/embed", content=iter([b"{}"])).status_code == 413


def test_a_query_is_answered_as_sparql_json(client: TestClient, triples: t.Any) -> None:
    answer = client.get("/sparql", params={"query": "ASK {}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/sparql-results+json"
    assert triples.queries == ["ASK {}"]


def test_an_update_never_reaches_the_store(client: TestClient, triples: t.Any) -> None:
    answer = client.get("/sparql", params={"query": "DROP ALL"})
    assert (answer.status_code, "DROP" in answer.json()["detail"]) == (400, True)
    assert triples.queries == []


def test_a_query_that_the_store_refuses_is_400(
    client: TestClient, triples: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_query: str) -> bytes:
        raise QueryError("too slow")

    monkeypatch.setattr(triples, "query", refuse)
    answer = client.get("/sparql", params={"query": "ASK {}"})
    assert (answer.status_code, answer.json()) == (400, {"detail": "too slow"})


def test_a_service_whose_parts_all_answer_is_ready(client: TestClient) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert set(answer.json()["parts"].values()) == {"ready"}


def test_a_store_that_does_not_answer_is_named_and_the_process_stays_alive(client: TestClient, vectors: t.Any) -> None:
    vectors.problem = "connection refused"
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["parts"]["vectors"] == "connection refused"
    assert answer.json()["parts"]["model"] == "ready"
    assert client.get("/health").status_code == 200
    failed = client.get("/search", params={"q": "ab"})
    assert (failed.status_code, failed.json()) == (503, {"detail": "connection refused"})


def test_a_request_before_its_part_is_open_is_503(parts: Parts) -> None:
    object.__setattr__(parts, "model", Part("model", lambda: None, lambda _: None))
    answer = TestClient(create_app(parts)).post("/embed", json={"text": "a"})
    assert (answer.status_code, "model is not ready" in answer.json()["detail"]) == (503, True)


def test_requests_are_counted_by_route_and_never_by_the_path_that_was_asked(
    client: TestClient, documents: t.Any
) -> None:
    documents.add(Document("one", "ab"))
    client.get("/search", params={"q": "ab"})
    client.get("/a/path/that/nobody/made")
    client.get("/ready")
    text = client.get("/metrics").text
    assert 'http_requests_total{method="GET",route="/search",status="200"} 1.0' in text
    assert 'http_requests_total{method="GET",route="unknown",status="404"} 1.0' in text
    assert 'part_ready{part="model"} 1.0' in text
    assert "nobody" not in text


def test_stores_are_closed_when_the_service_stops(
    parts: Parts, documents: t.Any, vectors: t.Any, triples: t.Any
) -> None:
    with TestClient(create_app(parts)):
        pass
    assert all(store.is_closed for store in (documents, vectors, triples))
