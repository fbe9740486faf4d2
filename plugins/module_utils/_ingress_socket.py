# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ask HAProxy's master through its socket: one command a connection."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError


def ask(folder: str, name: str, command: str, timeout: float) -> str:
    """Send one command to the socket `name` of a folder; return the whole answer. `timeout`: seconds for each step.

    Raises:
        ReleaseError: nobody answers (`ingress_unavailable`).
    """
    path = os.path.join(folder, name)
    try:
        with _connected(folder, name, timeout) as connection:
            connection.sendall(f"{command}\n".encode())
            connection.shutdown(socket.SHUT_WR)  # the master keeps a connection open while more may come
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
    except socket.timeout:
        raise _unavailable(path, f"gave no answer to {command.split()[0]!r} within {timeout:g} s") from None
    except OSError as exc:
        raise _unavailable(path, f"does not answer: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def _connected(folder: str, name: str, timeout: float) -> t.Iterator[socket.socket]:
    """Connect by the folder's descriptor: a socket's path has at most 107 bytes, a folder's may have more.

    The container may write to the folder; so a link there, which could lead anywhere on the host, is not followed.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OSError(0, "it is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{fd}/{name}")
            yield connection
    finally:
        os.close(fd)


def _unavailable(path: str, what: str) -> ReleaseError:
    return ReleaseError(
        f"the ingress {what} ({path}). See whether its container runs (docker ps) and what it says (docker logs)",
        reason="ingress_unavailable",
    )
