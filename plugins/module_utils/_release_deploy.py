# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring a release to a host: look, refuse what cannot work, do nothing where nothing differs, else act.

Whatever is killed on the way is in the journal, and finished by the next run.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import summarise
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import GateRun
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_activate import Activation
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_back import recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_busy import wait_until_free
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import (
    Candidate,
    gone_files,
    refuse_no_room_beside,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import mounts_from
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Release
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import docker_root
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import load_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_ingress import (
    Door,
    ingress_of,
    ingress_ports,
    refuse_bad_routes,
    refuse_missing_certificate,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import colour_of, other
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import (
    Found,
    Plan,
    Wanted,
    describe,
    first_plan,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import (
    Layout,
    Prepared,
    Request,
    Sight,
    Site,
    keep_given_secrets,
    laid_out,
    look_at,
    prepare,
    refuse_missing_images,
    refuse_missing_library,
    refuse_missing_models,
    refuse_ports,
    write_mounted_secrets,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_room import (
    LEAST_FOR_DOCKER,
    LEAST_FOR_US,
    refuse_disk,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rows import gap, steps
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_settings import interpolate
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

Result = dict[str, t.Any]


@dataclass(frozen=True)
class Outlook:
    """What a run found and is going to do; `pending` is what check mode misses and a real run would have.

    `serving` are the containers of the stage that serves, `overridden` the refusals that were not made.
    """

    sight: Sight
    serving: tuple[Container, ...]
    candidate: Candidate
    found: Found
    plan: Plan
    pending: tuple[str, ...]
    overridden: tuple[str, ...]


def deploy(site: Site, request: Request) -> Result:
    """Bring the host to the release; in check mode, tell what that would take.

    Raises:
        ReleaseError: with the reason, and as details what a user needs to know besides.
    """
    known = os.path.lexists(site.places.journal)
    journal = load_journal(site.places, site.warn)
    prepared = prepare(site.places, request, journal.key)
    pending = [*refuse_missing_library(site, request.release), *refuse_missing_models(site, request.release)]
    try:
        settled = _end_what_was_cut_off(site, journal, prepared, pending)
        ended = settled is not journal
        if ended:
            journal, prepared = settled, prepare(site.places, request, journal.key)  # its folder may have gone with it
        outlook = _look_ahead(site, request, prepared, journal, pending)
        overrides = outlook.overridden
        if outlook.plan.act and not site.check_mode:
            overrides += _wait_until_free(site, request, outlook, journal, prepared.mask)
    except ReleaseError as exc:
        if site.check_mode and exc.reason == "docker_unavailable":
            return _blind(request, journal, [*pending, str(exc)])
        raise ReleaseError(prepared.mask(str(exc)), reason=exc.reason, **exc.details) from None
    # A journal's key comes with it: until there is one, nothing can be called by its digest.
    identity = prepared.identity if known or not site.check_mode else replace(prepared.identity, settings="new")
    plan, sight = outlook.plan, outlook.sight
    result = {
        "release": identity.release,
        "settings": identity.settings,
        "services": _services(request, prepared, sight, outlook.serving, journal),
        "plan": steps(plan),
        "gap": gap(plan, journal, outlook.candidate.stage.colour),
        "diff": describe(plan, identity, outlook.found),
        "gate": [],
        "colour": outlook.candidate.stage.colour,
    }
    if site.check_mode:
        changed = plan.act or plan.commit or sight.wrote
        return {**result, "changed": changed, "pending": list(outlook.pending)}
    wrote = write_mounted_secrets(site.places, prepared, sight) or sight.wrote or ended
    if plan.settled:
        return {**result, "changed": keep_given_secrets(site.places, prepared) or wrote}
    activation = Activation(site, journal, sight.containers, prepared.mask)
    run = activation.carry_out(outlook.candidate, plan, prepared, request.keep, overrides)
    return {
        **result,
        "changed": plan.act or plan.commit or wrote,
        "services": _services(request, prepared, sight, run.containers, activation.journal),
        "gate": _checks(run),
    }


def _end_what_was_cut_off(site: Site, journal: Journal, prepared: Prepared, pending: list[str]) -> Journal:
    """End an earlier run that did not end itself, where there are sides: its candidate goes, or the old side does.

    Without sides the candidate is what the release is brought up in place of, and this run goes on from there.
    """
    sides = bool(journal.colour or (journal.committed and journal.committed.colour))
    if journal.phase == "idle" or not sides:
        return journal
    if site.check_mode:
        pending.append(f"a run was cut off in step {journal.phase}; this one would end that first")
        return journal
    return recover(site, journal, prepared.mask)[0]


def _look_ahead(
    site: Site, request: Request, prepared: Prepared, journal: Journal, pending: t.Sequence[str]
) -> Outlook:
    """Look at the host, refuse what cannot work, and plan."""
    release = request.release
    live = colour_of(journal.committed.colour) if journal.committed else None
    with laid_out(site, request, prepared) as layout:
        sight = look_at(site, release, layout, prepared, live)
        for warning in sight.warnings:
            site.warn(f"docker compose: {warning}")
        sight, missing = refuse_missing_images(site, release, sight)
        serving = tuple(one for one in sight.containers if one.project in sight.stage.projects)
        found = _found(journal, serving)
        stale = _stale(prepared, layout, sight)
        done = _done(journal, prepared, release)
        running = sight.project.running
        hashes = {name: one for name, one in sight.hashes.items() if name in running}
        candidate = Candidate(
            identity=prepared.identity,
            release=release,
            compose=layout.whole,
            config=sight.config,
            stage=sight.stage,
            hashes=hashes,
            stale=stale,
            parameters=prepared.settings.parameters,
            secrets=prepared.secrets,
        )
        plan = make_plan(_wanted(request, prepared, sight, stale, done), found)
        ingress = ingress_of(candidate) if sight.stage.colour else None
        if ingress:
            plan = plan.with_step(Door(site, release.stack).step(ingress, os.path.dirname(layout.override)))
            refuse_missing_certificate(ingress, candidate)
            refuse_bad_routes(ingress, candidate)
        overridden: tuple[str, ...] = ()
        if plan.act:
            _refuse_unknown(site, journal, sight)
            _refuse_no_way_back(site, journal, prepared)
            refuse_ports(site, release, sight, plan, prepared.settings, ingress_ports(ingress) if ingress else ())
            refuse_disk(site.places.root, LEAST_FOR_US)
            refuse_disk(docker_root(site.docker), LEAST_FOR_DOCKER)
        if plan.beside and live:
            candidate = candidate.on(other(live), layout.path_of)
            overridden = refuse_no_room_beside(candidate, request.overrides)
        if not plan.settled:
            candidate = candidate.without(done)
        return Outlook(sight, serving, candidate, found, plan, (*pending, *missing), overridden)


def _refuse_unknown(site: Site, journal: Journal, sight: Sight) -> None:
    """Refuse sides beside containers of which no journal tells: two databases could be at work on the same data.

    Raises:
        ReleaseError: with reason `journal_lost`.
    """
    if sight.stage.colour and journal.committed is None and journal.phase == "idle" and sight.containers:
        names = ", ".join(sorted(one.name for one in sight.containers))
        raise ReleaseError(
            f"containers of stack {journal.stack} are here ({names}), and {site.places.journal} does not tell what "
            "they are. Take the stack down, which keeps its data (state=absent, playbooks/down.yml); then run the same "
            "command again. Nothing was touched",
            reason="journal_lost",
        )


def _refuse_no_way_back(site: Site, journal: Journal, prepared: Prepared) -> None:
    """Refuse to replace a release that could not come back: something of it that the host kept is gone.

    Raises:
        ReleaseError: with reason `release_gone`.
    """
    committed = journal.committed
    gone = gone_files(site.places, committed.identity) if committed else []
    if committed and committed.identity != prepared.identity and gone:
        raise ReleaseError(
            f"{gone[0]} is gone, so that this host could not go back to release {committed.identity.release[:12]}, "
            "which it runs. Deploy that release once more, which brings it back, or take the stack down, which keeps "
            "its data (state=absent, playbooks/down.yml); then run the same command again. Nothing was touched",
            reason="release_gone",
        )


def _wait_until_free(site: Site, request: Request, outlook: Outlook, journal: Journal, mask: Masker) -> tuple[str, ...]:
    """Wait until the host may be disturbed; return the refusals that were overridden.

    Raises:
        ReleaseError: it is busy (`busy`).
    """
    busy = request.release.rollout.busy
    if busy is None or journal.committed is None:
        return ()
    if "busy" in request.overrides:
        return ("busy",)
    projects = outlook.sight.stage.projects
    timeout = request.release.rollout.busy_timeout
    wait_until_free(site.docker, busy, lambda: look(site.docker, *projects), timeout, mask)
    return ()


def _stale(prepared: Prepared, layout: Layout, sight: Sight) -> frozenset[str]:
    """Return the services whose files in the release's folder had been changed under them."""
    altered = mounts_from(sight.project, layout.compose.directory) if prepared.altered else set()
    return frozenset(altered & {container.service for container in sight.containers})


def _done(journal: Journal, prepared: Prepared, release: Release) -> frozenset[str]:
    """Return the jobs that cannot be undone and need not run: the release is committed, so they did, or went back."""
    committed = journal.committed
    same = committed is not None and committed.identity == prepared.identity
    return frozenset(release.rollout.irreversible if same else ())


def _wanted(request: Request, prepared: Prepared, sight: Sight, stale: frozenset[str], done: frozenset[str]) -> Wanted:
    return Wanted(
        identity=prepared.identity,
        services=sight.project.services,
        lifecycles=request.release.lifecycles,
        hashes=sight.hashes,
        images=sight.images,
        stale=stale,
        sides=sight.stage.colour is not None,
        done=done,
    )


def _found(journal: Journal, serving: tuple[Container, ...]) -> Found:
    committed = journal.committed
    return Found(
        containers=serving,
        committed=committed.identity if committed else None,
        interrupted=journal.phase != "idle",
        hashes=committed.hashes if committed else None,
    )


def _blind(request: Request, journal: Journal, pending: list[str]) -> Result:
    """Return what can be predicted where there is no engine to ask."""
    plan = first_plan(request.release.lifecycles, "Docker does not answer on this host yet")
    before: Result = {"release": journal.committed.identity.release if journal.committed else None, "services": {}}
    after = {"release": request.release.id, "services": {step.service: "created" for step in plan.steps}}
    return {
        "changed": True,
        "release": request.release.id,
        "settings": None,
        "services": [],
        "plan": steps(plan),
        "gap": {"services": [], "seconds": 0.0},
        "diff": {"before": before, "after": after},
        "gate": [],
        "colour": None,
        "pending": pending,
    }


def _checks(run: GateRun) -> list[dict[str, t.Any]]:
    return [
        {"service": one.service, "check": one.check, "attempts": one.attempts, "latency": one.latency}
        for one in summarise(run.rounds)
    ]


def _services(
    request: Request, prepared: Prepared, sight: Sight, containers: t.Sequence[Container], journal: Journal
) -> list[dict[str, t.Any]]:
    """Return a row for each active service, for people."""
    release = request.release
    ready = journal.committed.ready if journal.committed else {}
    rows = []
    for service in sight.project.services:
        own = [container for container in containers if container.service == service.name]
        url = release.urls.get(service.name)
        rows.append(
            {
                "service": service.name,
                "lifecycle": release.lifecycles.get(service.name),
                "state": own[0].status if own else "absent",
                "health": (own[0].health or None) if own else None,
                "url": interpolate(url, prepared.settings.parameters) if url else None,
                "models": list(sight.models[service.name]),
                "ready_seconds": ready.get(service.name),
            }
        )
    return rows
