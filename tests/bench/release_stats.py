# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what clients, engine and journal recorded to figures of one update. Pure.

All moments are seconds of the wall clock, which a host and the containers on it share.
"""

from __future__ import annotations

import math
import re
import statistics
import typing as t
from dataclasses import dataclass, field


class Request(t.Protocol):
    """A request as a client recorded it; `colour` is the release that answered, `fault` empty where all was well."""

    @property
    def kind(self) -> str: ...
    @property
    def began(self) -> float: ...
    @property
    def ended(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def colour(self) -> str: ...
    @property
    def fault(self) -> str: ...


@dataclass(frozen=True)
class Event:
    """Something that the engine said of a container."""

    at: float
    action: str
    service: str
    container: str


@dataclass(frozen=True)
class Run:
    """A command on the host, and what happened meanwhile: events of the engine, steps of the journal."""

    began: float
    ended: float
    code: int
    output: str = ""
    events: tuple[Event, ...] = ()
    steps: tuple[tuple[float, str], ...] = ()

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def step(self, name: str) -> float | None:
        """Return when the journal first said this step."""
        return next((at for at, step in self.steps if step == name), None)

    @property
    def committed(self) -> float:
        """When the release was committed: what is left then is to remove what served before."""
        return self.step("retire") or self.ended


@dataclass(frozen=True)
class Update:
    """One update under load; everything in seconds but the counts. None where it does not apply.

    `steps` are those of the journal, from the beginning of the process.
    """

    requests: int
    failed: int
    faults: dict[str, int]
    without_service: float
    longest: float
    to_commit: float
    whole: float
    healthy_to_serves: float | None
    gate_to_serves: float | None
    mixed: float
    steps: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Latency:
    """Milliseconds of requests that were answered."""

    p50: float
    p99: float
    worst: float
    requests: int


@dataclass(frozen=True)
class Wrk:
    """What wrk printed; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    requests: int
    failed: int


@dataclass
class PowerCut:
    """A host that lost its power in mid-deploy; seconds from the cut until the first good answer, and what gave it.

    `containers` by service when the engine was back, and after the same command had been given again.
    """

    served_after: float | None
    served_by: str
    containers: dict[str, int] = field(default_factory=dict)
    repeated: float | None = None
    repeated_well: bool | None = None
    containers_after: dict[str, int] = field(default_factory=dict)


def read_run(data: t.Mapping[str, t.Any]) -> Run:
    """Read what the agent on the host answered."""
    return Run(
        began=data["began"],
        ended=data["ended"],
        code=data["code"],
        output=data["output"],
        events=tuple(Event(**event) for event in data["events"]),
        steps=read_steps(data["output"]),
    )


def read_steps(output: str) -> tuple[tuple[float, str], ...]:
    """Read the lines C(STEP <moment> <step>)."""
    found = re.findall(r"^STEP ([\d.]+) (\w+)$", output, re.MULTILINE)
    return tuple((float(at), step) for at, step in found)


def without_service(requests: t.Sequence[Request]) -> float:
    """Return for how long new connections were not served.

    A stretch begins with the first request that failed and ends with the first good answer after it; what one client
    sent in turn, each on a connection of its own. A client that is still not served at its end was not until then.
    """
    total, since = 0.0, None
    for one in sorted(requests, key=lambda request: request.began):
        if one.fault and since is None:
            since = one.began
        if not one.fault and since is not None:
            total, since = total + one.ended - since, None
    if since is not None:
        total += max(one.ended for one in requests) - since
    return total


def mixed(requests: t.Iterable[Request], new: str) -> float:
    """Return for how long the old release still answered after the new one had begun to."""
    good = [one for one in requests if not one.fault and one.colour]
    first = min((one.ended for one in good if one.colour == new), default=None)
    if first is None:
        return 0.0
    last = max((one.began for one in good if one.colour != new), default=first)
    return max(last - first, 0.0)


def healthy_at(events: t.Iterable[Event], services: t.Collection[str]) -> float | None:
    """Return when the engine called the last container of these services healthy that was started meanwhile."""
    events = list(events)
    fresh = {event.container for event in events if event.action == "start" and event.service in services}
    first: dict[str, float] = {}
    for event in events:
        if event.action == "health_status: healthy" and event.container in fresh:
            first.setdefault(event.container, event.at)
    return max(first.values()) if fresh and set(first) == fresh else None


def measure_update(
    run: Run, requests: t.Sequence[Request], new: str, prober: str, services: t.Collection[str]
) -> Update:
    """Put an update together.

    Args:
        requests: what all clients recorded, from before the update until after it.
        new: what the new release calls itself; empty where it does not say.
        prober: the kind of requests that tells whether there is service.
        services: those whose new containers must be healthy for the new side to be.
    """
    faults: dict[str, int] = {}
    for one in requests:
        if one.fault:
            faults[one.kind] = faults.get(one.kind, 0) + 1
    serves = min((one.ended for one in requests if new and one.colour == new and not one.fault), default=None)
    healthy, gate = healthy_at(run.events, services), run.step("switch")
    return Update(
        requests=len(requests),
        failed=sum(faults.values()),
        faults=faults,
        without_service=without_service([one for one in requests if one.kind == prober]),
        longest=max((one.seconds for one in requests if not one.fault), default=0.0),
        to_commit=run.committed - run.began,
        whole=run.seconds,
        healthy_to_serves=None if serves is None or healthy is None else serves - healthy,
        gate_to_serves=None if serves is None or gate is None else serves - gate,
        mixed=mixed(requests, new) if new else 0.0,
        steps={step: round(at - run.began, 3) for at, step in run.steps},
    )


def latency(requests: t.Iterable[Request]) -> Latency | None:
    """Return the percentiles of the good answers, by nearest rank; None where there were none."""
    seconds = sorted(one.seconds for one in requests if not one.fault)
    if not seconds:
        return None
    return Latency(
        p50=round(1000 * percentile(seconds, 0.50), 2),
        p99=round(1000 * percentile(seconds, 0.99), 2),
        worst=round(1000 * seconds[-1], 1),
        requests=len(seconds),
    )


def percentile(ordered: t.Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile of values in order."""
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]


def spread(values: t.Iterable[float | None]) -> dict[str, float] | None:
    """Return median, least and most of what was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": round(statistics.median(known), 3), "min": round(min(known), 3), "max": round(max(known), 3)}


_TIMES = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def read_wrk(output: str) -> Wrk:
    """Read what C(wrk --latency) prints.

    Raises:
        ValueError: it printed something else.
    """
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", output, re.MULTILINE)
    whole = re.search(r"^\s*(\d+) requests in", output, re.MULTILINE)
    if rate is None or whole is None:
        raise ValueError(f"wrk printed no rate: {output[-500:]!r}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Wrk(
        rate=float(rate[1]),
        p50=_wrk_percentile(output, 50),
        p99=_wrk_percentile(output, 99),
        requests=int(whole[1]),
        failed=failed + (int(refused[1]) if refused else 0),
    )


def _wrk_percentile(output: str, percent: int) -> float:
    found = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s|m)$", output, re.MULTILINE)
    if found is None:
        raise ValueError(f"wrk printed no {percent}%: {output[-500:]!r}")
    return round(float(found[1]) * _TIMES[found[2]], 3)
