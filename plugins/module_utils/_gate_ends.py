# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Find out how a container ended, and whether memory had run out, which Docker does not always tell."""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, epoch
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import End

_KERNEL_LOG = "/dev/kmsg"
_RECORD = 8192  # bytes, the kernel's own limit
_NEAR = 5.0  # seconds between a kill and the end of its container

# "6,1234,5678901,-;oom-kill:constraint=…,task_memcg=/docker/<id>,…": the third number is microseconds since boot.
# Documentation/ABI/testing/dev-kmsg in the kernel's sources.
_KILL = re.compile(r"\d+,\d+,(\d+),[^;]*;oom-kill:.*\btask_memcg=([^,]*)")


def last_end(container: Container, heard: End | None = None) -> End | None:
    """Return how the last life of a container ended, None if that cannot be known.

    Docker's own word on memory depends on the version of the engine and on control groups; the kernel's log has it all.

    Args:
        heard: what Docker's events told; a container that runs again shows nothing of its end.
    """
    end = heard
    if not container.running:
        end = End(container.exit_code, container.oom_killed or (heard is not None and heard.oom_killed))
    if end is None or end.oom_killed or end.exit_code == 0:
        return end
    at = epoch(container.finished_at)
    return end if at is None else replace(end, oom_killed=killed_near(container.id, at, _boot(), _kernel_log()))


def killed_near(container: str, at: float, boot: float, records: t.Iterable[str]) -> bool:
    """Whether the kernel killed a process of a container, since memory had run out, near a time. Pure.

    Args:
        at: seconds since 1970.
        boot: when the kernel's clock began, in seconds since 1970.
        records: the kernel's log, in the format of /dev/kmsg.
    """
    kills = filter(None, map(_KILL.match, records))
    return any(container in kill[2] and abs(boot + int(kill[1]) / 1e6 - at) < _NEAR for kill in kills)


def _boot() -> float:
    return time.time() - time.monotonic()


def _kernel_log() -> t.Iterator[str]:
    """Yield what is in the kernel's log now; nothing where we may not read it."""
    with contextlib.ExitStack() as opened:
        try:
            log = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return
        opened.callback(os.close, log)
        while True:
            try:
                yield os.read(log, _RECORD).decode("utf-8", "replace")
            except BrokenPipeError:
                continue  # what we were about to read was overwritten; the next read goes on behind it
            except OSError:
                return  # we have read it all
