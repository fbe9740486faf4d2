# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a guarded change of a host's files is, and what it would do. Pure.

A change owns a set of files by its name. What they held before the first change is kept as long as the change is
there, so that it can be given back; what somebody else has edited since is left to them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import Probes

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NEW_MODE = 0o644

Argv = tuple[str, ...]
Commands = tuple[Argv, ...]
Kind = t.Literal["absent", "file", "folder", "link", "other"]


@dataclass(frozen=True)
class FileWanted:
    """A file as it is to be.

    :ivar content: None for the mode and the owner alone, of whatever is there; where nothing is, nothing is done.
    :ivar mode: None to leave it as it is; of a new file 0644.
    :ivar owner: a name or a number; None to leave it as it is. The same goes for the group.
    :ivar made_from: the digest of what the content was made from, empty of no file; another one there now is somebody's
        work, which is not replaced. None not to care.
    :ivar validate: a command that must accept the content before anything is replaced; %s is a file that holds it.
    :ivar diff: whether its content may be shown.
    """

    path: str
    content: str | None = None
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    state: t.Literal["present", "absent"] = "present"
    validate: Argv = ()
    diff: bool = True
    made_from: str | None = None


@dataclass(frozen=True)
class Change:
    """What is asked of a host.

    :ivar activate: commands that make what the files say count.
    :ivar deactivate: those for when the files are given back altogether, where `activate` does not serve.
    :ivar confirm: seconds in which a new connection must confirm the change; 0 when none need to.
    """

    name: str
    files: tuple[FileWanted, ...] = ()
    activate: Commands = ()
    deactivate: Commands = ()
    state: t.Literal["present", "absent"] = "present"
    confirm: int = 0


@dataclass(frozen=True)
class FileState:
    """What a path holds. Contents are known by their digest; without one only the mode and the owner count.

    :ivar xattrs: extended attributes (access lists and labels among them), values in hexadecimal.
    """

    kind: Kind = "absent"
    mode: int = 0
    uid: int = 0
    gid: int = 0
    sha256: str | None = None
    xattrs: tuple[tuple[str, str], ...] = ()

    def is_as(self, other: FileState) -> bool:
        """Tell whether this is what another says."""
        if "absent" in (self.kind, other.kind):
            return self.kind == other.kind
        if (self.kind, self.mode, self.uid, self.gid) != (other.kind, other.mode, other.uid, other.gid):
            return False
        return None in (self.sha256, other.sha256) or self.sha256 == other.sha256

    def as_json(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "xattrs": [list(pair) for pair in self.xattrs]}

    @classmethod
    def from_json(cls, data: t.Mapping[str, t.Any]) -> FileState:
        return cls(**{**data, "xattrs": tuple((name, value) for name, value in data["xattrs"])})


ABSENT = FileState()


@dataclass(frozen=True)
class Target:
    """A wanted file whose owner and group are numbers."""

    wanted: FileWanted
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True)
class Action:
    """One path that is to hold something else."""

    path: str
    was: FileState
    will: FileState


@dataclass(frozen=True)
class Record:
    """What a path held before the first change, and what the last one has left there."""

    path: str
    was: FileState
    now: FileState


@dataclass(frozen=True)
class Kept:
    """What is kept of a change while it is there; folders are those that it had to make."""

    records: tuple[Record, ...] = ()
    folders: tuple[str, ...] = ()
    activate: Commands = ()
    deactivate: Commands = ()

    def record(self, path: str) -> Record | None:
        return next((record for record in self.records if record.path == path), None)


@dataclass(frozen=True)
class Left:
    """A file that is not given back, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What is to be done, what is kept afterwards, and the commands of the way there and of the way back.

    :ivar folders: those that are to be made; `drop` those that were made, and go with the files.
    """

    actions: tuple[Action, ...]
    kept: Kept
    left: tuple[Left, ...] = ()
    folders: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    activate: Commands = ()
    back: Commands = ()


@dataclass(frozen=True)
class Shown:
    """A difference as Ansible shows it."""

    path: str
    before: str
    after: str

    def as_result(self) -> dict[str, str]:
        return {"before_header": self.path, "after_header": self.path, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Outcome:
    """How a change went.

    :ivar files: the paths that hold something else now, or would.
    :ivar before: what containers could do before, None when that was not asked; `after` likewise.
    :ivar left: files that were not given back.
    :ivar recovered: what became of changes that were cut off.
    :ivar waits: seconds in which the change must be confirmed; 0 when it stays.
    """

    changed: bool
    files: tuple[str, ...] = ()
    before: Probes | None = None
    after: Probes | None = None
    left: tuple[Left, ...] = ()
    diff: tuple[Shown, ...] = ()
    recovered: tuple[str, ...] = ()
    waits: int = 0


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_name(name: str) -> str:
    """Return the name of a change.

    :raises HostError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise HostError(
            f"name: {name!r} cannot name a change; use small letters, digits, - and _ (at most 63)", reason="invalid"
        )
    return name


def check_change(change: Change) -> None:
    """Refuse what makes no sense, before anything is looked at.

    :raises HostError: with reason `invalid`; the message names the option.
    """
    check_name(change.name)
    if change.state == "present" and not change.files:
        raise HostError("files: name at least one, or ask for state=absent", reason="invalid")
    if change.confirm < 0:
        raise HostError(f"confirm: {change.confirm} is no number of seconds; use 0 for none", reason="invalid")
    for option, commands in (("activate", change.activate), ("deactivate", change.deactivate)):
        for number, argv in enumerate(commands):
            if not argv or not argv[0]:
                raise HostError(f"{option}[{number}] is empty; it must be a command with its words", reason="invalid")
    paths = [wanted.path for wanted in change.files]
    for number, wanted in enumerate(change.files):
        _check_file(wanted, f"files[{number}]")
        if wanted.path in paths[:number]:
            raise HostError(f"files[{number}].path: {wanted.path} is there twice", reason="invalid")


def _check_file(wanted: FileWanted, where: str) -> None:
    path = wanted.path
    if not os.path.isabs(path) or os.path.normpath(path) != path or path == "/" or "\0" in path:
        raise HostError(f"{where}.path: {path!r} must be absolute, without .., // or a / at its end", reason="invalid")
    if wanted.mode is not None and not 0 <= wanted.mode <= 0o7777:
        raise HostError(f"{where}.mode: {wanted.mode:o} is no file mode; use 0644, for example", reason="invalid")
    attributes = (wanted.mode, wanted.owner, wanted.group)
    if wanted.state == "absent" and (wanted.content is not None or wanted.validate):
        raise HostError(f"{where}: a file that is to be absent has no content and nothing to check", reason="invalid")
    if wanted.state == "present" and wanted.content is None and attributes == (None, None, None):
        raise HostError(f"{where}: say content, mode, owner or group of {path}, or state: absent", reason="invalid")
    if wanted.validate and wanted.content is None:
        raise HostError(f"{where}.validate: there is no content to check", reason="invalid")
    if wanted.validate and not any("%s" in word for word in wanted.validate):
        raise HostError(f"{where}.validate: no word has %s, where the file to check is named", reason="invalid")


def make_plan(
    change: Change, targets: t.Sequence[Target], kept: Kept, found: t.Mapping[str, FileState], missing: t.Sequence[str]
) -> Plan:
    """Say what is to be done.

    :param found: what each path holds, of the targets and of what is kept.
    :param missing: folders above targets that are not there.
    :raises HostError: a path holds what cannot be replaced.
    """
    if change.state == "absent":
        activate = change.activate or kept.activate
        deactivate = change.deactivate or kept.deactivate
        actions, left, stays = _give_back(kept.records, found)
        remains = dataclasses.replace(kept, records=stays) if stays else Kept()
        return Plan(actions, remains, left, (), kept.folders, deactivate or activate, activate)
    actions = tuple(action for target in targets for action in _action(target, found[target.wanted.path]))
    named = {target.wanted.path for target in targets}
    given, left, stays = _give_back([record for record in kept.records if record.path not in named], found)
    mine = [record for record in kept.records if record.path in named]
    records = (*_recorded(mine, actions), *stays)
    folders = tuple(sorted({*kept.folders, *missing}))
    after = Kept(records, folders, change.activate, change.deactivate) if records else Kept()
    # Back from the first change means back to nothing of it; back from a later one, to the one before.
    back = change.activate if kept.records else change.deactivate or change.activate
    return Plan(actions + given, after, left, tuple(missing), (), change.activate, back)


def _action(target: Target, found: FileState) -> t.Iterator[Action]:
    wanted = target.wanted
    _check_kind(wanted, found)
    if wanted.made_from is not None and wanted.made_from != (found.sha256 or ""):
        raise HostError(
            f"{wanted.path} has changed since it was looked at: somebody else edits it. Nothing was changed; run this "
            "again",
            reason="locked",
        )
    will = _will(target, found)
    if not found.is_as(will):
        yield Action(wanted.path, found, will)


def _check_kind(wanted: FileWanted, found: FileState) -> None:
    alone = wanted.content is None and wanted.state == "present"
    if found.kind in ("absent", "file") or (alone and found.kind != "link"):
        return
    what = {"link": "a symbolic link", "folder": "a folder"}.get(found.kind, "neither a file nor a folder")
    raise HostError(
        f"{wanted.path} is {what}, and is left alone. Name the file that is meant, or remove it by hand",
        reason="unsafe_path",
    )


def _will(target: Target, found: FileState) -> FileState:
    wanted = target.wanted
    if wanted.state == "absent" or (wanted.content is None and found.kind == "absent"):
        return ABSENT
    there = found if found.kind != "absent" else FileState("file", _NEW_MODE, os.geteuid(), os.getegid())
    return dataclasses.replace(
        there,
        mode=there.mode if wanted.mode is None else wanted.mode,
        uid=there.uid if target.uid is None else target.uid,
        gid=there.gid if target.gid is None else target.gid,
        sha256=there.sha256 if wanted.content is None else digest(wanted.content.encode()),
    )


def _recorded(records: t.Sequence[Record], actions: t.Sequence[Action]) -> t.Iterator[Record]:
    """Yield what is kept of named files; what is as it was at first needs no record."""
    acts = {action.path: action for action in actions}
    for record in records:
        action = acts.pop(record.path, None)
        now = action.will if action else record.now
        if not now.is_as(record.was):
            yield Record(record.path, record.was, now)
    for action in acts.values():
        yield Record(action.path, action.was, action.will)


def _give_back(
    records: t.Iterable[Record], found: t.Mapping[str, FileState]
) -> tuple[tuple[Action, ...], tuple[Left, ...], tuple[Record, ...]]:
    """Return what gives files back, what is left to whoever edited it, and the records of the latter."""
    actions, left, stays = [], [], []
    for record in records:
        there = found[record.path]
        if there.is_as(record.was):
            continue
        if there.is_as(record.now):
            was = record.was
            # Of what only the mode and the owner were changed, whatever else it holds now stays.
            whole = was if was.sha256 or was.kind == "absent" else dataclasses.replace(was, sha256=there.sha256)
            actions.append(Action(record.path, there, whole))
        else:
            left.append(Left(record.path, _why(record, there)))
            stays.append(record)
    return tuple(actions), tuple(left), tuple(stays)


def _why(record: Record, there: FileState) -> str:
    if there.kind == "absent":
        return "somebody has removed it since"
    if record.now.kind == "absent":
        return "somebody has made it anew since"
    what = "content" if record.now.sha256 and there.sha256 != record.now.sha256 else "mode or owner"
    return f"somebody has changed its {what} since"


def show(actions: t.Iterable[Action], contents: t.Mapping[str, bytes], hidden: t.Container[str]) -> tuple[Shown, ...]:
    """Return the differences, without the content of hidden paths.

    :param contents: by digest.
    """
    shown = []
    for action in actions:
        was, will = action.was, action.will
        if was.sha256 != will.sha256:
            texts = [_text(state, contents) for state in (was, will)]
            if action.path in hidden:
                texts = [f"({state.kind}, its content is not shown: {n})\n" for n, state in enumerate((was, will), 1)]
            shown.append(Shown(action.path, *texts))
        if (was.mode, was.uid, was.gid) != (will.mode, will.uid, will.gid) or "absent" in (was.kind, will.kind):
            shown.append(Shown(f"{action.path} (mode and owner)", _attributes(was), _attributes(will)))
    return tuple(shown)


def _text(state: FileState, contents: t.Mapping[str, bytes]) -> str:
    if state.sha256 is None:
        return ""
    try:
        return contents[state.sha256].decode()
    except UnicodeDecodeError:
        return f"(no text; SHA-256 {state.sha256})\n"


def _attributes(state: FileState) -> str:
    if state.kind == "absent":
        return "state: absent\n"
    return f"mode: 0{state.mode:o}\nowner: {state.uid}\ngroup: {state.gid}\n"
