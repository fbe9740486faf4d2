# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on an ingress whose services say their colour: a few clients that keep every answer and every failure."""

from __future__ import annotations

import collections
import contextlib
import http.client
import threading
import time
import typing as t

from ansible_collections.emorobcare.fleet.tests.faults._web_socket import Closed, WebSocket

LARGE = 1 << 20
PATIENCE = 30.0  # seconds for one answer, before it counts as none


class Kind(t.NamedTuple):
    """What a client asks for, again and again. `coloured`: the answer begins with the colour of who gave it."""

    name: str
    method: str
    path: str
    body: bytes = b""
    keep: bool = True
    coloured: bool = True


NEW_CONNECTIONS = Kind("small, new connections", "GET", "/api/small", keep=False)
KINDS = (
    Kind("small, kept alive", "GET", "/api/small"),
    NEW_CONNECTIONS,
    Kind("1 MiB, kept alive", "GET", "/api/large"),
    Kind("POST, kept alive", "POST", "/api/post", b"x" * 100),
    Kind("POST of 1 MiB, new connections", "POST", "/api/post", b"x" * LARGE, keep=False),
)
WEB_SOCKET = Kind("WebSocket", "WS", "/api/ws")
"""Texts on a connection that may be closed between two of them, or instead of an answer, if a new one can be had."""


class Record(t.NamedTuple):
    """One request. `began` is the wall clock's, which containers share; `fault` is empty where all was well."""

    kind: str
    began: float
    seconds: float
    colour: str
    fault: str

    @property
    def ended(self) -> float:
        return self.began + self.seconds


class Load:
    """Runs clients while the block lasts; `failures` are all that did not get the answer it had to get.

    Args:
        pause: seconds between an answer and the next request of the same client.
        patience: seconds for one answer.
    """

    def __init__(
        self,
        port: int,
        kinds: t.Sequence[Kind] = KINDS,
        *,
        host: str = "127.0.0.1",
        pause: float = 0.0,
        patience: float = PATIENCE,
    ) -> None:
        self._host, self._port, self._kinds = host, port, kinds
        self._pause, self._patience = pause, patience
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._expected: tuple[int, str | None] = (0, None)
        self.answers: collections.Counter[str] = collections.Counter()
        self.colours: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.records: list[Record] = []
        self.closed = 0  # WebSockets that were closed by the other side

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in self._kinds]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def expect(self, colour: str | None) -> None:
        """From now on requests must be answered by this colour; None while it is being switched."""
        self._expected = (self._expected[0] + 1, colour)

    @property
    def total(self) -> int:
        return self.answers.total()

    def _run(self, kind: Kind) -> None:
        client = _Socket(self._host, self._port, kind, self._patience) if kind.method == "WS" else self._http(kind)
        while not self._stop.is_set():
            before, began, clock = self._expected, time.time(), time.monotonic()
            fault = ""
            try:
                colour = client.ask()
                if before == self._expected and before[1] not in (None, colour):
                    fault = f"answered by {colour} after the switch to {before[1]}"
            except Closed:
                with self._lock:
                    self.closed += 1
                continue
            except (OSError, http.client.HTTPException, ValueError, EOFError) as exc:
                colour, fault = "none", repr(exc)
            with self._lock:
                self.records.append(Record(kind.name, began, time.monotonic() - clock, colour, fault))
                self.answers[kind.name] += 1
                self.colours[colour] += 1
                if fault:
                    self.failures.append(f"{kind.name}: {fault}")
            if fault or not kind.keep:
                client.close()
            self._stop.wait(self._pause)
        client.close()

    def _http(self, kind: Kind) -> _Http:
        return _Http(self._host, self._port, kind, self._patience)


class _Http:
    def __init__(self, host: str, port: int, kind: Kind, patience: float) -> None:
        self._kind = kind
        self._connection = http.client.HTTPConnection(host, port, timeout=patience)
        self._headers = {} if kind.keep else {"Connection": "close"}

    def ask(self) -> str:
        """Ask once, on a new connection where there is none; return the colour that answered."""
        kind = self._kind
        self._connection.request(kind.method, kind.path, kind.body or None, self._headers)
        with contextlib.closing(self._connection.getresponse()) as answer:
            body = answer.read()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {body[:100]!r}")
        if not kind.coloured:
            return ""
        colour, _colon, rest = body.partition(b":")
        wanted = LARGE if kind.path.endswith("/large") else len(kind.body)
        if kind.path != "/api/small" and (len(rest) if kind.method == "GET" else int(rest)) != wanted:
            raise ValueError(f"{len(body)} bytes")
        return colour.decode()

    def close(self) -> None:
        self._connection.close()


class _Socket:
    def __init__(self, host: str, port: int, kind: Kind, patience: float) -> None:
        self._where = (host, port, kind.path, patience)
        self._socket: WebSocket | None = None
        self._sent = 0

    def ask(self) -> str:
        """Send a text, on a new connection where there is none; return the colour that answered.

        Raises:
            Closed: what was connected is closed.
        """
        if self._socket is None:
            self._socket = WebSocket(*self._where)
        self._sent += 1
        try:
            colour, _colon, text = self._socket.ask(str(self._sent)).partition(":")
        except Closed:
            self.close()
            raise
        if text != str(self._sent):
            raise ValueError(f"{text!r} for {self._sent}")
        return colour

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
