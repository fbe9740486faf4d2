# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a host knows about depots before it sees one: whom it trusts, and what it has accepted.

docs/depot-format.md has the files. Each is written through to the disk: what a power cut took back would let an older
depot in.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    locked,
    make_dirs,
    read_json,
    remove,
    sync_dir,
)

LOCK_TIMEOUT = 30.0  # seconds; reading the metadata of a depot takes less than one
AGAIN = "Enrol the host again from a trusted controller (never from a stick): docs/depot-keys.md, Lost state"

Roles = t.Mapping[str, t.Mapping[str, t.Any]]
"""The keyids and the threshold of each role, as root metadata has them."""

_SCHEMA = 1


@dataclass(frozen=True)
class TrustPlaces:
    """Folders of a host: what it was enrolled with, and what it has accepted since."""

    anchor: str = "/etc/fleet/trust"
    state: str = "/var/lib/fleet/trust"

    @property
    def root(self) -> str:
        return f"{self.anchor}/root.json"

    @property
    def enrolment(self) -> str:
        return f"{self.anchor}/enrolment.json"

    @property
    def accepted(self) -> str:
        return f"{self.state}/accepted.json"

    @property
    def cache(self) -> str:
        """TUF's own; what it lacks or has torn is read from the depot again."""
        return f"{self.state}/metadata"


@dataclass(frozen=True)
class Enrolment:
    """Which fleet a host belongs to, what kinds of hardware it is, what it is called.

    `built` is when its verifier was made, in seconds since 1970: no clock that is right is much before it.
    """

    fleet: str
    hardware: tuple[str, ...]
    host: str
    built: int

    def encode(self) -> bytes:
        told = {"fleet": self.fleet, "hardware": list(self.hardware), "host": self.host, "built": self.built}
        return canonical({"schema": _SCHEMA, **told})


@dataclass(frozen=True)
class Accepted:
    """The newest of what a host has accepted; nothing older is accepted again.

    `versions` are those of metadata by role, `releases` the counters by stack, `time` is when the newest accepted
    release was made, in seconds since 1970.
    """

    versions: t.Mapping[str, int] = field(default_factory=dict)
    releases: t.Mapping[str, int] = field(default_factory=dict)
    time: int = 0

    def encode(self) -> bytes:
        told = {"versions": dict(self.versions), "releases": dict(self.releases), "time": self.time}
        return canonical({"schema": _SCHEMA, **told})


def at_least(one: Accepted, other: Accepted) -> Accepted:
    """Return the floor that keeps what either forbids."""
    return Accepted(
        _higher(one.versions, other.versions), _higher(one.releases, other.releases), max(one.time, other.time)
    )


def outlived(accepted: Accepted, before: Roles, after: Roles) -> Accepted:
    """Return what still counts of what was accepted, now that other keys sign.

    A role's version counts no more once so many of its keys were replaced that what they signed is worth nothing:
    nothing old can come back then, and a thief who signed a version beyond all others must not lock the host out.

    Args:
        before: the roles of the newest root metadata that was accepted.
        after: those of the root metadata that takes its place.
    """
    gone = {
        role
        for role, new in after.items()
        if role != "root" and role in before and len({*before[role]["keyids"]} & {*new["keyids"]}) < new["threshold"]
    }
    versions = {role: version for role, version in accepted.versions.items() if role not in gone}
    # Counters are what the keys of targets signed, so a thief can have made them up, too. Without them nothing old
    # comes back by itself: no old targets.json verifies any more, and of what the new keys signed the newest is taken.
    # As long as enough of the old keys are left for an old one to verify, all counters stay.
    return Accepted(versions, {} if "targets" in gone else accepted.releases, accepted.time)


def with_release(accepted: Accepted, stack: str, counter: int, created: int) -> Accepted:
    """Return what is accepted once a release is; `created` is in seconds since 1970."""
    return at_least(accepted, Accepted({}, {stack: counter}, created))


def read_root(places: TrustPlaces) -> bytes:
    """Return the root metadata that the host was enrolled with.

    Raises:
        DepotError: there is none (`not_enrolled`).
    """
    try:
        with open(places.root, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise _not_enrolled(places.root, "is missing") from None
    except OSError as exc:
        raise _io_error(places.root, exc) from exc


def read_enrolment(places: TrustPlaces) -> Enrolment:
    """Return what the host was enrolled as.

    Raises:
        DepotError: it was not, or the file cannot be relied on (`not_enrolled`).
    """
    read_root(places)
    document = _read(places.enrolment)
    if document is None:
        raise _not_enrolled(places.enrolment, "is missing or torn")
    try:
        enrolment = Enrolment(
            str(document["fleet"]),
            tuple(str(one) for one in document["hardware"]),
            str(document["host"]),
            int(document["built"]),
        )
        fits = document["schema"] == _SCHEMA
    except (KeyError, TypeError, ValueError) as exc:
        raise _not_enrolled(places.enrolment, f"cannot be relied on ({type(exc).__name__} {exc})") from exc
    if not fits:
        raise _not_enrolled(places.enrolment, f"is not of format {_SCHEMA}")
    return enrolment


def read_accepted(places: TrustPlaces) -> Accepted:
    """Return what an enrolled host has accepted.

    Raises:
        DepotError: it is not enrolled (`not_enrolled`), or that is not known any more (`state_lost`).
    """
    read_root(places)
    accepted = _parse_accepted(_read(places.accepted))
    if accepted is None:
        raise DepotError(
            f"{places.accepted} is missing or torn, so this host cannot tell an old depot from a new one, and takes "
            f"none. {AGAIN}",
            reason="state_lost",
        )
    return accepted


def write_accepted(places: TrustPlaces, accepted: Accepted) -> None:
    """Write through to the disk what is accepted, if that changes anything.

    Raises:
        DepotError: the disk failed.
    """
    with telling(places.accepted):
        _write_if_new(places.accepted, accepted.encode(), 0o644)


def enrol(
    places: TrustPlaces,
    root: bytes,
    enrolment: Enrolment,
    floor: Accepted | None = None,
    forget: bool = False,
    earlier: t.Sequence[bytes] = (),
) -> bool:
    """Enrol the host, from a trusted place; return whether anything changed.

    Enrolling it again keeps what it has accepted, as far as that outlives the keys that were replaced since.

    Args:
        root: the root metadata to begin with; the fleet's newest.
        floor: what the host must not go below, as far as who enrols it knows.
        forget: drop what the host has accepted: the fleet began anew, with other keys.
        earlier: the root metadata that the fleet had before; without the one that the host has accepted last nobody
            can tell which keys were replaced, and all stays that it has accepted.

    Raises:
        DepotError: the root is none (`invalid`) or is older than what the host accepted (`older`), or a disk failed.
    """
    with telling(places.state):
        for folder in (places.anchor, places.state):
            make_dirs(folder)
    with alone(places), telling(places.state):
        wanted = _enrolled_floor(places, root, floor or Accepted(), forget, earlier)
        if forget and os.path.lexists(places.cache):
            remove(places.cache)
            sync_dir(places.state)
        # The floor first: an anchor without it is a host that refuses every depot.
        changed = [
            _write_if_new(places.accepted, wanted.encode(), 0o644),
            _write_if_new(places.root, root, 0o644),
            _write_if_new(places.enrolment, enrolment.encode(), 0o644),
        ]
    return any(changed)


def check_root(places: TrustPlaces, root: bytes) -> None:
    """Refuse to enrol a host with a root that it would not take.

    Raises:
        DepotError: it is none (`invalid`), or is older than what the host has accepted (`older`).
    """
    _enrolled_floor(places, root, Accepted(), False)


def _enrolled_floor(
    places: TrustPlaces, root: bytes, floor: Accepted, forget: bool, earlier: t.Sequence[bytes] = ()
) -> Accepted:
    version = _root_version(root)
    kept = (None if forget else _parse_accepted(_read(places.accepted))) or Accepted()
    if version < kept.versions.get("root", 0):
        raise DepotError(
            f"the root metadata is version {version}, and this host has accepted version {kept.versions['root']}. "
            "Enrol it with the fleet's newest root; if the fleet has begun anew with other keys, forget the old state",
            reason="older",
        )
    for one in earlier:
        if _root_version(one) == kept.versions.get("root", 0):
            kept = outlived(kept, _roles(one), _roles(root))
            break
    return at_least(at_least(floor, Accepted({"root": version})), kept)


@contextlib.contextmanager
def alone(places: TrustPlaces, timeout: float = LOCK_TIMEOUT, name: str = "lock") -> t.Iterator[None]:
    """Be the only one who reads and writes the host's state, waiting for that up to `timeout` seconds.

    Args:
        name: of the lock; another one is for something else of which there may be one at a time.

    Raises:
        DepotError: another run is at it (`locked`), or the folder of the state cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(f"{places.state}/{name}", timeout))
        except ModelError as exc:
            raise DepotError(str(exc), reason="locked") from exc
        except OSError as exc:
            raise _io_error(places.state, exc) from exc
        yield


def write_bytes(path: str, content: bytes, mode: int) -> None:
    """Replace a file: after a crash it is the old one or the new one. Nobody has more rights on it than `mode` says.

    Raises:
        OSError: it cannot be written.
    """
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a run that was cut off
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    os.rename(temporary, path)
    sync_dir(os.path.dirname(path))


@contextlib.contextmanager
def telling(path: str) -> t.Iterator[None]:
    """Tell of a disk that fails in words of ours."""
    try:
        yield
    except OSError as exc:
        raise _io_error(path, exc) from exc


def _write_if_new(path: str, content: bytes, mode: int) -> bool:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == content:
            return False
    write_bytes(path, content, mode)
    return True


def _parse_accepted(document: t.Any) -> Accepted | None:
    """Return what a document says; None if any of it cannot be relied on."""
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        return None
    versions, releases, time = (document.get(key) for key in ("versions", "releases", "time"))
    counts = [time]
    for part in (versions, releases):
        if not isinstance(part, dict):
            return None
        counts += part.values()
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in counts):
        return None
    return Accepted(t.cast("dict[str, int]", versions), t.cast("dict[str, int]", releases), t.cast("int", time))


def _root_version(root: bytes) -> int:
    try:
        signed = json.loads(root)["signed"]
        version = int(signed["version"])
        fits = signed["_type"] == "root" and version > 0
    except (ValueError, KeyError, TypeError) as exc:
        raise DepotError(f"what should be root metadata is none ({exc})", reason="invalid") from exc
    if not fits:
        raise DepotError("what should be root metadata is that of another role", reason="invalid")
    return version


def _roles(root: bytes) -> Roles:
    return t.cast("Roles", json.loads(root)["signed"]["roles"])


def _higher(one: t.Mapping[str, int], other: t.Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in sorted({*one, *other})}


def _read(path: str) -> t.Any:
    try:
        return read_json(path)
    except OSError as exc:
        raise _io_error(path, exc) from exc


def _not_enrolled(path: str, why: str) -> DepotError:
    return DepotError(
        f"this host belongs to no fleet: {path} {why}. It takes no depot until it is enrolled from a trusted "
        "controller (never from a stick): docs/depot-keys.md, First keys",
        reason="not_enrolled",
    )


def _io_error(path: str, exc: OSError) -> DepotError:
    reasons: dict[int | None, Reason] = {errno.ENOSPC: "no_space", errno.EDQUOT: "no_space", errno.EROFS: "read_only"}
    return DepotError(
        f"{exc.filename or path}: {exc.strerror}. What this host trusts is kept there, and without it no depot is "
        "taken: make room, or look at the disk (dmesg)",
        reason=reasons.get(exc.errno, "io_error"),
    )
