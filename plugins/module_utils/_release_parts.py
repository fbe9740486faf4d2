# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""One Compose project, split into those that a release runs as. Pure.

    <stack>-data      stateful services: recreated when their definition changes, attached to the networks of both sides
    <stack>-<colour>  stateless services and jobs, on networks of that colour alone

What crosses the border is translated: a `depends_on` of a stateful service is dropped, because the data is gated before
a side comes up; a named volume becomes an external one of the stack's name, which both sides mount; a network becomes
one of each project, and Links say which stateful service is attached to which network of a side. What cannot be
translated is refused with the way out. The ingress is a project of its own, see `_ingress_config`.
"""

from __future__ import annotations

import copy
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import STACK_LABEL
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import COLOURS, Colour
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

__all__ = ["COLOURS", "Colour"]  # for who knows releases and no ingress

Config = dict[str, t.Any]

DATA = "data"
INGRESS = "ingress"

_SHARED_SPACES = ("network_mode", "pid", "ipc", "uts")
_NAME_LIMIT = 63  # characters of a label in DNS, by which the ingress finds a side's services


@dataclass(frozen=True)
class Link:
    """A stateful service, and the network of a side that it is attached to under these names."""

    service: str
    network: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Volume:
    """A named volume of the stack, and what `docker volume create` is told besides."""

    name: str
    key: str
    driver: str
    options: t.Mapping[str, str]


@dataclass(frozen=True)
class Parts:
    """A release's Compose projects for one colour; an empty one has no services.

    `networks` are those of the side that each of its services is on, the preferred one first.
    """

    data: Config
    side: Config
    links: tuple[Link, ...]
    volumes: tuple[Volume, ...]
    networks: t.Mapping[str, tuple[str, ...]]


def project_of(stack: str, part: str) -> str:
    """Return the name of the Compose project of a part: a colour, DATA or INGRESS."""
    return f"{stack}-{part}"


def colour_of(text: str) -> Colour | None:
    """Return the colour that a journal names, None for none."""
    return next((colour for colour in COLOURS if colour == text), None)


def other(colour: Colour | None) -> Colour:
    """Return the colour of the side that a candidate takes."""
    return "green" if colour == "blue" else "blue"


def split(config: t.Mapping[str, t.Any], stack: str, colour: Colour, lifecycles: t.Mapping[str, str]) -> Parts:
    """Split a project as `docker compose config --format json` prints it, its escapes included.

    Raises:
        ReleaseError: something in it cannot be translated (`release_invalid`).
    """
    services: Config = copy.deepcopy(dict(config.get("services") or {}))
    stateful = frozenset(name for name in services if lifecycles.get(name) == "stateful")
    for name, service in services.items():
        if name not in stateful:
            _refuse_fixed(name, service)
        _refuse_shared(name, service, stateful)
        _cut_dependencies(name, service, stateful)
    data = {name: service for name, service in services.items() if name in stateful}
    side = {name: service for name, service in services.items() if name not in stateful}
    side_project = project_of(stack, colour)
    side_config = _project(config, stack, side_project, side)
    for key in _network_keys(side):
        _refuse_subnet(key, side_config["networks"][key])
    return Parts(
        data=_project(config, stack, project_of(stack, DATA), data),
        side=side_config,
        links=tuple(_links(data, side_config["networks"])),
        volumes=tuple(_volumes(config, services)),
        networks={name: _networks_of(service, side_config["networks"]) for name, service in side.items()},
    )


def without(config: Config, jobs: t.Collection[str]) -> Config:
    """Return a part's project without some jobs and without what waits for them."""
    services: Config = copy.deepcopy({name: one for name, one in config["services"].items() if name not in jobs})
    for service in services.values():
        needed = {name: how for name, how in (service.pop("depends_on", None) or {}).items() if name not in jobs}
        service.update({"depends_on": needed} if needed else {})
    return {**config, "services": services}


def skipping(config: t.Mapping[str, t.Any], jobs: t.Collection[str]) -> str:
    """Return a Compose file that takes some jobs, and what waits for them, out of a whole project."""
    lines = ["services:"]
    for name, service in sorted((config.get("services") or {}).items()):
        needed = service.get("depends_on") or {}
        if name in jobs:
            lines.append(f'  {json.dumps(name)}: {{"profiles": ["skipped"]}}')
        elif set(needed) & set(jobs):
            rest = {neighbour: how for neighbour, how in needed.items() if neighbour not in jobs}
            lines.append(f"  {json.dumps(name)}:\n    depends_on: !override {json.dumps(rest)}")
    return "\n".join(lines) + "\n"


def _refuse_fixed(name: str, service: t.Mapping[str, t.Any]) -> None:
    """Refuse what only one container at a time can have."""
    if service.get("container_name"):
        raise _refused(name, f"container_name {service['container_name']!r}", "take it out")
    ports = [f"{port['published']}" for port in service.get("ports") or () if port.get("published")]
    if ports:
        raise _refused(
            name, f"published port {', '.join(ports)}", "take `ports` out and name the service in ingress.routes"
        )
    if service.get("network_mode") == "host":
        raise _refused(name, "network_mode host", "take it out and name the service in ingress.routes")


def _refuse_shared(name: str, service: t.Mapping[str, t.Any], stateful: t.Collection[str]) -> None:
    """Refuse a service that lives in a container across the border."""
    shared = [str(service.get(space) or "").partition("service:")[2] for space in _SHARED_SPACES]
    shared += [str(source).partition(":")[0] for source in service.get("volumes_from") or ()]
    for neighbour in filter(None, shared):
        if (neighbour in stateful) != (name in stateful):
            raise ReleaseError(
                f"service {name} lives in the container of {neighbour}, and one of them is stateful: they are replaced "
                "at different times. Give both the same lifecycle, or let them meet on a network",
                reason="release_invalid",
                service=name,
            )


def _cut_dependencies(name: str, service: Config, stateful: t.Collection[str]) -> None:
    needed = service.get("depends_on") or {}
    for neighbour in needed:
        if name in stateful and neighbour not in stateful:
            raise ReleaseError(
                f"stateful service {name} depends on {neighbour}, which is not stateful: data comes up first. Turn the "
                f"dependency around, or make {neighbour} stateful",
                reason="release_invalid",
                service=name,
            )
    kept = {neighbour: how for neighbour, how in needed.items() if (neighbour in stateful) == (name in stateful)}
    if kept:
        service["depends_on"] = kept
    else:
        service.pop("depends_on", None)


def _refuse_subnet(key: str, network: t.Mapping[str, t.Any]) -> None:
    if (network.get("ipam") or {}).get("config"):
        raise ReleaseError(
            f"network {key} has a fixed subnet, which blue and green cannot have both; take `ipam` out of it, or use "
            "rollout.strategy recreate",
            reason="release_invalid",
        )


def _project(config: t.Mapping[str, t.Any], stack: str, project: str, services: Config) -> Config:
    """Return the Compose file of a part: its services and what they use."""
    labels = {STACK_LABEL: stack}
    for service in services.values():
        service["labels"] = {**(service.get("labels") or {}), **labels}
    networks = {key: _network(config, key, project, labels) for key in _network_keys(services)}
    volumes = {key: {"name": _volume_name(config, key), "external": True} for key in _volume_keys(services)}
    part: Config = {"name": project, "services": services, "networks": networks, "volumes": volumes}
    for section in ("secrets", "configs"):
        used = {item["source"] for service in services.values() for item in service.get(section) or ()}
        part[section] = {key: item for key, item in (config.get(section) or {}).items() if key in used}
    return {key: value for key, value in part.items() if value or key in ("services", "networks")}


def _network(config: t.Mapping[str, t.Any], key: str, project: str, labels: t.Mapping[str, str]) -> Config:
    network: Config = copy.deepcopy((config.get("networks") or {}).get(key) or {})
    if network.get("external"):
        return network
    name = f"{project}_{key}"
    if len(name) > _NAME_LIMIT:
        raise ReleaseError(
            f"network {key} would be called {name}, which has {len(name)} characters and DNS allows {_NAME_LIMIT}; "
            "give the network or the stack a shorter name",
            reason="release_invalid",
        )
    return {**network, "name": name, "labels": {**(network.get("labels") or {}), **labels}}


def _network_keys(services: t.Mapping[str, t.Any]) -> list[str]:
    return sorted({key for service in services.values() for key in service.get("networks") or {}})


def _networks_of(service: t.Mapping[str, t.Any], networks: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the names of a service's networks, those with a way out first: there may be others on an internal one."""
    own = [networks[key] for key in sorted(service.get("networks") or {})]
    return tuple(network["name"] for network in sorted(own, key=lambda network: bool(network.get("internal"))))


def _links(data: t.Mapping[str, t.Any], side_networks: t.Mapping[str, t.Any]) -> t.Iterator[Link]:
    for name, service in sorted(data.items()):
        for key, attached in sorted((service.get("networks") or {}).items()):
            network = side_networks.get(key)
            if network is not None and not network.get("external"):
                aliases = dict.fromkeys([name, *((attached or {}).get("aliases") or ())])
                yield Link(name, network["name"], tuple(aliases))


def _volume_keys(services: t.Mapping[str, t.Any]) -> list[str]:
    mounts = [mount for service in services.values() for mount in service.get("volumes") or ()]
    return sorted({mount["source"] for mount in mounts if mount["type"] == "volume" and mount.get("source")})


def _volume_name(config: t.Mapping[str, t.Any], key: str) -> str:
    return str(config["volumes"][key]["name"])


def _volumes(config: t.Mapping[str, t.Any], services: t.Mapping[str, t.Any]) -> t.Iterator[Volume]:
    for key in _volume_keys(services):
        volume = config["volumes"][key]
        if not volume.get("external"):
            options = {name: str(value) for name, value in sorted((volume.get("driver_opts") or {}).items())}
            yield Volume(volume["name"], key, volume.get("driver") or "local", options)


def _refused(service: str, what: str, way_out: str) -> ReleaseError:
    return ReleaseError(
        f"service {service} is replaced side by side, and {what} cannot be there twice; {way_out}, make the service "
        "stateful, or use rollout.strategy recreate",
        reason="release_invalid",
        service=service,
    )
