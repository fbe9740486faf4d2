# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Have boot take a change back that the power was cut under: a unit of systemd that is there as long as the journal is.

It runs before what reads the files: the kernel's settings, the firewall, auditing, the network, and so any service.
Nothing of it needs to be told to a running systemd. Should one read it nevertheless, and start it with its target, a
file below /run, which no boot finds, keeps it from acting before the power was off.
"""

from __future__ import annotations

import hashlib
import os

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import FileState
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import write_new, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import Places, boot_id
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove, sync_dir

BOOTED = "/run/systemd/system"  # there where systemd is process 1; see sd_booted(3)
UNITS = "/etc/systemd/system"
RUN = "/run"
_WANTED_BY = "sysinit.target"

_UNIT = """\
# Written by emorobcare.fleet for the time of one change, and removed with it.
[Unit]
Description=Take back change {name} of this host, which was cut off
DefaultDependencies=no
Conflicts=shutdown.target
RequiresMountsFor={folder}
After=local-fs.target systemd-remount-fs.service
Before=sysinit.target shutdown.target systemd-sysctl.service systemd-tmpfiles-setup.service
Before=network-pre.target nftables.service auditd.service apparmor.service
ConditionPathExists=!{marker}

[Service]
Type=oneshot
ExecStart={command}
"""


def systemd_runs() -> bool:
    return os.path.isdir(BOOTED)


def unit_name(places: Places) -> str:
    return f"fleet-host-change-{_token(places)}.service"


def this_boot(places: Places) -> str:
    """Return the identity of this boot if the change was begun in it, else an empty string."""
    return boot_id() if os.path.exists(_marker(places)) else ""


def remember_boot(places: Places, command: list[str]) -> None:
    """Have the next boot run a command, if systemd is what boots this host.

    :raises HostError: the unit cannot be written.
    """
    forget_boot(places)
    with writing(_marker(places)), open(_marker(places), "w", encoding="ascii"):
        pass
    if not systemd_runs():
        return
    unit, link = _paths(places)
    words = " ".join(_quoted(word) for word in command)
    named = {"folder": _quoted(places.folder), "marker": _marker(places)}
    with writing(unit):
        text = _UNIT.format(name=places.name, command=words, **named)
        write_new(unit, text.encode(), FileState("file", 0o644, os.geteuid(), os.getegid()))
        sync_dir(UNITS)
        make_dirs(os.path.dirname(link))
        os.symlink(unit, link)
        sync_dir(os.path.dirname(link))


def boot_remembers(places: Places) -> bool:
    """Tell whether anything is left of what `remember_boot` does."""
    return any(os.path.lexists(path) for path in (*_paths(places), _marker(places)))


def forget_boot(places: Places) -> None:
    """Have the next boot do nothing.

    :raises HostError: the unit cannot be removed.
    """
    unit, link = _paths(places)
    with writing(unit):
        remove(link)
        remove(unit)
        remove(_marker(places))


def _token(places: Places) -> str:
    return f"{places.name}-{hashlib.sha256(places.base.encode()).hexdigest()[:8]}"


def _marker(places: Places) -> str:
    return os.path.join(RUN, f"fleet-host-change-{_token(places)}")


def _paths(places: Places) -> tuple[str, str]:
    unit = unit_name(places)
    return os.path.join(UNITS, unit), os.path.join(UNITS, f"{_WANTED_BY}.wants", unit)


def _quoted(word: str) -> str:
    """Return a word as units write it; see systemd.service(5), "Command lines"."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("%", "%%")
    return f'"{escaped}"'
