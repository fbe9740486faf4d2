# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the rules about containers look at, and how it is read from the engine. Pure.

Source of the forms: the engine's API reference (container inspect, system info). Documents are in _cis_compose_facts.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts

Document = t.Mapping[str, t.Any]

_OPTION = re.compile(r"([^:=]*)[:=]?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Engine:
    """What counts for every container of an engine; None where nobody knows, as for a document."""

    apparmor: bool | None = None
    selinux: bool | None = None
    seccomp: bool | None = None
    no_new_privileges: bool | None = None
    swarm: bool | None = None


@dataclass(frozen=True)
class Mounted:
    """A mount: a path of the host (or a volume's name, or nothing), where it is in the container, and how."""

    source: str
    target: str
    bind: bool = True
    read_only: bool = False
    propagation: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"


@dataclass(frozen=True)
class Published:
    """A port of the host that leads into the container: port is empty where the engine chooses one."""

    address: str
    port: str
    target: str
    protocol: str = "tcp"

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{':'.join(filter(None, (address, self.port, self.target)))}/{self.protocol}"


@dataclass(frozen=True)
class Limits:
    """Limits of resources. Memory in bytes, 0 for none; cpu is what was said of it; pids 0 for none."""

    memory: int = 0
    cpu: str = ""
    pids: int = 0


@dataclass(frozen=True)
class ContainerFacts:
    """A container as it runs (running), or as a document says that it shall.

    `user` and `health` are None where only the image knows. `apparmor` is the profile that the engine has set,
    `processes` are the commands that run, None where nobody asked. `mounts_problem` says of which volumes nobody knows
    what is behind them. Ulimits are (name, soft, hard), -1 for no limit.
    `cap_add` and `cap_drop` are without CAP_; `restart` is as Compose writes it: on-failure:5.
    """

    name: str
    running: bool = False
    engine: Engine = Engine()
    image: str = ""
    user: str | None = None
    job: bool = False
    command: tuple[str, ...] = ()
    processes: tuple[str, ...] | None = None
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: tuple[tuple[str, str], ...] = ()
    apparmor: str | None = None
    process_label: str | None = None
    mounts: tuple[Mounted, ...] = ()
    mounts_problem: str = ""
    network: str = ""
    networks: tuple[str, ...] = ()
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroup_parent: str = ""
    ports: tuple[Published, ...] = ()
    limits: Limits = Limits()
    read_only: bool = False
    restart: str = ""
    devices: tuple[str, ...] = ()
    device_requests: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    health: tuple[str, ...] | None = None

    def option(self, name: str) -> str | None:
        """Return the value of a security option, the last one that was given; None for none."""
        values = [value for key, value in self.security if key == name]
        return values[-1] if values else None


def engine_of_info(info: Document) -> Engine:
    """Read what `docker info --format '{{json .}}'` says of all containers."""
    engine = EngineFacts(info=info)
    names = engine.security
    return Engine(
        apparmor="apparmor" in names,
        selinux="selinux" in names,
        seccomp=names.get("seccomp", "unconfined") != "unconfined",
        no_new_privileges="no-new-privileges" in names,
        swarm=engine.in_swarm,
    )


def facts_of_inspect(
    document: Document,
    engine: Engine = Engine(),
    processes: t.Sequence[str] | None = None,
    volumes: t.Mapping[str, Document] | None = None,
) -> ContainerFacts:
    """Read one item of `docker container inspect`.

    :arg processes: the commands that run in the container, as `docker top` lists them; None where nobody asked.
    :arg volumes: the options of the driver by the name of a volume, of all that were asked for.
    """
    known = volumes or {}
    mounts: t.Sequence[Document] = document.get("Mounts") or ()
    hidden = [str(one.get("Name")) for one in mounts if one.get("Type") == "volume" and one.get("Name") not in known]
    host: Document = document.get("HostConfig") or {}
    config: Document = document.get("Config") or {}
    command = [document.get("Path"), *(document.get("Args") or ())]
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    health = config.get("Healthcheck")
    return ContainerFacts(
        name=str(document.get("Name") or "").lstrip("/"),
        running=True,
        engine=engine,
        image=str(config.get("Image") or document.get("Image") or ""),
        user=str(config.get("User") or ""),
        command=tuple(str(word) for word in command if word),
        processes=None if processes is None else tuple(processes),
        privileged=bool(host.get("Privileged")),
        cap_add=capabilities(host.get("CapAdd")),
        cap_drop=capabilities(host.get("CapDrop")),
        security=security(host.get("SecurityOpt")),
        apparmor=document.get("AppArmorProfile"),
        process_label=document.get("ProcessLabel"),
        mounts=tuple(_mount_of_inspect(item, known) for item in mounts),
        mounts_problem=f"what is behind volume {', '.join(hidden)}" if hidden else "",
        network=str(host.get("NetworkMode") or ""),
        networks=tuple(sorted(networks)),
        pid=str(host.get("PidMode") or ""),
        ipc=str(host.get("IpcMode") or ""),
        uts=str(host.get("UTSMode") or ""),
        userns=str(host.get("UsernsMode") or ""),
        cgroup_parent=str(host.get("CgroupParent") or ""),
        ports=tuple(_ports_of_inspect(host, document)),
        limits=_limits_of_inspect(host),
        read_only=bool(host.get("ReadonlyRootfs")),
        restart=_restart_of_inspect(host.get("RestartPolicy") or {}),
        devices=tuple(str(item.get("PathOnHost") or "") for item in host.get("Devices") or ()),
        device_requests=tuple(map(_device_request_of_inspect, host.get("DeviceRequests") or ())),
        device_rules=tuple(host.get("DeviceCgroupRules") or ()),
        ulimits=tuple((u["Name"], int(u["Soft"]), int(u["Hard"])) for u in host.get("Ulimits") or ()),
        health=tuple((health or {}).get("Test") or ()),
    )


def device_request(driver: t.Any, ids: t.Any, kinds: t.Any) -> str:
    """Return what is asked of a driver of devices (CDI, say): which ones by name, or of which kind."""
    return " ".join(filter(None, (str(driver or ""), ",".join(map(str, ids or kinds or ["gpu"])))))


def capabilities(names: t.Iterable[t.Any] | None) -> tuple[str, ...]:
    """Return capabilities by the names that the kernel's manual gives them, without CAP_."""
    upper = (str(name).upper() for name in names or ())
    return tuple(name[4:] if name.startswith("CAP_") else name for name in upper)


def security(options: t.Iterable[t.Any] | None) -> tuple[tuple[str, str], ...]:
    """Read security options: `seccomp=unconfined`, `no-new-privileges:true`, `no-new-privileges`."""
    pairs: list[tuple[str, str]] = []
    for option in options or ():
        match = _OPTION.fullmatch(str(option))
        pairs += [(match[1].strip(), match[2].strip())] if match else []
    return tuple(pairs)


def bound_path(options: Document) -> str:
    """Return the path of the host that a volume of driver options is (o: bind, device: /path), empty for a real one."""
    bound = {"bind", "rbind"} & {option.strip() for option in str(options.get("o") or "").split(",")}
    return normal_path(str(options.get("device") or "")) if bound else ""


def normal_path(path: str) -> str:
    """Return a path without detours; no path stays none."""
    return re.sub(r"^//+", "/", posixpath.normpath(path)) if path else ""


def _mount_of_inspect(item: Document, volumes: t.Mapping[str, Document]) -> Mounted:
    bind, name = item.get("Type") == "bind", str(item.get("Name") or "")
    source = str(item.get("Source") or "") if bind else bound_path(volumes.get(name, {}))
    target, propagation = str(item.get("Destination") or ""), str(item.get("Propagation") or "")
    return Mounted(source or name, target, bind or bool(source), item.get("RW") is False, propagation)


def _device_request_of_inspect(item: Document) -> str:
    kinds = [kind for all_of in item.get("Capabilities") or () for kind in all_of]
    return device_request(item.get("Driver"), item.get("DeviceIDs"), kinds)


def _ports_of_inspect(host: Document, document: Document) -> t.Iterator[Published]:
    """Yield what is published: as it is where the container runs, else as it was asked for."""
    bound = (document.get("NetworkSettings") or {}).get("Ports") or {}
    for target, bindings in (bound if any(bound.values()) else host.get("PortBindings") or {}).items():
        port, _slash, protocol = str(target).partition("/")
        for binding in bindings or ():
            address, published = str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "")
            yield Published(address, published, port, protocol or "tcp")


def _limits_of_inspect(host: Document) -> Limits:
    said = {name: host.get(name) for name in ("NanoCpus", "CpuQuota", "CpuShares", "CpusetCpus")}
    cpu = ", ".join(f"{name} {value}" for name, value in said.items() if value and value != -1)
    return Limits(max(int(host.get("Memory") or 0), 0), cpu, max(int(host.get("PidsLimit") or 0), 0))


def _restart_of_inspect(policy: Document) -> str:
    name, most = str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)
    return f"{name}:{most}" if most else name
