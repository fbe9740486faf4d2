# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Go back to a release that was committed on this host before, with the settings that it had. Needs no network."""

from __future__ import annotations

import functools
import itertools
import os
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_activate import Activation
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_back import recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import (
    Candidate,
    recall,
    refuse_no_room_beside,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import parse_project
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import image_ids
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import (
    folder_is_intact,
    load_journal,
    missing_models,
    read_file,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import colour_of, other
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Found, Plan, Wanted, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site, secret_values
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rows import gap, steps
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import interpolate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import all_projects
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

_MOUNTED_FILE = re.compile(rb'"file": "([^"]+)"')


def choose(journal: Journal, wanted: str | None) -> Commit:
    """Return the commit to go back to: the one before the last, or the latest of a release by the start of its id.

    Raises:
        ReleaseError: there is none (`release_gone`); the message lists those that there are.
    """
    commits = journal.commits
    chosen = journal.history[:1] if wanted is None else [one for one in commits if _is_called(one, wanted)]
    if chosen:
        return chosen[0]
    kept = ", ".join(f"{one.identity.release[:12]} ({one.since})" for one in commits) or "none"
    what = "no earlier release" if wanted is None else f"no release {wanted!r}"
    raise ReleaseError(
        f"this host kept {what} of stack {journal.stack}; kept are: {kept}. Deploy one from the controller instead",
        reason="release_gone",
    )


def losses(journal: Journal, target: Commit) -> tuple[str, ...]:
    """Return the jobs that cannot be undone and ran since the target was committed."""
    later = itertools.takewhile(lambda one: one != target, journal.commits)
    return tuple(dict.fromkeys(job for one in later for job in one.irreversible))


def roll_back(
    site: Site, wanted: str | None, accept_loss: bool, keep: int, overrides: t.Collection[str] = ()
) -> dict[str, t.Any]:
    """Go back to a kept release.

    Raises:
        ReleaseError: there is none, something that it needs is gone (`release_gone`), it would lose what a job did
            (`irreversible`), its side has no room (`no_memory`), or it does not pass its gate; then the host stays on
            what was committed.
    """
    journal = load_journal(site.places, site.warn)
    mask = Masker(secret_values(site.places))
    cut_off = journal.phase not in ("idle", "removing")
    if cut_off and not site.check_mode:
        journal = recover(site, journal, mask)[0]
    target = choose(journal, wanted)
    result: dict[str, t.Any] = {
        "release": target.identity.release,
        "settings": target.identity.settings,
        "plan": [],
        "services": [],
        "gate": [],
        "gap": {"services": [], "seconds": 0.0},
        "colour": target.colour or None,
    }
    if target == journal.committed:
        return {**result, "changed": cut_off}
    _refuse_losses(losses(journal, target), accept_loss)
    candidate, plan = _look_ahead(site, journal, target)
    beside = plan.beside and journal.committed is not None and journal.committed.colour != ""
    overridden = refuse_no_room_beside(candidate, overrides) if beside else ()
    colour = candidate.stage.colour
    result = {**result, "changed": True, "plan": steps(plan), "gap": gap(plan, journal, colour), "colour": colour}
    if site.check_mode:
        return result
    containers = look(site.docker, *all_projects(journal.stack))
    activation = Activation(site, journal, containers, mask)
    run = activation.carry_out(candidate, plan, None, keep, overridden)
    committed = activation.journal.committed
    ready = committed.ready if committed else {}
    return {**result, "services": [_row(one, candidate, ready) for one in run.containers]}


def _row(container: Container, candidate: Candidate, ready: t.Mapping[str, float]) -> dict[str, t.Any]:
    """Return what a service of the release that came back is like, for people."""
    service, release = container.service, candidate.release
    url = release.urls.get(service)
    return {
        "service": service,
        "lifecycle": release.lifecycles.get(service),
        "state": container.status,
        "health": container.health or None,
        "url": interpolate(url, candidate.parameters) if url else None,
        "models": [],
        "ready_seconds": ready.get(service),
    }


def _is_called(commit: Commit, wanted: str) -> bool:
    return bool(wanted) and commit.identity.release.startswith(wanted)


def _refuse_losses(jobs: t.Sequence[str], accept_loss: bool) -> None:
    if jobs and not accept_loss:
        raise ReleaseError(
            f"since then {', '.join(jobs)} ran, and going back cannot undo what that did to the data: the older "
            "release would run on data that it may not understand, and what was written since is lost if you restore "
            "the snapshot that was taken before. If that is what you want, say accept_loss=true. Nothing was touched",
            reason="irreversible",
        )


def _look_ahead(site: Site, journal: Journal, target: Commit) -> tuple[Candidate, Plan]:
    """Return the target as a candidate on the side that does not serve, and what bringing it up takes."""
    kept = recall(site, target)
    live = colour_of(journal.committed.colour) if journal.committed else None
    project = parse_project(kept.config)
    images = image_ids(site.docker, [service.image for service in project.services])
    _refuse_gone(site, kept, target, [name for name, image in images.items() if image is None])
    sides = kept.stage.colour is not None
    colour = other(live) if sides else None
    path_of = functools.partial(site.places.part, target.identity)
    candidate = kept.on(colour, path_of).without(kept.release.rollout.irreversible)
    containers = look(site.docker, *candidate.stage.projects)
    wanted = Wanted(
        identity=target.identity,
        services=tuple(service for service in project.services if service.name in kept.hashes),
        lifecycles=kept.release.lifecycles,
        hashes=candidate.hashes,
        images=images,
        sides=sides,
        done=frozenset(kept.release.rollout.irreversible),
    )
    committed = journal.committed
    return candidate, make_plan(wanted, Found(containers, committed.identity if committed else None))


def _refuse_gone(site: Site, kept: Candidate, target: Commit, images: t.Sequence[str]) -> None:
    """Refuse before anything is touched when something that the release needs is gone."""
    gone = [f"image {name}" for name in sorted(images)]
    gone += missing_models(site.places, kept.release)
    if not folder_is_intact(site.places, kept.release):
        gone.append(f"its folder {site.places.release(kept.release.id)} as it was written")
    override = read_file(site.places.override(target.identity)) or b""
    mounted = [match.decode() for match in _MOUNTED_FILE.findall(override)]
    gone += [f"the secret's value {path}" for path in mounted if not os.path.exists(path)]
    if gone:
        raise ReleaseError(
            f"release {kept.release.id[:12]} cannot come back, because this host no longer has: {'; '.join(gone)}. "
            "Deploy it from the controller, which brings what is missing. Nothing was touched",
            reason="release_gone",
        )
