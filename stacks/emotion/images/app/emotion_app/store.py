# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of results, in a server that speaks MySQL's protocol. Its schema is images/db/schema.sql."""

from __future__ import annotations

import contextlib
import ssl
import threading
import typing as t
import uuid

import pymysql
import pymysql.cursors

from .emotions import Face
from .errors import StoreError
from .settings import Server

_TIMEOUT = 3  # seconds
_INSERT = (
    "INSERT INTO detection_results (userId, sessionId, timestamp, emotion, stressScore, confidence)"
    " VALUES (%s, %s, UTC_TIMESTAMP(3), %s, %s, %s)"
)
_HISTORY = (
    "SELECT DATE_FORMAT(timestamp, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ') AS timestamp,"
    " emotion, stressScore AS stress, confidence FROM detection_results WHERE userId = %s"
    " ORDER BY timestamp DESC, id DESC LIMIT %s"
)


class Results(t.Protocol):
    """What is needed of the table."""

    def add(self, user: uuid.UUID, session: uuid.UUID, faces: t.Sequence[Face]) -> None: ...
    def history(self, user: uuid.UUID, limit: int) -> list[dict[str, t.Any]]: ...
    def check(self) -> None: ...


class MysqlResults:
    """One connection, made when it is needed and made anew when it broke."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: t.Any = None
        self._lock = threading.Lock()

    def add(self, user: uuid.UUID, session: uuid.UUID, faces: t.Sequence[Face]) -> None:
        """Keep what was seen, all of it or nothing. Raises StoreError."""
        rows = [(user.bytes, session.bytes, face.emotion, face.stress, face.emotions[face.emotion]) for face in faces]
        self._run(lambda cursor: cursor.executemany(_INSERT, rows))

    def history(self, user: uuid.UUID, limit: int) -> list[dict[str, t.Any]]:
        """A user's results, the newest first. Raises StoreError."""

        def read(cursor: t.Any) -> list[dict[str, t.Any]]:
            cursor.execute(_HISTORY, (user.bytes, limit))
            return list(cursor.fetchall())

        return t.cast("list[dict[str, t.Any]]", self._run(read))

    def check(self) -> None:
        """Raises StoreError if the table cannot be read."""
        self._run(lambda cursor: cursor.execute("SELECT 1 FROM detection_results LIMIT 1"))

    def _run(self, work: t.Callable[[t.Any], t.Any]) -> t.Any:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                with self._connection.cursor() as cursor:
                    answer = work(cursor)
                self._connection.commit()
                return answer
            except (pymysql.Error, OSError) as error:
                self._drop()
                raise StoreError(f"the database at {self._server.host}: {_words(error)}") from error

    def _connect(self) -> t.Any:
        return pymysql.connect(
            host=self._server.host,
            port=self._server.port,
            user=self._server.user,
            password=self._server.password,
            database=self._server.name,
            ssl=_encrypted(),
            connect_timeout=_TIMEOUT,
            read_timeout=_TIMEOUT,
            write_timeout=_TIMEOUT,
            cursorclass=pymysql.cursors.DictCursor,
        )

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(pymysql.Error, OSError):
                self._connection.close()
        self._connection = None


def _encrypted() -> ssl.SSLContext:
    """The server makes its certificate at each start, so there is no name to check: this keeps out who only listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _words(error: Exception) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)
