# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The journal of a stack on a host: what is committed, and what is being done right now.

It is written before what it says is done, atomically. Format 1, `state.json`, readable by root only:

    schema     1
    stack      name of the stack
    key        the host's random key for digests of settings, hex
    phase      idle; activating, gating, going_back, removing while something is under way
    candidate  {release, settings} while something is under way
    committed  the commit that the host is to run, or null
    history    earlier commits, the latest first
    failure    {at, release, reason, message} of the last run, null after a commit

A commit is {release, settings, since, hashes: {service: [predicted, actual]}, ready: {service: seconds}}.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity

_SCHEMA = 1

Phase = t.Literal["idle", "activating", "gating", "going_back", "removing"]


@dataclass(frozen=True)
class Commit:
    """A release that passed its gate; `since` is UTC, `ready` in seconds."""

    identity: Identity
    since: str
    hashes: t.Mapping[str, Hashes]
    ready: t.Mapping[str, float]


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
    committed: Commit | None = None
    history: tuple[Commit, ...] = ()
    failure: Failure | None = None

    def entering(self, phase: Phase, candidate: Identity) -> Journal:
        return dataclasses.replace(self, phase=phase, candidate=candidate)

    def settled(self, failure: Failure | None = None) -> Journal:
        return dataclasses.replace(self, phase="idle", candidate=None, failure=failure)

    def committing(self, commit: Commit, keep: int) -> Journal:
        """Return the journal after a commit, with `keep` releases in all."""
        earlier = (self.committed, *self.history) if self.committed else self.history
        others = [one for one in earlier if one is not None and one.identity != commit.identity]
        return dataclasses.replace(self.settled(), committed=commit, history=tuple(others[: max(keep - 1, 0)]))

    def removed(self) -> Journal:
        """Return the journal of a stack that runs no more but may come back."""
        history = (self.committed, *self.history) if self.committed else self.history
        return dataclasses.replace(self.settled(), committed=None, history=history)

    @property
    def kept(self) -> tuple[Identity, ...]:
        """Whatever a run may still need, this one or a later one."""
        commits = (*((self.committed,) if self.committed else ()), *self.history)
        return (*(commit.identity for commit in commits), *((self.candidate,) if self.candidate else ()))


def encode_journal(journal: Journal) -> bytes:
    data = {
        "schema": _SCHEMA,
        "stack": journal.stack,
        "key": journal.key,
        "phase": journal.phase,
        "candidate": None if journal.candidate is None else dataclasses.asdict(journal.candidate),
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
            phase=data["phase"],
            candidate=None if data["candidate"] is None else Identity(**data["candidate"]),
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
    }


def _commit(data: t.Mapping[str, t.Any]) -> Commit:
    return Commit(
        identity=Identity(data["release"], data["settings"]),
        since=data["since"],
        hashes={name: Hashes(*pair) for name, pair in data["hashes"].items()},
        ready=dict(data["ready"]),
    )
