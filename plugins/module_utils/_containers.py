# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Containers as `docker container inspect` describes them. Pure but for `look`."""

from __future__ import annotations

import calendar
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    PROJECT_LABEL,
    Docker,
    inspect_argv,
    list_all_argv,
    list_argv,
    must,
    read_json,
)

_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Published:
    """A port of the host that leads to a container; the address is empty or a wildcard for every one."""

    address: str
    port: int
    protocol: str


@dataclass(frozen=True)
class Container:
    """What we need to know of a container. Times are as Docker writes them, empty for never.

    `memory` is its limit in bytes, 0 for none. `oom_killed`: the kernel killed a process of this life of it.
    """

    id: str
    name: str
    project: str = ""
    service: str = ""
    image: str = ""
    config_hash: str = ""
    status: str = "running"
    exit_code: int = 0
    oom_killed: bool = False
    memory: int = 0
    health: str = ""  # healthy, unhealthy, starting; empty without a health check
    health_output: str = ""
    restarts: int = 0
    policy: str = ""
    max_retries: int = 0
    started_at: str = ""
    finished_at: str = ""
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    shares_network_of: str = ""
    published: tuple[Published, ...] = ()

    @property
    def incarnation(self) -> str:
        """Tells one life of a container from the next."""
        return f"{self.id}@{self.started_at}"

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def over(self) -> bool:
        """Whether it ended and Docker will not start it again."""
        if self.status == "dead":
            return True
        if self.status != "exited":
            return False
        if self.policy in ("", "no"):
            return True
        return self.policy == "on-failure" and (self.exit_code == 0 or 0 < self.max_retries <= self.restarts)


def parse_containers(text: str) -> tuple[Container, ...]:
    """Read the output of `docker container inspect`.

    Raises:
        ReleaseError: it is no JSON.
    """
    return tuple(_container(item) for item in read_json(text or "[]", "docker container inspect"))


def epoch(stamp: str) -> float | None:
    """Return a time of Docker's (RFC 3339 in UTC, to the nanosecond) as seconds since 1970, None for never."""
    if not stamp or stamp == _NEVER:
        return None
    whole, _dot, rest = stamp.rstrip("Z").partition(".")
    try:
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")
    except ValueError:
        return None


def with_shared_addresses(containers: t.Sequence[Container]) -> dict[str, tuple[str, ...]]:
    """Return the addresses by which the host reaches each container, by its id.

    One that lives in another's network is reached by that one's address, one in the host's network by loopback.
    """
    own = {container.id: container.addresses for container in containers}
    return {
        container.id: ("127.0.0.1",)
        if container.shares_network_of == "host"
        else own.get(container.shares_network_of, ()) or container.addresses
        for container in containers
    }


def look(docker: Docker, *projects: str) -> tuple[Container, ...]:
    """Return every container of these Compose projects, those that ended included.

    Raises:
        ReleaseError: the engine does not answer.
    """
    if len(projects) == 1:
        return inspect(docker, must(docker.ask(list_argv("container", projects[0])), "docker container ls").split())
    # One question however many projects: Docker would want a container to have all labels that are named.
    listed = must(docker.ask(list_all_argv()), "docker container ls")
    rows = (line.split() for line in listed.splitlines())
    return inspect(docker, [row[0] for row in rows if len(row) == 2 and row[1] in projects])


def inspect(docker: Docker, ids: t.Sequence[str]) -> tuple[Container, ...]:
    """Return the containers of these ids that are still there; one may have gone since it was listed."""
    if not ids:
        return ()
    return parse_containers(docker.ask(inspect_argv(ids)).stdout)


def _container(data: t.Mapping[str, t.Any]) -> Container:
    state, config, host = data["State"], data["Config"], data["HostConfig"]
    labels: t.Mapping[str, str] = config.get("Labels") or {}
    health = state.get("Health") or {}
    log = health.get("Log") or [{}]
    policy = host.get("RestartPolicy") or {}
    network: t.Mapping[str, t.Any] = data.get("NetworkSettings") or {}
    return Container(
        id=data["Id"],
        name=data["Name"].lstrip("/"),
        project=labels.get(PROJECT_LABEL, ""),
        service=labels.get("com.docker.compose.service", ""),
        image=data["Image"],
        config_hash=labels.get("com.docker.compose.config-hash", ""),
        status=state["Status"],
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        memory=host.get("Memory") or 0,
        health="" if health.get("Status") == "none" else health.get("Status", ""),
        health_output=log[-1].get("Output", "") or "",
        restarts=data.get("RestartCount", 0),
        policy=policy.get("Name", ""),
        max_retries=policy.get("MaximumRetryCount", 0),
        started_at=_time(state.get("StartedAt", "")),
        finished_at=_time(state.get("FinishedAt", "")),
        addresses=tuple(_addresses(network.get("Networks") or {})),
        networks=tuple(sorted(network.get("Networks") or {})),
        shares_network_of=_shared(host.get("NetworkMode", "")),
        published=tuple(_published(network.get("Ports") or {})),
    )


def _time(stamp: str) -> str:
    return "" if stamp == _NEVER else stamp


def _shared(mode: str) -> str:
    return mode if mode == "host" else mode[len("container:") :] if mode.startswith("container:") else ""


def _addresses(networks: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    for _name, endpoint in sorted(networks.items()):
        yield from filter(None, (endpoint.get("IPAddress"), endpoint.get("GlobalIPv6Address")))


def _published(ports: t.Mapping[str, t.Sequence[t.Mapping[str, str]] | None]) -> t.Iterator[Published]:
    for target, bindings in ports.items():
        for binding in bindings or ():
            yield Published(binding.get("HostIp", ""), int(binding["HostPort"]), target.rpartition("/")[2])
