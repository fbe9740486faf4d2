# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide whether a release may pass. Pure: observations in, verdict out; no clock, no network.

A round is one look at every container and one answer to every other check; `_gate_judge` makes observations of them.
The gate passes when every check has passed in `success_threshold` rounds in a row in which no container was restarted,
fails at once when waiting cannot mend what was observed, and fails when the time is over.
"""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, epoch
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate

CONTAINER_CHECK = "container"

Verdict = t.Literal["pass", "fail", "timeout", "continue"]


@dataclass(frozen=True)
class Observation:
    """What one check of one container showed in one round; `latency` is in seconds.

    `fatal`: waiting cannot mend it. `asked`: False when the container's own state made the question pointless.
    `cut`: the gate's end cut the answer off, so that it says little about the service.
    """

    service: str
    check: str
    container: str
    ok: bool
    answer: str
    fatal: bool = False
    asked: bool = True
    latency: float | None = None
    cut: bool = False


@dataclass(frozen=True)
class Round:
    """All observations of one round, `elapsed` seconds after the gate began, at `time` (seconds since 1970).

    `early`: an event of Docker's brought it forward, so that it may end the gate but proves no endurance.
    """

    elapsed: float
    observations: tuple[Observation, ...]
    incarnations: frozenset[str] = frozenset()
    time: float = 0.0
    early: bool = False

    @property
    def passed(self) -> bool:
        return all(observation.ok for observation in self.observations)


@dataclass(frozen=True)
class Decision:
    """What the history amounts to: `culprit` is the observation to show when it is a failure."""

    verdict: Verdict
    streak: int = 0
    culprit: Observation | None = None


@dataclass
class CheckRecord:
    """How one check went over the whole gate; latencies in seconds."""

    service: str
    check: str
    attempts: int = 0
    failures: int = 0
    ok: bool = False
    answer: str = ""
    latency: float | None = None
    latencies: list[float] = field(default_factory=list)

    @property
    def slowest(self) -> float | None:
        return max(self.latencies, default=None)

    @property
    def median(self) -> float | None:
        return round(statistics.median(self.latencies), 3) if self.latencies else None


def decide_soak(gate: Gate, rounds: t.Sequence[Round]) -> Decision:
    """Judge the history of a gate that has passed and must go on holding for its whole time, oldest round first.

    A check that fails now and then is borne; it fails when it did so in `success_threshold` rounds in a row. When
    the time is over while it fails, the rounds that this takes are added.
    """
    early = _decide_early(rounds)
    if early:
        return early
    last = rounds[-1]
    recent = rounds[-gate.success_threshold :]
    if len(recent) == gate.success_threshold and not any(one.passed for one in recent):
        return Decision("fail", culprit=_last_failure(recent))
    return Decision("pass" if last.passed and last.elapsed >= gate.timeout else "continue")


def decide(gate: Gate, rounds: t.Sequence[Round]) -> Decision:
    """Judge the history of a gate, oldest round first."""
    early = _decide_early(rounds)
    if early:
        return early
    last = rounds[-1]
    streak = _streak(rounds)
    if streak >= gate.success_threshold:
        return Decision("pass", streak)
    if last.elapsed >= gate.timeout:
        return Decision("timeout", streak, _last_failure(rounds))
    return Decision("continue", streak)


def summarise(rounds: t.Sequence[Round]) -> list[CheckRecord]:
    """Return how each check went, by service and check, over all containers of the service."""
    records: dict[tuple[str, str], CheckRecord] = {}
    for one in rounds:
        again: set[tuple[str, str]] = set()
        for seen in one.observations:
            key = (seen.service, seen.check)
            record = records.setdefault(key, CheckRecord(*key))
            record.attempts += seen.asked
            record.failures += seen.asked and not seen.ok
            record.ok = seen.ok and (record.ok or key not in again)
            again.add(key)
            if (seen.asked and not seen.cut) or not record.answer:
                record.answer = seen.answer
            if seen.latency is not None:
                record.latency = seen.latency
                record.latencies.append(seen.latency)
    return list(records.values())


def ready_seconds(
    rounds: t.Sequence[Round], containers: t.Sequence[Container], since: float, jobs: t.Collection[str] = ()
) -> dict[str, float]:
    """Return how long each service took from its container's start until all its checks held, in seconds.

    For a job it is how long it ran. A service whose containers all began before `since` (seconds since 1970) is left
    out: nobody watched it becoming ready.
    """
    ready: dict[str, float] = {}
    for service in {container.service for container in containers}:
        own = [container for container in containers if container.service == service]
        starts = [start for start in (epoch(container.started_at) for container in own) if start is not None]
        if not starts or max(starts) < since:
            continue
        end = _finished(own) if service in jobs else _first_pass(rounds, service)
        if end is not None:
            ready[service] = round(max(end - max(starts), 0.0), 2)
    return ready


def _decide_early(rounds: t.Sequence[Round]) -> Decision | None:
    """Return the decision that needs no history: there is none yet, or waiting cannot mend the last round."""
    if not rounds:
        return Decision("continue")
    dead = next((observation for observation in rounds[-1].observations if observation.fatal), None)
    return None if dead is None else Decision("fail", culprit=dead)


def explain(decision: Decision, gate: Gate, rounds: t.Sequence[Round]) -> str:
    """Return one sentence that says which check of which service failed, and how."""
    culprit = decision.culprit
    if culprit is None:
        return f"the gate did not pass within {gate.timeout:g} s"
    check = "container" if culprit.check == CONTAINER_CHECK else f"check {culprit.check!r}"
    subject = f"service {culprit.service}, {check}: {culprit.answer}"
    if decision.verdict == "fail":
        return subject
    if rounds and rounds[-1].passed:
        return (
            f"{subject} (it comes and goes: {decision.streak} rounds passed in a row, "
            f"{gate.success_threshold} are needed, within {gate.timeout:g} s)"
        )
    return f"{subject} (still so after {gate.timeout:g} s)"


def _streak(rounds: t.Sequence[Round]) -> int:
    """Count the last rounds in a row that passed with the same containers, none restarted in between.

    One that came early counts only as the first: however many events there are, the others lie a pause apart.
    """
    row: list[Round] = []
    for one in reversed(rounds):
        if not one.passed or one.incarnations != rounds[-1].incarnations:
            break
        row.append(one)
    return len([one for one in row[:-1] if not one.early]) + len(row[-1:])


def _last_failure(rounds: t.Sequence[Round]) -> Observation | None:
    """Return what to show of a gate that never passed: the latest whole answer that was wrong, if any was."""
    for also_cut in (False, True):
        for one in reversed(rounds):
            failed = [seen for seen in one.observations if not seen.ok and (also_cut or not seen.cut)]
            if failed:
                return next((seen for seen in failed if seen.asked), failed[0])
    return None


def _first_pass(rounds: t.Sequence[Round], service: str) -> float | None:
    for one in rounds:
        own = [observation for observation in one.observations if observation.service == service]
        if own and all(observation.ok for observation in own):
            return one.time
    return None


def _finished(containers: t.Sequence[Container]) -> float | None:
    ends = [end for end in (epoch(container.finished_at) for container in containers) if end is not None]
    return max(ends) if ends else None
