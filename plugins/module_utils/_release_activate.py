# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carry a release through activation and gate to its commit, or back. Each step is in the journal before it is done."""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import ready_seconds
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import GateRun, read_bodies
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    DOCUMENT,
    Release,
    parse_document,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import (
    Before,
    bring_up,
    now,
    pass_gate,
    recreate_first,
    take_down,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import prune, read_file, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Failure, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity, Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import (
    Prepared,
    Site,
    keep_given_secrets,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker


@dataclass(frozen=True)
class Candidate:
    """A release that is ready to be activated: everything that it needs is on the host.

    `hashes`: what Compose predicts for each service that is to run. `stale`: services to recreate although Compose
    sees no difference.
    """

    identity: Identity
    release: Release
    compose: Compose
    hashes: t.Mapping[str, str]
    stale: frozenset[str] = frozenset()


class Activation:
    """One run's way from a candidate to a commit; the state is the journal, as it is on the disk."""

    def __init__(self, site: Site, journal: Journal, before: tuple[Container, ...], mask: Masker) -> None:
        self._site, self._mask = site, mask
        self._journal = journal
        self._interrupted = journal.phase != "idle"
        self._unknown = journal.committed is None and not self._interrupted and bool(before)
        self._before = Before(before)
        self._since = time.time()

    def carry_out(self, candidate: Candidate, plan: Plan, prepared: Prepared, keep: int) -> GateRun:
        """Bring the candidate up where the plan says so, gate it and commit it.

        Raises:
            ReleaseError: it failed; the host is back on what was committed before, or the message says why not.
        """
        gate = candidate.release.gate_of(candidate.hashes)
        changing = plan.act or plan.commit
        try:
            if plan.act:
                self._enter("activating", candidate)
                recreate_first(self._site.docker, candidate.compose, candidate.stale)
                bring_up(self._site.docker, candidate.compose, gate, self._before, self._mask)
            if changing:
                self._enter("gating", candidate)
            folder = self._site.places.release(candidate.release.id)
            bodies = read_bodies(gate.services, folder)
            run = pass_gate(self._site.docker, [candidate.release.stack], gate, bodies, self._before, self._mask)
            if changing:
                keep_given_secrets(self._site.places, prepared)
                self._save(self._journal.committing(self._commit(candidate, run), keep))
        except ReleaseError as exc:
            raise self._failed(candidate, exc, plan.act or self._interrupted) from None
        if changing:
            self._prune()
        return run

    @property
    def journal(self) -> Journal:
        return self._journal

    def _save(self, journal: Journal) -> None:
        self._journal = save_journal(self._site.places, journal)

    def _save_if_possible(self, journal: Journal) -> None:
        """Save the journal on the way back, which a full disk must not stop: what is saved says that much already."""
        with contextlib.suppress(ReleaseError):
            self._save(journal)

    def _prune(self) -> None:
        try:
            prune(self._site.places, self._journal)
        except OSError as exc:
            self._site.warn(f"what no release needs any more could not be removed: {exc}")

    def _enter(self, phase: t.Literal["activating", "gating"], candidate: Candidate) -> None:
        self._save(self._journal.entering(phase, candidate.identity))

    def _commit(self, candidate: Candidate, run: GateRun) -> Commit:
        lifecycles = candidate.release.lifecycles
        jobs = [name for name, lifecycle in lifecycles.items() if lifecycle == "job"]
        earlier = self._journal.committed.ready if self._journal.committed else {}
        ready = {**earlier, **ready_seconds(run.rounds, run.containers, self._since, jobs)}
        actual = {container.service: container.config_hash for container in run.containers}
        return Commit(
            identity=candidate.identity,
            since=now(),
            hashes={name: Hashes(one, actual.get(name, one)) for name, one in sorted(candidate.hashes.items())},
            ready={name: seconds for name, seconds in sorted(ready.items()) if name in candidate.hashes},
        )

    def _failed(self, candidate: Candidate, exc: ReleaseError, touched: bool) -> ReleaseError:
        """Go back as far as something was touched; return the error that tells all of it."""
        failure = Failure(now(), candidate.release.id, exc.reason, str(exc))
        rolled_back_to, settled = None, True
        try:
            rolled_back_to, note = self._go_back(candidate) if touched else (None, "No container was touched")
        except ReleaseError as second:
            settled = False  # the journal keeps saying so until a run brings the host to a commit
            note = f"Going back failed too: {second}. The next run tries again"
        self._save_if_possible(self._journal.settled(failure) if settled else replace(self._journal, failure=failure))
        if not self._unknown:  # else what was there before may still need what no journal tells of
            self._prune()
        log = exc.details.get("log") or []
        tail = "".join(f"\n  {line}" for line in log)
        return ReleaseError(
            f"release {candidate.release.id[:12]} was not committed: {exc}. {note}."
            + (f" Last lines of its log:{tail}" if tail else ""),
            reason=exc.reason,
            **exc.details,
            rolled_back_to=rolled_back_to,
            changed=touched,
        )

    def _go_back(self, candidate: Candidate) -> tuple[str | None, str]:
        """Bring the host to what was committed; return its release and a sentence about it."""
        committed = self._journal.committed
        if self._unknown:
            return None, "Its containers are left as they are: no journal tells what ran here before"
        if committed is None:
            self._save_if_possible(self._journal.entering("going_back", candidate.identity))
            take_down(self._site.docker, candidate.release.stack)
            return None, "Nothing was committed before, so its containers were removed (volumes are kept)"
        if committed.identity == candidate.identity:
            return None, "It is what was committed before, so its containers are left as they are"
        self._save_if_possible(self._journal.entering("going_back", candidate.identity))
        self._return_to(committed)
        release = committed.identity.release
        with_settings = " with its settings" if release == candidate.release.id else ""
        return release, f"The host is back on release {release[:12]}{with_settings}, which passed its gate"

    def _return_to(self, commit: Commit) -> None:
        """Bring up a committed release again, with the settings that it had, and gate it."""
        places, docker = self._site.places, self._site.docker
        folder = places.release(commit.identity.release)
        needed = [os.path.join(folder, DOCUMENT), places.env_file(commit.identity), places.override(commit.identity)]
        gone = [path for path in needed if read_file(path) is None]
        if gone:
            raise ReleaseError(f"{gone[0]} of the committed release is gone", reason="activation_failed")
        release = parse_document(json.loads(read_file(needed[0]) or b"{}"), commit.identity.release)
        files = tuple(os.path.join(folder, name) for name in release.compose)
        compose = Compose(release.stack, folder, needed[1], (*files, needed[2]))
        gate = release.gate_of(commit.hashes)
        before = Before(look(docker, release.stack))
        bring_up(docker, compose, gate, before, self._mask)
        pass_gate(docker, [release.stack], gate, read_bodies(gate.services, folder), before, self._mask)
