# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Restart an engine, or have it read its file again, so that nobody notices: the program that changes of it activate.

It is one file that needs Python and nothing else (packed by `_zipapp`), so that whatever takes a change back, with or
without Ansible, does it as carefully:

    docker-engine.pyz reload  [--timeout N]
    docker-engine.pyz restart [--timeout N] [--hold N] [--drain N]

A restart holds new connections to published ports, waits until the connections that the engine's own proxy carries
have ended, starts the engine anew, waits until it answers, and starts again what ran before and does not run now. What
ran is noted first: cut off anywhere, the next run of it goes on. What the program does is a way back: what does not run
again then is told, and the engine is not started once more for it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import (
    PID_FILE,
    Engine,
    Launch,
    Run,
    answers,
    find_engine,
    read_launch,
    reload,
    run_command,
    start_anew,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_hold import (
    Hold,
    Port,
    published,
    standing,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import VAIN, HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, read_json, write_json
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

FOLDER = "/run/fleet-docker-engine"
_NOTE, _LOCK = "note.json", "lock"
_POLL = 0.05  # seconds
_PATIENCE = 30.0  # seconds for containers to run again
_RECENT = 600.0  # seconds for which a note of what ran counts
_TASK = "com.docker.swarm.task.id"  # label of what a Swarm runs
_KEPT = ("always", "unless-stopped")  # restart policies of what is to run whatever happens


@dataclass(frozen=True)
class Order:
    """What is asked for; times in seconds.

    :ivar timeout: until the engine must answer.
    :ivar hold: for how long new connections are held at most, 0 to let them be refused.
    :ivar drain: for how long connections that would be cut are waited for.
    :ivar pid_file: where the engine leaves its process id.
    """

    timeout: float = 60.0
    hold: int = 30
    drain: float = 5.0
    pid_file: str = PID_FILE


@dataclass(frozen=True)
class Ran:
    """A container that ran before a restart.

    :ivar started: when it was started, in the engine's words: another moment means that it did not run on.
    :ivar kept: whether its restart policy keeps it running.
    :ivar removed: whether the engine removes it when it ends (--rm).
    """

    id: str
    name: str
    started: str
    kept: bool
    removed: bool = False


@dataclass(frozen=True)
class Noted:
    """What ran before a restart, in the order of its starts; `launch` only where systemd does not start the engine."""

    containers: tuple[Ran, ...] = ()
    ports: tuple[Port, ...] = ()
    live_restore: bool = False
    launch: Launch | None = None


@dataclass(frozen=True)
class Report:
    """How a restart went.

    :ivar seconds: from the moment that new connections were held (or would have been) until the engine was back.
    :ivar held: whether new connections were held; `why_not` says what was in the way, if anything.
    :ivar packets: how many packets were held, those that were sent again among them.
    :ivar cut: connections through the engine's own proxy that had not ended.
    :ivar restarted: containers that did not run on, and run again.
    :ivar lost: containers that the engine has removed when they ended, as they were made to be (--rm).
    """

    seconds: float
    live_restore: bool
    held: bool
    why_not: str
    packets: int
    cut: int
    restarted: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def inspect(run: Run, ids: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """Return what the engine says of containers; what is gone is left out.

    :raises HostError: it says nothing.
    """
    if not ids:
        return []
    answer = run(["docker", "container", "inspect", "--", *ids])
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(answer.stdout))
    except ValueError:
        raise HostError(
            f"the engine does not say how its containers are: {printable(answer.stderr)}", reason="engine_unavailable"
        ) from None


def look(run: Run, engine: Engine) -> Noted:
    """Note what runs, but for the tasks of a Swarm: it ends those and makes others in their place.

    :raises HostError: the engine does not answer.
    """
    listed = run(["docker", "container", "ls", "--quiet", "--no-trunc"])
    if listed.code:
        raise HostError(f"the engine does not answer: {printable(listed.stderr)}", reason="engine_unavailable")
    running = [one for one in inspect(run, listed.stdout.split()) if _runs(one)]
    containers = sorted((_ran(one) for one in running if not _is_task(one)), key=lambda one: one.started)
    launch = None if engine.unit else read_launch(engine)
    return Noted(tuple(containers), published(running), is_live(run), launch)


def is_live(run: Run) -> bool:
    """Tell whether an engine leaves its containers alone when it ends, and when it starts."""
    return run(["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]).stdout.strip() == "true"


def _runs(container: t.Mapping[str, t.Any]) -> bool:
    state = container["State"]
    return bool(state.get("Running")) and not state.get("Restarting")


def _is_task(container: t.Mapping[str, t.Any]) -> bool:
    return _TASK in (container.get("Config", {}).get("Labels") or {})


def _ran(container: t.Mapping[str, t.Any]) -> Ran:
    host = container.get("HostConfig", {})
    policy = (host.get("RestartPolicy") or {}).get("Name")
    started = str(container["State"].get("StartedAt", ""))
    removed = bool(host.get("AutoRemove"))
    return Ran(container["Id"], container["Name"].lstrip("/"), started, policy in _KEPT, removed)


def note_as_json(noted: Noted) -> dict[str, t.Any]:
    return {
        "at": time.monotonic(),  # since boot, and a boot leaves nothing in /run
        "containers": [asdict(one) for one in noted.containers],
        "ports": [asdict(port) for port in noted.ports],
        "live_restore": noted.live_restore,
        "launch": noted.launch.as_json() if noted.launch else None,
    }


def read_note(folder: str) -> Noted | None:
    """Return what a restart has noted that was cut off, or failed, a moment ago."""
    data = read_json(os.path.join(folder, _NOTE))
    if data is None or time.monotonic() - data["at"] > _RECENT:
        return None
    return Noted(
        tuple(Ran(**one) for one in data["containers"]),
        tuple(Port(**one) for one in data["ports"]),
        data["live_restore"],
        Launch.from_json(data["launch"]) if data["launch"] else None,
    )


def with_former(former: Noted | None, now: Noted | None, engine: Engine) -> Noted:
    """Put together what runs and what ran before a restart that did not come to its end."""
    if now is None:
        return former or Noted(launch=None if engine.unit else read_launch(engine))
    if former is None:
        return now
    known = {one.id for one in former.containers}
    others = tuple(one for one in now.containers if one.id not in known)
    ports = tuple(sorted({*former.ports, *now.ports}))
    return Noted((*former.containers, *others), ports, now.live_restore, now.launch)


def restart(order: Order, run: Run, folder: str = FOLDER, *, way_back: bool = False) -> Report:
    """Restart the engine of this host; one that does not run is started.

    :param way_back: whether nothing comes after this, whatever does not run again.
    :raises HostError: it does not come back, or a container that ran does not. New connections are held on then, for
        what takes the change back comes next; the kernel lets go of them in any case. On the way back a container that
        does not run ends that, and another try would be in vain.
    """
    engine = find_engine(run, order.pid_file)
    now = look(run, engine) if engine.pid and answers(run) else None
    noted = with_former(read_note(folder), now, engine)
    write_json(os.path.join(folder, _NOTE), note_as_json(noted))
    hold = Hold(run, noted.ports, order.hold)
    began = time.monotonic()
    held = hold.place()
    cut = drain(run, noted.ports, order.drain) if engine.pid and noted.live_restore else 0
    start_anew(run, engine, noted.launch, order.timeout)
    try:
        restarted, lost = bring_back(run, noted)
    except HostError as exc:
        if not way_back or exc.reason != "restart_failed":
            raise
        hold.release()
        os.unlink(os.path.join(folder, _NOTE))
        raise HostError(str(exc), reason=exc.reason, vain=True) from exc
    packets = hold.release()
    seconds = round(time.monotonic() - began, 2)
    report = Report(seconds, noted.live_restore, held, hold.why_not, packets, cut, tuple(restarted), tuple(lost))
    os.unlink(os.path.join(folder, _NOTE))
    return report


def drain(run: Run, ports: t.Sequence[Port], seconds: float) -> int:
    """Wait until nobody waits for an answer through the engine's own proxy; return how many still do."""
    deadline = time.monotonic() + seconds
    while True:
        count = standing(run, ports)
        if not count or time.monotonic() >= deadline:
            return count
        time.sleep(_POLL)


def bring_back(run: Run, noted: Noted) -> tuple[list[str], list[str]]:
    """Wait until what ran runs; return the names of what was started anew, and of what is gone.

    What the engine has stopped and does not start by itself is started here. Where containers outlive the engine, one
    that has ended meanwhile has done so by itself, and is left so unless its policy says otherwise. They do where both
    the engine that ended and the one that started leave them alone.

    :raises HostError: something does not come up again.
    """
    names = {one.id: one for one in noted.containers}
    found = inspect(run, list(names))
    outlived = noted.live_restore and is_live(run)
    before = {one["Id"]: one["State"].get("StartedAt") for one in found}
    waiting = {id_ for id_ in before if names[id_].kept or not outlived}
    down = waiting - {one["Id"] for one in found if _runs(one)}
    if down:
        run(["docker", "container", "start", "--", *(id_ for id_ in names if id_ in down)])
        found = inspect(run, list(names))
    deadline = time.monotonic() + _PATIENCE
    while True:
        # Each is judged once: what has run again may be about to end, or to be started again by its policy.
        waiting &= {one["Id"] for one in found if not (_runs(one) or _has_done(one, names, before))}
        if not waiting:
            break
        if time.monotonic() > deadline:
            missing = ", ".join(one.name for id_, one in names.items() if id_ in waiting)
            raise HostError(
                f"the engine is back, but what ran before does not run again: {missing}. docker logs and docker "
                "container inspect say why",
                reason="restart_failed",
            )
        time.sleep(_POLL)
        found = inspect(run, list(names))
    there = {one["Id"] for one in found}
    gone = [one for id_, one in names.items() if id_ not in there]
    unknown = [one.name for one in gone if not one.removed]
    if unknown:
        raise HostError(
            f"the engine is back, but does not know what ran before: {', '.join(unknown)}. It looks for its data in "
            "another place than before, or as another user, say (docker info)",
            reason="restart_failed",
        )
    anew = [one for one in found if one["State"].get("StartedAt") != names[one["Id"]].started]
    return [names[one["Id"]].name for one in anew], [one.name for one in gone]


def _has_done(container: t.Mapping[str, t.Any], names: t.Mapping[str, Ran], before: t.Mapping[str, str]) -> bool:
    """Tell whether what nothing keeps running was started anew and has ended well, as a job does."""
    state, id_ = container["State"], container["Id"]
    ended = not state.get("Running") and state.get("ExitCode") == 0
    return ended and not names[id_].kept and state.get("StartedAt") != before[id_]


@contextlib.contextmanager
def alone(folder: str) -> t.Iterator[None]:
    """Let nobody else act on the engine: whoever takes a change back waits until what was cut off has ended."""
    make_dirs(folder, 0o700)  # what is noted may hold settings of the engine
    fd = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def carry_out(
    action: str, order: Order, run: Run = run_command, folder: str = FOLDER, *, way_back: bool = False
) -> Report | None:
    """Do what is asked, alone. An engine that does not run has nothing to reload.

    :param way_back: see `restart`.
    :raises HostError: it failed.
    """
    with alone(folder):
        if action == "restart":
            return restart(order, run, folder, way_back=way_back)
        engine = find_engine(run, order.pid_file)
        if engine.pid:
            reload(run, engine, order.timeout)
        return None


def argv_of(program: str, action: str, order: Order) -> tuple[str, ...]:
    """Return the command for it: the words after the interpreter's."""
    words = ["--timeout", f"{order.timeout:g}", "--pid-file", order.pid_file]
    if action == "restart":
        words += ["--hold", str(order.hold), "--drain", f"{order.drain:g}"]
    return (program, action, *words)


def main(words: t.Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Restart this host's Docker engine so that nobody notices.")
    parser.add_argument("action", choices=["reload", "restart"])
    parser.add_argument("--timeout", type=float, default=Order.timeout, help="seconds until the engine must answer")
    parser.add_argument("--hold", type=int, default=Order.hold, help="seconds that connections are held at most")
    parser.add_argument("--drain", type=float, default=Order.drain, help="seconds that connections get to end")
    parser.add_argument("--pid-file", default=Order.pid_file, help="where the engine leaves its process id")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a session that ends is no reason to leave an engine half-restarted
    try:
        order = Order(asked.timeout, asked.hold, asked.drain, asked.pid_file)
        report = carry_out(asked.action, order, way_back=True)
    except HostError as exc:
        sys.stderr.write(f"{exc}\n")
        return VAIN if exc.details.get("vain") else 1
    sys.stdout.write(f"{json.dumps(asdict(report)) if report else asked.action}\n")
    return 0
