# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be known to all replicas for a while: predictions, and how often an address asked. Kept in Redis."""

from __future__ import annotations

import hashlib
import json
import logging
import typing as t

import redis

from .settings import Server

KEPT_SECONDS = 3600
WINDOW_SECONDS = 15 * 60
_TIMEOUT = 0.5  # seconds; without a cache everything still works, so it must not hold anybody up
_log = logging.getLogger(__name__)


class Remembers(t.Protocol):
    """What is needed of the cache."""

    def prediction(self, picture: bytes) -> list[dict[str, t.Any]] | None: ...
    def remember(self, picture: bytes, faces: list[dict[str, t.Any]]) -> None: ...
    def asked(self, address: str) -> int: ...
    def problem(self) -> str | None: ...


class RedisCache:
    """A Redis that may be away: then nothing is remembered and nobody is counted, and the log says so once."""

    def __init__(self, server: Server) -> None:
        self._client = redis.Redis(
            server.host, server.port, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, decode_responses=True
        )
        self._away = False

    def prediction(self, picture: bytes) -> list[dict[str, t.Any]] | None:
        kept = self._try(lambda: self._client.get(_key(picture)))
        return t.cast("list[dict[str, t.Any]]", json.loads(kept)) if kept else None

    def remember(self, picture: bytes, faces: list[dict[str, t.Any]]) -> None:
        self._try(lambda: self._client.set(_key(picture), json.dumps(faces), ex=KEPT_SECONDS))

    def asked(self, address: str) -> int:
        """Count one request of an address; return how many there were in this window."""
        key = f"asked:{hashlib.sha256(address.encode()).hexdigest()[:32]}"

        def count() -> int:
            with self._client.pipeline() as pipe:
                pipe.set(key, 0, ex=WINDOW_SECONDS, nx=True)
                pipe.incr(key)
                return int(pipe.execute()[1])

        return self._try(count) or 0

    def problem(self) -> str | None:
        """Why nothing is remembered; None if all is well."""
        self._try(self._client.ping)
        return "Redis does not answer: nothing is remembered, and nobody is limited" if self._away else None

    def _try(self, ask: t.Callable[[], t.Any]) -> t.Any:
        try:
            answer = ask()
        except redis.RedisError as error:
            if not self._away:
                _log.warning("working without Redis: %s", error)
            self._away = True
            return None
        self._away = False
        return answer


def _key(picture: bytes) -> str:
    return f"faces:{hashlib.sha256(picture).hexdigest()}"
