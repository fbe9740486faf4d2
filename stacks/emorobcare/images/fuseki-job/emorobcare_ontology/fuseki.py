# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Into a Fuseki server, by the SPARQL 1.1 Graph Store HTTP Protocol."""

from __future__ import annotations

import dataclasses
import http.client
import json
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from .ontology import IDENTIFIER, NAME, Ontology

TIMEOUT_SECONDS = 10.0  # of one request
PATIENCE_SECONDS = 90.0  # until the server answers
PAUSE_SECONDS = 1.0


class FusekiError(Exception):
    """The server does not answer, or refuses."""


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


Ask = Callable[[urllib.request.Request], Answer]  # raises OSError when there is no answer


def ask_by_http(request: urllib.request.Request) -> Answer:
    """Send one request; an answer of any status is an answer. Raises OSError."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return Answer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {error!r}") from error


@dataclasses.dataclass(frozen=True)
class Fuseki:
    """One dataset of one server."""

    url: str
    ask: Ask = ask_by_http
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def load(self, ontology: Ontology) -> bool:
        """Make the default graph hold ``ontology`` and nothing else. False if it did already. Raises FusekiError.

        One PUT replaces the graph in one transaction: readers see the old one or the new one.
        """
        if self._holds(ontology):
            return False
        self._insist(
            lambda: urllib.request.Request(
                f"{self.url}/data?default",
                data=ontology.triples,
                method="PUT",
                headers={"Content-Type": "application/n-triples"},
            )
        )
        if not self._holds(ontology):
            raise FusekiError(f"{self.url} took the ontology but does not show it; look at the server's log")
        return True

    def _holds(self, ontology: Ontology) -> bool:
        stamped = f'<{NAME}> <{IDENTIFIER}> "{ontology.identifier}"'
        count = self._select(f"SELECT (COUNT(*) AS ?n) WHERE {{ {stamped} . ?s ?p ?o }}")
        return count == ontology.count

    def _select(self, query: str) -> int:
        answer = self._insist(
            lambda: urllib.request.Request(
                f"{self.url}/sparql",
                data=query.encode(),
                headers={"Content-Type": "application/sparql-query", "Accept": "application/sparql-results+json"},
            )
        )
        try:
            return int(json.loads(answer.body)["results"]["bindings"][0]["n"]["value"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise FusekiError(f"{self.url}/sparql gave no count but {answer.body[:200]!r}") from error

    def _insist(self, make_request: t.Callable[[], urllib.request.Request]) -> Answer:
        """Ask until there is an answer below 500, for as long as PATIENCE_SECONDS. 4xx is final."""
        until = self.clock() + PATIENCE_SECONDS
        while True:
            request = make_request()
            try:
                answer = self.ask(request)
                if answer.status < 300:
                    return answer
                said = f"answered {answer.status}: {answer.body[:300].decode(errors='replace').strip()}"
            except OSError as error:
                answer, said = None, f"does not answer: {error}"
            if answer and answer.status < 500:
                raise FusekiError(f"{request.full_url} {said}")
            if self.clock() >= until:
                raise FusekiError(f"{request.full_url} {said}; gave up after {PATIENCE_SECONDS:g} s")
            self.pause(PAUSE_SECONDS)
