# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide whether a depot may be trusted, and which of its releases this host takes.

The order of the checks, and the reason that each gives, are those of docs/depot-format.md.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source, check_layout, read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import is_sha256, target_name
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import (
    MANIFEST_LIMIT,
    VERSION,
    Manifest,
    parse_manifest,
    version_key,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_state import (
    LOCK_TIMEOUT,
    Accepted,
    Enrolment,
    TrustPlaces,
    alone,
    read_accepted,
    read_enrolment,
    read_root,
    with_release,
    write_accepted,
)

if t.TYPE_CHECKING:
    from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import Fresh

Now = t.Callable[[], float]
"""Returns seconds since 1970."""

_DAY = 86_400
_CEILING = 3 * 365 * _DAY  # seconds after the newest known time; no host goes so long without a release
_APART = _DAY  # seconds that the clocks of controllers, builders and hosts may be apart, either way
_RELEASE = re.compile(r"releases/([a-z0-9][a-z0-9-]*)/([1-9][0-9]{0,17})\.json")


@dataclass(frozen=True)
class Trusted:
    """What a depot's metadata says, once it was verified.

    `targets` has SHA-256 and bytes by name; `versions` those of metadata by role; `expires` is when the first of them
    does, and `time` when the depot was looked at, both in seconds since 1970.
    """

    shown: str
    targets: t.Mapping[str, tuple[str, int]]
    versions: t.Mapping[str, int]
    expires: int
    time: float

    def releases(self) -> dict[str, list[int]]:
        """Return the counters of the releases in the depot by stack, lowest first."""
        found: dict[str, list[int]] = {}
        for name in self.targets:
            match = _RELEASE.fullmatch(name)
            if match:
                found.setdefault(match[1], []).append(int(match[2]))
        return {stack: sorted(counters) for stack, counters in sorted(found.items())}


@dataclass(frozen=True)
class Host:
    """What a release must suit: the architecture as Debian calls it, the version of emorobcare.fleet."""

    architecture: str
    version: str = VERSION


def open_depot(source: Source, places: TrustPlaces, now: Now, lock_timeout: float = LOCK_TIMEOUT) -> Trusted:
    """Verify a depot's metadata as this host trusts it, and remember its versions: none older is accepted again.

    Raises:
        DepotError: the depot is refused; docs/depot-format.md has the reasons.
    """
    check_layout(source)
    read_enrolment(places)
    read_accepted(places)
    with alone(places, lock_timeout):
        enrolment, accepted = read_enrolment(places), read_accepted(places)
        time = now()
        newest = max(enrolment.built, accepted.time)
        check_clock(time, newest)
        # A clock that is a little behind is right enough, but not for making what has expired good again.
        fresh = _verified(source, read_root(places), places.cache, max(time, newest), accepted)
        # Before anything is taken from the depot: what a power cut takes back later cannot be gone below.
        write_accepted(places, Accepted(fresh.versions, fresh.floor(accepted).releases, accepted.time))
    return _trusted(source.shown, fresh, time)


def check_clock(now: float, newest: float) -> None:
    """Refuse to tell what has expired by a clock that cannot be right. All in seconds since 1970.

    Args:
        newest: the newest time that is known to have been.

    Raises:
        DepotError: it is earlier now, by more than clocks may be apart, or much later (`clock`).
    """
    if newest - _APART <= now < newest + _CEILING:
        return
    from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import utc

    known = (
        f"this host's clock says {utc(now)}, and it was {utc(newest)} when the newest release or its verifier was made"
    )
    if now < newest:
        why = "So the clock is behind. One that no network sets loses the time when its battery is empty"
    else:
        why = "That is three years and more, so the clock is likely ahead; if it is right, enrol the host again"
    raise DepotError(
        f"{known}. {why}. Set it: timedatectl set-time 'YYYY-MM-DD HH:MM:SS' (if that is refused because time is "
        "synchronised, timedatectl set-ntp false comes first), then hwclock --systohc, and try again",
        reason="clock",
        now=int(now),
        newest=int(newest),
    )


def read_release(source: Source, trusted: Trusted, stack: str, counter: int) -> Manifest:
    """Return the manifest of a release, as it was signed.

    Raises:
        DepotError: the depot has no such release, or its manifest is missing or cannot be relied on.
    """
    name = target_name(stack, counter)
    if name not in trusted.targets:
        raise _no_release(trusted, f"no release {counter} of stack {stack!r}")
    sha256, size = trusted.targets[name]
    if not is_sha256(sha256):
        raise DepotError(f"{trusted.shown}: {name} is signed without a SHA-256", reason="manifest_invalid")
    manifest = parse_manifest(read_blob(source, sha256, MANIFEST_LIMIT, size))
    if (manifest.stack, manifest.counter) != (stack, counter):
        raise DepotError(
            f"{trusted.shown}: {name} is the manifest of release {manifest.counter} of stack {manifest.stack!r}; the "
            "depot was written wrongly. Write it again",
            reason="manifest_invalid",
        )
    return manifest


def releases_here(source: Source, trusted: Trusted, stack: str | None = None) -> list[Manifest]:
    """Return the manifests of the releases that this medium has, or those of one stack.

    The fleet's metadata is the same on every medium, and may name releases that only others have.

    Raises:
        DepotError: a manifest that is there cannot be relied on.
    """
    found = trusted.releases().items()
    pairs = [(name, counter) for name, counters in found for counter in counters if stack in (None, name)]
    here = [pair for pair in pairs if source.blob_size(trusted.targets[target_name(*pair)][0]) is not None]
    return [read_release(source, trusted, *pair) for pair in here]


def choose(
    source: Source,
    trusted: Trusted,
    places: TrustPlaces,
    host: Host,
    stack: str | None = None,
    counter: int | None = None,
) -> Manifest:
    """Return the release that this host is to take: of those for its hardware the newest, unless `counter` says which.

    Args:
        stack: needed where the depot has several.

    Raises:
        DepotError: there is none, it is not for this host, or it is older than what the host has accepted.
    """
    enrolment, accepted = read_enrolment(places), read_accepted(places)
    stack = _one_stack(trusted, stack)
    counters = [counter] if counter is not None else sorted(trusted.releases()[stack], reverse=True)
    refused: DepotError | None = None
    for one in counters:
        manifest = read_release(source, trusted, stack, one)
        _check_fleet(manifest, enrolment)
        refusal = _hardware_refusal(manifest, enrolment, host)
        if refusal is None:
            _check_age(manifest, accepted, host, trusted.time)
            return manifest
        refused = refused or refusal
    raise refused or _no_release(trusted, f"no release of stack {stack!r}")


def accept(places: TrustPlaces, manifest: Manifest, lock_timeout: float = LOCK_TIMEOUT) -> None:
    """Remember a release that was committed: no older one is taken again, and no clock before it is right.

    Raises:
        DepotError: the host's state is lost, locked, or cannot be written.
    """
    read_accepted(places)
    with alone(places, lock_timeout):
        accepted = read_accepted(places)
        write_accepted(places, with_release(accepted, manifest.stack, manifest.counter, manifest.created))


def _verified(source: Source, root: bytes, cache: str, time: float, accepted: Accepted) -> Fresh:
    """Return metadata that is verified, and of no version below those that were accepted."""
    need_tuf()
    from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tuf import refresh

    return refresh(source, root, cache, time, accepted)


def _trusted(shown: str, fresh: Fresh, time: float) -> Trusted:
    targets = {name: (file.hashes.get("sha256", ""), file.length) for name, file in fresh.targets.targets.items()}
    return Trusted(shown, targets, fresh.versions, fresh.expires, time)


def _one_stack(trusted: Trusted, stack: str | None) -> str:
    stacks = list(trusted.releases())
    if stack is None and len(stacks) > 1:
        raise DepotError(
            f"{trusted.shown} has releases of {', '.join(stacks)}: say which stack this host is to take",
            reason="invalid",
        )
    if not stacks or (stack is not None and stack not in stacks):
        raise _no_release(trusted, "no release" if stack is None else f"no release of stack {stack!r}")
    return stacks[0] if stack is None else stack


def _no_release(trusted: Trusted, what: str) -> DepotError:
    has = "; ".join(f"{stack} {', '.join(map(str, counters))}" for stack, counters in trusted.releases().items())
    return DepotError(
        f"{trusted.shown} has {what}; it has {has or 'none at all'}. Bring another depot, or ask for one of these",
        reason="no_release",
    )


def _check_fleet(manifest: Manifest, enrolment: Enrolment) -> None:
    if manifest.fleet != enrolment.fleet:
        raise DepotError(
            f"release {manifest.counter} of {manifest.stack} is for fleet {manifest.fleet!r}, and this host belongs to "
            f"{enrolment.fleet!r}: is this the right stick? If the host has moved, enrol it again",
            reason="wrong_fleet",
        )


def _hardware_refusal(manifest: Manifest, enrolment: Enrolment, host: Host) -> DepotError | None:
    what = f"release {manifest.counter} of {manifest.stack} is for"
    if manifest.hardware and not set(manifest.hardware) & set(enrolment.hardware):
        return DepotError(
            f"{what} {', '.join(manifest.hardware)}, and this host was enrolled as "
            f"{', '.join(enrolment.hardware) or 'no kind of hardware'}. Bring the depot of its kind, or enrol it as "
            "what it is",
            reason="wrong_hardware",
        )
    if manifest.architecture != host.architecture:
        return DepotError(
            f"{what} {manifest.architecture}, and this host is {host.architecture}: build the release for it",
            reason="wrong_hardware",
        )
    return None


def _check_age(manifest: Manifest, accepted: Accepted, host: Host, now: float) -> None:
    what = f"release {manifest.counter} of {manifest.stack}"
    if version_key(manifest.minimum_version) > version_key(host.version):
        raise DepotError(
            f"{what} needs emorobcare.fleet {manifest.minimum_version}, and this host has {host.version}: update the "
            "host first",
            reason="too_new",
        )
    newest = accepted.releases.get(manifest.stack, 0)
    if manifest.counter < newest:
        raise DepotError(
            f"{what} is older than release {newest}, which this host has accepted. Bring the newest depot; to go back, "
            "publish the earlier release again with a higher counter",
            reason="older",
        )
    if manifest.created > now + _APART:  # once accepted, the host would refuse everything by its clock
        check_clock(now, manifest.created)
