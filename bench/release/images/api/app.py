# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An API that says in each answer which release it is of; for measurements and tests, one file and no dependency.

    GET  /api/small  "<release>:<path>"
    GET  /api/large  "<release>:" and 1 MiB
    POST /api/post   "<release>:<bytes of the body>", and counts in Redis
    GET  /api/ws     a WebSocket: each text comes back as "<release>:<text>"
    GET  /api/ready  200 while Redis answers and nobody asked it to drain (by a file /tmp/drain)

On SIGTERM it takes nothing new, ends what it began, and closes WebSockets. Frames are those of RFC 6455, in one piece.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import os
import signal
import socket
import sys
import threading
import time
import typing as t

PORT = 8000
LARGE = 1 << 20
DRAIN = "/tmp/drain"
PATIENCE = 5.0  # seconds for what was begun, and for Redis

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
GOING_AWAY = (1001).to_bytes(2, "big")
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_FINAL, _MASKED = 0x80, 0x80


class Stream(t.Protocol):
    def read(self, size: int, /) -> bytes: ...


def accept_key(key: str) -> str:
    """Return what a server answers to a client's Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()


def encode_frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    """Return a whole frame; a client's has a mask of four random bytes."""
    bit, length = _MASKED if mask else 0, len(payload)
    if length < 126:
        head = bytes([_FINAL | opcode, bit | length])
    elif length < 1 << 16:
        head = bytes([_FINAL | opcode, bit | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([_FINAL | opcode, bit | 127]) + length.to_bytes(8, "big")
    return head + mask + _masked(payload, mask)


def read_frame(stream: Stream) -> tuple[int, bytes]:
    """Read a frame; return its opcode and what is in it.

    Raises:
        EOFError: the connection ended.
        ValueError: it is a part of a message.
    """
    first, second = _exactly(stream, 2)
    if not first & _FINAL:
        raise ValueError("a message in parts")
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(_exactly(stream, 2 if length == 126 else 8), "big")
    mask = _exactly(stream, 4) if second & _MASKED else b""
    return first & 0x0F, _masked(_exactly(stream, length), mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if mask else payload


def _exactly(stream: Stream, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError("the connection ended within a frame" if content else "the connection ended")
    return content


def ask_redis(*words: str) -> str:
    """Return the first line of Redis' answer; empty where there is no Redis."""
    host = os.environ.get("REDIS", "")
    if not host:
        return ""
    with socket.create_connection((host, 6379), PATIENCE) as connection, connection.makefile("rb") as answers:
        parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        connection.sendall(f"*{len(words)}\r\n{parts}".encode())
        return answers.readline().decode().strip()


class Server(http.server.ThreadingHTTPServer):
    """Knows what is under way, so that it can end it."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, release: str) -> None:
        super().__init__(("", PORT), Handler)
        self.release = release.encode()
        self.stopping = False
        self.lock = threading.Lock()
        self.busy = 0
        self.sockets: set[socket.socket] = set()

    @contextlib.contextmanager
    def at_work(self) -> t.Iterator[None]:
        with self.lock:
            self.busy += 1
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1

    def stop(self) -> None:
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self.lock:
            sockets = list(self.sockets)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.sendall(encode_frame(CLOSE, GOING_AWAY))
                one.shutdown(socket.SHUT_RD)
        deadline = time.monotonic() + PATIENCE
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body waits for the client to confirm the headers
    server: Server

    def do_GET(self) -> None:
        with self.server.at_work():
            if self.path.endswith("/ws"):
                self._web_socket()
            elif self.path.endswith("/ready"):
                ready = not os.path.exists(DRAIN) and ask_redis("PING") in ("+PONG", "")
                self._answer(b'{"ready": true}' if ready else b'{"ready": false}', 200 if ready else 503)
            elif self.path.endswith("/large"):
                self._answer(self.server.release + b":" + b"x" * LARGE)
            else:
                self._answer(self.server.release + b":" + self.path.encode())

    def do_POST(self) -> None:
        with self.server.at_work():
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ask_redis("INCR", "posts")
            self._answer(self.server.release + f":{len(body)}".encode())

    def log_message(self, *_args: object) -> None:
        """Says nothing of each request."""

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.stopping:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def _web_socket(self) -> None:
        self.close_connection = True
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept_key(self.headers["Sec-WebSocket-Key"]))
        self.end_headers()
        with self.server.lock:
            self.server.sockets.add(self.connection)
        try:
            self._talk()
        except (OSError, EOFError, ValueError):
            pass  # the client is gone, or was told to go
        finally:
            with self.server.lock:
                self.server.sockets.discard(self.connection)

    def _talk(self) -> None:
        while True:
            opcode, payload = read_frame(self.rfile)
            if opcode == TEXT:
                self.wfile.write(encode_frame(TEXT, self.server.release + b":" + payload))
            elif opcode == PING:
                self.wfile.write(encode_frame(PONG, payload))
            elif opcode == CLOSE:
                self.wfile.write(encode_frame(CLOSE, payload))
                return


def main() -> int:
    server = Server(os.environ.get("RELEASE", "0"))
    signal.signal(signal.SIGTERM, lambda _signal, _frame: threading.Thread(target=server.stop).start())
    server.serve_forever(poll_interval=0.05)
    threading.Event().wait()  # until what was begun has ended
    return 0


if __name__ == "__main__":
    sys.exit(main())
