# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the ontology is asked: a store folder that a job made, or a Fuseki server."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import typing as t
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from .errors import QueryError, StoreError
from .settings import Place
from .triples_worker import MAX_ANSWER

TIMEOUT_SECONDS = 5.0
ANY = "ASK { }"


class TripleStore(t.Protocol):
    """What is needed of a store."""

    def query(self, query: str) -> bytes:
        """Answer a SELECT or ASK query in the SPARQL 1.1 Query Results JSON format.

        Raises QueryError if the query is wrong, too slow or too large, StoreError if the store does not answer.
        """

    def check(self) -> None:
        """Return if the store answers; raise StoreError otherwise."""

    def close(self) -> None: ...


class EmbeddedTriples:
    """Asks a process of its own, because the store cannot stop a query: a process can be ended.

    The job never changes a store that it has published: it makes a new folder and points the link ``current`` at it.
    So the link is followed at every query, and a changed one means a new process.
    """

    def __init__(self, folder: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        self._folder = folder
        self._timeout = timeout
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def query(self, query: str) -> bytes:
        # Queries are answered one by one. Who waits for longer than a query may take is told so.
        if not self._lock.acquire(timeout=self._timeout * 2):
            raise StoreError("the ontology's store is busy with other queries; ask again")
        try:
            return self._running().ask(query, self._timeout)
        finally:
            self._lock.release()

    def check(self) -> None:
        if self._lock.locked():
            self._current()  # it is answering somebody
            return
        try:
            self.query(ANY)
        except QueryError as error:
            raise StoreError(f"the ontology's store does not answer: {error}") from error

    def close(self) -> None:
        with self._lock:
            if self._worker:
                self._worker.end()
                self._worker = None

    def _running(self) -> _Worker:
        store = self._current()
        if self._worker and (self._worker.store != store or not self._worker.is_alive):
            self._worker.end()
            self._worker = None
        self._worker = self._worker or _Worker(store)
        return self._worker

    def _current(self) -> Path:
        link = self._folder / "current"
        if not link.exists():
            raise StoreError(f"there is no ontology in {self._folder} yet; the job fuseki-job loads it")
        return link.resolve()


class _Worker:
    """One process that has one store open."""

    def __init__(self, store: Path) -> None:
        self.store = store
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.triples_worker", str(store), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._pipe = Connection(ours.detach())

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, query: str, timeout: float) -> bytes:
        try:
            self._pipe.send_bytes(query.encode())
            if not self._pipe.poll(timeout):
                self.end()
                raise QueryError(f"the query took longer than {timeout:g} s; ask for less")
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._died() from error
        kind, payload = answer[:1], answer[1:]
        if kind == b"+":
            return payload
        message = payload.decode(errors="replace")
        raise QueryError(message) if kind == b"-" else StoreError(message)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def _died(self) -> Exception:
        self.end()
        if self._process.returncode == -signal.SIGABRT:  # how an allocation beyond the limit ends
            return QueryError("the query took too much memory; ask for less")
        return StoreError(f"the process that answers queries ended with {self._process.returncode}; ask again")


class RemoteTriples:
    """A dataset of a Fuseki server, by the SPARQL 1.1 Protocol."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self._url = f"{url}/sparql"
        # Longer than the server's own limit for a query, which answers with a better message.
        self._client = client or httpx.Client(timeout=httpx.Timeout(TIMEOUT_SECONDS * 2, connect=2.0))

    def query(self, query: str) -> bytes:
        headers = {"Content-Type": "application/sparql-query", "Accept": "application/sparql-results+json"}
        try:
            with self._client.stream("POST", self._url, content=query.encode(), headers=headers) as response:
                answer = self._read(response)
        except httpx.TimeoutException as error:
            raise StoreError(f"{self._url} gave no answer in time") from error
        except httpx.HTTPError as error:
            raise StoreError(f"{self._url} does not answer: {error}") from error
        if response.status_code == httpx.codes.OK:
            return answer
        message = answer.decode(errors="replace").strip()[:500] or response.reason_phrase
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise QueryError(message)
        raise StoreError(f"{self._url} answered {response.status_code}: {message}")

    def check(self) -> None:
        try:
            self.query(ANY)
        except QueryError as error:
            raise StoreError(f"{self._url} does not understand {ANY!r}: {error}") from error

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def _read(response: httpx.Response) -> bytes:
        answer = bytearray()
        for chunk in response.iter_bytes():
            answer += chunk
            if len(answer) > MAX_ANSWER:
                raise QueryError(f"the answer is larger than {MAX_ANSWER} bytes; add a LIMIT to the query")
        return bytes(answer)


def open_triples(place: Place) -> TripleStore:
    """Open the store. Raises StoreError, also while no ontology has been loaded yet."""
    store: TripleStore = RemoteTriples(place.url) if place.is_remote else EmbeddedTriples(place.path)
    try:
        store.check()
    except StoreError:
        with contextlib.suppress(StoreError):
            store.close()
        raise
    return store
