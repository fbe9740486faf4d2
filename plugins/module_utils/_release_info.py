# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a host says of a stack: from its journal, its release documents and its containers. Pure."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import INGRESS, project_of

Document = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Seen:
    """What was found of a stack.

    `journal` is None where none can be read, for the reason that `problem` gives. `containers` is None where the engine
    does not answer. `documents` are those of the releases that can be read, by id. `working`: a run is at work.
    """

    stack: str
    journal: Journal | None
    problem: Document | None = None
    containers: tuple[Container, ...] | None = None
    documents: t.Mapping[str, Document] = field(default_factory=dict)
    working: bool = False


def report(seen: Seen) -> dict[str, t.Any]:
    """Return what is known of a stack, for people and programs; what is not known is None."""
    journal = seen.journal
    committed = journal.committed if journal else None
    document = seen.documents.get(committed.identity.release, {}) if committed else {}
    failure = journal.failure if journal else None
    return {
        "stack": seen.stack,
        "problem": dict(seen.problem) if seen.problem else None,
        "working": seen.working,
        "phase": journal.phase if journal else None,
        "candidate": journal.candidate.release if journal and journal.candidate else None,
        "release": committed.identity.release if committed else None,
        "environment": document.get("environment"),
        "since": committed.since if committed else None,
        "colour": (committed.colour or None) if committed else None,
        "overrides": list(committed.overrides) if committed else [],
        "services": _services(seen, committed, document),
        "gate": _gate(committed),
        "kept": [_kept(commit, seen.documents) for commit in (journal.history if journal else ())],
        "failure": dataclasses.asdict(failure) if failure else None,
    }


def _services(seen: Seen, committed: Commit | None, document: Document) -> list[dict[str, t.Any]]:
    """Return a row for each container, and for each service that should have one and has none."""
    if seen.containers is None:
        return []
    known: Document = document.get("services") or {}
    rows = [_row(seen.stack, one, known) for one in seen.containers]
    there = {row["service"] for row in rows if row["side"] in ("", "data", committed.colour if committed else "")}
    missing = sorted(set(committed.hashes) - there) if committed else []
    rows += [
        {
            "service": name,
            "side": None,
            "lifecycle": (known.get(name) or {}).get("lifecycle"),
            "state": "absent",
            "health": None,
            "restarts": 0,
            "exit_code": None,
            "since": None,
        }
        for name in missing
    ]
    return sorted(rows, key=lambda row: (row["service"], row["side"] or ""))


def _row(stack: str, container: Container, known: Document) -> dict[str, t.Any]:
    side = container.project[len(stack) + 1 :] if container.project.startswith(f"{stack}-") else ""
    ingress = container.project == project_of(stack, INGRESS)
    return {
        "service": container.service,
        "side": side,
        "lifecycle": "ingress" if ingress else (known.get(container.service) or {}).get("lifecycle"),
        "state": container.status,
        "health": container.health or None,
        "restarts": container.restarts,
        "exit_code": container.exit_code if container.status in ("exited", "dead") else None,
        "since": (container.started_at if container.running else container.finished_at) or None,
    }


def _gate(committed: Commit | None) -> dict[str, t.Any] | None:
    """Return when the last gate passed, and how many seconds the slowest service needed, as far as that is known."""
    if committed is None:
        return None
    return {"since": committed.since, "seconds": max(committed.ready.values(), default=None)}


def _kept(commit: Commit, documents: t.Mapping[str, Document]) -> dict[str, t.Any]:
    release = commit.identity.release
    return {
        "release": release,
        "environment": documents.get(release, {}).get("environment"),
        "since": commit.since,
        "irreversible": list(commit.irreversible),
        "complete": release in documents,
    }
