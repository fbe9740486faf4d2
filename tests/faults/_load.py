# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load on an ingress whose services say their colour: a few clients that count every answer and every failure."""

from __future__ import annotations

import collections
import contextlib
import http.client
import threading
import typing as t

LARGE = 1 << 20
PATIENCE = 30.0  # seconds for one answer, before it counts as none


class Kind(t.NamedTuple):
    """What a client asks for, again and again."""

    name: str
    method: str
    path: str
    body: bytes = b""
    keep: bool = True


KINDS = (
    Kind("small, kept alive", "GET", "/api/small"),
    Kind("small, new connections", "GET", "/api/small", keep=False),
    Kind("1 MiB, kept alive", "GET", "/api/large"),
    Kind("POST, kept alive", "POST", "/api/post", b"x" * 100),
    Kind("POST of 1 MiB, new connections", "POST", "/api/post", b"x" * LARGE, keep=False),
)


class Load:
    """Runs clients while the block lasts; `failures` are all that did not get the answer it had to get."""

    def __init__(self, port: int, kinds: t.Sequence[Kind] = KINDS) -> None:
        self._port, self._kinds = port, kinds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._expected: tuple[int, str | None] = (0, None)
        self.answers: collections.Counter[str] = collections.Counter()
        self.colours: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

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
        connection = self._connect()
        while not self._stop.is_set():
            before = self._expected
            fault = ""
            try:
                colour = self._ask(connection, kind)
                if before == self._expected and before[1] not in (None, colour):
                    fault = f"answered by {colour} after the switch to {before[1]}"
            except (OSError, http.client.HTTPException, ValueError) as exc:
                colour, fault = "none", repr(exc)
            with self._lock:
                self.answers[kind.name] += 1
                self.colours[colour] += 1
                if fault:
                    self.failures.append(f"{kind.name}: {fault}")
            if fault or not kind.keep:
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)

    def _ask(self, connection: http.client.HTTPConnection, kind: Kind) -> str:
        connection.request(kind.method, kind.path, kind.body or None, {} if kind.keep else {"Connection": "close"})
        with contextlib.closing(connection.getresponse()) as answer:
            body = answer.read()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {body[:100]!r}")
        colour, _colon, rest = body.partition(b":")
        wanted = LARGE if kind.path.endswith("/large") else len(kind.body)
        if kind.path != "/api/small" and (len(rest) if kind.method == "GET" else int(rest)) != wanted:
            raise ValueError(f"{len(body)} bytes")
        return colour.decode()
