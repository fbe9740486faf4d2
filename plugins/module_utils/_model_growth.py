# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""How many connections a fetch is worth: as few as bring the most. Nothing here does I/O."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import BLOCK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile

_TRIAL = 1.0  # seconds that a further worker has to show what it brings
_GAIN = 1.1  # what it must bring: that many times the bytes a second of before
_REST = 10.0  # seconds to be content with the workers there are, after one that brought nothing
_START_SMALL = 4  # workers to begin with where files are small, and waiting for answers is most of the time


class Growth:
    """Decides when one more worker is worth it. Times in seconds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since: float | None = None  # begin of the present window
        self._received = self._waits = 0  # at that moment
        self._base: float | None = None  # bytes a second before the last worker came; None if none is on trial
        self._rest_until = 0.0

    def start(self, files: t.Sequence[WantedFile]) -> int:
        """Return with how many workers to begin."""
        large = sum(file.size > BLOCK for file in files)
        return min(self._limit, len(files), most_large() if large == len(files) else _START_SMALL)

    def due(self, workers: int, received: int, waits: int, now: float) -> bool:
        """Whether to add one, given the bytes received so far, and how often receivers had to wait for this host."""
        if self._since is None:
            self._since, self._received, self._waits = now, received, waits
        if now - self._since < _TRIAL or now == self._since:
            return False
        rate, waited = (received - self._received) / (now - self._since), waits > self._waits
        self._since, self._received, self._waits = now, received, waits
        if self._base is not None and rate < self._base * _GAIN:
            self._rest_until = now + _REST
        self._base = None
        if workers >= self._limit or waited or now < self._rest_until:
            return False
        self._base = rate
        return True


def most_large() -> int:
    """Return how many large files are received at once: as many as there are processors to hash them, up to four."""
    return max(1, min(4, len(os.sched_getaffinity(0))))
