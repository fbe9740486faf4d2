# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make an environment of a runtime on a host, and turn to it.

Environments are `<dest>/<id>`, and `<dest>/current` is a link to the one that counts. Programs of an environment have
its path in them, so that it cannot be made elsewhere and renamed: it is made in its place, gets `runtime.json` when all
of it is on the disk, and only then does the link turn to it, by a rename. A power cut leaves the old one current.
"""

from __future__ import annotations

import os
import re
import shutil
import typing as t
import zipfile

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import Runner
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime import (
    CURRENT,
    DONE,
    WHEELS,
    Runtime,
    collection_argv,
    environment_argv,
    install_argv,
    install_failure,
    trial_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import NEW
from ansible_collections.emorobcare.fleet.plugins.module_utils._size import human
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    make_dirs,
    read_json,
    remove,
    sync_dir,
    sync_file_system,
    write_json,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import last_lines

_ID = re.compile(r"[0-9a-f]{64}")
_COMPILED = 2  # times the size of Python code that it and its compiled form need


def python_version(python: str, run: Runner) -> str:
    """Return the version of a Python, such as 3.13.

    Raises:
        DepotError: it cannot be run, or is not able to make environments (`library_missing`).
    """
    if shutil.which(python) is None:
        raise DepotError(f"python: there is no {python} on this host", reason="library_missing")
    code, out, err = run([python, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"], {})
    if code:
        raise DepotError(
            f"python: {python} cannot make environments ({'; '.join(last_lines(err, 2))}); install Debian's package "
            "python3",
            reason="library_missing",
        )
    return out.strip()


def current_id(dest: str) -> str:
    """Return which environment is current, if it was finished; empty if none is."""
    try:
        name = os.readlink(os.path.join(dest, CURRENT))
    except OSError:
        return ""
    return name if is_done(dest, name) else ""


def is_done(dest: str, name: str) -> bool:
    """Whether an environment was finished."""
    return bool(_ID.fullmatch(name)) and read_json(os.path.join(dest, name, DONE)) is not None


def stale_ids(dest: str, wanted: str, keep: int) -> list[str]:
    """Return the environments that go: those that were not finished, and finished ones beyond the newest `keep`.

    The wanted one and the one that is current are among those that stay.
    """
    names = [name for name in _names(dest) if name != wanted]
    done = [name for name in names if is_done(dest, name)]
    done.sort(key=lambda name: os.stat(os.path.join(dest, name, DONE)).st_mtime_ns, reverse=True)
    current = current_id(dest)
    kept = sorted(done, key=lambda name: name != current)[: max(keep - 1, 0)]
    return sorted(name for name in names if name not in kept and name != current)


def _names(dest: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(dest) if _ID.fullmatch(name))
    except FileNotFoundError:
        return []


def needed_bytes(source: str, runtime: Runtime) -> int:
    """Return about how many bytes an environment of a runtime has.

    Raises:
        DepotError: a wheel is no archive (`blob_corrupt`).
    """
    total = 0
    for path in runtime.files:
        if not path.startswith(f"{WHEELS}/"):
            continue
        try:
            with zipfile.ZipFile(os.path.join(source, path)) as wheel:
                members = wheel.infolist()
        except zipfile.BadZipFile as exc:
            raise DepotError(f"{source}/{path} is no wheel ({exc}); copy it again", reason="blob_corrupt") from exc
        total += sum(one.file_size * (_COMPILED if one.filename.endswith(".py") else 1) for one in members)
    return total + _COMPILED * os.path.getsize(os.path.join(source, runtime.collection))


def check_room(dest: str, needed: int) -> None:
    """Refuse an environment that has no room.

    Raises:
        DepotError: `no_space`, with what is needed and what there is.
    """
    above = dest
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    status = os.statvfs(above)
    available = status.f_bavail * status.f_frsize
    if needed > available:
        raise DepotError(
            f"the runtime needs about {human(needed)} in {dest}, and {human(available)} are free; free some, or choose "
            "a dest on a larger disk",
            reason="no_space",
            needed=needed,
            available=available,
        )


def make(source: str, dest: str, runtime: Runtime, python: str, version: str, run: Runner) -> None:
    """Make the environment of a runtime.

    Raises:
        DepotError: a command failed; what it left is not current, and the next run begins anew.
    """
    name = runtime.id(version)
    folder = os.path.join(dest, name)
    make_dirs(dest)
    remove(folder)
    home = os.path.join(folder, ".making")  # ansible's own files, which would go to the user's home
    environment = {
        "LC_ALL": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "ANSIBLE_CONFIG": os.path.join(home, "ansible.cfg"),
        "ANSIBLE_HOME": home,
        "PYTHONPATH": "",
    }
    _run(environment_argv(python, folder), environment, run)
    make_dirs(home)
    with open(environment["ANSIBLE_CONFIG"], "w", encoding="utf-8"):  # an empty one counts in place of the host's
        pass
    code, out, err = run(install_argv(folder, source, runtime), environment)
    if code:
        raise install_failure(f"{out}\n{err}", version, last_lines(err, 4))
    _run(collection_argv(folder, version, os.path.join(source, runtime.collection)), environment, run)
    found = _run(trial_argv(folder, runtime.collection), environment, run)
    if not found.strip():
        raise DepotError(f"ansible does not find {runtime.collection} in {folder}", reason="io_error")
    remove(home)
    sync_file_system(folder)
    write_json(os.path.join(folder, DONE), {"schema": 1, "id": name, "python": version})


def turn_to(dest: str, name: str) -> None:
    """Make an environment the current one, at once."""
    link = os.path.join(dest, CURRENT)
    remove(link + NEW)
    os.symlink(name, link + NEW)
    os.rename(link + NEW, link)
    sync_dir(dest)


def _run(argv: t.Sequence[str], environment: t.Mapping[str, str], run: Runner) -> str:
    code, out, err = run(argv, environment)
    if code:
        raise DepotError(
            f"{' '.join(argv[:4])} failed with exit code {code}: {'; '.join(last_lines(err or out, 6))}",
            reason="io_error",
        )
    return out
