# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Run a check's command in a container, and kill it when its time is over."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    Docker,
    Stream,
    checked,
    exec_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ExecCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import Reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

MARK = "EMOROBCARE_FLEET_GATE"
"""Setting by which the processes of one check are known."""

_PATIENCE = 10.0  # seconds for one command, unless its check says otherwise
_KEPT = 64 * 1024  # bytes of the output
_END_GRACE = 2.0  # seconds for `docker exec` to notice that its command was killed
_SWEEPS = 3  # a process may have started another one between being seen and being killed

# How Docker begins to say that there was no command whose exit code this could be.
_NEVER_RAN = ("Error response from daemon", "OCI runtime exec failed", "Error: No such container")


def run_command(docker: Docker, container: str, check: ExecCheck, limit: float) -> Reply:
    """Run a command in a container; kill it when it takes longer than its check allows, or than `limit` seconds.

    Killing the client is not enough, since Docker lets the command run on. So the command gets a setting of its own,
    by which it and what it started are found among this host's processes.

    Raises:
        ReleaseError: the engine does not answer.
    """
    wanted = check.timeout or max(_PATIENCE, check.max_latency or 0.0)
    patience = min(limit, wanted)
    mark = f"{MARK}={secrets.token_hex(8)}"
    began = time.monotonic()
    output, killed = bytearray(), 0
    stream = docker.stream(exec_argv(container, check.command, [mark]))
    try:
        ended = _collect(stream, output, began + patience)
        latency = time.monotonic() - began
        if not ended:
            killed = kill_marked(mark)
            _collect(stream, output, time.monotonic() + (_END_GRACE if killed else 0.0))
    finally:
        code = stream.close()
    said = printable(output.decode("utf-8", "replace"))
    if not ended:
        how = " and was killed" if killed else ", and was not found on this host to be killed: it may still run"
        error = f"did not end within {patience:g} s{how}{f'; it said: {said}' if said else ''}"
        return Reply(error=error, latency=latency, cut=patience < wanted)
    if code != 0:
        checked(Answer(code, "", said))
        if said.startswith(_NEVER_RAN):
            return Reply(error=said, latency=latency)
    return Reply(code, bytes(output), latency)


def kill_marked(mark: str, processes: str = "/proc") -> int:
    """Kill every process of this host that was started with a setting (`NAME=value`); return how many were found.

    Not found are processes of an engine on another machine, those of other users unless we are root, and those that
    changed their environment.
    """
    found: set[int] = set()
    for _sweep in range(_SWEEPS):
        marked = [int(name) for name in os.listdir(processes) if name.isdigit() and _is_marked(processes, name, mark)]
        for process in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        found.update(marked)
        if not marked:
            break
    return len(found)


def _is_marked(processes: str, name: str, mark: str) -> bool:
    try:
        with open(os.path.join(processes, name, "environ"), "rb") as file:
            return mark.encode() in file.read().split(b"\0")
    except OSError:
        return False


def _collect(stream: Stream, output: bytearray, deadline: float) -> bool:
    """Add what a command prints, as far as it is kept; return whether that ended before the deadline."""
    while True:
        left = deadline - time.monotonic()
        if left < 0:  # a command that never falls silent never lets a read time out
            return False
        try:
            piece = stream.read(left)
        except TimeoutError:
            return False
        if not piece:
            return True
        output += piece[: _KEPT - len(output)]
