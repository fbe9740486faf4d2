# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Carry a release through its steps to the commit, or back. Each step is in the journal before it is done."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import ready_seconds
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import GateRun, read_bodies
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_back import Books, clear_rest, go_back, retire
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate, recall
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import Before, hold_gate, now, pass_gate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_ingress import Door
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Failure, Journal, Step
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import Colour, colour_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import (
    Prepared,
    Site,
    keep_given_secrets,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_snapshot import take_snapshots
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stand import attach_data, stand_data, stand_side
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker


class Activation:
    """One run's way from a candidate to a commit; the state is the journal, as it is on the disk."""

    def __init__(self, site: Site, journal: Journal, before: tuple[Container, ...], mask: Masker) -> None:
        self._site, self._mask = site, mask
        self._books = Books(site, journal)
        self._interrupted = journal.phase != "idle"
        self._unknown = journal.committed is None and not self._interrupted and bool(before)
        self._before = Before(before)
        self._since = time.time()
        self._touched = self._interrupted
        self._snapshots: tuple[str, ...] = ()
        self._begun: tuple[str, ...] = ()

    @property
    def journal(self) -> Journal:
        return self._books.journal

    def carry_out(
        self, candidate: Candidate, plan: Plan, prepared: Prepared | None, keep: int, overrides: t.Sequence[str] = ()
    ) -> GateRun:
        """Bring the candidate up where the plan says so, gate it and commit it.

        Args:
            prepared: has the secrets of the task, which the host keeps once they have proven good.

        Raises:
            ReleaseError: it failed; the host is back on what was committed before, or the message says why not.
        """
        changing = plan.act or plan.commit
        try:
            if plan.act:
                self._bring_up(candidate, plan)
            if changing and candidate.stage.colour:
                # Before the gate: its own checks of the new side are done when the gate has passed.
                self._door(candidate).stand_before(self._sides(candidate), self._live())
            if changing:
                self._enter("gate", candidate)
            run = pass_gate(self._site.docker, *self._checks(candidate), self._before, self._mask)
            if changing:
                self._turn(candidate)
                self._soak(candidate)
                if prepared is not None:
                    keep_given_secrets(self._site.places, prepared)
                commit = self._commit(candidate, plan, run, overrides)
                self._books.save(self.journal.committing(commit, keep, retire=True))
        except ReleaseError as exc:
            raise self._failed(candidate, exc) from None
        if changing:
            self._retire(candidate)
        return run

    def _enter(self, step: Step, candidate: Candidate) -> None:
        self._books.enter(step, candidate)

    def _bring_up(self, candidate: Candidate, plan: Plan) -> None:
        site, stage = self._site, candidate.stage
        if take := plan.snapshots(candidate.release.rollout):
            self._enter("snapshot", candidate)
            self._snapshots = take_snapshots(
                site.docker, self._before.containers, candidate.release.rollout, take, self._mask
            )
        self._touched = True
        self._make_room(candidate)
        if stage.data and plan.acts_on(candidate.stateful):
            self._enter("data", candidate)
            stand_data(site, candidate, self._before, self._mask)
            committed = self.journal.committed
            if committed and committed.colour and committed.colour != stage.colour:
                attach_data(site.docker, recall(site, committed).stage)  # the old side serves on
        self._enter("candidate", candidate)
        if not stage.colour or plan.acts_on(frozenset(candidate.hashes) - candidate.stateful):
            self._begun = self._ran(candidate, plan)
            stand_side(site, candidate, self._before, self._mask)
        else:
            attach_data(site.docker, stage)

    def _make_room(self, candidate: Candidate) -> None:
        """Take down what cannot be there beside the candidate: a stack that had no sides, or that is to have none."""
        if self.journal.moves(candidate.stage.colour or ""):
            self._enter("data", candidate)
            clear_rest(self._site, [candidate], ingress=bool(candidate.stage.colour))

    def _checks(self, candidate: Candidate) -> tuple[t.Sequence[str], t.Any, t.Mapping[str, bytes]]:
        bodies = read_bodies(candidate.gate.services, self._site.places.release(candidate.release.id))
        return candidate.stage.projects, candidate.gate, bodies

    def _turn(self, candidate: Candidate) -> None:
        """Let the ingress serve the candidate, and the old side end what it began."""
        colour, live = candidate.stage.colour, self._live()
        if colour is None or colour == live:
            return
        door = self._door(candidate)
        self._enter("switch", candidate)
        door.turn(colour, candidate.gate.timeout)
        if live:
            self._enter("drain", candidate)
            door.drain(live, candidate.release.rollout.drain)

    def _soak(self, candidate: Candidate) -> None:
        seconds, committed = candidate.release.rollout.soak, self.journal.committed
        stays = committed and (committed.identity, committed.colour) == (
            candidate.identity,
            candidate.stage.colour or "",
        )
        if seconds > 0 and not stays:  # what was only repaired has had its soak, and could go back to nothing
            self._enter("soak", candidate)
            hold_gate(self._site.docker, *self._checks(candidate), seconds, self._mask)

    def _live(self) -> Colour | None:
        """Return the side that serves."""
        return colour_of(self.journal.committed.colour) if self.journal.committed else None

    def _sides(self, candidate: Candidate) -> list[Candidate]:
        committed = self.journal.committed
        beside = committed is not None and committed.colour and committed.colour != candidate.stage.colour
        return [*([recall(self._site, committed)] if committed and beside else []), candidate]

    def _door(self, candidate: Candidate) -> Door:
        return Door(self._site, candidate.release.stack)

    def _retire(self, candidate: Candidate) -> None:
        """Remove what the commit has made needless; whatever fails here is tried again by the next run."""
        try:
            retire(self._site, candidate)
            self._books.save(self.journal.settled())
        except ReleaseError as exc:
            self._site.warn(f"the release is committed, but what it replaced could not be removed: {exc}")
        self._books.prune()

    def _commit(self, candidate: Candidate, plan: Plan, run: GateRun, overrides: t.Sequence[str]) -> Commit:
        lifecycles = candidate.release.lifecycles
        jobs = [name for name, lifecycle in lifecycles.items() if lifecycle == "job"]
        earlier = self.journal.committed.ready if self.journal.committed else {}
        ready = {**earlier, **ready_seconds(run.rounds, run.containers, self._since, jobs)}
        actual = {container.service: container.config_hash for container in run.containers}
        return Commit(
            identity=candidate.identity,
            since=now(),
            hashes={name: Hashes(one, actual.get(name, one)) for name, one in sorted(candidate.hashes.items())},
            ready={name: seconds for name, seconds in sorted(ready.items()) if name in candidate.hashes},
            colour=candidate.stage.colour or "",
            irreversible=self._ran(candidate, plan),
            overrides=tuple(overrides),
        )

    def _ran(self, candidate: Candidate, plan: Plan) -> tuple[str, ...]:
        """Return the jobs that cannot be undone and ran; a run that was cut off may have run them before this one."""
        jobs = [name for name in candidate.release.rollout.irreversible if name in candidate.hashes]
        return tuple(jobs) if self._interrupted else plan.runs(jobs)

    def _left_behind(self) -> str:
        """Return a sentence on what going back does not mend, empty when there is nothing."""
        if not self._begun:
            return ""
        saved = ""
        if self._snapshots:
            saved = f": the snapshot of {', '.join(self._snapshots)}, taken before, holds what was there"
        elif not self._interrupted:
            saved = ": no snapshot was taken before"
        return f". What {', '.join(self._begun)} did to the data cannot be undone, and may be there still{saved}"

    def _failed(self, candidate: Candidate, exc: ReleaseError) -> ReleaseError:
        """Go back as far as something was touched; return the error that tells all of it."""
        failure = Failure(now(), candidate.release.id, exc.reason, str(exc))
        log = exc.details.get("log") or []
        back = go_back(self._books, candidate, self._unknown, self._mask) if self._touched else None
        self._books.close(failure, settled=back is None or back.settled, prune=not self._unknown)
        tail = "".join(f"\n  {line}" for line in log)
        note = (back.note if back else "No container was touched") + self._left_behind()
        return ReleaseError(
            f"release {candidate.release.id[:12]} was not committed: {exc}. {note}."
            + (f" Last lines of its log:{tail}" if tail else ""),
            reason=exc.reason,
            **exc.details,
            rolled_back_to=back.release if back else None,
            changed=self._touched,
        )
