# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry the measurements out: updates under load, runs with nothing to do, a long series, wrk, cuts of power."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.tests.bench.release_machine import Host
from ansible_collections.emorobcare.fleet.tests.bench.release_peers import Peer, Request, Subject
from ansible_collections.emorobcare.fleet.tests.bench.release_stats import (
    Latency,
    PowerCut,
    Run,
    Update,
    Wrk,
    latency,
    measure_update,
    read_run,
    read_wrk,
    without_service,
)
from ansible_collections.emorobcare.fleet.tests.faults._load import WEB_SOCKET, Kind, Load, Record

PAUSE = 0.005  # seconds between an answer and the same client's next request
BEFORE, AFTER = 100, 2.0  # requests before an update, seconds after it
SERVED = 45.0  # seconds until a host that lost its power must serve again
UPDATES, BACKS = 20, 10
QUIET = 20.0  # seconds of load with nothing else
WRK_CONNECTIONS = 8
WRK_QUIET, WRK_BUSY = 10, {"draining": 35}  # seconds with nothing else, and with an update in them
WRK_BUSY_USUALLY = 20


@dataclass
class Result:
    """What was measured of one way to bring a stack up."""

    peer: Peer
    updates: list[Update] = field(default_factory=list)
    no_op: list[float] = field(default_factory=list)
    cuts: list[PowerCut] = field(default_factory=list)
    wrk_quiet: Wrk | None = None
    wrk_update: Wrk | None = None
    loads: list[float] = field(default_factory=list)  # the machine's load average before each update
    codes: set[int] = field(default_factory=set)  # how its commands ended, where not by 0
    number: int = 0  # of the release that it brought last

    def next(self) -> int:
        self.number += 1
        return self.number


@dataclass(frozen=True)
class Series:
    """Many updates and rollbacks under one load that never stops."""

    updates: int
    rollbacks: int
    seconds: float
    requests: int
    failures: tuple[str, ...]
    web_sockets_closed: int
    without_service: float
    during: Latency | None
    quiet: Latency | None
    small_during: Latency | None
    small_quiet: Latency | None
    commit_seconds: tuple[float, ...]


def prepare(host: Host, subject: Subject) -> list[Result]:
    """Make a stack's images and release, and lay its files out for every way; bring all up."""
    host.make("images", subject.path, bench_environment=subject.environment)
    if subject.models:
        host.make("models", subject.path, bench_environment=subject.environment)
    host.run("mkdir -p /root/bench")
    where = {"bench_environment": subject.environment, "bench_release": subject.release}
    host.make("document", subject.path, **where)
    proxy = host.run(
        f"python3 -c \"import json; print((json.load(open('{subject.release}'))['document'].get('ingress') or "
        "{}).get('image', ''))\""
    ).strip()
    results = []
    for way in subject.ways:
        folder = subject.folder(way)
        there = host.ask(
            {"do": "lay_out", "release": subject.release, "folder": folder, "models": "/var/lib/fleet/models"}
        )
        result = Result(Peer(subject, way, tuple(there["compose"]), proxy))
        if way == "ours":
            parameters = subject.parameters(way, result.number)
            host.make("first", subject.path, bench_environment=subject.environment, bench_parameters=parameters)
        else:
            carry_out(host, result, result.peer.up(result.number))
        results.append(result)
    return results


def carry_out(host: Host, result: Result, request: Request) -> Run:
    """Have the host do it. What fails ends the measurement, but for what Compose says of a job that has ended."""
    run = read_run(host.ask(request))
    if run.code != 0:
        if result.peer.way == "ours" or result.peer.subject.marked:
            raise SystemExit(f"{result.peer.name} ended with {run.code}:\n{run.output[-6000:]}")
        result.codes.add(run.code)
    return run


def update(host: Host, result: Result) -> None:
    peer, subject = result.peer, result.peer.subject
    number = result.next()
    result.loads.append(load_average())
    with Load(peer.port, subject.kinds, host=host.address(), pause=PAUSE) as load:
        wait_until(lambda: load.total >= BEFORE)
        run = carry_out(host, result, peer.update(number))
        time.sleep(AFTER)
    new = str(number) if subject.marked else ""
    # Side by side, a side is well as a whole; one after the other, what counts is the service that says its release.
    services = subject.replaced if peer.way == "ours" else ("api",)
    result.updates.append(measure_update(run, load.records, new, subject.prober, services))


def no_op(host: Host, result: Result) -> None:
    if result.peer.way in ("ours", "compose"):
        run = carry_out(host, result, result.peer.up(result.number))
        if result.peer.way == "ours" and '"changed": false' not in run.output:
            raise SystemExit(
                f"{result.peer.subject.name}: a run that had nothing to do did something:\n{run.output[:4000]}"
            )
        result.no_op.append(run.seconds)


def series(host: Host, result: Result, updates: int, rollbacks: int) -> Series:
    """Update and roll back, two to one, under every kind of request; the same load before it, with nothing else."""
    peer, kinds = result.peer, (*result.peer.subject.kinds, WEB_SOCKET)
    with Load(peer.port, kinds, host=host.address(), pause=PAUSE) as before:
        time.sleep(QUIET)
    runs: list[Run] = []
    done = [0, 0]
    started = time.monotonic()
    with Load(peer.port, kinds, host=host.address(), pause=PAUSE) as load:
        wait_until(lambda: load.total >= BEFORE)
        while done < [updates, rollbacks]:
            back = done[1] < rollbacks and (done[0] >= updates or done[0] >= 2 * (done[1] + 1))
            done[back] += 1
            runs.append(carry_out(host, result, peer.back() if back else peer.update(result.next())))
        time.sleep(AFTER)
    within = [one for one in load.records if any(run.began <= one.began <= run.ended for run in runs)]
    return Series(
        updates=done[0],
        rollbacks=done[1],
        seconds=time.monotonic() - started,
        requests=load.total,
        failures=tuple(load.failures),
        web_sockets_closed=load.closed,
        without_service=without_service(_of(load.records, peer.subject.prober)),
        during=latency(within),
        quiet=latency(before.records),
        small_during=latency(_of(within, peer.subject.prober)),
        small_quiet=latency(_of(before.records, peer.subject.prober)),
        commit_seconds=tuple(run.committed - run.began for run in runs),
    )


def with_wrk(host: Host, result: Result) -> None:
    """Let wrk ask as fast as it can, with nothing else and with an update in its time."""
    url = f"http://127.0.0.1:{result.peer.port}/api/small"
    result.wrk_quiet = read_wrk(host.wrk(url, WRK_CONNECTIONS, WRK_QUIET).communicate()[0])
    process = host.wrk(url, WRK_CONNECTIONS, WRK_BUSY.get(result.peer.way, WRK_BUSY_USUALLY))
    time.sleep(1)
    carry_out(host, result, result.peer.update(result.next()))
    result.wrk_update = read_wrk(process.communicate()[0])


def cut_power(host: Host, result: Result) -> None:
    """Cut the host's power when the new API has started; see when it serves again, and whether a repetition ends it."""
    peer, subject = result.peer, result.peer.subject
    number = result.next()
    begun: list[subprocess.Popen[str]] = []
    host.wait_for_start("api", lambda: begun.append(host.begin(peer.update(number))))
    address = host.address()
    moment = host.cut_power()
    with Load(peer.port, [_prober(subject)], host=address, pause=0.02, patience=1.0) as load:
        host.power_on()
        if host.address() != address:
            raise SystemExit("the host has another address than before its power was cut")
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: bool(_good_since(load.records, moment)), SERVED)
    begun[0].wait()
    good = _good_since(load.records, moment)
    host.wait_for_engine()
    containers = {service: host.count(subject.project(peer.way), service) for service in subject.replaced}
    cut = PowerCut(good[0].ended - moment if good else None, good[0].colour if good else "", containers)
    if cut.served_by:
        cut.served_by = "the new release" if cut.served_by == str(number) else "the old release"
    again = read_run(host.ask(peer.update(number)))
    cut.repeated, cut.repeated_well = again.seconds, again.code == 0
    cut.containers_after = {service: host.count(subject.project(peer.way), service) for service in subject.replaced}
    result.cuts.append(cut)
    carry_out(host, result, peer.up(number))  # whatever is left to mend, for the next round


def take_down(host: Host, result: Result) -> None:
    carry_out(host, result, result.peer.down())


def wait_until(condition: t.Callable[[], bool], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.02)


def load_average() -> float:
    return round(os.getloadavg()[0], 2)


def _of(records: t.Iterable[Record], kind: str) -> list[Record]:
    return [one for one in records if one.kind == kind]


def _good_since(records: t.Iterable[Record], moment: float) -> list[Record]:
    return [one for one in list(records) if not one.fault and one.began > moment]


def _prober(subject: Subject) -> Kind:
    return next(kind for kind in subject.kinds if kind.name == subject.prober)
