# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests put in Docker's place."""

from __future__ import annotations

import threading
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Stream

WAIT = 60.0  # seconds until a test gives up


class NoDocker:
    """Is asked nothing; a test says what is different."""

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        raise AssertionError(argv)

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        raise AssertionError(argv)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise AssertionError(argv)


class Said:
    """A command that prints this, piece by piece, and ends with a code; it hangs where it says HANG."""

    def __init__(self, output: bytes, code: int = 0, piece: int = 7) -> None:
        self._left, self._code, self._piece = output, code, piece

    def read(self, timeout: float | None = None) -> bytes:
        piece, self._left = self._left[: self._piece], self._left[self._piece :]
        if piece == b"HANG":
            raise TimeoutError
        return piece

    def stop(self) -> None:
        raise AssertionError

    def close(self) -> int:
        return self._code


class Pipe:
    """A command that prints what a test writes, and ends when it is stopped."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self.closed = False

    def write(self, *pieces: bytes) -> None:
        with self._changed:
            self._pieces += pieces
            self._changed.notify_all()

    def read(self, timeout: float | None = None) -> bytes:
        with self._changed:
            assert self._changed.wait_for(lambda: self._pieces, WAIT)
            return self._pieces.pop(0)

    def stop(self) -> None:
        self.write(b"")

    def close(self) -> int:
        self.closed = True
        return -9
