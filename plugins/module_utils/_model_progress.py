# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Tell others how far a task has come, in a small file that is there only while it works.

The file is JSON: {"schema": 1, "model": "name/version", "phase": "fetch" | "verify" | "publish", "total": bytes,
"done": bytes, "resumed": bytes, "started": seconds, "updated": seconds, "pid": number}. `done` counts the bytes of
this run and those that an earlier one had brought (`resumed`). Seconds since the epoch.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import typing as t

_EVERY = 0.5  # seconds


class Progress:
    """Writes the file at `path`; without a path it does nothing. A failure to write it is no failure of the task."""

    def __init__(self, path: str, model: str, clock: t.Callable[[], float] = time.time) -> None:
        self._path = path
        self._model = model
        self._clock = clock
        self._phase = ""
        self._started = 0.0
        self._written = 0.0
        self._made = False
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._made:  # and not what somebody else has there
            for path in (self._path, f"{self._path}.new"):
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def tell(self, phase: str, done: int, total: int, resumed: int = 0) -> None:
        """Note how far a phase is, in bytes. May be called often: it writes at most twice a second.

        Several threads may call.
        """
        if not self._lock.acquire(blocking=False):
            return  # another thread tells as much
        try:
            self._tell(phase, done, total, resumed)
        finally:
            self._lock.release()

    def _tell(self, phase: str, done: int, total: int, resumed: int) -> None:
        now = self._clock()
        if phase != self._phase:
            self._phase, self._started, self._written = phase, now, 0.0
        if not self._path or now - self._written < _EVERY:
            return
        self._written = now
        document = {
            "schema": 1,
            "model": self._model,
            "phase": phase,
            "total": total,
            "done": done,
            "resumed": resumed,
            "started": self._started,
            "updated": now,
            "pid": os.getpid(),
        }
        self._made = True
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
            fd = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o644)  # it is for other users, too: to look must not need their rights
                json.dump(document, file)
            os.rename(f"{self._path}.new", self._path)
