# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Run the commands of a change: those that check a file, and those that make files count."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._text import last_lines

PATIENCE = 300.0  # seconds for one command
_TAIL = 8192  # bytes of what it printed
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_FOUND = 127  # as shells say it


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), and the last of what it printed, in lines."""

    code: int
    said: tuple[str, ...]

    @property
    def missing(self) -> bool:
        return self.code == _NOT_FOUND

    def __str__(self) -> str:
        how = f"ended by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return f"{how}: {' / '.join(self.said)}" if self.said else how


def run(argv: t.Sequence[str], patience: float = PATIENCE) -> Ended:
    """Run a command to its end, without a shell, with a small environment; after `patience` seconds it is killed.

    What it printed goes to a file, so that a daemon that it leaves behind keeps nobody waiting.
    """
    environment = {"PATH": _PATH, "HOME": os.environ.get("HOME", "/root"), "LC_ALL": "C"}
    with tempfile.TemporaryFile() as output:
        try:
            # AnsibleModule.run_command is not there for the program that takes changes back by itself.
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                list(argv),
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as exc:
            return Ended(_NOT_FOUND, (f"{argv[0]}: {exc.strerror}",))
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            return Ended(_killed(process), (*_tail(output), f"it was killed, having not ended in {patience:g} s"))
        except BaseException:  # a signal to us; nothing of ours goes on behind the back of what takes the change back
            _killed(process)
            raise
        return Ended(code, _tail(output))


def _killed(process: subprocess.Popen[bytes]) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _tail(output: t.IO[bytes]) -> tuple[str, ...]:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _TAIL, 0))
    return last_lines(output.read().decode(errors="replace"), 5)
