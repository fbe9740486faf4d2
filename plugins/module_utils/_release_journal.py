# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The journal of a stack on a host: what is committed, and what is being done right now.

It is written before what it says is done, atomically. Format 2, `state.json`, readable by root only:

    schema     2
    stack      name of the stack
    key        the host's random key for digests of settings, hex
    phase      idle, or the step that is under way
    candidate  {release, settings} while something is under way
    colour     the side that the candidate is on, empty where there are no sides
    committed  the commit that the host is to run, or null
    history    earlier commits, the latest first
    failure    {at, release, reason, message} of the last run, null after a commit

A commit is {release, settings, since, hashes: {service: [predicted, actual]}, ready: {service: seconds}, colour,
irreversible: [job], overrides: [what was forced]}. Format 1 lacks the last three and `colour`.

The phases of a deployment, in their order, and what boot does after a power cut in each:

    snapshot   stateful services save what they hold        -> the committed release; nothing was touched
    data       stateful services come up as the candidate    -> the committed release, its stateful services included
               wants them
    candidate  the candidate's side comes up                 -> the committed release; the candidate goes
    gate       its checks must hold                          -> likewise
    switch     the ingress turns to it                       -> the ingress turns back, then likewise
    drain      the old side's connections end                -> likewise
    soak       its checks must go on holding                 -> likewise
    retire     it is committed; the old side goes            -> the new release; the old side goes
    going_back the host returns to the committed release     -> the committed release
    removing   the stack is taken off the host               -> nothing; the next run with state=absent ends it
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity

_SCHEMA = 2

Step = t.Literal["snapshot", "data", "candidate", "gate", "switch", "drain", "soak"]
Phase = t.Literal[
    "idle", "snapshot", "data", "candidate", "gate", "switch", "drain", "soak", "retire", "going_back", "removing"
]
STEPS: tuple[Step, ...] = ("snapshot", "data", "candidate", "gate", "switch", "drain", "soak")
"""What a candidate goes through before it is committed, in this order."""

_PHASES_OF_1: dict[str, Phase] = {"activating": "candidate", "gating": "gate"}


@dataclass(frozen=True)
class Commit:
    """A release that passed its gate; `since` is UTC, `ready` in seconds.

    `colour` is the side that it runs on, empty where there are no sides. `irreversible` are the jobs that cannot be
    undone and ran after the commit before, `overrides` the refusals that were overridden.
    """

    identity: Identity
    since: str
    hashes: t.Mapping[str, Hashes]
    ready: t.Mapping[str, float]
    colour: str = ""
    irreversible: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why the last run did not commit."""

    at: str
    release: str
    reason: str
    message: str


@dataclass(frozen=True)
class Journal:
    """The whole journal; see the module's text for its fields."""

    stack: str
    key: str
    phase: Phase = "idle"
    candidate: Identity | None = None
    colour: str = ""
    committed: Commit | None = None
    history: tuple[Commit, ...] = ()
    failure: Failure | None = None

    def entering(self, phase: Phase, candidate: Identity, colour: str = "") -> Journal:
        return dataclasses.replace(self, phase=phase, candidate=candidate, colour=colour)

    def settled(self, failure: Failure | None = None) -> Journal:
        return dataclasses.replace(self, phase="idle", candidate=None, colour="", failure=failure)

    def committing(self, commit: Commit, keep: int, retire: bool = False) -> Journal:
        """Return the journal after a commit, with `keep` releases in all; `retire`: something is left to remove."""
        commit, *others = _each_once([commit, *self.commits])
        phase: Phase = "retire" if retire else "idle"
        return dataclasses.replace(
            self.settled(), phase=phase, committed=commit, history=tuple(others[: max(keep - 1, 0)])
        )

    def moves(self, colour: str) -> bool:
        """Whether a release on this side, or on none, takes the place of one that is run the other way."""
        return self.committed is not None and bool(self.committed.colour) != bool(colour)

    def removed(self) -> Journal:
        """Return the journal of a stack that runs no more but may come back."""
        return dataclasses.replace(self.settled(), committed=None, history=self.commits)

    @property
    def commits(self) -> tuple[Commit, ...]:
        """What was committed, the latest first."""
        return (*((self.committed,) if self.committed else ()), *self.history)

    @property
    def kept(self) -> tuple[Identity, ...]:
        """Whatever a run may still need, this one or a later one."""
        return (*(commit.identity for commit in self.commits), *((self.candidate,) if self.candidate else ()))


def _each_once(commits: t.Sequence[Commit]) -> list[Commit]:
    """Return the commits without older ones of the same release and settings.

    What the jobs of such an older one did is in the data since before the next commit, which is told of it.
    """
    kept: list[Commit] = []
    for one in commits:
        if all(one.identity != other.identity for other in kept):
            kept.append(one)
            continue
        jobs = dict.fromkeys((*kept[-1].irreversible, *one.irreversible))
        kept[-1] = dataclasses.replace(kept[-1], irreversible=tuple(jobs))
    return kept


def encode_journal(journal: Journal) -> bytes:
    data = {
        "schema": _SCHEMA,
        "stack": journal.stack,
        "key": journal.key,
        "phase": journal.phase,
        "candidate": None if journal.candidate is None else dataclasses.asdict(journal.candidate),
        "colour": journal.colour,
        "committed": None if journal.committed is None else _plain(journal.committed),
        "history": [_plain(commit) for commit in journal.history],
        "failure": None if journal.failure is None else dataclasses.asdict(journal.failure),
    }
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_journal(content: bytes, path: str) -> Journal | None:
    """Read a journal; None when it is none (torn, edited by hand).

    Raises:
        ReleaseError: a newer version of the collection wrote it.
    """
    try:
        data = json.loads(content)
        schema = data["schema"]
        if isinstance(schema, int) and schema > _SCHEMA:
            raise ReleaseError(
                f"{path} has schema {schema}, this version of emorobcare.fleet reads up to {_SCHEMA}; deploy with the "
                "version that wrote it, or a newer one. Nothing was touched",
                reason="journal_newer",
            )
        bytes.fromhex(data["key"])
        return Journal(
            stack=data["stack"],
            key=data["key"],
            phase=_PHASES_OF_1.get(data["phase"], data["phase"]),
            candidate=None if data["candidate"] is None else Identity(**data["candidate"]),
            colour=data.get("colour", ""),
            committed=None if data["committed"] is None else _commit(data["committed"]),
            history=tuple(_commit(item) for item in data["history"]),
            failure=None if data["failure"] is None else Failure(**data["failure"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _plain(commit: Commit) -> dict[str, t.Any]:
    return {
        **dataclasses.asdict(commit.identity),
        "since": commit.since,
        "hashes": {name: [hashes.predicted, hashes.actual] for name, hashes in commit.hashes.items()},
        "ready": dict(commit.ready),
        "colour": commit.colour,
        "irreversible": list(commit.irreversible),
        "overrides": list(commit.overrides),
    }


def _commit(data: t.Mapping[str, t.Any]) -> Commit:
    return Commit(
        identity=Identity(data["release"], data["settings"]),
        since=data["since"],
        hashes={name: Hashes(*pair) for name, pair in data["hashes"].items()},
        ready=dict(data["ready"]),
        colour=data.get("colour", ""),
        irreversible=tuple(data.get("irreversible", ())),
        overrides=tuple(data.get("overrides", ())),
    )
