# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Show people how far a long reading of a depot has come."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human

_ON_TERMINAL = 0.2  # seconds between two looks: one line that is written over
_IN_LOG = 10.0  # lines that stay
_WIDTH = 60  # characters that a shorter line writes over


class Meter:
    """Takes bytes done and bytes in all, as often as one likes, from any thread; writes a line now and then.

    A short errand writes none: the first one comes after the interval.
    """

    def __init__(self, stream: t.TextIO, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._interval = _ON_TERMINAL if self._terminal else _IN_LOG
        self._started = self._written = clock()
        self._open = False
        self._lock = threading.Lock()

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            now = self._clock()
            if now - self._written < self._interval:
                return
            self._written = now
            line = progress_line(done, total, now - self._started)
            self._open = self._terminal
            self._stream.write(f"\r{line:<{_WIDTH}}" if self._terminal else f"{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Clear the line, so that what is said next stands alone."""
        with self._lock:
            if self._open:
                self._stream.write(f"\r{'':<{_WIDTH}}\r")
                self._stream.flush()
            self._open = False


def progress_line(done: int, total: int, seconds: float) -> str:
    """Return how far something is: bytes, part, speed since the beginning, and what is left at that speed."""
    line = f"{human(done)} of {human(total)}"
    if not (0 < done <= total and seconds > 0):
        return line
    left = (total - done) * seconds / done
    rest = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
    return f"{line}, {100 * done // total} %, {human(int(done / seconds))} a second, {rest} left"
