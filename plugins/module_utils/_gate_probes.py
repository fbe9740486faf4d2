# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carry out a gate: look at the containers, send the requests, round after round, until the core has a verdict."""

from __future__ import annotations

import concurrent.futures
import functools
import http.client
import os
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import (
    Container,
    inspect,
    look,
    with_shared_addresses,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, logs_argv
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import (
    NO_SECRETS,
    Decision,
    Observation,
    Reply,
    Round,
    decide,
    judge_reply,
    no_container,
    not_asked,
    observe_container,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Gate,
    HttpCheck,
    ServiceGate,
    body_files,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, last_lines

_LONGEST_PAUSE = 1.0  # seconds between rounds while something still fails
_PATIENCE = 10.0  # seconds for one request, unless its max_latency is longer
_SHORTEST_PATIENCE = 1.0  # seconds, for the last request before the gate's time is over
_LARGEST_ANSWER = 16 * 1024 * 1024  # bytes
_PIECE = 64 * 1024  # bytes
_WORKERS = 8  # requests at a time


@dataclass(frozen=True)
class GateRun:
    """A finished gate with its whole history."""

    gate: Gate
    decision: Decision
    rounds: tuple[Round, ...]
    containers: tuple[Container, ...]

    @property
    def passed(self) -> bool:
        return self.decision.verdict == "pass"


class Look(t.Protocol):
    """Returns the containers as they are now."""

    def __call__(self) -> tuple[Container, ...]: ...


class Ask(t.Protocol):
    """Sends one request to the first address that accepts it, in `limit` seconds at most."""

    def __call__(self, check: HttpCheck, addresses: t.Sequence[str], body: bytes | None, limit: float) -> Reply: ...


class Clock(t.Protocol):
    """Monotonic seconds, wall-clock seconds since 1970, and a pause."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class ProjectLook:
    """Looks at a project's containers; lists them anew only when those known do not cover every service."""

    def __init__(self, docker: Docker, project: str, services: t.Iterable[str]) -> None:
        self._docker, self._project = docker, project
        self._services = frozenset(services)
        self._known: tuple[Container, ...] = ()

    def __call__(self) -> tuple[Container, ...]:
        found = inspect(self._docker, [container.id for container in self._known])
        if len(found) < len(self._known) or not self._services <= {container.service for container in found}:
            found = look(self._docker, self._project)
        self._known = found
        return found


def run_gate(
    gate: Gate,
    see: Look,
    bodies: t.Mapping[str, bytes],
    *,
    ask: Ask | None = None,
    clock: Clock = time,
    restarts_before: t.Mapping[str, int] | None = None,
    mask: Masker = NO_SECRETS,
) -> GateRun:
    """Run a gate to its verdict.

    Args:
        see: how to look at the containers.
        bodies: content of each `body_file`, by its path.
        restarts_before: restart count by container id to count from; one not in it counts from its first sight
            when None is given, else from 0 (it was made for this release).
        mask: hides secrets in answers, before they are cut to length.

    Raises:
        ReleaseError: the engine does not answer.
    """
    began, rounds, pause = clock.monotonic(), t.cast("list[Round]", []), gate.interval
    baseline = _Baseline(restarts_before)
    with concurrent.futures.ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        while True:
            containers = see()
            limit = max(gate.timeout - (clock.monotonic() - began), _SHORTEST_PATIENCE)
            sender = functools.partial(_request, ask or send, with_shared_addresses(containers), bodies, limit, mask)
            observations = _round(gate, containers, baseline, sender, pool, mask)
            lives = frozenset(container.incarnation for container in containers)
            rounds.append(Round(clock.monotonic() - began, observations, lives, clock.time()))
            decision = decide(gate, rounds)
            if decision.verdict != "continue":
                return GateRun(gate, decision, tuple(rounds), containers)
            pause = gate.interval if rounds[-1].passed else min(pause * 1.5, max(_LONGEST_PAUSE, gate.interval))
            clock.sleep(min(pause, max(gate.timeout - rounds[-1].elapsed, 0.0)))


def read_bodies(services: t.Iterable[ServiceGate], root: str | None) -> dict[str, bytes]:
    """Read the files that the checks send; none outside `root` is read, links included.

    Raises:
        ReleaseError: there is no root, or a file is missing or outside of it.
    """
    contents = {}
    for name in body_files(services):
        if root is None:
            raise ReleaseError(f"body_file {name!r} needs files_root, the folder it is in", reason="gate_invalid")
        top = os.path.realpath(root)
        path = os.path.realpath(os.path.join(top, name))
        if os.path.commonpath((top, path)) != top:
            raise ReleaseError(f"body_file {name!r} leads out of {root!r}; keep it inside", reason="gate_invalid")
        try:
            with open(path, "rb") as file:
                contents[name] = file.read()
        except OSError as exc:
            raise ReleaseError(f"body_file {name!r} in {root!r}: {exc.strerror}", reason="gate_invalid") from None
    return contents


def log_tail(
    docker: Docker, containers: t.Iterable[Container], service: str, mask: Masker = NO_SECRETS, lines: int = 20
) -> tuple[str, ...]:
    """Return the last lines that the containers of a service wrote, empty when there are none."""
    own = [container for container in containers if container.service == service]
    answers = [docker.ask(logs_argv(container.id, lines)) for container in own]
    # A log's two streams come apart; errors are last, where they are read first.
    text = "\n".join(f"{answer.stdout}\n{answer.stderr}" for answer in answers if answer.code == 0)
    return last_lines(mask(text), lines)


def send(check: HttpCheck, addresses: t.Sequence[str], body: bytes | None, limit: float) -> Reply:
    """Send a request to the first of the addresses that accepts a connection; read the whole answer."""
    wanted = max(_PATIENCE, check.max_latency or 0.0)
    patience, cut = min(limit, wanted), False
    began = time.monotonic()
    error = "the container has no network address that this host can reach"
    for address in addresses:
        try:
            return _exchange(check, address, body, began, patience)
        except ConnectionRefusedError:
            error = f"{address}:{check.port} refused the connection: nothing listens there, or only on loopback"
        except (TimeoutError, socket.timeout):  # two classes before Python 3.10
            error = f"{address}:{check.port} gave no complete answer within {patience:g} s"
            cut = patience < wanted
        except (OSError, http.client.HTTPException) as exc:
            error = f"{address}:{check.port}: {exc or type(exc).__name__}"
    return Reply(error=error, latency=time.monotonic() - began, cut=cut)


def _exchange(check: HttpCheck, address: str, body: bytes | None, began: float, patience: float) -> Reply:
    connection = _connection(check, address, max(began + patience - time.monotonic(), 0.01))
    try:
        connection.request(check.method, check.path, body=body, headers=dict(check.headers))
        response = connection.getresponse()
        content = bytearray()
        while True:
            # The socket's own limit is for one piece only: a trickle must not hold the gate up.
            if time.monotonic() - began > patience:
                raise TimeoutError
            piece = response.read1(_PIECE)
            if not piece:
                return Reply(response.status, bytes(content), time.monotonic() - began)
            content += piece
            if len(content) > _LARGEST_ANSWER:
                return Reply(error=f"the answer is longer than {_LARGEST_ANSWER} bytes", latency=patience)
    finally:
        connection.close()


def _connection(check: HttpCheck, address: str, timeout: float) -> http.client.HTTPConnection:
    if check.scheme == "http":
        return http.client.HTTPConnection(address, check.port, timeout=timeout)
    # Asked by address on this very host, no certificate can name it; what is checked is that the service answers.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(address, check.port, timeout=timeout, context=context)


class _Baseline:
    """From which restart count each container is counted."""

    def __init__(self, before: t.Mapping[str, int] | None) -> None:
        self._given = before
        self._first: dict[str, int] = {}

    def __call__(self, container: Container) -> int:
        if self._given is not None:
            return self._given.get(container.id, 0)
        return self._first.setdefault(container.id, container.restarts)


def _request(
    ask: Ask,
    addresses: t.Mapping[str, tuple[str, ...]],
    bodies: t.Mapping[str, bytes],
    limit: float,
    mask: Masker,
    service: ServiceGate,
    container: Container,
    check: HttpCheck,
) -> Observation:
    body = bodies[check.body_file] if check.body_file else check.body
    return judge_reply(service, check, container.name, ask(check, addresses[container.id], body, limit), mask)


def _round(
    gate: Gate,
    containers: t.Sequence[Container],
    baseline: _Baseline,
    request: t.Callable[[ServiceGate, Container, HttpCheck], Observation],
    pool: concurrent.futures.Executor,
    mask: Masker,
) -> tuple[Observation, ...]:
    seen: list[Observation] = []
    pending: list[concurrent.futures.Future[Observation]] = []
    for service in gate.services:
        own = [container for container in containers if container.service == service.name]
        if not own:
            seen.append(no_container(service))
        for container in own:
            state = observe_container(gate, service, container, baseline(container), mask)
            seen.append(state)
            if state.ok:
                pending += [pool.submit(request, service, container, check) for check in service.http]
            else:
                seen += [not_asked(service, check, container.name) for check in service.http]
    return (*seen, *(future.result() for future in pending))
