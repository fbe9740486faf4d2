# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Run TUF's client workflow over a depot, and tell in our words what it refuses.

Import this after need_tuf() only.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import METADATA
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import Accepted, outlived, telling
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, remove

try:
    from tuf.api.exceptions import (
        BadVersionNumberError,
        DownloadError,
        DownloadHTTPError,
        ExpiredMetadataError,
        RepositoryError,
    )
    from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
    from tuf.api.serialization import DeserializationError
    from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
except ImportError:  # tools that import every file; need_tuf() has told everybody else
    # Our class is made of it when this file is imported.
    FetcherInterface = object  # type: ignore[misc, assignment]  # a stand-in, of another type on purpose

ROLES = ("root", "timestamp", "snapshot", "targets")
KEY_NAME = "x-fleet-name"
"""What a key is called in root metadata, beside what TUF wants of it."""

# Bytes. A thousand releases are 150 kB of targets, and each snapshot names one file.
_LIMITS = {"root": 512_000, "timestamp": 16_384, "snapshot": 65_536, "targets": 5_000_000}
_ROOTS = 256  # more rotations than that in a host's life are an attack on its patience


class _Fetcher(FetcherInterface):
    """Reads metadata from a depot; keeps what it read, for telling what was wrong with it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.fetched: dict[str, bytes] = {}  # by role
        self.last = ("", "")  # role and name of what was asked for

    def _fetch(self, url: str) -> t.Iterator[bytes]:
        role = url.rpartition("/")[2].split(".")[-2]
        self.last = (role, url)
        data = self.source.read(url, _LIMITS[role])
        if data is None:
            raise DownloadHTTPError(f"{url} is not there", 404)
        self.fetched[role] = data
        return iter((data,))


@dataclass(frozen=True)
class Fresh:
    """Metadata that TUF found to be right; `roots` has each root from the trusted one on, by version."""

    roots: t.Mapping[int, Root]
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets

    @property
    def root(self) -> Root:
        return self.roots[max(self.roots)]

    @property
    def versions(self) -> dict[str, int]:
        roles = (self.root, self.timestamp, self.snapshot, self.targets)
        return {role: signed.version for role, signed in zip(ROLES, roles)}

    @property
    def expires(self) -> int:
        """When the first of them expires, in seconds since 1970."""
        return min(_seconds(signed) for signed in (self.root, self.timestamp, self.snapshot, self.targets))

    def floor(self, accepted: Accepted) -> Accepted:
        """Return what of that still counts by the newest root, and must not be gone below."""
        before = self.roots.get(accepted.versions.get("root", 0))
        return outlived(accepted, before.to_dict()["roles"], self.root.to_dict()["roles"]) if before else accepted


def refresh(source: Source, root: bytes, cache: str, now: float, accepted: Accepted) -> Fresh:
    """Verify a depot's metadata.

    Args:
        root: the root metadata that is trusted.
        cache: folder for what was verified. TUF writes there without syncing: a power cut may empty a file or bring an
            old one back. That is no way in for an old depot: what cannot be verified counts as not there, and what
            must not be gone below is in accepted.json, which is synced before anything is taken from a depot.
        now: seconds since 1970, at least; what expires is compared with it.
        accepted: what the host has accepted; no version may be below what still counts of it.

    Raises:
        DepotError: something is wrong with the metadata, with the medium, or with the host's disk.
    """
    with telling(cache), _working_copy(cache) as work:
        fetcher = _Fetcher(source)
        try:
            updater = Updater(work, METADATA, fetcher=fetcher, config=_config(), bootstrap=root)
        except (RepositoryError, ValueError) as exc:
            raise DepotError(
                f"the root metadata that this host was enrolled with is damaged ({exc}). Enrol it again from a trusted "
                "controller (never from a stick)",
                reason="not_enrolled",
            ) from exc
        # The one thing that TUF has no argument for. Should it ever be kept elsewhere, the system's clock is what
        # counts, and a test of ours fails.
        updater._trusted_set.reference_time = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        try:
            updater.refresh()
        except (RepositoryError, DownloadError) as exc:
            raise _Refusal(fetcher, work, now).told(exc) from exc
        fresh = _fresh(work, _version(root))
        _check_versions(source, fresh, accepted)
        _check_same(source, fresh, fetcher.fetched["timestamp"])
    return fresh


@contextlib.contextmanager
def _working_copy(cache: str) -> t.Iterator[str]:
    """Give TUF a copy of its cache. Of a depot that is refused only the roots stay, which are right by themselves.

    TUF keeps a timestamp before it has seen the rest: one of a damaged depot would make the good one with the same
    version look like parts of two.
    """
    work = f"{cache}.new"
    remove(work)  # of a run that was cut off
    make_dirs(cache)
    shutil.copytree(cache, work, symlinks=True)
    try:
        yield work
    except DepotError:
        for role in ROLES[1:]:
            remove(f"{work}/{role}.json")
            before = _bytes(f"{cache}/{role}.json")
            if before is not None:
                with open(f"{work}/{role}.json", "wb") as file:
                    file.write(before)
        raise
    finally:
        remove(cache)
        os.rename(work, cache)


def _check_versions(source: Source, fresh: Fresh, accepted: Accepted) -> None:
    floor = fresh.floor(accepted).versions
    for role, found in fresh.versions.items():
        least = floor.get(role, 0)
        if found < least:
            raise DepotError(
                f"{source.shown}: its {role} metadata is version {found}, and this host has accepted version {least} "
                f"before. {_NEWEST}",
                reason="older",
                role=role,
            )


def _check_same(source: Source, fresh: Fresh, timestamp: bytes) -> None:
    """Tell of a depot that TUF would pass over in favour of another one, which it has in its cache."""
    if Metadata[Timestamp].from_bytes(timestamp).signed != fresh.timestamp:
        raise DepotError(
            f"{source.shown}: this host has accepted another depot with timestamp metadata of version "
            f"{fresh.timestamp.version}. Two were written from the same older one: publish this one once more, on top "
            "of the other",
            reason="mixed",
            role="timestamp",
        )


def utc(seconds: float) -> str:
    """Return a time for people, such as 2026-11-26 15:30:00 UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def key_names(root: Root, keyids: t.Iterable[str]) -> list[str]:
    """Return what people call these keys; a part of the id of those without a name."""
    return [str(root.keys[one].unrecognized_fields.get(KEY_NAME, one[:12])) for one in keyids if one in root.keys]


@dataclass(frozen=True)
class _Refusal:
    """Finds out why TUF refused a depot: by looking at what it had read, not at the words of its errors."""

    fetcher: _Fetcher
    cache: str
    now: float

    def told(self, exc: Exception) -> DepotError:
        cause = exc.__cause__
        if isinstance(exc, DownloadError) and isinstance(cause, DepotError):
            return cause
        if isinstance(exc, DownloadHTTPError):
            return self._error(
                "mixed",
                "is not there, and other metadata of the depot names it. Parts of two depots were mixed, or one was "
                "not copied whole: write or copy it again, into an empty folder",
            )
        if isinstance(exc, ExpiredMetadataError):
            return self._expired()
        role, _name = self.fetcher.last
        return self._badly_signed(role) or self._misplaced(role, exc)

    def _badly_signed(self, role: str) -> DepotError | None:
        try:
            found = Metadata[t.Any].from_bytes(self.fetcher.fetched[role])
            if found.signed.type != role and found.signed.type not in ROLES:
                raise DeserializationError
        except DeserializationError:
            return self._error("unsigned", f"is no metadata: it was damaged or changed after it was signed. {_AGAIN}")
        root, actual = self._root(), found.signed.type
        judges = [root] if role != "root" or actual != "root" else [root, t.cast("Root", found.signed)]
        for judge in judges:
            result = judge.get_verification_result(actual, found.signed_bytes, found.signatures)
            if not result:
                return self._lacking(judge, actual, list(result.signed), result.threshold)
        return None

    def _lacking(self, judge: Root, role: str, signed: list[str], threshold: int) -> DepotError:
        if not signed:
            return self._error(
                "unsigned",
                "is signed by nobody whom this host trusts: it was damaged or changed after it was signed, its keys "
                f"were replaced since, or it is another fleet's. {_AGAIN}",
            )
        names = ", ".join(sorted(key_names(judge, judge.roles[role].keyids)))
        return self._error(
            "threshold",
            f"is signed by {', '.join(key_names(judge, signed))} alone, and {threshold} of {names} must sign. Have the "
            "others sign, that is write the depot where their keys are; if nobody knows why they did not, a key may "
            "be stolen: docs/depot-keys.md, Stolen key",
        )

    def _misplaced(self, role: str, exc: Exception) -> DepotError:
        """Tell of metadata that is genuine, and not what should be there."""
        if isinstance(exc, BadVersionNumberError) and role in ("timestamp", "snapshot"):
            found = Metadata[t.Any].from_bytes(self.fetcher.fetched[role]).signed
            if role == "timestamp" or found.version == self._timestamp().snapshot_meta.version:
                return self._error(
                    "older",
                    f"is version {found.version}, and older than what this host has accepted before. {_NEWEST}",
                )
        return self._error(
            "mixed",
            "is genuine, and not the one that belongs to the rest of the depot's metadata. Parts of two depots were "
            "mixed: write or copy one of them again, into an empty folder",
        )

    def _expired(self) -> DepotError:
        """Tell which part expired. Reading stops at the first one, but not always at once."""
        candidates = [("root", t.cast("Signed", self._root()))]
        for role in ROLES[1:]:
            data = self.fetcher.fetched.get(role) or _bytes(f"{self.cache}/{role}.json")
            if data is not None:
                candidates.append((role, Metadata[t.Any].from_bytes(data).signed))
        role, found = next(one for one in candidates if _seconds(one[1]) <= self.now)
        return DepotError(
            f"{self.fetcher.source.shown}: its {role} metadata expired on {utc(_seconds(found))}, and this host's "
            f"clock says {utc(self.now)}. If the clock is right, renew the depot on the controller that has its keys "
            "and bring it again (docs/depot-keys.md, Expired depot). If it is not: timedatectl set-time "
            "'YYYY-MM-DD HH:MM:SS'",
            reason="expired",
            role=role,
            expires=_seconds(found),
            now=int(self.now),
        )

    def _root(self) -> Root:
        """Return the newest root that was found to be right."""
        return Metadata[Root].from_file(f"{self.cache}/root.json").signed

    def _timestamp(self) -> Timestamp:
        return Metadata[Timestamp].from_file(f"{self.cache}/timestamp.json").signed

    def _error(self, reason: Reason, what: str) -> DepotError:
        role, name = self.fetcher.last
        return DepotError(f"{self.fetcher.source.shown}/{name} {what}", reason=reason, role=role)


_NEWEST = "Bring the newest depot; to go back to an earlier release, publish it again with a higher counter"
_AGAIN = "Nothing was taken from the depot; write or copy it again"


def _config() -> UpdaterConfig:
    return UpdaterConfig(
        max_root_rotations=_ROOTS,
        max_delegations=0,
        root_max_length=_LIMITS["root"],
        timestamp_max_length=_LIMITS["timestamp"],
        snapshot_max_length=_LIMITS["snapshot"],
        targets_max_length=_LIMITS["targets"],
    )


def _fresh(cache: str, first: int) -> Fresh:
    """Return what was verified; by now it is what the cache has."""
    newest = Metadata[Root].from_file(f"{cache}/root.json").signed
    roots = {
        version: Metadata[Root].from_file(f"{cache}/root_history/{version}.root.json").signed
        for version in range(first, newest.version)
    }
    return Fresh(
        {**roots, newest.version: newest},
        Metadata[Timestamp].from_file(f"{cache}/timestamp.json").signed,
        Metadata[Snapshot].from_file(f"{cache}/snapshot.json").signed,
        Metadata[Targets].from_file(f"{cache}/targets.json").signed,
    )


def _version(root: bytes) -> int:
    return int(json.loads(root)["signed"]["version"])


def _seconds(signed: Signed) -> int:
    return int(signed.expires.timestamp())


def _bytes(path: str) -> bytes | None:
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read()
