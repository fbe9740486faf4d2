# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A frontend's files as its nginx serves them, policy included, in front of services that say what a test wants."""

from __future__ import annotations

import http.server
import json
import mimetypes
import re
import threading
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

_POLICY = re.compile(r'add_header Content-Security-Policy "([^"]+)"')


@dataclass(frozen=True)
class Answer:
    """What a service says."""

    body: t.Any
    status: int = 200


Answers = t.Mapping[str, Answer]


@dataclass
class Site:
    """A frontend: its folder, its policy, and answers by method and path (C(GET /api/ready)), query excepted."""

    folder: Path
    answers: Answers
    otherwise: Answer = field(default_factory=lambda: Answer({"detail": "the service is resting"}, 503))

    @property
    def policy(self) -> str:
        found = _POLICY.search((self.folder.parent / "nginx.conf").read_text(encoding="utf-8"))
        return found.group(1) if found else ""

    def answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        """Return status, type and content."""
        file = self.folder / (path.lstrip("/") or "index.html")
        if method == "GET" and file.is_file():
            return 200, mimetypes.guess_type(file.name)[0] or "application/octet-stream", file.read_bytes()
        answer = self.answers.get(f"{method} {path}", self.otherwise)
        if isinstance(answer.body, bytes):
            return answer.status, "application/octet-stream", answer.body
        return answer.status, "application/json", json.dumps(answer.body).encode()


class Server:
    """Serves a site on the loopback interface, at a free port, while the context lasts."""

    def __init__(self, site: Site) -> None:
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(site, self.asked))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(site: Site, asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, content = site.answer(self.command, path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", site.policy)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

        def log_message(self, *_words: t.Any) -> None:
            """Tests say what went wrong."""

    return Handler
