# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Look at what a change is about: the files there are, owners by number, and whether checkers accept what is wanted."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_change_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    Change,
    FileState,
    FileWanted,
    Kept,
    Plan,
    Target,
    digest,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import run
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import look, missing_folders
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Journal,
    Places,
    read_content,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

_UNKNOWN = -1  # the number of a user that there will be once earlier tasks have really run


@dataclass
class _Seen:
    """What paths hold; contents by digest."""

    found: dict[str, FileState] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def take(self, path: str, state: FileState, content: bytes | None) -> None:
        self.found[path] = state
        if content is not None:
            self.contents[digest(content)] = content


@dataclass(frozen=True)
class Looked:
    """A plan, and every content that it speaks of, by digest."""

    plan: Plan
    contents: t.Mapping[str, bytes]


def look_at(change: Change, places: Places, kept: Kept, cut_off: Journal | None, check: bool) -> Looked:
    """Find out what a change would do.

    :param cut_off: what would be taken back first, so that its files are looked at as they were before it.
    :raises HostError: something is in the way.
    """
    seen = _Seen()
    records = {record.path: record for record in kept.records}
    for wanted in change.files:
        record = records.get(wanted.path)
        alone = wanted.content is None and wanted.state == "present"
        seen.take(wanted.path, *look(wanted.path, not alone or bool(record and record.was.sha256)))
    for path, record in records.items():
        if path not in seen.found:
            # A file that came with the change is to be known again, too.
            seen.take(path, *look(path, bool(record.was.sha256 or record.now.sha256)))
    for action in cut_off.actions if cut_off else ():
        sha256 = action.was.sha256
        seen.take(action.path, action.was, read_content(places, sha256) if sha256 else None)
    targets = _targets(change, check)
    plan = make_plan(change, targets, kept, seen.found, _missing(targets, seen.found))
    for wanted in change.files:
        if wanted.content is not None:
            seen.contents[digest(wanted.content.encode())] = wanted.content.encode()
    for action in plan.actions:
        for state in (action.was, action.will):
            if state.sha256 and state.sha256 not in seen.contents:
                seen.contents[state.sha256] = read_content(places, state.sha256)
    return Looked(plan, seen.contents)


def _missing(targets: t.Sequence[Target], found: t.Mapping[str, FileState]) -> list[str]:
    folders: list[str] = []
    for target in targets:
        wanted = target.wanted
        if wanted.content is not None and found[wanted.path].kind == "absent":
            folders += [folder for folder in missing_folders(wanted.path) if folder not in folders]
    return folders


def _targets(change: Change, check: bool) -> list[Target]:
    if change.state == "absent":
        return []
    return [
        Target(wanted, _number(wanted.owner, _user, "owner", check), _number(wanted.group, _group, "group", check))
        for wanted in change.files
    ]


def _number(name: str | None, find: t.Callable[[str], int], what: str, check: bool) -> int | None:
    if name is None:
        return None
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return find(name)
    except KeyError:
        if check:
            return _UNKNOWN
        raise HostError(f"{what}: there is no {what} {name!r} on this host", reason="invalid") from None


def _user(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def validate(files: t.Iterable[FileWanted], paths: t.Container[str], check: bool) -> None:
    """Have the checkers look at the contents that are to be written, under the names that the files will have.

    :param paths: the files that are to be replaced.
    :param check: whether a checker may be missing, since what brings it has not really run.
    :raises HostError: one is refused (`validate_failed`).
    """
    for wanted in files:
        if wanted.validate and wanted.content is not None and wanted.path in paths:
            _validate(wanted, wanted.content, check)


def _validate(wanted: FileWanted, content: str, check: bool) -> None:
    # In memory, so that it is gone with the next boot if we are killed; in a folder that nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="fleet-host-change-", dir=_host_change_boot.RUN) as folder:
        path = os.path.join(folder, os.path.basename(wanted.path))
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        ended = run([word.replace("%s", path) for word in wanted.validate])
    if ended.code and not (check and ended.missing):
        mask = Masker(() if wanted.diff else (content,))
        said = mask(str(ended)).replace(path, wanted.path)
        raise HostError(
            f"{wanted.path} as wanted is refused by its checker, and nothing was changed: "
            f"{' '.join(wanted.validate)} ({said})",
            reason="validate_failed",
        )
