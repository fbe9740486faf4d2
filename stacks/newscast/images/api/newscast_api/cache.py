# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was spoken, kept in Redis for a while."""

from __future__ import annotations

import logging
import typing as t
from collections.abc import Callable

import prometheus_client
import redis

KEPT_SECONDS = 24 * 3600
MAX_BYTES = 8 * 1024 * 1024
_TIMEOUT = 0.5  # seconds; without a cache everything still works, so it must not hold anybody up
_log = logging.getLogger(__name__)


class SpeechCache:
    """A Redis that may be away: then nothing is remembered, and the log says so once."""

    def __init__(self, url: str, registry: prometheus_client.CollectorRegistry) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        self._away = False
        self._lookups = prometheus_client.Counter(
            "newscast_cache_lookups", "Speeches looked up in Redis: hit, miss or error.", ["result"], registry=registry
        )

    def get(self, key: str) -> bytes | None:
        kept = t.cast("bytes | None", self._try(lambda: self._client.get(f"speech:{key}")))
        self._lookups.labels("error" if self._away else "miss" if kept is None else "hit").inc()
        return kept

    def put(self, key: str, speech: bytes) -> None:
        if len(speech) <= MAX_BYTES:
            self._try(lambda: self._client.set(f"speech:{key}", speech, ex=KEPT_SECONDS))

    def problem(self) -> str | None:
        """Why nothing is remembered; None if all is well."""
        self._try(self._client.ping)
        return "Redis does not answer: every text is spoken anew" if self._away else None

    def close(self) -> None:
        self._client.close()

    def _try(self, ask: Callable[[], t.Any]) -> t.Any:
        try:
            answer = ask()
        except redis.RedisError as error:
            if not self._away:
                _log.warning("working without Redis: %s", error)
            self._away = True
            return None
        self._away = False
        return answer
