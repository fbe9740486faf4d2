# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carry out a gate: look at the containers and ask them, round after round, until the core has a verdict."""

from __future__ import annotations

import concurrent.futures
import os
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
    CONTAINER_CHECK,
    Decision,
    Observation,
    Round,
    decide,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    ExecCheck,
    Gate,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
    body_files,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_ends import last_end
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_events import Events
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_exec import run_command
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import (
    NO_SECRETS,
    End,
    LogView,
    Question,
    Reply,
    judge_log,
    judge_reply,
    no_container,
    not_asked,
    observe_container,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_log import LogReader
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_net import connect, send
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, last_lines

_LONGEST_PAUSE = 1.0  # seconds between rounds while something still fails
_SHORTEST_PATIENCE = 1.0  # seconds, for the last answer before the gate's time is over
_LISTENING_MARGIN = 60.0  # seconds, for the last round
_WORKERS = 8  # questions at a time


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


Judge = t.Callable[[Gate, t.Sequence[Round]], Decision]


class Look(t.Protocol):
    """Returns the containers as they are now."""

    def __call__(self) -> tuple[Container, ...]: ...


class Probes(t.Protocol):
    """Puts questions to containers, in `limit` seconds at most; called from several threads."""

    def ask(self, question: Question, addresses: t.Sequence[str], limit: float) -> Reply: ...

    def read_log(self, container: Container, patterns: t.Collection[str], limit: float) -> t.Mapping[str, LogView]: ...


class Bell(t.Protocol):
    """Wakes who waits when something happens to a container, and remembers how those that ended did, by their ids."""

    @property
    def ended(self) -> t.Mapping[str, End]: ...

    def wait(self, seconds: float) -> bool: ...


class Clock(t.Protocol):
    """Monotonic seconds, and wall-clock seconds since 1970."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...


class ProjectLook:
    """Looks at the containers of projects; lists them anew only when those known do not cover every service."""

    def __init__(self, docker: Docker, projects: t.Sequence[str], services: t.Iterable[str]) -> None:
        self._docker, self._projects = docker, tuple(projects)
        self._services = frozenset(services)
        self._known: tuple[Container, ...] = ()

    def __call__(self) -> tuple[Container, ...]:
        found = inspect(self._docker, [container.id for container in self._known])
        if len(found) < len(self._known) or not self._services <= {container.service for container in found}:
            found = look(self._docker, *self._projects)
        self._known = found
        return found


class EngineProbes:
    """Puts each kind of question to real containers; `bodies` is the content of each `body_file`, by its path."""

    def __init__(self, docker: Docker, bodies: t.Mapping[str, bytes]) -> None:
        self._docker, self._bodies = docker, bodies
        self.read_log = LogReader(docker)

    def ask(self, question: Question, addresses: t.Sequence[str], limit: float) -> Reply:
        check = question.check
        if isinstance(check, HttpCheck):
            return send(check, addresses, self._bodies[check.body_file] if check.body_file else check.body, limit)
        if isinstance(check, TcpCheck):
            return connect(check, addresses, limit)
        return run_command(self._docker, question.container.id, t.cast(ExecCheck, check), limit)


def run_gate(
    docker: Docker,
    projects: t.Sequence[str],
    gate: Gate,
    bodies: t.Mapping[str, bytes],
    *,
    restarts_before: t.Mapping[str, int] | None = None,
    mask: Masker = NO_SECRETS,
    judge: Judge = decide,
) -> GateRun:
    """Run a gate over the containers of Compose projects to its verdict.

    Args:
        bodies: content of each `body_file`, by its path.
        restarts_before: restart count by container id to count from; one not in it counts from its first sight
            when None is given, else from 0 (it was made for this release).
        mask: hides secrets in answers, before they are cut to length.
        judge: says when it is over, and how.

    Raises:
        ReleaseError: the engine does not answer.
    """
    see = ProjectLook(docker, projects, [service.name for service in gate.services])
    with Events(docker, projects, gate.timeout + _LISTENING_MARGIN) as bell:
        probes = EngineProbes(docker, bodies)
        return run_rounds(gate, see, probes, bell, restarts_before=restarts_before, mask=mask, judge=judge)


def run_rounds(
    gate: Gate,
    see: Look,
    probes: Probes,
    bell: Bell,
    *,
    clock: Clock = time,
    restarts_before: t.Mapping[str, int] | None = None,
    mask: Masker = NO_SECRETS,
    judge: Judge = decide,
) -> GateRun:
    """Run a gate to its verdict, whatever looks, asks and wakes; see `run_gate`."""
    began, rounds, pause, early = clock.monotonic(), t.cast("list[Round]", []), gate.interval, False
    baseline = _Baseline(restarts_before)
    with concurrent.futures.ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        asking = _Asking(gate, probes, baseline, bell, mask, pool)
        while True:
            containers = see()
            limit = max(gate.timeout - (clock.monotonic() - began), _SHORTEST_PATIENCE)
            observations = asking.answers(containers, limit)
            lives = frozenset(container.incarnation for container in containers)
            rounds.append(Round(clock.monotonic() - began, observations, lives, clock.time(), early))
            decision = judge(gate, rounds)
            if decision.verdict != "continue":
                return GateRun(gate, decision, tuple(rounds), containers)
            pause = gate.interval if rounds[-1].passed else min(pause * 1.5, max(_LONGEST_PAUSE, gate.interval))
            early = bell.wait(min(pause, max(gate.timeout - rounds[-1].elapsed, 0.0)))


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


class _Baseline:
    """From which restart count each container is counted."""

    def __init__(self, before: t.Mapping[str, int] | None) -> None:
        self._given = before
        self._first: dict[str, int] = {}

    def __call__(self, container: Container) -> int:
        if self._given is not None:
            return self._given.get(container.id, 0)
        return self._first.setdefault(container.id, container.restarts)


@dataclass(frozen=True)
class _Asking:
    """Puts every question of a round, side by side."""

    gate: Gate
    probes: Probes
    baseline: _Baseline
    bell: Bell
    mask: Masker
    pool: concurrent.futures.Executor

    def answers(self, containers: t.Sequence[Container], limit: float) -> tuple[Observation, ...]:
        """Return what each check shows, in the order of the gate."""
        addresses = with_shared_addresses(containers)
        seen: list[Observation] = []
        pending: list[concurrent.futures.Future[list[Observation]]] = []
        for service in self.gate.services:
            own = [container for container in containers if container.service == service.name]
            if not own:
                seen += no_container(service)
            for container in own:
                state = self._state(service, container)
                seen.append(state)
                questions = [Question(service.name, label, check, container) for label, check in service.labelled]
                logs = [question for question in questions if isinstance(question.check, LogCheck)]
                others = [question for question in questions if question not in logs]
                # What must not be logged is looked for in whatever has started.
                if logs and container.status != "created":
                    pending.append(self.pool.submit(self._read_log, logs, limit))
                else:
                    seen += map(not_asked, logs)
                if state.ok:
                    pending += [self.pool.submit(self._ask, one, addresses[container.id], limit) for one in others]
                else:
                    seen += map(not_asked, others)
        seen += (observation for future in pending for observation in future.result())
        order = [(one.name, label) for one in self.gate.services for label in (CONTAINER_CHECK, *dict(one.labelled))]
        return tuple(sorted(seen, key=lambda one: order.index((one.service, one.check))))

    def _state(self, service: ServiceGate, container: Container) -> Observation:
        end = last_end(container, self.bell.ended.get(container.id))
        return observe_container(self.gate, service, container, self.baseline(container), self.mask, end)

    def _ask(self, question: Question, addresses: t.Sequence[str], limit: float) -> list[Observation]:
        return [judge_reply(question, self.probes.ask(question, addresses, limit), self.mask)]

    def _read_log(self, questions: t.Sequence[Question], limit: float) -> list[Observation]:
        patterns = {question: t.cast(LogCheck, question.check).pattern for question in questions}
        views = self.probes.read_log(questions[0].container, frozenset(patterns.values()), limit)
        return [judge_log(question, views[pattern], self.mask) for question, pattern in patterns.items()]
