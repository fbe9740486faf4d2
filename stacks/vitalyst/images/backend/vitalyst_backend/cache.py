# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that were given before, in Redis, until the graph changes. Without Redis everything is asked anew."""

from __future__ import annotations

import json
import logging
import typing as t

import redis

_KEPT_SECONDS = 600
_TIMEOUT = 0.5  # seconds
_log = logging.getLogger(__name__)


class Cache:
    """Each change of the graph gives it another version, which is part of every key: nothing old is found again."""

    def __init__(self, url: str, password: str) -> None:
        self._client: t.Any = redis.Redis.from_url(
            url, password=password or None, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        )
        self.away = False

    def answer(self, question: str, ask: t.Callable[[], t.Any]) -> t.Any:
        """The answer to a question, asked only if it is not known."""
        version = self._try(lambda: self._client.get("graph:version")) or b"0"
        key = f"graph:{version.decode()}:{question}"
        known = self._try(lambda: self._client.get(key))
        if known:
            return json.loads(known)
        found = ask()
        self._try(lambda: self._client.set(key, json.dumps(found), ex=_KEPT_SECONDS))
        return found

    def changed(self) -> None:
        """The graph is another one now."""
        self._try(lambda: self._client.incr("graph:version"))

    def check(self) -> str:
        self._try(self._client.ping)
        return "Redis does not answer: everything is asked anew" if self.away else "ready"

    def _try(self, ask: t.Callable[[], t.Any]) -> t.Any:
        try:
            answer = ask()
        except redis.RedisError as error:
            if not self.away:
                _log.warning("working without Redis: %s", error)
            self.away = True
            return None
        self.away = False
        return answer
