# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Decide what bringing a release to a host takes. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Service
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollout import Rollout

Action = t.Literal["none", "create", "recreate", "replace", "start", "run", "scale", "remove"]

_ALIVE = ("running", "restarting")
_PAST: dict[Action, str] = {
    "none": "left as it is",
    "create": "created",
    "recreate": "recreated",
    "replace": "replaced side by side",
    "start": "started",
    "run": "run again",
    "scale": "scaled",
    "remove": "removed",
}


@dataclass(frozen=True)
class Identity:
    """A release with the settings of a host: what is committed, or about to be."""

    release: str
    settings: str


@dataclass(frozen=True)
class Hashes:
    """The configuration hashes of a service: the one that Compose predicts, and the one that it puts on containers.

    They are the same but where Compose resolves something only when it acts (C(network_mode: service:x)).
    """

    predicted: str
    actual: str


@dataclass(frozen=True)
class Wanted:
    """What the release asks for.

    `hashes`: predicted, by service. `images`: id by reference, None where it is not on the host.
    `stale`: services whose files in the release's folder had been changed under them.
    `sides`: services that are not stateful are replaced side by side.
    `done`: jobs that are not to run, whatever became of their containers.
    """

    identity: Identity
    services: tuple[Service, ...]
    lifecycles: t.Mapping[str, str]
    hashes: t.Mapping[str, str]
    images: t.Mapping[str, str | None]
    stale: frozenset[str] = frozenset()
    sides: bool = False
    done: frozenset[str] = frozenset()

    def is_beside(self, service: str) -> bool:
        """Whether a service is replaced side by side."""
        return self.sides and self.lifecycles.get(service) != "stateful"


@dataclass(frozen=True)
class Found:
    """What the host has. `committed` is None when nothing is; `hashes` are those of its services."""

    containers: tuple[Container, ...]
    committed: Identity | None = None
    interrupted: bool = False
    hashes: t.Mapping[str, Hashes] | None = None


@dataclass(frozen=True)
class Step:
    """What happens to one service, and why."""

    service: str
    action: Action
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """The way from found to wanted.

    `act`: Compose has to bring containers up. `gate`: the gate has to look. `commit`: the journal has to change.
    `beside`: the whole side is brought up anew beside the one that serves, which is then turned to.
    """

    steps: tuple[Step, ...]
    act: bool
    gate: bool
    commit: bool
    beside: bool = False

    @property
    def settled(self) -> bool:
        return not (self.act or self.gate or self.commit)

    def with_step(self, step: Step) -> Plan:
        """Return the plan with what happens to the ingress."""
        if step.action == "none":
            return replace(self, steps=(*self.steps, step))
        return replace(self, steps=(*self.steps, step), act=True, gate=True)

    def acts_on(self, services: t.Collection[str]) -> bool:
        """Whether something happens to one of these services."""
        return any(step.action != "none" and step.service in services for step in self.steps)

    @property
    def gaps(self) -> tuple[str, ...]:
        """The services that do not answer for a while."""
        return tuple(step.service for step in self.steps if step.action == "recreate")

    def snapshots(self, rollout: Rollout) -> tuple[str, ...]:
        """Return the services that must save what they hold first: those that are changed, and all where a job runs
        that cannot be undone."""
        changed = {step.service for step in self.steps if step.action in ("recreate", "remove")}
        everything = bool(self.runs(rollout.irreversible))
        return tuple(sorted(name for name in rollout.snapshots if everything or name in changed))

    def runs(self, jobs: t.Collection[str]) -> tuple[str, ...]:
        """Return which of these jobs run."""
        started = {step.service for step in self.steps if step.action in ("create", "recreate", "replace", "run")}
        return tuple(sorted(started & set(jobs)))


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """Compare wanted with found; of a stack with sides, found is the data and the side that serves."""
    steps = [_step(service, wanted, found) for service in wanted.services]
    active = {service.name for service in wanted.services}
    orphans = sorted({container.service for container in found.containers} - active)
    steps += [Step(name, "remove", "the release has no such service, or not in this environment") for name in orphans]
    beside = any(wanted.is_beside(step.service) and not _is_repair(step, wanted, found) for step in steps)
    if beside:
        serving = {container.service for container in found.containers}
        moving = {step.service for step in steps if wanted.is_beside(step.service)} - wanted.done
        steps = [_beside(step, serving) if step.service in moving else step for step in steps]
    act = any(step.action != "none" for step in steps)
    if act:  # `docker compose up` starts every job anew
        steps = [_with_job_run(step, wanted) for step in steps]
    commit = found.interrupted or found.committed != wanted.identity
    looked_at = [container for container in found.containers if container.service not in wanted.done]
    unwell = any(not _well(container, wanted.lifecycles) for container in looked_at)
    return Plan(tuple(steps), act, act or commit or unwell, commit, beside)


def first_plan(services: t.Iterable[str], why: str) -> Plan:
    """Return the plan for a host of which nothing can be known yet."""
    return Plan(tuple(Step(name, "create", why) for name in sorted(services)), act=True, gate=True, commit=True)


def describe(plan: Plan, wanted: Identity, found: Found) -> dict[str, t.Any]:
    """Return the plan as before and after, for people."""
    states: dict[str, str] = {}
    for container in found.containers:
        states[container.service] = container.status + (f", {container.health}" if container.health else "")
    before = {
        "release": found.committed.release if found.committed else None,
        "settings": found.committed.settings if found.committed else None,
        "services": states,
    }
    changes = {step.service: f"{_PAST[step.action]}: {step.why}" for step in plan.steps if step.action != "none"}
    after = {"release": wanted.release, "settings": wanted.settings, "services": {**states, **changes}}
    return {"before": before, "after": after}


def _step(service: Service, wanted: Wanted, found: Found) -> Step:
    own = [container for container in found.containers if container.service == service.name]
    job = wanted.lifecycles.get(service.name) == "job"
    if service.name in wanted.done:
        return Step(service.name, "none")
    if not own:
        return (
            Step(service.name, "none") if service.replicas == 0 else Step(service.name, "create", "it has no container")
        )
    if service.name in wanted.stale:
        return Step(service.name, "recreate", "its files in the release's folder had been changed")
    expected = _expected(service.name, wanted, found)
    if any(container.config_hash not in expected for container in own):
        return Step(service.name, "recreate", "its configuration changed")
    image = wanted.images.get(service.image)
    if any(container.image != image for container in own):
        return Step(service.name, "recreate", "its image changed")
    if len(own) != service.replicas:
        return Step(service.name, "scale", f"it has {len(own)} containers, {service.replicas} are wanted")
    if job:
        failed = next((one for one in own if one.status not in _ALIVE and not _done(one)), None)
        return Step(service.name, "run", f"it is {_state(failed)}") if failed else Step(service.name, "none")
    stopped = next((one for one in own if one.status not in _ALIVE), None)
    return Step(service.name, "start", f"it is {_state(stopped)}") if stopped else Step(service.name, "none")


def _is_repair(step: Step, wanted: Wanted, found: Found) -> bool:
    """Whether a service of the side that serves is only brought back to what was committed."""
    known = (found.hashes or {}).get(step.service)
    as_committed = known is not None and known.predicted == wanted.hashes.get(step.service)
    return step.action in ("none", "start", "run") or (step.action == "create" and as_committed)


def _beside(step: Step, serving: t.Collection[str]) -> Step:
    if step.action == "remove" or step.service not in serving:
        return step
    return Step(step.service, "replace", step.why or "its side is replaced as a whole")


def _expected(name: str, wanted: Wanted, found: Found) -> set[str]:
    """Return the hashes that a container of this service may carry."""
    predicted = wanted.hashes.get(name, "")
    known = (found.hashes or {}).get(name)
    return {predicted, known.actual} if known is not None and known.predicted == predicted else {predicted}


def _with_job_run(step: Step, wanted: Wanted) -> Step:
    rests = step.service in wanted.done or wanted.lifecycles.get(step.service) != "job"
    if step.action in ("none", "replace") and not rests:
        return Step(step.service, "run", "jobs run at each deployment")
    return step


def _well(container: Container, lifecycles: t.Mapping[str, str]) -> bool:
    if lifecycles.get(container.service) == "job":
        return _done(container)
    return container.running and container.health in ("", "healthy")


def _done(container: Container) -> bool:
    return container.status == "exited" and container.exit_code == 0


def _state(container: Container) -> str:
    ended = f" (exit code {container.exit_code})" if container.status == "exited" else ""
    return f"{container.status}{ended}"
