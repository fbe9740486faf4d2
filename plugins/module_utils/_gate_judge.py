# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Judge what a container shows and what it answers: observations for the gate to decide on. Pure."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import CONTAINER_CHECK, Observation
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ExecCheck,
    Gate,
    HttpCheck,
    LogCheck,
    ServiceGate,
    evaluate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import as_text
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, printable

NO_SECRETS = Masker()
_NOT_ASKED = "not asked: see its container"
_KILLED = 137  # the exit code of a process that the kernel killed


@dataclass(frozen=True)
class Question:
    """One check, put to one container of a service."""

    service: str
    label: str
    check: Check
    container: Container


@dataclass(frozen=True)
class Reply:
    """A complete answer, or why there is none (`cut`: the gate was over); `latency` is in seconds.

    `status` is the status of an HTTP answer or the exit code of a command, `body` what it said.
    """

    status: int = 0
    body: bytes = b""
    latency: float = 0.0
    error: str = ""
    cut: bool = False


@dataclass(frozen=True)
class End:
    """How a life of a container ended; `oom_killed`: the kernel killed a process of it, since memory had run out."""

    exit_code: int
    oom_killed: bool = False


@dataclass(frozen=True)
class LogView:
    """What a container's log showed so far: the first line that matches, the last line at all, or why it is unreadable.

    `final`: it can never be read.
    """

    found: str | None = None
    last: str = ""
    error: str = ""
    final: bool = False


_State = tuple[bool, str, bool]  # whether it is well, what to say of it, whether waiting cannot mend it


def _well(answer: str) -> _State:
    return True, answer, False


def _unwell(answer: str) -> _State:
    return False, answer, False


def _fatal(answer: str) -> _State:
    return False, answer, True


def observe_container(
    gate: Gate,
    service: ServiceGate,
    container: Container,
    restarts_before: int,
    mask: Masker = NO_SECRETS,
    end: End | None = None,
) -> Observation:
    """Judge a container by its own state.

    Args:
        restarts_before: its restart count when the gate began.
        end: how its last life ended, where more is known than the container shows.
    """
    if end is None and not container.running:
        end = End(container.exit_code, container.oom_killed)
    borne = service.container.restarts
    climbed = container.restarts - restarts_before
    if climbed > (gate.max_restarts if borne is None else borne):
        times = f"{climbed} time{'s' if climbed > 1 else ''}"
        state = _fatal(f"restarted {times}{f', the last time after {_exit(container, end)}' if end else ''}")
    elif container.over and end:
        state = _ended(service, container, end)
    elif service.ends:
        state = _unwell(f"{'the job' if service.lifecycle == 'job' else 'it'} has not ended: {container.status}")
    elif end and not container.running:
        state = _unwell(f"{container.status} (last {', '.join(_facts(container, end))})")
    else:
        state = _running(service.container.health, container, mask)
    return Observation(service.name, CONTAINER_CHECK, container.name, *state)


def _ended(service: ServiceGate, container: Container, end: End) -> _State:
    wanted = service.container.exit_code
    ended = f"ended with {_exit(container, end)}"
    if service.ends and end.exit_code == wanted:
        return _well(ended)
    but = f", not {wanted}," if service.ends and wanted else ""
    return _fatal(f"{ended}{but} and is not restarted (restart policy: {container.policy or 'no'})")


def _running(health: str, container: Container, mask: Masker) -> _State:
    if health == "healthy" and not container.health:
        return _fatal("running, but it has no health check; give it one, or do not ask for health: healthy")
    if container.health not in ("", "healthy") and health != "any":
        said = printable(mask(container.health_output))
        return _unwell(f"running but {container.health}{f'; its health check said: {said}' if said else ''}")
    return _well(f"running{' and healthy' if container.health == 'healthy' else ''}")


def no_container(service: ServiceGate) -> tuple[Observation, ...]:
    """Everything that is asked of a service that has no container."""
    missing = Observation(service.name, CONTAINER_CHECK, "", False, "there is no container of this service")
    labels = [label for label, _check in service.labelled]
    return (missing, *(replace(missing, check=label, answer=_NOT_ASKED, asked=False) for label in labels))


def not_asked(question: Question) -> Observation:
    """A question that waits for its container to be well."""
    return _observation(question, False, _NOT_ASKED, asked=False)


def judge_reply(question: Question, reply: Reply, mask: Masker = NO_SECRETS) -> Observation:
    """Judge the answer to a request, a connection or a command."""
    check = question.check
    if reply.error or isinstance(check, LogCheck):
        return _observation(question, False, mask(reply.error), cut=reply.cut)
    text = printable(mask(reply.body.decode("utf-8", "replace")))
    said = f": {text}" if text else ""
    latency = round(reply.latency, 3)
    fault, fine = "", "accepted a connection"
    if isinstance(check, HttpCheck):
        fault, fine = _http_fault(check, reply), f"status {reply.status}"
    elif isinstance(check, ExecCheck):
        fault, fine = _exec_fault(check, reply), f"exit code {reply.status}"
    if not fault and check.max_latency is not None and reply.latency > check.max_latency:
        fault = f"took {reply.latency:.3f} s, allowed are {check.max_latency:g} s"
    return _observation(question, not fault, f"{fault or fine}{said}", latency=latency)


def judge_log(question: Question, view: LogView, mask: Masker = NO_SECRETS) -> Observation:
    """Judge what a container has logged in this life."""
    absent = isinstance(question.check, LogCheck) and question.check.absent
    if view.error:
        return _observation(question, False, mask(view.error), fatal=view.final)
    if view.found is not None:
        line = printable(mask(view.found))
        if absent:
            return _observation(question, False, f"a line that must not appear: {line}", fatal=True)
        return _observation(question, True, f"found: {line}")
    if absent:
        return _observation(question, True, "no line matches")
    last = printable(mask(view.last))
    last = f"the last one is: {last}" if last else "nothing was logged"
    # What has ended logs no more.
    return _observation(question, False, f"no line matches; {last}", fatal=question.container.over)


def _observation(question: Question, ok: bool, answer: str, **more: t.Any) -> Observation:
    return Observation(question.service, question.label, question.container.name, ok, answer, **more)


def _facts(container: Container, end: End) -> t.Iterator[str]:
    """Yield how a container ended: the exit code, and memory where it ran out."""
    yield f"exit code {end.exit_code}"
    if end.oom_killed:
        killed = "killed" if end.exit_code == _KILLED else "a process in it was killed"
        limit = f"limit {as_text(container.memory)}" if container.memory else "no limit of its own"
        yield f"{killed}: out of memory, {limit}"


def _exit(container: Container, end: End) -> str:
    code, *memory = _facts(container, end)
    return f"{code} ({memory[0]})" if memory else code


def _http_fault(check: HttpCheck, reply: Reply) -> str:
    if reply.status != check.status:
        return f"status {reply.status}, not {check.status}"
    fault = "" if check.expect is None else _unexpected(check.expect, reply.body)
    return f"status {reply.status}, {fault}" if fault else ""


def _exec_fault(check: ExecCheck, reply: Reply) -> str:
    if reply.status != check.exit_code:
        return f"exit code {reply.status}, not {check.exit_code}"
    if check.expect_output is None or re.search(check.expect_output, reply.body.decode("utf-8", "replace")):
        return ""
    return f"exit code {reply.status}, but nothing printed matches {check.expect_output!r}"


def _unexpected(expression: str, body: bytes) -> str:
    """Return why the answer is not what `expect` wants, empty when it is."""
    try:
        answer = json.loads(body)
    except ValueError:
        return f"no JSON, which expect {expression!r} needs"
    try:
        found = evaluate(expression, answer)
    except ReleaseError as exc:
        return f"expect {expression!r} cannot be evaluated ({exc})"
    return "" if found is True else f"expect {expression!r} gave {printable(json.dumps(found), 100)}, not true"
