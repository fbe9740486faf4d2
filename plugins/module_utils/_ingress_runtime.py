# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Switch, drain and reload a running ingress, through its master's socket.

The master reaches every worker, the old ones of earlier reloads too: they end what they began, and a switch or a drain
that left them out would miss those requests.
"""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_compose import SOCKET, check_argv
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    COLOURS,
    FOLDER,
    LIVE_MAP,
    MAP_KEY,
    NOBODY,
    Colour,
    description,
    live_map,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_files import (
    IngressPlaces,
    remove_certificates,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_socket import ask
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_stats import (
    Stats,
    Worker,
    complaints,
    parse_description,
    parse_sessions,
    parse_stats,
    parse_value,
    parse_workers,
    reloaded,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import read_file, write_file, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import remove
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

_POLL = 0.01  # seconds; a look takes about one millisecond
_ANSWER = 5.0  # seconds for what HAProxy answers from memory
_RELOAD = 60.0  # seconds until a new worker serves
_SETTLE = 5.0  # seconds until connections that were cut are gone
_CURRENT = "@1"
_GONE = "Can't find the target"
_MAP = f"{FOLDER}/{LIVE_MAP}"


class IngressRuntime:
    """A running ingress; `container` is its name or id."""

    def __init__(self, places: IngressPlaces, container: str, docker: Docker) -> None:
        self._places = places
        self._container = container
        self._docker = docker

    def live(self) -> Colour | None:
        """Return the colour that serves now.

        Raises:
            ReleaseError: HAProxy does not answer (`ingress_unavailable`), as by everything here.
        """
        value = parse_value(self._ask(f"{_CURRENT} get map {_MAP} {MAP_KEY}"))
        return next((colour for colour in COLOURS if colour == value), None)

    def running(self) -> str:
        """Return the digest of the configuration that the current worker runs."""
        return parse_description(self._ask(f"{_CURRENT} show info"))

    def wait_until_answers(self, deadline: float) -> None:
        """Wait for an ingress that was just started; `deadline` is by the monotonic clock.

        Raises:
            ReleaseError: it did not answer in time, or runs a configuration that is not ours (`ingress_failed`).
        """
        while True:
            try:
                if self.running():
                    return
                fault = ReleaseError("ingress: HAProxy runs a configuration without a digest", reason="ingress_failed")
            except ReleaseError as exc:
                fault = exc
            if time.monotonic() >= deadline:
                raise fault
            time.sleep(_POLL)

    def switch(self, colour: Colour | None) -> bool:
        """Let a colour serve every route, from the next request on; return whether another one did.

        The file is written first: where that fails nothing has changed, and a restart comes back on this colour.

        Raises:
            ReleaseError: the file cannot be written (`write_failed`), or HAProxy did not take it (`ingress_failed`).
        """
        content = live_map(colour)
        before = read_file(self._places.live_map)
        if before == content and self.live() == colour:
            return False
        with writing("which colour serves"):
            write_file(self._places.live_map, content, 0o644)
        try:
            self._set_live(colour)
        except ReleaseError:
            with writing("which colour serves"):
                write_file(self._places.live_map, before or live_map(None), 0o644)
            raise
        return True

    def wait_until_up(self, colour: Colour, deadline: float) -> None:
        """Wait until each of a colour's backends has a server that a check found well.

        Raises:
            ReleaseError: one had none when `deadline`, by the monotonic clock, was over (`ingress_not_up`).
        """
        while True:
            stats = self._stats(_CURRENT)
            missing = stats.not_up(colour)
            if stats.of(colour) and not missing:
                return
            if time.monotonic() >= deadline:
                raise _not_up(colour, stats)
            time.sleep(_POLL)

    def sessions(self, colour: Colour) -> int:
        """Return how many requests and connections to a colour are under way, in every worker."""
        return sum(stats.sessions(colour) for _worker, stats in self._all_stats())

    def drain(self, colour: Colour, timeout: float) -> int:
        """Wait up to `timeout` seconds until nothing is under way on a colour; cut what is left, and return how much.

        Raises:
            ReleaseError: this colour serves (`ingress_invalid`).
        """
        if self.live() == colour:
            raise ReleaseError(f"ingress: {colour} serves; switch before you drain it", reason="ingress_invalid")
        deadline = time.monotonic() + timeout
        while self._under_way(colour) and time.monotonic() < deadline:
            time.sleep(_POLL)
        cut = self._cut(colour)
        deadline = time.monotonic() + _SETTLE
        while cut and self.sessions(colour) and time.monotonic() < deadline:
            time.sleep(_POLL)
        return cut

    def reload(self, config: str) -> bool:
        """Run another configuration without a gap; return whether it was another.

        HAProxy reads it before it replaces the file. Whatever fails, what ran runs on, and its file is in place.

        Raises:
            ReleaseError: HAProxy refuses it, in its own words (`ingress_invalid`), or did not take it.
        """
        content, before = config.encode(), read_file(self._places.config_file)
        if before == content and self.running() == description(config):
            return False
        with writing("the ingress' configuration"):
            write_file(self._places.candidate, content, 0o644)
            try:
                self._check()
                if before is not None and before != content:
                    write_file(self._places.previous, before, 0o644)
                write_file(self._places.config_file, content, 0o644)
            finally:
                remove(self._places.candidate)
            try:
                self._reload(description(config))
            except ReleaseError:
                write_file(self._places.config_file, before or content, 0o644)
                raise
            remove_certificates(self._places, config)
        return True

    def _check(self) -> None:
        path = f"{FOLDER}/{os.path.basename(self._places.candidate)}"
        answer = self._docker.ask(check_argv(self._container, path))
        if answer.code != 0:
            raise _refused(answer.stderr + answer.stdout)

    def _reload(self, wanted: str) -> None:
        try:
            state = self._ask(f"{_CURRENT} show servers state")
            write_file(self._places.server_state, state.encode(), 0o644)
            answer = self._ask("reload", _RELOAD)
        finally:
            remove(self._places.server_state)
        if not reloaded(answer):
            raise _refused(answer)
        if self.running() != wanted:
            raise ReleaseError("ingress: HAProxy reloaded and runs another configuration", reason="ingress_failed")

    def _set_live(self, colour: Colour | None) -> None:
        value = colour or NOBODY
        for worker, stats in self._all_stats():
            # An old worker may not know the colour: its last requests still have their own.
            if worker.old and not stats.of(value):
                continue
            try:
                said = self._ask_worker(worker, f"set map {_MAP} {MAP_KEY} {value}").strip()
            except _Gone:
                continue
            if said and not said.startswith(_GONE):
                raise ReleaseError(f"ingress: HAProxy did not switch: {printable(said)}", reason="ingress_failed")
        if self.live() != colour:
            raise ReleaseError(f"ingress: HAProxy did not switch to {value}", reason="ingress_failed")

    def _under_way(self, colour: Colour) -> bool:
        """Whether anything is under way, or may still come: from a connection that an old worker keeps open."""
        other = next(name for name in COLOURS if name != colour)
        for worker, stats in self._all_stats():
            if stats.sessions(colour) or (worker.old and not stats.of(other) and any(stats.clients.values())):
                return True
        return False

    def _cut(self, colour: Colour) -> int:
        """Cut one by one: C(shutdown sessions server) does nothing in an old worker, which ends with its last one."""
        cut = 0
        for worker in parse_workers(self._ask("show proc")):
            with contextlib.suppress(_Gone):
                for session in parse_sessions(self._ask_worker(worker, "show sess"), colour):
                    cut += 1
                    self._ask_worker(worker, f"shutdown session {session}")
        return cut

    def _all_stats(self) -> list[tuple[Worker, Stats]]:
        found = []
        for worker in parse_workers(self._ask("show proc")):
            with contextlib.suppress(_Gone):
                found.append((worker, _read_stats(self._ask_worker(worker, "show stat"), f"@!{worker.pid}")))
        return found

    def _stats(self, target: str) -> Stats:
        return _read_stats(self._ask(f"{target} show stat"), target)

    def _ask_worker(self, worker: Worker, command: str) -> str:
        """Ask one worker. The master answers nothing at all for one that ends while it is asked.

        Raises:
            _Gone: it has ended.
        """
        try:
            return self._ask(f"@!{worker.pid} {command}", _ANSWER)
        except ReleaseError as exc:
            if any(one.pid == worker.pid for one in parse_workers(self._ask("show proc"))):
                raise
            raise _Gone(str(exc), reason=exc.reason) from exc

    def _ask(self, command: str, timeout: float = _ANSWER) -> str:
        return ask(self._places.run, SOCKET, command, timeout)


class _Gone(ReleaseError):
    """A worker has ended since it was listed."""


def _read_stats(answer: str, target: str) -> Stats:
    if not answer.startswith("# pxname"):
        raise _Gone(f"ingress: no answer of worker {target}: {printable(answer)}", reason="ingress_unavailable")
    return parse_stats(answer)


def _refused(output: str) -> ReleaseError:
    return ReleaseError(
        f"ingress: HAProxy refuses the configuration, and serves on with the one it has: "
        f"{printable(complaints(output), 1000)}",
        reason="ingress_invalid",
    )


def _not_up(colour: Colour, stats: Stats) -> ReleaseError:
    missing = stats.not_up(colour)
    if not missing:
        message = f"HAProxy's configuration has no {colour} side; reload it with one"
    else:
        faults = (
            f"{name} ({', '.join(f'{s.name}: {s.status} {s.check}'.strip() for s in servers)})"
            for name, servers in missing.items()
        )
        message = f"no server is up of {'; '.join(faults)}. See whether the service listens on that port and network"
    return ReleaseError(f"ingress: {message}", reason="ingress_not_up", backends=sorted(missing))
