# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The health check: exit 0 if ``GET /ready`` on this machine answers 200, 1 with a reason otherwise.

It uses a bare socket because it runs every few seconds: importing an HTTP client costs more than the request.
"""

from __future__ import annotations

import socket
import sys

TIMEOUT_SECONDS = 2.0


def ask(port: int, path: str) -> bytes:
    """The answer's status line and body. Raises OSError."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        while chunk := connection.recv(65536):
            answer += chunk
    return bytes(answer)


def main() -> int:
    port, path = int(sys.argv[1]), sys.argv[2]
    try:
        answer = ask(port, path)
    except OSError as error:
        print(f"nothing answers on port {port}: {error}")
        return 1
    head, _blank, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    print(body.decode(errors="replace")[:500])
    return 0 if status == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
