# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Put the program that takes changes back on a host, and start it beside a change."""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_change_guard
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import FileState
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_boot import (
    remember_boot,
    systemd_runs,
    unit_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import run
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import write_new, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import Places
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import remove, sync_dir
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import (
    interpreter,
    loaded_source,
    pack,
    sources_of,
)

_MODE = 0o700
_PATIENCE = 30.0  # seconds until the guard must watch
_POLL = 0.02  # seconds


def arm_boot(places: Places) -> None:
    """Put the program there, and have the next boot run it for this change.

    :raises HostError: one of the two cannot be written.
    """
    name = _host_change_guard.__name__
    start = f"import sys\n\nfrom {name} import main\n\nraise SystemExit(main(sys.argv[1:]))\n"
    content = pack(sources_of(name.rpartition(".")[2], loaded_source), start, interpreter())
    path = _program(places)
    with writing(path):
        if not _holds(path, content):
            remove(f"{path}.new")
            write_new(f"{path}.new", content, FileState("file", _MODE, os.geteuid(), os.getegid()))
            os.rename(f"{path}.new", path)
            sync_dir(places.folder)
    remember_boot(places, _command(places, "boot"))


def start_guard(places: Places) -> None:
    """Start the guard, and return when it watches.

    systemd runs it where it is, out of reach of whatever ends a session, and starts it anew if something ends it;
    elsewhere it is a process that has left its session.

    :raises HostError: it does not come (`guard_failed`).
    """
    with writing(places.guard):
        remove(places.guard)
    argv = _command(places, "detach")
    if systemd_runs():
        # Of its own for each transaction: the guard of the one before, of the same process, may not have ended yet.
        unit = f"{unit_name(places).rpartition('.')[0]}-{os.getpid()}-{time.monotonic_ns()}"
        options = ["--quiet", "--collect", "--service-type=exec", f"--unit={unit}"]
        properties = ["--property=Restart=on-failure", "--property=RestartSec=1", "--property=OOMScoreAdjust=-900"]
        description = f"--description=Take back change {places.name} unless it is made"
        argv = ["systemd-run", *options, *properties, description, "--", *_command(places, "watch")]
    ended = run(argv, _PATIENCE)
    deadline = time.monotonic() + _PATIENCE
    while not ended.code and not os.path.exists(places.guard) and time.monotonic() < deadline:
        time.sleep(_POLL)
    if not os.path.exists(places.guard):
        raise HostError(
            f"what would take change {places.name} back if this task is cut off could not be started, so nothing was "
            f"put into effect: {' '.join(argv)} ({ended})",
            reason="guard_failed",
        )


def _program(places: Places) -> str:
    return os.path.join(places.folder, "take-back.pyz")


def _command(places: Places, doing: str) -> list[str]:
    """Return the command; by its interpreter's name, since /var may be mounted so that nothing there is run."""
    return [interpreter(), "-I", _program(places), doing, places.folder, places.name]


def _holds(path: str, content: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read() == content
    return False
