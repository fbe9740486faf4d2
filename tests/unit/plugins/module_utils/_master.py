# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for HAProxy's master: it answers on a socket as it is told, and keeps what it was asked."""

from __future__ import annotations

import pathlib
import socketserver
import threading
import typing as t

PROC = "# workers\n19 worker 0 0d 3.0\n# old workers\n8 worker 1 0d 3.0\n"
MAP = "/etc/haproxy/live.map"

Answers = dict[str, t.Union[str, t.Callable[[], str]]]


def stat(*rows: str) -> str:
    return "\n".join(["# pxname,svname,scur,status,check_status", *rows, ""])


class Master:
    """Answers are by command; one that is not among them is answered with nothing."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.live = "blue"
        self.answers: Answers = {
            "show proc": PROC,
            f"@1 get map {MAP} live": lambda: f'found=yes, idx=tree, key="live", value="{self.live}", type="str"\n',
        }
        self.asked: list[str] = []

    def take(self, command: str) -> str:
        self.asked.append(command)
        if command.startswith("@!19 set map") and command not in self.answers:
            self.live = command.split()[-1]
        answer = self.answers.get(command, "")
        return answer if isinstance(answer, str) else answer()

    @property
    def told(self) -> list[str]:
        """What was asked, without what only looks."""
        return [command for command in self.asked if "show " not in command and "get " not in command]

    def __enter__(self) -> Master:
        master = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(master.take(self.rfile.read().decode().strip()).encode())

        self._server = socketserver.ThreadingUnixStreamServer(str(self.folder / "master.sock"), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
