# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Bring a stage up: its data, then its side, jobs to their end included. Whoever calls has written the journal."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Docker, must
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import log_tail, read_bodies
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_candidate import Candidate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_engine import (
    Before,
    bring_up,
    hopeless,
    pass_gate,
    recreate_first,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_stage import Stage, attach, make_volumes
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

_JOB_POLL = 0.2  # seconds between two looks at jobs that nothing waits for
_CREATE_LIMIT = 300.0  # seconds


def stand_data(site: Site, candidate: Candidate, before: Before, mask: Masker) -> None:
    """Bring the stateful services up and gate them.

    Raises:
        ReleaseError: they did not come up, or their checks do not hold.
    """
    stage = candidate.stage
    if stage.data is None or stage.parts is None:
        return
    gate = _part_of(candidate.gate, candidate.stateful)
    make_volumes(site.docker, stage.stack, stage.parts.volumes)
    recreate_first(site.docker, stage.data, candidate.stale & candidate.stateful)
    bring_up(site.docker, stage.data, gate, before, mask)
    bodies = read_bodies(gate.services, site.places.release(candidate.release.id))
    pass_gate(site.docker, [stage.data.project], gate, bodies, before, mask)


def attach_data(docker: Docker, stage: Stage) -> None:
    """Attach the stateful services to the networks of a side that is there."""
    if stage.data is not None and stage.parts is not None:
        attach(docker, look(docker, stage.data.project), stage.parts.links)


def stand_side(site: Site, candidate: Candidate, before: Before, mask: Masker) -> None:
    """Bring the rest up, and wait until its jobs have ended.

    Raises:
        ReleaseError: a container did not come up, or a job failed or took too long (`job_timeout`).
    """
    stage = candidate.stage
    rest = frozenset(candidate.hashes) - (candidate.stateful if stage.colour else frozenset())
    gate = _part_of(candidate.gate, rest)
    limits = {name: job.timeout or gate.timeout for name, job in candidate.release.rollout.jobs.items() if name in rest}
    patient = dataclasses.replace(gate, timeout=max([gate.timeout, *limits.values()]))
    if stage.colour and stage.parts:
        make_volumes(site.docker, stage.stack, stage.parts.volumes)
        # Networks come with the containers, and the data must be on them before the first container starts.
        argv = stage.side.argv("create", "--no-build", "--remove-orphans")
        must(site.docker.ask(argv, timeout=_CREATE_LIMIT), "docker compose create")
        attach_data(site.docker, stage)
    recreate_first(site.docker, stage.side, candidate.stale & rest)
    patience = _Patience(site, limits, mask)
    bring_up(site.docker, stage.side, patient, before, mask, patience)
    if limits:
        _wait_for_jobs(site, stage, gate, before, patience, mask)


class _Patience:
    """How long each job is waited for, in seconds since it was first seen at work, however often it began anew.

    By the monotonic clock: the other one may be set meanwhile.
    """

    def __init__(self, site: Site, limits: t.Mapping[str, float], mask: Masker) -> None:
        self._site, self._limits, self._mask = site, limits, mask
        self._began: dict[str, float] = {}

    @property
    def jobs(self) -> frozenset[str]:
        return frozenset(self._limits)

    def __call__(self, containers: t.Sequence[Container]) -> None:
        """Look at the jobs among these containers.

        Raises:
            ReleaseError: one took too long (`job_timeout`).
        """
        for one in containers:
            limit = self._limits.get(one.service)
            if limit is None or one.over or one.status == "created":
                continue
            if time.monotonic() - self._began.setdefault(one.service, time.monotonic()) > limit:
                raise self._late(one, limit)

    def _late(self, job: Container, limit: float) -> ReleaseError:
        log = list(log_tail(self._site.docker, [job], job.service, self._mask))
        return ReleaseError(
            f"job {job.service} has not ended after {limit:g} s; make it faster, or raise its timeout in stack.yml",
            reason="job_timeout",
            service=job.service,
            check="container",
            answer=f"{job.status} for more than {limit:g} s",
            log=log,
        )


def _wait_for_jobs(site: Site, stage: Stage, gate: Gate, before: Before, patience: _Patience, mask: Masker) -> None:
    """Wait for the jobs that nothing depends on; whether they did well is for the gate to say."""
    while True:
        jobs = [one for one in look(site.docker, stage.side.project) if one.service in patience.jobs]
        if all(one.over for one in jobs) or hopeless(jobs, gate, before, mask):
            return
        patience(jobs)
        time.sleep(_JOB_POLL)


def _part_of(gate: Gate, services: t.Collection[str]) -> Gate:
    return dataclasses.replace(gate, services=tuple(one for one in gate.services if one.name in services))
