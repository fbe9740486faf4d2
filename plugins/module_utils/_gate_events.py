# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hear from Docker what happens to a project's containers, so that a gate need not wait for its next look."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    PROJECT_LABEL,
    Docker,
    Stream,
    events_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import End
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Lines

# Not exec_…: the gate's own commands and every health check make those.
EVENTS = (
    *("create", "start", "restart", "die", "stop", "oom", "pause", "unpause", "destroy"),
    "health_status",
)

_END_GRACE = 5.0  # seconds; where docker is a wrapper, what it started may hold the stream open


@dataclass(frozen=True)
class Event:
    """What happened to which container, by its id; `exit_code` is there when it died."""

    action: str
    container: str
    exit_code: int = 0


def parse_event(line: str, projects: t.Collection[str]) -> Event | None:
    """Read a line of `docker events`; None when it is none, or tells of another project."""
    try:
        data = json.loads(line)
        actor = data["Actor"]
        facts = actor["Attributes"]
        if facts[PROJECT_LABEL] not in projects:
            return None
        return Event(str(data["Action"]), str(actor["ID"]), int(facts.get("exitCode") or 0))
    except (ValueError, KeyError, TypeError):
        return None


class Events:
    """Listens while it is open, for some seconds at most.

    Where there is nothing to hear, it is silent: then the gate looks by the clock alone.
    `ended` says, by its id, how the last life of each container ended that did so meanwhile.
    """

    def __init__(self, docker: Docker, projects: t.Sequence[str], seconds: float) -> None:
        self.ended: dict[str, End] = {}
        self._oom_killed: set[str] = set()
        self._docker, self._projects, self._seconds = docker, tuple(projects), seconds
        self._rung = threading.Event()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Events:
        # Docker also tells what happened since then, so that nothing is missed while the stream opens.
        # And it ends by itself, so that nobody listens for ever when we are killed.
        now = time.time()
        with contextlib.suppress(ReleaseError):  # the first look says it, and says it better
            self._stream = self._docker.stream(events_argv(self._projects, EVENTS, now, now + self._seconds))
            self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._thread.join(_END_GRACE)
            if not self._thread.is_alive():
                self._stream.close()

    def wait(self, seconds: float) -> bool:
        """Wait until something has happened since the last wait, or the time is over; return whether it has."""
        rung = self._rung.wait(seconds)
        self._rung.clear()
        return rung

    def _listen(self) -> None:
        lines, stream = Lines(), t.cast("Stream", self._stream)
        while True:
            piece = stream.read()
            if not piece:
                break
            for event in filter(None, (parse_event(line, self._projects) for line in lines.feed(piece))):
                self._remember(event)
                self._rung.set()
        # Something happened to the engine itself.
        self._rung.set()

    def _remember(self, event: Event) -> None:
        if event.action == "start":
            self._oom_killed.discard(event.container)
        elif event.action == "oom":
            self._oom_killed.add(event.container)
        elif event.action == "die":
            self.ended[event.container] = End(event.exit_code, event.container in self._oom_killed)
