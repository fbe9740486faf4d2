# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts that the service is made of, each opened in the background until it works.

So the service answers ``/health`` at once, ``/ready`` says what is missing, and a store that starts late, or restarts,
needs no restart here.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t
from collections.abc import Callable

from .embedding import ModelError
from .errors import StoreError

T = t.TypeVar("T")

RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class NotReadyError(Exception):
    """A part that the request needs is not open. Answered with 503."""


class Part(t.Generic[T]):
    """Something that is opened once and may then be checked."""

    def __init__(self, name: str, open_it: Callable[[], T], check: Callable[[T], None]) -> None:
        self.name = name
        self._open = open_it
        self._check = check
        self._value: T | None = None
        self._problem = "loading"

    def get(self) -> T:
        """The part. Raises NotReadyError while it is not open."""
        if self._value is None:
            raise NotReadyError(f"{self.name} is not ready: {self._problem}")
        return self._value

    @property
    def value(self) -> T | None:
        return self._value

    def problem(self) -> str | None:
        """What is wrong with this part now; None if it is ready."""
        if self._value is None:
            return self._problem
        try:
            self._check(self._value)
        except (StoreError, ModelError) as error:
            return str(error)
        return None

    async def open(self) -> None:
        """Open it, however often that takes."""
        while self._value is None:
            try:
                self._value = await asyncio.to_thread(self._open)
            except (StoreError, ModelError, NotReadyError) as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    _log.info("%s: %s", self.name, error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # nobody else would see what a background task raises
                self._problem = f"unexpected {error!r}; the log has more"
                _log.exception("%s cannot be opened", self.name)
                return
        _log.info("%s is ready", self.name)


def problems(parts: t.Iterable[Part[t.Any]]) -> dict[str, str | None]:
    """Each part's name and what is wrong with it."""
    return {part.name: part.problem() for part in parts}
