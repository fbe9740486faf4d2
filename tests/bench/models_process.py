# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command and measure it with all that it starts; end whatever it leaves behind. Linux only.

The kernel counts as a process's peak memory also that of the process which it was forked from, until it runs its own
program: ours would be the least that could be measured. So a small program forks for us, and its orphan becomes our
child (PR_SET_CHILD_SUBREAPER), whose resources, with those of all its children, wait4 then tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# Tells its process id on what it was given as its input, then becomes the command.
TELL_AND_BECOME = 'echo $$ >&0; exec "$@" </dev/null'


@dataclass(frozen=True)
class Command:
    argv: tuple[str, ...]
    environment: t.Mapping[str, str]
    cwd: Path


@dataclass(frozen=True)
class Ended:
    """What a command took: seconds and bytes. `status` is its exit status, or minus the signal that ended it."""

    status: int
    wall: float
    user: float
    system: float
    peak_memory: int
    read: int
    read_from_disk: int


class DidNotEnd(Exception):
    """A command took longer than it may, or did not begin."""


def adopt_orphans() -> None:
    """Make orphans among our descendants our children. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def measure(command: Command, log: Path, timeout: float) -> Ended:
    """Run a command, its output in `log`. Raises DidNotEnd after `timeout` seconds; nothing of it runs on."""
    reader, writer = os.pipe()
    started = time.monotonic()
    with log.open("wb") as sink, open(reader, encoding="ascii") as told:
        launcher = subprocess.Popen(
            ["setsid", "--fork", "sh", "-c", TELL_AND_BECOME, "sh", *command.argv],
            env=dict(command.environment),
            cwd=command.cwd,
            stdin=writer,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        os.close(writer)
        pid = 0
        try:
            words = told.readline()
            if not words:
                raise DidNotEnd("it could not be started")
            pid = int(words)
            launcher.wait()
            return _wait(pid, started, timeout)
        finally:
            launcher.wait()
            _end_group(pid)


def _wait(pid: int, started: float, timeout: float) -> Ended:
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise DidNotEnd(f"it took longer than {timeout:.0f} s")
        wall = time.monotonic() - started
    finally:
        os.close(handle)
    counts = _io_counts(pid)  # it has ended, and is still to be told of until wait4
    _pid, status, used = os.wait4(pid, 0)
    return Ended(
        status=os.waitstatus_to_exitcode(status),
        wall=wall,
        user=used.ru_utime,
        system=used.ru_stime,
        peak_memory=used.ru_maxrss * 1024,
        read=counts.get("rchar", 0),
        read_from_disk=counts.get("read_bytes", 0),
    )


def _io_counts(pid: int) -> dict[str, int]:
    """Return the kernel's account of a process and of those that it has waited for; empty where it keeps none."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _end_group(pid: int) -> None:
    """End what runs on in the session of a command that was interrupted."""
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def end_strays(keep: t.Collection[int]) -> list[int]:
    """End and reap our descendants but for `keep` and what these started; return the process ids of the strays."""
    strays = _descendants(os.getpid(), keep)
    for pid in strays:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in strays:  # parents first: then their children are ours
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return strays


def _descendants(parent: int, keep: t.Collection[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in keep:
            try:
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(after_name[1]), []).append(int(folder.name))
    found: list[int] = []
    waiting = [parent]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process and those that run below it have taken so far."""
    tick = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for each in [pid, *_descendants(pid, ())]:
        try:
            after_name = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(after_name[11]) + int(after_name[12])) / tick
    return total
