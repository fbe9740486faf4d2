# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import httpx
import pyoxigraph
import pytest
from emorobcare_api.errors import QueryError, StoreError
from emorobcare_api.settings import Place
from emorobcare_api.triples import EmbeddedTriples, RemoteTriples, open_triples
from emorobcare_api.triples_worker import MAX_ANSWER, answer

# Forty nested loops over every triple: it does not end in a lifetime.
ENDLESS = "SELECT (COUNT(*) AS ?n) {" + "".join(f"?a{i} ?b{i} ?c{i} . " for i in range(40)) + "}"
HUGE = "SELECT * {" + "".join(f"?a{i} ?b{i} ?c{i} . " for i in range(20)) + "}"
GREEDY = HUGE + " ORDER BY ?a1"


def publish(folder: Path, name: str, texts: t.Sequence[str]) -> None:
    """Make a store as the job does."""
    store = pyoxigraph.Store(str(folder / name))
    node = pyoxigraph.NamedNode("http://e/s")
    store.extend(pyoxigraph.Quad(node, node, pyoxigraph.Literal(text)) for text in texts)
    store.flush()
    del store
    link = folder / ".next"
    link.symlink_to(name)
    link.rename(folder / "current")


@pytest.fixture
def embedded(tmp_path: Path) -> t.Iterator[EmbeddedTriples]:
    publish(tmp_path, "first", [f"text {number}" for number in range(20)])
    store = EmbeddedTriples(tmp_path)
    yield store
    store.close()


def count(store: EmbeddedTriples) -> int:
    found = json.loads(store.query("SELECT (COUNT(*) AS ?n) { ?s ?p ?o }"))
    return int(found["results"]["bindings"][0]["n"]["value"])


def test_select_and_ask_are_answered_as_sparql_json(embedded: EmbeddedTriples) -> None:
    embedded.check()
    assert count(embedded) == 20
    assert json.loads(embedded.query("ASK { ?s ?p 'text 3' }"))["boolean"] is True


def test_a_new_ontology_is_seen_without_a_restart(embedded: EmbeddedTriples, tmp_path: Path) -> None:
    assert count(embedded) == 20
    publish(tmp_path, "second", ["only one"])
    assert count(embedded) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [("SELECT nonsense", "not valid SPARQL"), (HUGE, "larger than"), (GREEDY, "too much memory")],
)
def test_a_query_at_fault_is_refused_and_the_next_one_is_answered(
    embedded: EmbeddedTriples, query: str, said: str
) -> None:
    with pytest.raises(QueryError, match=said):
        embedded.query(query)
    assert count(embedded) == 20


def test_a_query_without_end_is_ended_and_the_next_one_is_answered(tmp_path: Path) -> None:
    publish(tmp_path, "first", [str(number) for number in range(20)])
    store = EmbeddedTriples(tmp_path, timeout=0.5)
    with pytest.raises(QueryError, match=r"longer than 0\.5 s"):
        store.query(ENDLESS)
    store.close()
    patient = EmbeddedTriples(tmp_path)
    assert count(patient) == 20
    patient.close()


def test_a_folder_without_an_ontology_says_what_loads_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="fuseki-job"):
        open_triples(Place("file", f"file://{tmp_path}", tmp_path))


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "current").symlink_to("broken")
    store = EmbeddedTriples(tmp_path)
    with pytest.raises(StoreError, match="broken"):
        store.query("ASK {}")
    store.close()


def test_graphs_are_not_answered_even_by_the_worker() -> None:
    assert answer(pyoxigraph.Store(), "CONSTRUCT { ?s ?p ?o } WHERE { ?s ?p ?o }").startswith(b"-only SELECT and ASK")


def remote(handler: t.Callable[[httpx.Request], httpx.Response]) -> RemoteTriples:
    return RemoteTriples("http://fuseki:3030/care", httpx.Client(transport=httpx.MockTransport(handler)))


def test_a_server_is_asked_by_the_sparql_protocol() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("POST", "http://fuseki:3030/care/sparql")
        assert request.headers["content-type"] == "application/sparql-query"
        assert request.headers["accept"] == "application/sparql-results+json"
        return httpx.Response(200, content=b"{}" if request.content == b"ASK { }" else b"?")

    store = remote(handle)
    store.check()
    assert store.query("ASK { }") == b"{}"
    store.close()


@pytest.mark.parametrize(
    ("status", "content", "error", "said"),
    [
        (400, b"Parse error: line 1", QueryError, "Parse error: line 1"),
        (503, b"Query timed out", StoreError, "answered 503: Query timed out"),
        (404, b"", StoreError, "answered 404: Not Found"),
        (200, b"x" * (MAX_ANSWER + 1), QueryError, "LIMIT"),
    ],
)
def test_a_servers_refusal_is_passed_on(status: int, content: bytes, error: type[Exception], said: str) -> None:
    store = remote(lambda _: httpx.Response(status, content=content))
    with pytest.raises(error, match=said):
        store.query("ASK { }")
    store.close()


@pytest.mark.parametrize(
    ("failure", "said"),
    [(httpx.ConnectError("refused"), "does not answer: refused"), (httpx.ReadTimeout("slow"), "no answer in time")],
)
def test_a_server_that_is_away_is_named(failure: Exception, said: str) -> None:
    def handle(_request: httpx.Request) -> httpx.Response:
        raise failure

    store = remote(handle)
    with pytest.raises(StoreError, match=said) as caught:
        store.check()
    assert "fuseki:3030" in str(caught.value)
    store.close()
