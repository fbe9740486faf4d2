# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server on loopback whose answers a function makes: what the fake hub and the fake registry are built from."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
import typing as t
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Reply:
    """An answer. A body of status 200 is served in ranges when one is asked for."""

    status: int = 200
    body: bytes = b""
    headers: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request: names of headers in lower case, the path as it was sent, the query read."""

    method: str
    path: str
    query: t.Mapping[str, str]
    headers: t.Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class Web:
    """Answers with what `answer` makes of each request, and remembers the requests."""

    def __init__(self, answer: t.Callable[[Asked], Reply]) -> None:
        self.requests: list[Asked] = []
        self._answer = answer
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def paths(self, method: str = "") -> list[str]:
        return [asked.path for asked in self.requests if method in ("", asked.method)]

    def reply(self, asked: Asked) -> Reply:
        with self._lock:
            self.requests.append(asked)
            return self._answer(asked)


def _handler_for(web: Web) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        timeout = 5  # a kept connection must not hold up the end of a test

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers)
            reply = web.reply(asked)
            status, body, more = reply.status, reply.body, dict(reply.headers)
            wanted = _RANGE.fullmatch(headers.get("range", ""))
            if status == 200 and wanted:
                start, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
                more["Content-Range"] = f"bytes {start}-{min(last, len(body) - 1)}/{len(body)}"
                status, body = 206, body[start : last + 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the client may go when it has read enough
                super().handle()

        def log_message(self, *_args: object) -> None:
            pass  # pytest's output is for failures

    return Handler
