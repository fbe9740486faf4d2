# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Which connection of SSH a process serves, so that another one can be told from it.

Variables such as SSH_CONNECTION do not pass sudo, and one connection carries many sessions. What tells connections
apart is the server's process that serves them: the nearest one above us.
"""

from __future__ import annotations

import os
import typing as t

_SERVERS = ("sshd", "sshd-session", "dropbear")
_DEPTH = 64  # processes; no tree of a session is that deep


def parse_stat(text: str) -> tuple[str, int, str]:
    """Return the name, the parent and the start of a process from its /proc/<pid>/stat; see proc(5).

    The name stands in brackets and may hold any character, brackets and blanks included.
    """
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 1 :].split()
    return name, int(fields[1]), fields[19]


def connection(pid: int, stat_of: t.Callable[[int], str]) -> str:
    """Return what names the connection that a process serves, an empty string when it is none of SSH.

    :param stat_of: returns the content of /proc/<pid>/stat; it raises OSError for a process that has ended.
    """
    for _depth in range(_DEPTH):
        if pid <= 1:
            break
        try:
            name, parent, start = parse_stat(stat_of(pid))
        except (OSError, ValueError, IndexError):
            break
        if name in _SERVERS:
            return f"{name} {pid} {start}"
        pid = parent
    return ""


def this_connection() -> str:
    return connection(os.getpid(), _stat)


def _stat(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read()
