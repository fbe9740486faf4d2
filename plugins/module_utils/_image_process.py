# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one place where the image modules start processes."""

from __future__ import annotations

import subprocess
import typing as t

# What a process reads from or writes to: a file, or one of subprocess's own constants.
Stream = t.Union[t.IO[bytes], int]


def start(
    argv: t.Sequence[str],
    environment: t.Mapping[str, str],
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.PIPE,
    stderr: Stream = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a command, without a shell.

    :raises FileNotFoundError: there is no such command; its filename says which.
    """
    # AnsibleModule.run_command holds all input and output in memory and cannot join two commands: here, a context and
    # a whole root file system pass from one to the next.
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(argv), env=dict(environment), stdin=stdin, stdout=stdout, stderr=stderr
    )
