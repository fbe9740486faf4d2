# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Search what containers log, each time only what is new, with no more than a piece of it in memory."""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, epoch
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    Docker,
    checked,
    logs_since_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import LogView
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Lines, printable

_LIMIT = 60.0  # seconds for one look
_OVERLAP = 1.0  # seconds that are read again: the two outputs of a container are stamped side by side
_START_SLACK = 1.0  # seconds by which a busy engine may note a start late
_RESTART_SLACK = 0.05  # seconds; Docker itself starts again after 0.1 s at the earliest
_ENDED = ("exited", "dead")
_UNREADABLE = "does not support reading"


class Clock(t.Protocol):
    """Monotonic seconds, and wall-clock seconds since 1970."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...


def begin_of_life(container: Container) -> float | None:
    """Return from when on a line is of this life of a container, in seconds since 1970; None when all are.

    Docker notes a start when the process runs already, so its first lines may be older. Between the end of the life
    before and this start there is nothing else. Of one that has ended only its own end is known, which may be noted
    before its start, so short was its life.
    """
    start, end = epoch(container.started_at), epoch(container.finished_at)
    if start is None or end is None:
        return None
    if end < start and container.status not in _ENDED:
        return (start + end) / 2
    return min(start, end) - (_RESTART_SLACK if container.restarts else _START_SLACK)


@dataclass
class _Life:
    """What one life of a container logged: the first line for each pattern that has one, and the last line."""

    begin: float | None
    found: dict[str, str] = field(default_factory=dict)
    last: str = ""
    looked: tuple[float, float] | None = None

    def since(self, clock: Clock) -> float | None:
        """Return from when on to read; what was read before may come again, also where the wall clock was set."""
        if self.looked is None:
            return self.begin
        monotonic, wall = self.looked
        new = min(wall, clock.time() - (clock.monotonic() - monotonic)) - _OVERLAP
        return new if self.begin is None else max(new, self.begin)

    def search(self, lines: t.Iterable[str], patterns: t.Iterable[str]) -> None:
        for line in lines:
            self.last = line if line.strip() else self.last
            for pattern in patterns:
                if pattern not in self.found and re.search(pattern, line):
                    self.found[pattern] = line


class LogReader:
    """Remembers what was found in the log of each life of each container, and how far it was read."""

    def __init__(self, docker: Docker, clock: Clock = time) -> None:
        self._docker, self._clock = docker, clock
        self._lives: dict[str, _Life] = {}

    def __call__(self, container: Container, patterns: t.Collection[str], limit: float) -> dict[str, LogView]:
        """Return what a container's log shows for each pattern, reading for `limit` seconds at most.

        Raises:
            ReleaseError: the engine does not answer.
        """
        known = self._lives.setdefault(container.incarnation, _Life(begin_of_life(container)))
        if all(pattern in known.found for pattern in patterns):
            return {pattern: LogView(known.found[pattern], known.last) for pattern in patterns}
        looked = (self._clock.monotonic(), self._clock.time())
        # A failure of Docker's comes among the lines, and shows at the end only: till then nothing counts.
        life = _Life(known.begin, dict(known.found), known.last, looked)
        error = self._read(container, life, known.since(self._clock), patterns, min(limit, _LIMIT))
        if error:
            return dict.fromkeys(patterns, LogView(error=error, final=_UNREADABLE in error))
        self._lives[container.incarnation] = life
        return {pattern: LogView(life.found.get(pattern), life.last) for pattern in patterns}

    def _read(
        self, container: Container, life: _Life, since: float | None, patterns: t.Collection[str], limit: float
    ) -> str:
        """Search what is new; return why that failed, empty when it did not."""
        lines, deadline = Lines(), time.monotonic() + limit
        stream = self._docker.stream(logs_since_argv(container.id, "" if since is None else f"{since:.6f}"))
        try:
            while True:
                piece = stream.read(max(deadline - time.monotonic(), 0.0))
                if not piece:
                    break
                life.search(lines.feed(piece), patterns)
            life.search(lines.rest(), patterns)
        except TimeoutError:
            return f"its log could not be read to the end within {limit:g} s"
        finally:
            code = stream.close()
        if code == 0:
            return ""
        checked(Answer(code, "", life.last))
        return f"its log cannot be read: {printable(life.last, 300)}"
