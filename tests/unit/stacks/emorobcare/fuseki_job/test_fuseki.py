# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import threading
import typing as t
import urllib.parse
import urllib.request
from pathlib import Path

import pyoxigraph
import pytest
from emorobcare_ontology.fuseki import PATIENCE_SECONDS, Answer, Fuseki, FusekiError
from emorobcare_ontology.ontology import Ontology, read_ontology


@pytest.fixture
def ontology(tmp_path: Path) -> Ontology:
    (tmp_path / "o.ttl").write_text('<http://e/a> <http://e/b> "one", "two" .')
    return read_ontology(tmp_path / "o.ttl")


class Server:
    """Answers requests in the place of a server, and keeps the time."""

    def __init__(self, *answers: Answer | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.now = 0.0

    def ask(self, request: urllib.request.Request) -> Answer:
        self.asked.append(f"{request.get_method()} {request.full_url}")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def fuseki(self) -> Fuseki:
        return Fuseki("http://fuseki:3030/care", self.ask, self.pause, lambda: self.now)


def count(number: int) -> Answer:
    return Answer(200, b'{"results": {"bindings": [{"n": {"value": "%d"}}]}}' % number)


def test_a_server_that_holds_the_ontology_is_left_alone(ontology: Ontology) -> None:
    server = Server(count(ontology.count))
    assert server.fuseki().load(ontology) is False
    assert server.asked == ["POST http://fuseki:3030/care/sparql"]


def test_another_ontology_is_replaced_in_one_request_and_looked_at_again(ontology: Ontology) -> None:
    server = Server(count(0), Answer(201, b""), count(ontology.count))
    assert server.fuseki().load(ontology) is True
    assert server.asked[1] == "PUT http://fuseki:3030/care/data?default"
    assert len(server.asked) == 3


def test_a_server_that_starts_late_is_waited_for(ontology: Ontology) -> None:
    refused = ConnectionRefusedError("refused")
    server = Server(refused, refused, Answer(503, b"starting"), count(ontology.count))
    assert server.fuseki().load(ontology) is False
    assert server.now == 3


def test_a_server_that_never_answers_is_given_up_with_its_last_answer(ontology: Ontology) -> None:
    server = Server(ConnectionRefusedError("refused"))
    with pytest.raises(FusekiError, match=r"fuseki:3030/care/sparql does not answer: refused; gave up after 90 s"):
        server.fuseki().load(ontology)
    assert server.now == PATIENCE_SECONDS


def test_a_refusal_is_final(ontology: Ontology) -> None:
    server = Server(count(0), Answer(405, b"read only"))
    with pytest.raises(FusekiError, match="answered 405: read only"):
        server.fuseki().load(ontology)
    assert server.now == 0


def test_an_ontology_that_is_taken_but_not_shown_is_an_error(ontology: Ontology) -> None:
    with pytest.raises(FusekiError, match="does not show it"):
        Server(count(0), Answer(200, b""), count(1)).fuseki().load(ontology)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"results": {"bindings": []}}'])
def test_an_answer_that_is_no_count_is_shown(ontology: Ontology, body: bytes) -> None:
    with pytest.raises(FusekiError, match="no count"):
        Server(Answer(200, body)).fuseki().load(ontology)


class Dataset(http.server.BaseHTTPRequestHandler):
    """A dataset of a SPARQL server on a real store: what the job uses of Fuseki."""

    store = pyoxigraph.Store()

    def do_PUT(self) -> None:
        assert self.path == "/care/data?default"
        self.store.clear()
        self.store.load(self._body(), format=pyoxigraph.RdfFormat.N_TRIPLES)
        self._answer(201, b"")

    def do_POST(self) -> None:
        result = t.cast(pyoxigraph.QuerySolutions, self.store.query(self._body().decode()))
        self._answer(200, result.serialize(format=pyoxigraph.QueryResultsFormat.JSON) or b"")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: t.Any, **_kwargs: t.Any) -> None:
        """Say nothing."""


def test_over_http_an_ontology_is_loaded_once_and_a_new_one_takes_its_place(tmp_path: Path, ontology: Ontology) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dataset) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            fuseki = Fuseki(f"http://127.0.0.1:{server.server_port}/care")
            assert [fuseki.load(ontology), fuseki.load(ontology)] == [True, False]
            (tmp_path / "new.ttl").write_text('<http://e/a> <http://e/b> "three" .')
            assert fuseki.load(read_ontology(tmp_path / "new.ttl")) is True
            assert len(Dataset.store) == 2
        finally:
            server.shutdown()
            thread.join()
