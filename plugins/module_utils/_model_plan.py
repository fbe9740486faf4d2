# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide what must happen so that a version of a model is, or is not, published. Nothing here does I/O."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile

# stamp: nothing to change but the store's own notes (stamps, a record), which were lost or had become stale.
Action = t.Literal["none", "stamp", "publish", "repair", "remove"]
# whole: right content, and the very inode that the store holds. stray: right content in another inode than the
# store's, so it takes its space twice. orphan: right content that the store has lost. wrong: other content.
# missing: nothing there.
Condition = t.Literal["whole", "stray", "orphan", "wrong", "missing"]

_RANGES_SHOWN = 4


class Use(t.NamedTuple):
    """A release on the host that mounts a model version."""

    stack: str
    release: str

    def __str__(self) -> str:
        return f"stack {self.stack}, release {self.release[:12]}"


@dataclass(frozen=True)
class FoundFile:
    """A wanted path in the published folder. `mode` are its permission bits.

    Of a wrong file, `corrupt` are the byte ranges (start, stop) that had changed, where that could be told, and
    `good_bytes` how many of the others are right and need not be fetched.
    """

    condition: Condition
    mode: int = 0o444
    corrupt: tuple[tuple[int, int], ...] = ()
    good_bytes: int = 0


@dataclass(frozen=True)
class Found:
    """What is on the host now.

    `pins` is what was recorded when the version was published, None without a (readable) record.
    `files` has an entry per wanted path, `extras` the other things in the published folder.
    `blobs` are the wanted digests whose content is in the store and right.
    `unstamped` says that content had to be read because its stamp was missing or had changed.
    `resumable` (digest to bytes) is what an earlier run received of content that the store does not have yet.
    `garbage` (digest to bytes) is store content that nothing refers to once this version is gone, `uses` are the
    releases that mount this version.
    """

    published: bool = False
    pins: t.Mapping[str, str] | None = None
    files: t.Mapping[str, FoundFile] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    blobs: frozenset[str] = frozenset()
    unstamped: bool = False
    resumable: t.Mapping[str, int] = field(default_factory=dict)
    garbage: t.Mapping[str, int] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What takes the host from found to wanted.

    `fetches` has a file per digest, with the sources of every file that has it. `transfers` (digest to bytes) is what
    is still to come from a source for each of them, `held` what lies in a partial file on the host already.
    """

    action: Action
    fetches: tuple[WantedFile, ...] = ()
    transfers: t.Mapping[str, int] = field(default_factory=dict)
    held: t.Mapping[str, int] = field(default_factory=dict)
    links: tuple[WantedFile, ...] = ()
    adopts: tuple[WantedFile, ...] = ()  # published files whose content the store takes back
    chmods: tuple[WantedFile, ...] = ()
    extras: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    repairs: tuple[tuple[str, str], ...] = ()  # (path, what was wrong with it)
    wrong: tuple[str, ...] = ()  # published paths with other content than was pinned
    corrupt: tuple[tuple[str, int, int], ...] = ()  # (path, start, stop): the bytes that had changed, where known
    unavailable: tuple[str, ...] = ()  # paths of optional files that no source has
    stale: bool = False  # the store's notes on this version have to be renewed
    bytes_freed: int = 0
    before: t.Mapping[str, t.Any] = field(default_factory=dict)
    after: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.action not in ("none", "stamp")

    @property
    def bytes_to_fetch(self) -> int:
        return sum(self.transfers.values())


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """Compare wanted with found; return the steps between them.

    Raises:
        ModelError: the version is published with other content (`immutable`), its folder is not ours (`foreign`), or
            it is to be removed and a release mounts it (`in_use`).
    """
    if wanted.state == "absent":
        return _plan_absent(wanted, found)
    if not found.published:
        return _plan_publish(wanted, found)
    _refuse_other_content(wanted, found)
    return _plan_repair(wanted, found)


def _plan_absent(wanted: Wanted, found: Found) -> Plan:
    if found.published and found.uses:
        raise ModelError(
            f"{wanted.title} is in use on this host ({'; '.join(map(str, found.uses))}): a release that could not find "
            "its model would not start, nor come back. Remove the stack with its data, or deploy releases that pin "
            "another version until none that is kept has this one",
            reason="in_use",
            stacks=sorted({use.stack for use in found.uses}),
            uses=[use._asdict() for use in found.uses],
        )
    before = {"published": found.published, "unreferenced_bytes": sum(found.garbage.values())}
    after = {"published": False, "unreferenced_bytes": 0}
    if not found.published and not found.garbage:
        return Plan("none", before=after, after=after)
    return Plan(
        "remove",
        sweep=tuple(sorted(found.garbage)),
        bytes_freed=sum(found.garbage.values()),
        before=before,
        after=after,
    )


def _plan_publish(wanted: Wanted, found: Found) -> Plan:
    fetches = _missing_blobs(wanted.files, found.blobs)
    held = _held(fetches, found)
    plan = Plan("publish", fetches, _transfers(fetches, found, held), held, links=wanted.files)
    before = _describe(wanted, plan, published=False, notes=dict.fromkeys(wanted.pins, "absent"))
    return dataclasses.replace(plan, before=before, after=_describe(wanted))


def _plan_repair(wanted: Wanted, found: Found) -> Plan:
    conditions = {file.path: found.files[file.path].condition for file in wanted.files}
    links = tuple(file for file in wanted.files if conditions[file.path] in ("stray", "wrong", "missing"))
    adopts = tuple(file for file in wanted.files if conditions[file.path] == "orphan")
    relinked = {file.path for file in links}
    chmods = tuple(f for f in wanted.files if f.path not in relinked and found.files[f.path].mode != 0o444)
    repairs = (
        *((file.path, _why(found.files[file.path])) for file in (*links, *adopts)),
        *((file.path, f"mode was {found.files[file.path].mode:04o}") for file in chmods),
        *((path, "did not belong there") for path in found.extras),
    )
    stale = found.unstamped or found.pins is None
    if not repairs:
        return _nothing_to_do(stale)
    fetches = _missing_blobs(links, found.blobs)
    held = _held(fetches, found)
    plan = Plan(
        "repair",
        fetches,
        _transfers(fetches, found, held),
        held,
        links=links,
        adopts=adopts,
        chmods=chmods,
        extras=found.extras,
        repairs=repairs,
        wrong=tuple(path for path, condition in conditions.items() if condition == "wrong"),
        corrupt=tuple((path, *span) for path, file in found.files.items() for span in file.corrupt),
        stale=stale,
    )
    before = _describe(wanted, plan, notes=dict(repairs))
    return dataclasses.replace(plan, before=before, after=_describe(wanted))


def _nothing_to_do(stale: bool, unavailable: tuple[str, ...] = ()) -> Plan:
    same = {"published": True, "bytes_to_fetch": 0}  # without the files: thousands of lines that say nothing
    return Plan("stamp" if stale else "none", unavailable=unavailable, stale=stale, before=same, after=same)


def without(plan: Plan, unavailable: t.Collection[str]) -> Plan:
    """Return what is left to do when no source has the optional content with the digests `unavailable`.

    A version is published without those files, with their pins on record, so that the next run tries again. Where a
    published one has damaged content in their place, that goes: whoever reads it can tell a missing file, not a wrong
    one.
    """
    dropped = {file.sha256 for file in plan.fetches if file.sha256 in unavailable and not file.required}
    if not dropped:
        return plan
    lost = tuple(file.path for file in plan.links if file.sha256 in dropped)
    gone = tuple(path for path in plan.wrong if path in lost)
    repairs = tuple((path, why) for path, why in plan.repairs if path not in lost or path in gone)
    if plan.action == "repair" and not repairs:
        return _nothing_to_do(plan.stale, lost)
    transfers = {digest: size for digest, size in plan.transfers.items() if digest not in dropped}
    told = dict.fromkeys(lost, _NOWHERE)
    before = {path: note for path, note in told.items() if path not in gone}
    return dataclasses.replace(
        plan,
        fetches=tuple(file for file in plan.fetches if file.sha256 not in dropped),
        links=tuple(file for file in plan.links if file.sha256 not in dropped),
        transfers=transfers,
        held={digest: size for digest, size in plan.held.items() if digest not in dropped},
        extras=(*plan.extras, *gone),
        repairs=repairs,
        unavailable=lost,
        before={
            **plan.before,
            "files": {**plan.before["files"], **before},
            "bytes_to_fetch": sum(transfers.values()),
        },
        after={**plan.after, "files": {**plan.after["files"], **told}},
    )


_NOWHERE = "left out: it is optional, and no source has it"
_WHY: dict[Condition, str] = {
    "wrong": "content had changed",
    "missing": "was missing",
    "stray": "was a copy beside the store's",
    "orphan": "was missing from the store",
    "whole": "",
}


def _why(file: FoundFile) -> str:
    if file.condition != "wrong" or not file.corrupt:
        return _WHY[file.condition]
    spans = [f"{start}-{stop - 1}" for start, stop in file.corrupt[:_RANGES_SHOWN]]
    more = len(file.corrupt) - len(spans)
    return f"bytes {', '.join(spans)}{f' and {more} more ranges' if more else ''} had changed"


def _refuse_other_content(wanted: Wanted, found: Found) -> None:
    if found.pins is None:
        optional = {file.path for file in wanted.files if not file.required}
        if not found.extras and all(
            file.condition != "wrong" and (file.condition != "missing" or path in optional)
            for path, file in found.files.items()
        ):
            return  # exactly the wanted content without our record of it: adopt it
        raise ModelError(
            f"{wanted.title}: its folder exists, holds other content, and has no record of a publication by this "
            "collection; move it away, or remove it with state: absent, and run again",
            reason="foreign",
        )
    if found.pins == wanted.pins:
        return
    changes = ", ".join(_pin_changes(found.pins, wanted.pins))
    raise ModelError(
        f"{wanted.title} is published with other content ({changes}). A published version never changes: a release "
        "that pins it must find the same bytes. Give the new content a new version, or remove this one first with "
        "state: absent",
        reason="immutable",
    )


def _pin_changes(old: t.Mapping[str, str], new: t.Mapping[str, str]) -> t.Iterator[str]:
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            yield f"{path}: published, not wanted"
        elif path not in old:
            yield f"{path}: wanted, not published"
        elif old[path] != new[path]:
            yield f"{path}: published sha256 {old[path]}, wanted {new[path]}"


def _missing_blobs(files: t.Iterable[WantedFile], blobs: frozenset[str]) -> tuple[WantedFile, ...]:
    """Return one file per digest that the store lacks, those of one origin (a wheel) next to each other."""
    missing: dict[str, WantedFile] = {}
    for file in files:
        if file.sha256 not in blobs:
            other = missing.setdefault(file.sha256, file)
            missing[file.sha256] = dataclasses.replace(
                other,
                sources=tuple(dict.fromkeys((*other.sources, *file.sources))),
                required=other.required or file.required,
            )
    order = {origin: rank for rank, origin in enumerate(dict.fromkeys(f.source.origin for f in missing.values()))}
    return tuple(sorted(missing.values(), key=lambda file: order[file.source.origin]))


def _held(fetches: tuple[WantedFile, ...], found: Found) -> dict[str, int]:
    """Return the bytes that partial files have of what is to be fetched, by digest."""
    return {file.sha256: found.resumable[file.sha256] for file in fetches if found.resumable.get(file.sha256)}


def _transfers(fetches: tuple[WantedFile, ...], found: Found, held: t.Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that still have to come from a source, by digest.

    The engine puts what is right of a damaged file where it puts what arrives, so the two are not added.
    """
    digests = {file.path: file.sha256 for file in fetches}
    here = dict(held)
    for path, file in found.files.items():
        if path in digests:
            here[digests[path]] = max(here.get(digests[path], 0), file.good_bytes)
    return {file.sha256: max(file.size - here.get(file.sha256, 0), 0) for file in fetches}


def _describe(
    wanted: Wanted, plan: Plan | None = None, published: bool = True, notes: t.Mapping[str, str] | None = None
) -> dict[str, t.Any]:
    """Return one side of the diff: each file as it is or with what is wrong with it, and what `plan` has to fetch."""
    files = {file.path: f"{_shown_size(file)}, sha256:{file.sha256}" for file in wanted.files}
    files.update(notes or {})
    if plan is None:
        return {"published": published, "files": files, "bytes_to_fetch": 0}
    for file in plan.fetches:
        files[file.path] += f"; {_shown_transfer(file, plan.transfers[file.sha256])}"
    return {"published": published, "files": files, "bytes_to_fetch": plan.bytes_to_fetch}


def _shown_size(file: WantedFile) -> str:
    if file.estimated:
        return f"about {file.size} bytes" if file.size else "size not known"
    return f"{file.size} bytes"


def _shown_transfer(file: WantedFile, transfer: int) -> str:
    here = file.size - transfer
    about = "about " if file.estimated else ""
    return f"{about}{transfer} bytes to fetch" + (f", {here} are here already" if here > 0 else "")


class Published(t.NamedTuple):
    """A published version of a model; `published_at` in nanoseconds since the epoch."""

    version: str
    published_at: int
    in_use: bool


def superseded(published: t.Iterable[Published], current: str, keep: int) -> tuple[str, ...]:
    """Return the versions of one model that are to go, the oldest first, when the `keep` newest are to stay (0: all).

    The current one stays whatever its age (a robot may have been taken back to it), and so does one in use.
    """
    if keep < 1:
        return ()
    newest = sorted(published, key=lambda one: (one.published_at, one.version == current, one.version), reverse=True)
    rest = reversed(newest[keep:])
    return tuple(one.version for one in rest if one.version != current and not one.in_use)
