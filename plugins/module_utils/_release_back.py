# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The way back to what is committed: after a failure, and after a run that did not end.

All that it needs is on the host: the release's folder, its settings, its images and models, and the journal.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import must
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import read_bodies
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate, recall
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import Before, now, pass_gate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import prune, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_ingress import Door
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import (
    Failure,
    Journal,
    Phase,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import other
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import (
    all_projects,
    clear,
    left_over,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stand import (
    attach_data,
    stand_data,
    stand_side,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker


class Books:
    """The journal of a run, as it is on the disk."""

    def __init__(self, site: Site, journal: Journal) -> None:
        self.site, self.journal = site, journal

    def save(self, journal: Journal) -> None:
        self.journal = save_journal(self.site.places, journal)

    def save_if_possible(self, journal: Journal) -> None:
        """Save on the way back, which a full disk must not stop: what is saved says that much already."""
        with contextlib.suppress(ReleaseError):
            self.save(journal)

    def enter(self, phase: Phase, candidate: Candidate) -> None:
        self.save(self.journal.entering(phase, candidate.identity, candidate.stage.colour or ""))

    def close(self, failure: Failure, settled: bool, prune: bool) -> None:
        """Note why the run failed; unless `settled`, the journal keeps saying so until a run comes to a commit."""
        journal = self.journal
        self.save_if_possible(journal.settled(failure) if settled else replace(journal, failure=failure))
        if prune:
            self.prune()

    def prune(self) -> None:
        try:
            prune(self.site.places, self.journal)
        except OSError as exc:
            self.site.warn(f"what no release needs any more could not be removed: {exc}")


@dataclass(frozen=True)
class Back:
    """How going back ended: the release that the host is on again, a sentence for people, whether it is at rest."""

    release: str | None
    note: str
    settled: bool = True


def go_back(books: Books, candidate: Candidate | None, unknown: bool, mask: Masker) -> Back:
    """Bring the host to what is committed.

    Args:
        candidate: what failed; None where a run was cut off and nothing but the journal tells of it.
        unknown: containers were there that no journal tells of.
    """
    try:
        return _go_back(books, candidate, unknown, mask)
    except ReleaseError as exc:
        # The journal goes on saying that something is under way.
        return Back(None, f"Going back failed too: {exc}. The next run tries again", settled=False)


def clear_rest(site: Site, stages: t.Iterable[Candidate], ingress: bool) -> None:
    """Take down every project of the stack that is none of the stages'.

    Raises:
        ReleaseError: something could not be removed.
    """
    clear(site.docker, left_over(site.docker, site.places.stack, [one.stage for one in stages], ingress))


def retire(site: Site, serving: Candidate) -> None:
    """Remove all that runs of the stack besides this release.

    Raises:
        ReleaseError: something could not be removed, or the ingress does not answer.
    """
    colour = serving.stage.colour
    if colour:
        door = Door(site, serving.release.stack)
        door.stand_before([serving], colour)
        door.drain(other(colour), serving.release.rollout.drain)  # what an earlier configuration had still open
    clear_rest(site, [serving], ingress=bool(colour))
    _remove_strays(site, serving)


def _remove_strays(site: Site, serving: Candidate) -> None:
    """Remove stateful services that the release has no more: until now the old side used them. Their volumes stay."""
    if serving.stage.data is None:
        return
    found = look(site.docker, serving.stage.data.project)
    strays = [one.id for one in found if one.service not in serving.stateful]
    if strays:
        must(site.docker.ask(["docker", "container", "rm", "--force", "--", *strays]), "docker container rm")


def recover(site: Site, journal: Journal, mask: Masker) -> tuple[Journal, Back]:
    """End what a run began that did not end itself: at boot, and before the next run.

    Returns:
        The journal as it is then, and what happened.

    Raises:
        ReleaseError: the engine does not answer.
    """
    books = Books(site, journal)
    committed = journal.committed
    if journal.phase in ("idle", "removing"):
        return journal, Back(committed.identity.release if committed else None, "Nothing was under way")
    if journal.phase == "retire" and committed is not None:
        retire(site, recall(site, committed))
        books.save(journal.settled())
        books.prune()
        return books.journal, Back(committed.identity.release, f"Release {committed.identity.release[:12]} stays")
    under_way = journal.candidate.release if journal.candidate else ""
    back = go_back(books, None, False, mask)
    message = f"the run was cut off in step {journal.phase}. {back.note}"
    books.close(Failure(now(), under_way, "interrupted", message), back.settled, prune=True)
    return books.journal, back


def _go_back(books: Books, candidate: Candidate | None, unknown: bool, mask: Masker) -> Back:
    site, journal = books.site, books.journal
    committed = journal.committed
    if unknown:
        return Back(None, "Its containers are left as they are: no journal tells what ran here before")
    books.save_if_possible(replace(journal, phase="going_back"))
    if committed is None:
        clear(site.docker, all_projects(journal.stack))
        return Back(None, "Nothing was committed before, so its containers were removed (volumes are kept)")
    if candidate and committed.identity == candidate.identity and committed.colour == (candidate.stage.colour or ""):
        return Back(None, "It is what was committed before, so its containers are left as they are")
    serving = recall(site, committed)
    _return_to(site, serving.without(serving.release.rollout.irreversible), mask)
    release = committed.identity.release
    with_settings = " with its settings" if candidate and release == candidate.release.id else ""
    return Back(release, f"The host is back on release {release[:12]}{with_settings}, which passed its gate")


def _return_to(site: Site, serving: Candidate, mask: Masker) -> None:
    """Bring up a committed release again, with the settings that it had, and gate it."""
    colour = serving.stage.colour
    door = Door(site, serving.release.stack)
    if colour:
        if door.turn_if_there(colour):  # first of all: its side may be up as it was
            door.drain(other(colour), serving.release.rollout.drain)
        clear_rest(site, [serving], ingress=True)
    else:
        clear_rest(site, [serving], ingress=False)
    before = Before(look(site.docker, *serving.stage.projects))
    stand_data(site, serving, before, mask)
    if _side_is_down(site, serving):
        stand_side(site, serving, before, mask)
    else:
        attach_data(site.docker, serving.stage)
    if colour:
        door.stand_before([serving], colour)
    bodies = read_bodies(serving.gate.services, site.places.release(serving.release.id))
    pass_gate(site.docker, serving.stage.projects, serving.gate, bodies, before, mask)


def _side_is_down(site: Site, serving: Candidate) -> bool:
    """Whether the side must be brought up: always where there is one project, which the candidate has replaced.

    An old side that stands is left alone: bringing it up would run its jobs again.
    """
    if serving.stage.colour is None:
        return True
    jobs = {name for name, lifecycle in serving.release.lifecycles.items() if lifecycle == "job"}
    found = look(site.docker, serving.stage.side.project)
    standing = {one.service for one in found if one.running and one.config_hash == serving.hashes.get(one.service)}
    return not set(serving.hashes) - serving.stateful - jobs <= standing
