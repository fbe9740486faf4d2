# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Services of a Compose document as the rules about containers see them. Pure.

Short and long forms of the Compose Specification are both read. What hangs on a variable that nobody has set is taken
as it stands; `unrendered` tells of that, and of what else only Compose can fill in or fetch.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    ContainerFacts,
    Document,
    Limits,
    Mounted,
    Published,
    bound_path,
    capabilities,
    device_request,
    normal_path,
    security,
)

NO_CHECK = ("NONE",)
"""What a health check's command is where one is turned off."""

CPU_KEYS = ("cpus", "cpu_quota", "cpu_shares", "cpuset", "cpu_percent", "cpu_count")
"""Keys of a service that limit its share of processors."""

_TRUE = {"true", "yes", "on", "y", "1"}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_PATH_START = ("/", ".", "~", "$")
_SOCKET = "/var/run/docker.sock"
_TOGETHER = re.compile(r"\$\{[^}]*\}|\[[^\]]*\]")


def facts_of_service(
    name: str, service: Document, document: Document | None = None, job: bool = False
) -> ContainerFacts:
    """Read one service of a Compose document, rendered or as it was written.

    :arg document: the whole document: volumes, secrets and configs may lead to paths of the host.
    :arg job: the service ends by itself; one whose end others wait for is one without saying so.
    """
    document = document or {}
    return ContainerFacts(
        name=name,
        image=str(service.get("image") or ""),
        user=None if service.get("user") in (None, "") else str(service["user"]),
        job=job or _is_awaited(name, document),
        command=(*_words(service.get("entrypoint")), *_words(service.get("command"))),
        privileged=is_true(service.get("privileged")),
        cap_add=capabilities(_list(service.get("cap_add"))),
        cap_drop=capabilities(_list(service.get("cap_drop"))),
        security=security(_list(service.get("security_opt"))),
        mounts=(*_mounts_of_service(service, document), *_files_of_service(service, document)),
        network=str(service.get("network_mode") or ""),
        pid=str(service.get("pid") or ""),
        ipc=str(service.get("ipc") or ""),
        uts=str(service.get("uts") or ""),
        userns=str(service.get("userns_mode") or ""),
        cgroup_parent=str(service.get("cgroup_parent") or ""),
        ports=tuple(_port_of_service(item) for item in _list(service.get("ports"))),
        limits=_limits_of_service(service),
        read_only=is_true(service.get("read_only")),
        restart=str(_scalar(service.get("restart")) or ""),
        devices=tuple(_device(item) for item in _list(service.get("devices"))),
        device_requests=tuple(_device_requests_of_service(service)),
        device_rules=tuple(str(rule) for rule in _list(service.get("device_cgroup_rules"))),
        ulimits=tuple(_ulimits_of_service(service.get("ulimits"))),
        health=_health_of_service(service.get("healthcheck")),
    )


def unrendered(document: Document, keys: t.Collection[str]) -> t.Iterator[str]:
    """Yield the places of a Compose document from which nobody can tell what will run before Compose renders it.

    :arg keys: the keys of a service in which a variable counts.
    """
    if document.get("include") is not None:
        yield "include"
    for name, service in _mapping(document.get("services")).items():
        if service.get("extends") is not None:
            yield f"services.{name}.extends"
        yield from (f"services.{name}.{key}" for key in sorted(keys) if _has_variable(service.get(key)))
        mounts = facts_of_service(str(name), service, document).mounts
        yield from (f"services.{name}: {mount}" for mount in mounts if mount.bind and mount.source.startswith(".."))
    for kind, key in (("volumes", "driver_opts"), ("secrets", "file"), ("configs", "file")):
        for name, one in _mapping(document.get(kind)).items():
            if _has_variable(_mapping(one).get(key)):
                yield f"{kind}.{name}.{key}"


def _has_variable(value: t.Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_variable, value.values()))
    if isinstance(value, list):
        return any(map(_has_variable, value))
    return isinstance(value, str) and "$" in value.replace("$$", "")


def is_true(value: t.Any) -> bool:
    """Tell whether Compose reads a value as true; text may come from a variable."""
    return value is True or (isinstance(value, str) and value.strip().lower() in _TRUE)


def target_of(item: t.Any) -> str:
    """Return where in the container a volume or a device is, by which Compose merges them."""
    if isinstance(item, dict):
        return str(item.get("target") or "")
    parts = _split(str(item))
    return parts[1] if len(parts) > 1 else parts[0]


def size_in_bytes(value: t.Any) -> int:
    """Return a size as Compose writes it (512m, 1gb, 1073741824) in bytes; 0 for none and for what is no size."""
    match = _SIZE.fullmatch(str(value).strip()) if value is not None else None
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()]) if match else 0


def _is_awaited(name: str, document: Document) -> bool:
    """Tell whether a service waits for this one to end well."""
    services = _mapping(document.get("services")).values()
    waits = (_mapping(_mapping(_mapping(one).get("depends_on")).get(name)).get("condition") for one in services)
    return "service_completed_successfully" in waits


def _mounts_of_service(service: Document, document: Document) -> t.Iterator[Mounted]:
    volumes = _mapping(document.get("volumes"))
    if is_true(service.get("use_api_socket")):
        yield Mounted(_SOCKET, _SOCKET)
    for item in _list(service.get("volumes")):
        mount = _long_mount(item) if isinstance(item, dict) else _short_mount(str(item))
        if mount.bind:
            yield mount
            continue
        path = bound_path(_mapping(_mapping(volumes.get(mount.source)).get("driver_opts")))
        yield Mounted(path, mount.target, True, mount.read_only, mount.propagation) if path else mount


def _short_mount(text: str) -> Mounted:
    """Read `source:target:modes`, `source:target` and `target`; a source that is no path is a volume's name."""
    parts = _split(text)
    if len(parts) == 1:
        return Mounted("", parts[0], bind=False)
    modes = parts[2].split(",") if len(parts) > 2 else []
    propagation = next((mode for mode in modes if mode.lstrip("r") in ("shared", "slave", "private")), "")
    return Mounted(_normal(parts[0]), parts[1], parts[0].startswith(_PATH_START), "ro" in modes, propagation)


def _long_mount(item: Document) -> Mounted:
    bind = item.get("type") == "bind"
    source, target = str(item.get("source") or ""), str(item.get("target") or "")
    propagation = str(_mapping(item.get("bind")).get("propagation") or "")
    return Mounted(_normal(source) if bind else source, target, bind, is_true(item.get("read_only")), propagation)


def _files_of_service(service: Document, document: Document) -> t.Iterator[Mounted]:
    """Yield secrets and configs that are files of the host, which Compose mounts from there."""
    for kind, folder in (("secrets", "/run/secrets"), ("configs", "")):
        known = _mapping(document.get(kind))
        for item in _list(service.get(kind)):
            source = str(item.get("source") if isinstance(item, dict) else item)
            file = _mapping(known.get(source)).get("file")
            target = str(item.get("target") or "") if isinstance(item, dict) else ""
            if file:
                yield Mounted(_normal(str(file)), posixpath.join(folder or "/", target or source), read_only=True)


def _port_of_service(item: t.Any) -> Published:
    if isinstance(item, dict):
        published = str(item.get("published") or "")
        address, target = str(item.get("host_ip") or ""), str(item.get("target") or "")
        return Published(address, published, target, str(item.get("protocol") or "tcp"))
    text, _slash, protocol = str(item).partition("/")
    parts = ["", "", *_split(text)]
    return Published(parts[-3].strip("[]"), parts[-2], parts[-1], protocol or "tcp")


def _limits_of_service(service: Document) -> Limits:
    limits = _mapping(_mapping(_mapping(service.get("deploy")).get("resources")).get("limits"))
    said = {"deploy.resources.limits.cpus": limits.get("cpus"), **{name: service.get(name) for name in CPU_KEYS}}
    cpu = ", ".join(f"{name} {value}" for name, value in said.items() if value not in (None, "", 0, "0", -1))
    pids = [_number(value) for value in (limits.get("pids"), service.get("pids_limit")) if value is not None]
    memory = [size_in_bytes(value) for value in (limits.get("memory"), service.get("mem_limit"))]
    return Limits(max(memory), cpu, max([0, *pids]))


def _ulimits_of_service(ulimits: t.Any) -> t.Iterator[tuple[str, int, int]]:
    for name, value in _mapping(ulimits).items():
        pair = value if isinstance(value, dict) else {"soft": value, "hard": value}
        yield str(name), _number(pair.get("soft")), _number(pair.get("hard"))


def _health_of_service(check: t.Any) -> tuple[str, ...] | None:
    if not isinstance(check, dict):
        return None
    if is_true(check.get("disable")):
        return NO_CHECK
    test = check.get("test")
    return None if not test else tuple(map(str, test)) if isinstance(test, list) else ("CMD-SHELL", str(test))


def _device(item: t.Any) -> str:
    return str(item.get("source") or "") if isinstance(item, dict) else _split(str(item))[0]


def _device_requests_of_service(service: Document) -> t.Iterator[str]:
    gpus = service.get("gpus")
    reserved = _mapping(_mapping(_mapping(service.get("deploy")).get("resources")).get("reservations")).get("devices")
    for item in [*(["gpu"] if gpus == "all" else _list(gpus)), *_list(reserved)]:
        one = _mapping(item)
        yield device_request(one.get("driver"), _list(one.get("device_ids")), _list(one.get("capabilities")))


def _words(command: t.Any) -> tuple[str, ...]:
    if isinstance(command, str):
        try:
            return tuple(shlex.split(command))
        except ValueError:  # a quote that is not closed: Compose's to refuse
            return tuple(command.split())
    return tuple(map(str, _list(command)))


def _split(text: str) -> list[str]:
    """Split at colons, but not inside of C(${…}) and C([…])."""
    kept = _TOGETHER.sub(lambda match: match[0].replace(":", "\0"), text)
    return [part.replace("\0", ":") for part in kept.split(":")]


def _normal(path: str) -> str:
    """Return a path of the host without detours; the home folder is root's, whom the engine's commands run as."""
    if path == "~" or path.startswith("~/"):
        path = f"/root{path[1:]}"
    return normal_path(path)


def _number(value: t.Any) -> int:
    try:
        return int(str(value))
    except ValueError:  # a variable whose value nobody knows
        return 0


def _scalar(value: t.Any) -> t.Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _mapping(value: t.Any) -> Document:
    return value if isinstance(value, dict) else {}


def _list(value: t.Any) -> list[t.Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]
