# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container's health check: ends by 0 when the API is ready. It imports little, because it runs all the time."""

from __future__ import annotations

import socket
import sys

with socket.create_connection(("127.0.0.1", 8000), 2) as connection:
    connection.sendall(b"GET /api/ready HTTP/1.0\r\n\r\n")
    sys.exit(0 if b" 200 " in connection.recv(64) else 1)
