# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a host remembers of its changes: what was there before the first one, and what is being done just now.

    <folder>/lock                     held while a change is made, whatever its name
    <folder>/take-back.pyz            the program that takes changes back, see _host_change_guard
    <folder>/<name>/kept.json         what the files held before the first change, and what the last one left
    <folder>/<name>/content/<sha256>  contents that kept.json or journal.json name
    <folder>/<name>/journal.json      there as long as a change is under way or waits to be confirmed
    <folder>/<name>/note.json         how the last change was taken back when no task was there to hear it

The journal is written before anything is done. As long as it is there and does not say `committing`, the way is back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    Action,
    Commands,
    FileState,
    Kept,
    Record,
    digest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_files import write_new, writing
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    locked,
    make_dirs,
    read_json,
    remove,
    sync_dir,
    write_json,
)

FOLDER = "/var/lib/fleet/host"
_VERSION = 1
_PLAIN = ("phase", "activated", "connection", "confirm", "deadline", "boot")
_PRIVATE = 0o700
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

# writing: files are being replaced. activating: commands make them count. probing: containers are asked. waiting: for a
# new connection. committing: it stays. restoring: it is being taken back.
Phase = t.Literal["writing", "activating", "probing", "waiting", "committing", "restoring"]


@dataclass(frozen=True)
class Places:
    """Where a change's own things are."""

    folder: str
    name: str

    @property
    def base(self) -> str:
        return os.path.join(self.folder, self.name)

    @property
    def kept(self) -> str:
        return os.path.join(self.base, "kept.json")

    @property
    def journal(self) -> str:
        return os.path.join(self.base, "journal.json")

    @property
    def note(self) -> str:
        return os.path.join(self.base, "note.json")

    @property
    def guard(self) -> str:
        """A file that the guard makes as soon as it watches."""
        return os.path.join(self.base, "guard")

    def content(self, sha256: str) -> str:
        return os.path.join(self.base, "content", sha256)


@dataclass(frozen=True)
class Journal:
    """What is being done.

    :ivar folders: those that this change makes; `drop` those that go with it when it stays.
    :ivar back: the commands of the way back.
    :ivar activated: whether any command of the way there may have run, so that those of the way back must.
    :ivar connection: the connection that the change is made over, empty when it is none of SSH.
    :ivar deadline: when a change that waits is taken back, in seconds of the clock that boots start; with `boot`.
    """

    phase: Phase
    actions: tuple[Action, ...]
    folders: tuple[str, ...]
    back: Commands
    kept: Kept
    drop: tuple[str, ...] = ()
    activated: bool = False
    connection: str = ""
    confirm: int = 0
    deadline: float = 0.0
    boot: str = ""


@dataclass(frozen=True)
class Note:
    """How a change was taken back when nobody was there to be told; `at` in seconds since 1970."""

    why: str
    at: int


def now() -> float:
    """Return seconds by a clock that sleep does not stop and nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    with open(_BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def seconds_left(journal: Journal, clock: float, boot: str) -> float:
    """Return how long a change still waits to be confirmed; 0 when it does not.

    :param boot: identity of the boot that goes on, empty when the change was begun in an earlier one.
    """
    if journal.phase != "waiting" or not boot or journal.boot != boot:
        return 0.0
    return min(max(journal.deadline - clock, 0.0), float(journal.confirm))


@contextlib.contextmanager
def lock(folder: str, timeout: float) -> t.Iterator[None]:
    """Hold the lock of all changes of this host, waiting for it up to `timeout` seconds.

    :raises HostError: another change is under way (`locked`), or the folder cannot be made.
    """
    with writing(folder):
        make_dirs(folder)
        if stat.S_IMODE(os.stat(folder).st_mode) != _PRIVATE:  # contents that only root may read are kept here
            os.chmod(folder, _PRIVATE)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(os.path.join(folder, "lock"), timeout))
        except ModelError as exc:
            raise _busy(folder) from exc
        yield


def refuse_if_locked(folder: str) -> None:
    """Refuse what the lock would refuse, without making it.

    :raises HostError: another change is under way.
    """
    try:
        fd = os.open(os.path.join(folder, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(folder) from None
    finally:
        os.close(fd)


def _busy(folder: str) -> HostError:
    path = os.path.join(folder, "lock")
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        holder = file.read(32).strip()
        return HostError(
            f"another change of this host is under way (process {holder} holds {path}); wait for it to end, or raise "
            "lock_timeout",
            reason="locked",
        )
    return HostError(f"another change of this host is under way ({path} is locked)", reason="locked")


def names(folder: str) -> list[str]:
    """Return the names of all changes that this host remembers."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def read_content(places: Places, sha256: str) -> bytes:
    """Return a content that was saved.

    :raises HostError: it is gone, or is not what was saved.
    """
    try:
        with open(places.content(sha256), "rb") as file:
            content = file.read()
    except OSError as exc:
        raise HostError(f"cannot read {places.content(sha256)}: {exc.strerror}", reason="record_lost") from exc
    if digest(content) != sha256:
        raise HostError(f"{places.content(sha256)} is damaged: its SHA-256 is not its name", reason="record_lost")
    return content


def save_contents(places: Places, contents: t.Mapping[str, bytes]) -> None:
    """Save contents by their digests; what is there is there."""
    folder = os.path.join(places.base, "content")
    with writing(folder):
        make_dirs(folder, _PRIVATE)
        for sha256, content in contents.items():
            path = places.content(sha256)
            if not os.path.exists(path):
                remove(f"{path}.new")
                write_new(f"{path}.new", content, FileState("file", 0o600, os.geteuid(), os.getegid()))
                os.rename(f"{path}.new", path)
        sync_dir(folder)


def drop_contents(places: Places, kept: Kept) -> None:
    """Remove contents that nothing names any more."""
    named = {record.was.sha256 for record in kept.records}
    folder = os.path.join(places.base, "content")
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name not in named:
                os.unlink(os.path.join(folder, name))


def save_journal(places: Places, journal: Journal) -> Journal:
    """Write down what is being done, before it is done.

    :raises HostError: it cannot be written.
    """
    actions = [{"path": a.path, "was": a.was.as_json(), "will": a.will.as_json()} for a in journal.actions]
    plain = {name: getattr(journal, name) for name in _PLAIN}
    lists = {"folders": list(journal.folders), "drop": list(journal.drop), "back": _listed(journal.back)}
    with writing(places.journal):
        write_json(
            places.journal,
            {"version": _VERSION, "actions": actions, "kept": _kept_json(journal.kept), **plain, **lists},
        )
    return journal


def read_journal(places: Places) -> Journal | None:
    """Return what is under way, None when nothing is.

    :raises HostError: it cannot be read.
    """
    data = _document(places.journal)
    if data is None:
        return None
    with _reading(places.journal):
        sides = ("was", "will")
        return Journal(
            actions=tuple(Action(a["path"], *(FileState.from_json(a[s]) for s in sides)) for a in data["actions"]),
            folders=tuple(data["folders"]),
            drop=tuple(data["drop"]),
            back=_tuples(data["back"]),
            kept=_kept_from(data["kept"]),
            **{name: data[name] for name in _PLAIN},
        )


def save_kept(places: Places, kept: Kept) -> None:
    """Write down what is kept; with nothing to keep, nothing is."""
    with writing(places.kept):
        if kept.records:
            make_dirs(places.base, _PRIVATE)
            write_json(places.kept, {"version": _VERSION, **_kept_json(kept)})
        else:
            remove(places.kept)


def read_kept(places: Places) -> Kept:
    """Return what is kept of a change.

    :raises HostError: it cannot be read.
    """
    data = _document(places.kept)
    if data is None:
        return Kept()
    with _reading(places.kept):
        return _kept_from(data)


def save_note(places: Places, why: str) -> None:
    with writing(places.note):
        write_json(places.note, {"why": why, "at": int(time.time())})


def read_note(places: Places) -> Note | None:
    data = read_json(places.note)
    return Note(data["why"], data["at"]) if isinstance(data, dict) and {"why", "at"} <= data.keys() else None


def _document(path: str) -> dict[str, t.Any] | None:
    if not os.path.lexists(path):
        return None
    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("version"), int):
        raise _lost(path)
    if data["version"] > _VERSION:
        raise HostError(
            f"{path} was written by a later version of this collection; use that one on this host",
            reason="record_newer",
        )
    return data


@contextlib.contextmanager
def _reading(path: str) -> t.Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as exc:
        raise _lost(path) from exc


def _lost(path: str) -> HostError:
    return HostError(
        f"{path} cannot be read, so it is not known what the files were. Look at them, put them right by hand, and "
        f"remove {os.path.dirname(path)}",
        reason="record_lost",
    )


def _kept_json(kept: Kept) -> dict[str, t.Any]:
    records = [{"path": r.path, "was": r.was.as_json(), "now": r.now.as_json()} for r in kept.records]
    commands = {"activate": _listed(kept.activate), "deactivate": _listed(kept.deactivate)}
    return {"records": records, "folders": list(kept.folders), **commands}


def _kept_from(data: t.Mapping[str, t.Any]) -> Kept:
    records = [Record(r["path"], *(FileState.from_json(r[side]) for side in ("was", "now"))) for r in data["records"]]
    return Kept(tuple(records), tuple(data["folders"]), _tuples(data["activate"]), _tuples(data["deactivate"]))


def _listed(commands: Commands) -> list[list[str]]:
    return [list(argv) for argv in commands]


def _tuples(commands: t.Iterable[t.Iterable[str]]) -> Commands:
    return tuple(tuple(argv) for argv in commands)
