# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's end of a WebSocket (RFC 6455), as far as texts in one piece need it; the server's end has the frames."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import typing as t

from ansible_collections.emorobcare.fleet.bench.release.images.api.app import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_key,
    encode_frame,
    read_frame,
)


class Closed(Exception):
    """The other side closed a connection that was open."""


class WebSocket:
    """A connection that is open.

    Raises:
        OSError: no connection.
        ValueError: it was answered, and not by a WebSocket.
    """

    def __init__(self, host: str, port: int, path: str, patience: float) -> None:
        self._socket = socket.create_connection((host, port), patience)
        self._stream: t.BinaryIO = self._socket.makefile("rb")
        try:
            self._shake_hands(f"{host}:{port}", path)
        except BaseException:
            self.close()
            raise

    def ask(self, text: str) -> str:
        """Send a text; return the next one that comes.

        Raises:
            Closed: the other side went instead, whether it said so or not.
            OSError: no answer in time.
        """
        try:
            self._send(TEXT, text.encode())
            while True:
                opcode, payload = read_frame(self._stream)
                if opcode == TEXT:
                    return payload.decode()
                if opcode == PING:
                    self._send(PONG, payload)
                if opcode == CLOSE:
                    raise Closed
        except (EOFError, ConnectionError) as exc:
            raise Closed from exc

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._send(CLOSE, b"")
        self._stream.close()
        self._socket.close()

    def _send(self, opcode: int, payload: bytes) -> None:
        self._socket.sendall(encode_frame(opcode, payload, os.urandom(4)))

    def _shake_hands(self, host: str, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        status = self._stream.readline().decode(errors="replace").strip()
        headers: dict[str, str] = {}
        while line := self._stream.readline().decode(errors="replace").strip():
            name, _colon, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if " 101 " not in f"{status} " or headers.get("sec-websocket-accept") != accept_key(key):
            raise ValueError(f"no WebSocket: {status or 'no answer'}")
