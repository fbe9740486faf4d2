# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Make TUF metadata: roots, and what a depot says of its releases. Bytes in, bytes out; the caller brings signers.

What is on a stick is trusted no more than hosts trust it: metadata is built upon only if the fleet's keys signed it.
"""

from __future__ import annotations

import copy
import datetime
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import ROLES, key_names

try:
    from securesystemslib.signer import Key, Signer
    from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
    from tuf.api.metadata import Metadata, MetaFile, Role, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
    from tuf.api.serialization import DeserializationError
except ImportError:  # tools that import every file; need_tuf() tells everybody else
    pass

if t.TYPE_CHECKING:
    S = t.TypeVar("S", Root, Timestamp, Snapshot, Targets)

TIMESTAMP_NAME = "timestamp.json"
DEFAULT_THRESHOLDS = {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}
DEFAULT_COUNTS = {"root": 3, "timestamp": 1, "snapshot": 1, "targets": 1}

_TARGETS_FILE = "targets.json"
_DAY = 86_400


@dataclass(frozen=True)
class Expiry:
    """Days for which metadata is good. What is published is renewed once a third of them is left."""

    root: int = 730
    timestamp: int = 90
    snapshot: int = 90
    targets: int = 365

    def of(self, role: str) -> int:
        return {"root": self.root, "timestamp": self.timestamp, "snapshot": self.snapshot}.get(role, self.targets)

    def end(self, role: str, now: float) -> datetime.datetime:
        return _time(now + self.of(role) * _DAY)

    def is_near(self, signed: Signed, now: float) -> bool:
        return signed.expires.timestamp() - now < self.of(signed.type) * _DAY / 3


def make_root(
    keys: t.Mapping[str, t.Sequence[Key]],
    signers: t.Sequence[Signer],
    now: float,
    thresholds: t.Mapping[str, int] | None = None,
    days: int = Expiry.root,
) -> bytes:
    """Return the first root metadata of a fleet.

    Args:
        keys: public keys by role, for each role.
        now: seconds since 1970.
        thresholds: how many must sign, by role; what is not said is as DEFAULT_THRESHOLDS has it.

    Raises:
        DepotError: a role has fewer keys than must sign (`invalid`), or too few signers are there (`key_missing`).
    """
    needed = {**DEFAULT_THRESHOLDS, **(thresholds or {})}
    root = Root(version=1, expires=_time(now + days * _DAY), consistent_snapshot=True)
    for role in ROLES:
        root.roles[role] = Role([], needed[role])
        for key in keys[role]:
            root.add_key(key, role)
    _check_roles(root)
    return _signed_root(root, None, signers)


def rotate(
    root_bytes: bytes,
    role: str,
    add: t.Sequence[Key],
    remove: t.Collection[str],
    signers: t.Sequence[Signer],
    now: float,
    days: int = Expiry.root,
) -> bytes:
    """Return the next root metadata; with nothing to add or remove it is the same for longer.

    Args:
        root_bytes: the newest root metadata.
        remove: ids of the keys that `role` loses.
        now: seconds since 1970.

    Raises:
        DepotError: the role would have too few keys (`invalid`), or those who sign are fewer than the old root or the
            new one wants (`key_missing`).
    """
    previous = read_root(root_bytes)
    root = copy.deepcopy(previous)
    unknown = sorted(set(remove) - set(root.roles[role].keyids))
    if unknown:
        raise DepotError(f"{role} has no key {unknown[0]}, so it cannot lose it", reason="invalid")
    for keyid in remove:
        root.revoke_key(keyid, role)
    for key in add:
        root.add_key(key, role)
    root.version, root.expires = previous.version + 1, _time(now + days * _DAY)
    _check_roles(root)
    return _signed_root(root, previous, signers)


def read_root(root_bytes: bytes) -> Root:
    """Return root metadata, which must be signed by itself.

    Raises:
        DepotError: it is not (`unsigned`).
    """
    try:
        metadata = Metadata[Root].from_bytes(root_bytes)
        metadata.verify_delegate("root", metadata)
    except (DeserializationError, UnsignedMetadataError, ValueError, TypeError) as exc:
        raise DepotError(
            f"root metadata of the fleet is damaged ({exc}). Restore <n>.root.json from a copy of the folder of "
            "keys, or from metadata/ of any depot",
            reason="unsigned",
        ) from exc
    return metadata.signed


def newest_root(roots: t.Mapping[int, bytes]) -> Root:
    """Return the newest root metadata of a fleet that has one; see `read_root`."""
    return read_root(roots[max(roots)])


@dataclass(frozen=True)
class Current:
    """A depot's metadata as the fleet's keys signed it; None where there is none that can be built upon.

    `stale` are the roles whose keys were replaced since.
    """

    timestamp: Timestamp | None = None
    snapshot: Snapshot | None = None
    targets: Targets | None = None
    stale: frozenset[str] = frozenset()


def publish(
    current: t.Mapping[str, bytes],
    roots: t.Mapping[int, bytes],
    targets: t.Mapping[str, tuple[str, int]],
    drop: t.Collection[str],
    signers: t.Sequence[Signer],
    now: float,
    expiry: Expiry | None = None,
    refresh: bool = False,
    resign: bool = False,
) -> dict[str, bytes]:
    """Return the metadata files that a depot lacks, by name, in the order in which they must be written.

    Nothing is returned where nothing changes and nothing expires soon.

    Args:
        current: the depot's metadata files by name, without folder; empty for a new depot.
        roots: each root metadata of the fleet, by version.
        targets: SHA-256 and bytes by path, of those to add or to replace.
        drop: paths of those to leave out from now on; those that are not there are not missed.
        signers: of targets, unless `refresh` is asked for; of snapshot; of timestamp.
        now: seconds since 1970.
        refresh: only renew snapshot and timestamp, although they do not expire soon.
        resign: the targets may have been signed by keys that were replaced since. Whoever says so has looked at them.

    Raises:
        DepotError: too few signers are there (`key_missing`), or the depot's metadata is not this fleet's.
    """
    if not roots:
        raise DepotError("the fleet has no root metadata yet: run playbooks/keys.yml first", reason="key_missing")
    if refresh and (targets or drop):
        raise DepotError("a refresh only renews metadata: it takes no targets", reason="invalid")
    expiry = expiry or Expiry()
    _check_same_fleet(current, roots)
    found = read_current(current, roots, resign)
    root = newest_root(roots)
    written = {name: data for name, data in _root_files(roots).items() if name not in current}
    new = _next_targets(found, targets, drop, expiry, now)
    if refresh and found.targets is not None:
        new = None
    by_role = _Writer(root, signers, expiry, now)
    if new is not None:
        written |= by_role.targets(new)
    moved = new is not None or refresh
    if moved or _must_renew(found, "snapshot", expiry, now):
        shown = new or t.cast("Targets", found.targets)
        data = written.get(f"{shown.version}.{_TARGETS_FILE}") or current[f"{shown.version}.{_TARGETS_FILE}"]
        written |= by_role.snapshot(_version_of(found.snapshot) + 1, shown.version, data)
        moved = True
    if moved or _must_renew(found, "timestamp", expiry, now):
        version = _version_of(found.snapshot) + moved
        data = written.get(f"{version}.snapshot.json") or current[f"{version}.snapshot.json"]
        written |= by_role.timestamp(_version_of(found.timestamp) + 1, version, data)
    return written


@dataclass(frozen=True)
class _Writer:
    """Signs for roles of a root."""

    root: Root
    signers: t.Sequence[Signer]
    expiry: Expiry
    now: float

    def targets(self, new: Targets) -> dict[str, bytes]:
        return {f"{new.version}.{_TARGETS_FILE}": self._sign(new)}

    def snapshot(self, version: int, of: int, targets: bytes) -> dict[str, bytes]:
        meta = {_TARGETS_FILE: MetaFile.from_data(of, targets, ["sha256"])}
        return {f"{version}.snapshot.json": self._sign(Snapshot(version, expires=self._end("snapshot"), meta=meta))}

    def timestamp(self, version: int, of: int, snapshot: bytes) -> dict[str, bytes]:
        meta = MetaFile.from_data(of, snapshot, ["sha256"])
        return {TIMESTAMP_NAME: self._sign(Timestamp(version, expires=self._end("timestamp"), snapshot_meta=meta))}

    def _end(self, role: str) -> datetime.datetime:
        return self.expiry.end(role, self.now)

    def _sign(self, signed: Timestamp | Snapshot | Targets) -> bytes:
        role = self.root.roles[signed.type]
        able = [signer for signer in self.signers if signer.public_key.keyid in role.keyids]
        if len(able) < role.threshold:
            raise _too_few(self.root, signed.type, [signer.public_key.keyid for signer in able])
        return _with_signatures(signed, able)


def _next_targets(
    found: Current, add: t.Mapping[str, tuple[str, int]], drop: t.Collection[str], expiry: Expiry, now: float
) -> Targets | None:
    """Return the next targets, unsigned; None if those that are there will do."""
    before = found.targets.targets if found.targets else {}
    after = {path: file for path, file in before.items() if path not in drop}
    for path, (sha256, length) in add.items():
        after[path] = TargetFile(length, {"sha256": sha256}, path)
    if found.targets and after == before and not _must_renew(found, "targets", expiry, now):
        return None
    return Targets(_version_of(found.targets) + 1, expires=expiry.end("targets", now), targets=after)


def _must_renew(found: Current, role: str, expiry: Expiry, now: float) -> bool:
    signed: Signed | None = getattr(found, role)
    return signed is None or role in found.stale or expiry.is_near(signed, now)


def _version_of(signed: Signed | None) -> int:
    return signed.version if signed else 0


def _root_files(roots: t.Mapping[int, bytes]) -> dict[str, bytes]:
    return {f"{version}.root.json": data for version, data in sorted(roots.items())}


def _check_same_fleet(current: t.Mapping[str, bytes], roots: t.Mapping[int, bytes]) -> None:
    """Refuse a depot whose roots are not ours: it is another fleet's, or was written with newer keys than are here."""
    ours = _root_files(roots)
    for name in sorted(name for name in current if name.endswith(".root.json")):
        if current[name] != ours.get(name):
            why = "is not this fleet's" if name in ours else f"is newer than what is here ({max(roots)}.root.json)"
            raise DepotError(
                f"the depot's {name} {why}: another fleet's stick, or the folder of keys is an old copy. Take the "
                "right folder of keys, or write to an empty stick",
                reason="mixed",
            )


def read_current(current: t.Mapping[str, bytes], roots: t.Mapping[int, bytes], resign: bool) -> Current:
    """Read a depot's metadata, from the timestamp down. Each must be signed by keys of the fleet, be they replaced."""
    if TIMESTAMP_NAME not in current:
        return Current()
    chain = [read_root(data) for _version, data in sorted(roots.items(), reverse=True)]
    stale = set()
    timestamp, old = _verified(current, TIMESTAMP_NAME, Timestamp, chain, None)
    stale |= {"timestamp"} if old else set()
    of = timestamp.snapshot_meta
    snapshot, old = _verified(current, f"{of.version}.snapshot.json", Snapshot, chain, of)
    stale |= {"snapshot"} if old else set()
    of = snapshot.meta.get(_TARGETS_FILE, MetaFile(1))
    targets, old = _verified(current, f"{of.version}.{_TARGETS_FILE}", Targets, chain, of)
    if old and not resign:
        raise DepotError(
            f"the fleet's {of.version}.{_TARGETS_FILE} was signed by keys that were replaced since, so somebody else "
            "may have signed it, if they were stolen. Nothing was signed anew: look at what it names in published/ "
            "beside the keys (docs/depot-keys.md, Signing anew). If all of it is yours, run this again with "
            "-e fleet_resign=true (option resign)",
            reason="unsigned",
        )
    stale |= {"targets"} if old else set()
    return Current(timestamp, snapshot, targets, frozenset(stale))


def _verified(
    current: t.Mapping[str, bytes], name: str, kind: type[S], chain: t.Sequence[Root], of: MetaFile | None
) -> tuple[S, bool]:
    """Return metadata that some root of the fleet vouches for, and whether the newest one does not any more."""
    try:
        data = current[name]
        if of is not None:
            of.verify_length_and_hashes(data)
        metadata = Metadata[t.Any].from_bytes(data)
        if metadata.signed.type != kind.type:
            raise DeserializationError(f"it is {metadata.signed.type} metadata")
    except (KeyError, LengthOrHashMismatchError, DeserializationError) as exc:
        raise DepotError(
            f"the depot's {name} is missing or damaged ({exc}), so nothing can be added to it. Write to an empty "
            "stick, or take another copy of the depot",
            reason="mixed",
        ) from exc
    for place, root in enumerate(chain):
        if root.get_verification_result(kind.type, metadata.signed_bytes, metadata.signatures):
            return metadata.signed, place > 0
    raise DepotError(
        f"the depot's {name} is not signed by enough of this fleet's keys: somebody else made it, or changed it. "
        "Write to an empty stick",
        reason="unsigned",
    )


def _check_roles(root: Root) -> None:
    for name in ROLES:
        role = root.roles[name]
        if len(role.keyids) < role.threshold:
            raise DepotError(
                f"{name} has {len(role.keyids)} keys, and {role.threshold} must sign: add keys, or let fewer sign",
                reason="invalid",
            )


def _signed_root(root: Root, previous: Root | None, signers: t.Sequence[Signer]) -> bytes:
    """Sign with every key that the root or the one before names, and make sure that both are content."""
    judges = [root] if previous is None else [previous, root]
    wanted = {keyid for judge in judges for keyid in judge.roles["root"].keyids}
    able = {signer.public_key.keyid: signer for signer in signers if signer.public_key.keyid in wanted}
    for judge in judges:
        role = judge.roles["root"]
        here = [keyid for keyid in role.keyids if keyid in able]
        if len(here) < role.threshold:
            raise _too_few(judge, "root", here)
    return _with_signatures(root, list(able.values()))


def _with_signatures(signed: Root | Timestamp | Snapshot | Targets, signers: t.Sequence[Signer]) -> bytes:
    metadata: Metadata[t.Any] = Metadata(signed)
    for signer in signers:
        try:
            metadata.sign(signer, append=True)
        except UnsignedMetadataError as exc:
            if isinstance(exc.__cause__, DepotError):
                raise exc.__cause__ from None
            raise DepotError(
                f"the key {signer.public_key.keyid} did not sign {signed.type} metadata ({exc.__cause__}). Is the "
                "device that has it plugged in?",
                reason="key_missing",
            ) from exc
    return metadata.to_bytes()


def _too_few(root: Root, role: str, here: t.Sequence[str]) -> DepotError:
    has, needs = root.roles[role], ", ".join(key_names(root, root.roles[role].keyids))
    at_hand = ", ".join(key_names(root, here)) or "none of them"
    return DepotError(
        f"{role} metadata needs {has.threshold} of the keys {needs} to sign, and here is {at_hand}. Copy the missing "
        ".pem files from where they are kept into the folder of keys, sign, and remove them again",
        reason="key_missing",
        role=role,
        needed=has.threshold,
        here=key_names(root, here),
    )


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
