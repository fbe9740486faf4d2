# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a release needs of the engine: look at it, check the way, bring containers up, gate them, take them down."""

from __future__ import annotations

import concurrent.futures
import functools
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, inspect, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    Compose,
    Docker,
    compose_argv,
    image_id_argv,
    must,
    read_json,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate import Observation, decide_soak, explain
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, ServiceGate
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_ends import last_end
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_judge import observe_container
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_probes import GateRun, log_tail, run_gate
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_ports import container_on, holder, try_port
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import (
    Port,
    parse_hashes,
    warnings,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker, last_lines, printable

_WORKERS = 4  # commands at a time
_PULL_LIMIT = 3600.0  # seconds
_DOWN_LIMIT = 300.0  # seconds
_UP_MARGIN = 60.0  # seconds to stop what is replaced, beyond the time of the gate

_SOAK_INTERVAL = 1.0  # seconds between two rounds
_AGAIN = 0.5  # seconds before Compose is asked again

T = t.TypeVar("T")


@dataclass(frozen=True)
class Before:
    """The project as it was before something was done to it."""

    containers: tuple[Container, ...]

    @property
    def incarnations(self) -> frozenset[str]:
        return frozenset(container.incarnation for container in self.containers)

    @property
    def restarts(self) -> dict[str, int]:
        return {container.id: container.restarts for container in self.containers}


def at_once(*calls: t.Callable[[], T]) -> list[T]:
    """Make calls side by side; return their results in order, or raise the first one's error."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def ask_all(docker: Docker, commands: t.Iterable[t.Sequence[str]]) -> list[Answer]:
    """Run commands side by side; return how they ended, in order."""
    return at_once(*(functools.partial(docker.ask, argv) for argv in commands))


def resolved(docker: Docker, compose: Compose) -> tuple[dict[str, t.Any], list[str]]:
    """Return the project as Compose resolves it, and what it warned of.

    Raises:
        ReleaseError: Compose cannot read the files (`release_invalid`).
    """
    answer = docker.ask(compose.argv("config", "--format", "json"))
    if answer.code != 0:
        raise ReleaseError(
            f"docker compose config refuses the Compose files of stack {compose.project}: {printable(answer.stderr)}",
            reason="release_invalid",
        )
    return read_json(answer.stdout, "docker compose config"), warnings(answer.stderr)


def predicted_hashes(docker: Docker, compose: Compose) -> dict[str, str]:
    """Return the configuration hash of each active service."""
    return parse_hashes(must(docker.ask(compose.argv("config", "--hash", "*")), "docker compose config --hash"))


def image_ids(docker: Docker, references: t.Iterable[str]) -> dict[str, str | None]:
    """Return the id of each image, None for those that are not on the host."""
    wanted = sorted(set(references))
    answers = ask_all(docker, [image_id_argv(reference) for reference in wanted])
    return {name: answer.stdout.strip() if answer.code == 0 else None for name, answer in zip(wanted, answers)}


def docker_root(docker: Docker) -> str:
    """Return the folder of the engine's own data."""
    return must(docker.ask(["docker", "info", "--format", "{{.DockerRootDir}}"]), "docker info").strip() or "/"


def pull(docker: Docker, reference: str, services: t.Iterable[str]) -> None:
    """Pull an image.

    Raises:
        ReleaseError: it cannot be had (`image_unavailable`).
    """
    answer = docker.ask(["docker", "image", "pull", "--quiet", "--", reference], timeout=_PULL_LIMIT)
    if answer.code != 0:
        raise ReleaseError(
            f"image {reference} of service {', '.join(sorted(services))} is not on this host and cannot be pulled: "
            f"{printable(answer.stderr, 300)}. Give the host a way to its registry, or bring the image by docker load; "
            "then run the same command again",
            reason="image_unavailable",
        )


def refuse_taken_ports(
    docker: Docker, projects: t.Collection[str], ports: t.Iterable[Port], parameters: t.Mapping[str, str]
) -> None:
    """Refuse when somebody else holds a port that a service publishes.

    Args:
        projects: the stack's own.
        parameters: the port parameters, to name the one to change.

    Raises:
        ReleaseError: naming address, holder and the way out (`port_taken`, `address_missing`).
    """
    wanted = list(ports)
    if not wanted:
        return
    listed = must(docker.ask(["docker", "container", "ls", "--quiet", "--no-trunc"]), "docker container ls")
    running = inspect(docker, listed.split())
    for port in wanted:
        other = container_on(port.address, port.port, port.protocol, running)
        if other is not None and other.project in projects:
            continue
        state = try_port(port.address, port.port, port.protocol)
        if other is None and state == "free":
            continue
        setting = next((name for name, value in parameters.items() if value == str(port.port)), None)
        change = f"set parameter {setting} to another port" if setting else f"publish another port in {port.service}"
        if other is None and state == "no_address":
            raise ReleaseError(
                f"service {port.service} wants {port}, but this host has no address {port.address}; give it that "
                "address, or publish on one that it has",
                reason="address_missing",
                service=port.service,
            )
        who = f"container {other.name}" if other else holder(port.address, port.port, port.protocol)
        raise ReleaseError(
            f"{port}, which service {port.service} publishes, is held by {who}. Stop that, or {change}; then run the "
            "same command again",
            reason="port_taken",
            service=port.service,
        )


def bring_up(
    docker: Docker,
    compose: Compose,
    gate: Gate,
    before: Before,
    mask: Masker,
    refuse: t.Callable[[t.Sequence[Container]], None] = lambda _containers: None,
) -> None:
    """Let Compose create, recreate and start what differs, and remove what is no longer there.

    Compose itself waits for the conditions of `depends_on`. Meanwhile the containers are watched: when one that is
    new has died for good, waiting on is pointless. Where Compose gives up because a dependency crashed once, though
    Docker is restarting it, Compose is asked again.

    Args:
        refuse: looks at the containers meanwhile, and raises an error to stop.

    Raises:
        ReleaseError: it did not come up (`gate_failed` when a container is to blame, else `activation_failed`).
    """
    dead: list[Observation] = []

    def glance() -> bool:
        containers = look(docker, compose.project)
        refuse(containers)
        dead.extend(hopeless(containers, gate, before, mask))
        return bool(dead)

    argv = compose.argv("up", "--detach", "--no-build", "--remove-orphans")
    limit = gate.timeout + _UP_MARGIN
    deadline = time.monotonic() + limit
    while True:
        answer = docker.watch(argv, max(deadline - time.monotonic(), 0.0), glance)
        if answer.code == 0 and not dead:
            return
        containers = look(docker, compose.project)
        dead = dead or hopeless(containers, gate, before, mask)
        if dead or answer.code < 0 or not _restarted(containers, before, answer.stderr):
            break
        time.sleep(_AGAIN)
    blamed = dead or _to_blame(containers, gate, before, answer.stderr, mask)
    if not blamed:
        why = "; ".join(last_lines(mask(answer.stderr), 5)) or f"docker compose up did not end within {limit:g} s"
        raise ReleaseError(f"the containers did not come up: {why}", reason="activation_failed")
    raise _failure(docker, blamed[0], f"service {blamed[0].service}, container: {blamed[0].answer}", containers, mask)


def pass_gate(
    docker: Docker,
    projects: t.Sequence[str],
    gate: Gate,
    bodies: t.Mapping[str, bytes],
    before: Before,
    mask: Masker,
) -> GateRun:
    """Run the gate over these Compose projects.

    Raises:
        ReleaseError: it failed (`gate_failed`) or did not pass in time (`gate_timeout`).
    """
    run = run_gate(docker, projects, gate, bodies, restarts_before=before.restarts, mask=mask)
    if run.passed:
        return run
    message = explain(run.decision, gate, run.rounds)
    reason: t.Literal["gate_failed", "gate_timeout"] = (
        "gate_failed" if run.decision.verdict == "fail" else "gate_timeout"
    )
    raise _failure(docker, run.decision.culprit, message, run.containers, mask, reason)


def hold_gate(
    docker: Docker,
    projects: t.Sequence[str],
    gate: Gate,
    bodies: t.Mapping[str, bytes],
    seconds: float,
    mask: Masker,
) -> None:
    """Let a gate that has passed go on looking for some time.

    Raises:
        ReleaseError: a check does not hold any more, or a container has died (`soak_failed`).
    """
    patient = replace(gate, timeout=seconds, interval=max(gate.interval, _SOAK_INTERVAL))
    before = {container.id: container.restarts for container in look(docker, *projects)}
    run = run_gate(docker, projects, patient, bodies, restarts_before=before, mask=mask, judge=decide_soak)
    if not run.passed:
        message = f"after the switch, {explain(run.decision, patient, run.rounds)}"
        raise _failure(docker, run.decision.culprit, message, run.containers, mask, "soak_failed")


def recreate_first(docker: Docker, compose: Compose, services: t.Collection[str]) -> None:
    """Remove the containers of services that Compose itself would take for unchanged."""
    if services:
        argv = compose.argv("rm", "--stop", "--force", *sorted(services))
        must(docker.ask(argv, timeout=_DOWN_LIMIT), "docker compose rm")


def take_down(docker: Docker, project: str, volumes: bool = False) -> None:
    """Stop and remove a project's containers and networks, by its labels: no file is needed.

    Raises:
        ReleaseError: something could not be removed (`removal_failed`).
    """
    argv = [*compose_argv(project), "down", "--remove-orphans", *(["--volumes"] if volumes else [])]
    answer = docker.ask(argv, timeout=_DOWN_LIMIT)
    if answer.code != 0:
        raise ReleaseError(
            f"docker compose down of {project} failed: {printable(answer.stderr)}", reason="removal_failed"
        )


def hopeless(containers: t.Iterable[Container], gate: Gate, before: Before, mask: Masker) -> list[Observation]:
    """Return what of this activation has failed beyond mending; what was there before it does not count."""
    services = {service.name: service for service in gate.services}
    seen = (
        _observe(gate, services[container.service], container, before, mask)
        for container in containers
        if container.service in services and container.incarnation not in before.incarnations
    )
    return [observation for observation in seen if observation.fatal]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _observe(gate: Gate, service: ServiceGate, container: Container, before: Before, mask: Masker) -> Observation:
    restarts = before.restarts.get(container.id, 0)
    return observe_container(gate, service, container, restarts, mask, last_end(container))


def _restarted(containers: t.Iterable[Container], before: Before, stderr: str) -> bool:
    """Whether Compose names a container that crashed and that Docker started again, or is about to."""
    return any(
        f"container {container.name} " in stderr
        and container.restarts > before.restarts.get(container.id, 0)
        and (container.status == "restarting" or container.health == "starting")
        for container in containers
    )


def _to_blame(
    containers: t.Sequence[Container], gate: Gate, before: Before, stderr: str, mask: Masker
) -> list[Observation]:
    """Return the containers that made Compose give up: those it names, then those that are unwell."""
    services = {service.name: service for service in gate.services}
    seen = [
        _observe(gate, services[container.service], container, before, mask)
        for container in containers
        if container.service in services and container.status != "created"
    ]
    unwell = [observation for observation in seen if not observation.ok]
    named = [one for one in unwell if f"container {one.container} " in stderr or f'service "{one.service}"' in stderr]
    return named or [one for one in unwell if one.fatal]


def _failure(
    docker: Docker,
    culprit: Observation | None,
    message: str,
    containers: t.Sequence[Container],
    mask: Masker,
    reason: t.Literal["gate_failed", "gate_timeout", "soak_failed"] = "gate_failed",
) -> ReleaseError:
    if culprit is None:
        return ReleaseError(message, reason=reason)
    return ReleaseError(
        message,
        reason=reason,
        service=culprit.service,
        check=culprit.check,
        answer=culprit.answer,
        log=list(log_tail(docker, containers, culprit.service, mask)),
    )
