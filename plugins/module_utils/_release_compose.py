# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A Compose project as `docker compose config --format json` resolves it, and what a host adds to it. Pure."""

from __future__ import annotations

import json
import os.path
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import MODELS, Model
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

SECRETS_LABEL = "org.emorobcare.fleet.secrets"

_WARNING = re.compile(r'level=warning msg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host in a container."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Port:
    """A port of the host that a service wants; an empty address means every one."""

    service: str
    address: str
    port: int
    protocol: str

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address or "0.0.0.0"
        return f"{host}:{self.port}/{self.protocol}"


@dataclass(frozen=True)
class Service:
    """An active service (one of no profile, or of an active one)."""

    name: str
    image: str
    replicas: int = 1
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """The active services, and the file that each Compose secret is mounted from."""

    services: tuple[Service, ...]
    secret_files: t.Mapping[str, str]

    @property
    def running(self) -> frozenset[str]:
        """The services that are to have a container."""
        return frozenset(service.name for service in self.services if service.replicas > 0)


@dataclass(frozen=True)
class Places:
    """Folders that the resolved files name: the release's own, the published models', the stack's secrets'."""

    release: str
    models: str
    secrets: str


def parse_project(data: t.Mapping[str, t.Any]) -> Project:
    """Read the resolved configuration."""
    data = _unescaped(data)
    services = data.get("services") or {}
    files = {key: item["file"] for key, item in (data.get("secrets") or {}).items() if item.get("file")}
    return Project(tuple(_service(name, item) for name, item in sorted(services.items())), files)


def parse_hashes(text: str) -> dict[str, str]:
    """Read the output of C(docker compose config --hash '*'): a service and its hash on each line."""
    return dict(t.cast("tuple[str, str]", line.split()) for line in text.splitlines() if len(line.split()) == 2)


def warnings(stderr: str) -> list[str]:
    """Return what Compose warned of, each once, in its order."""
    return list(dict.fromkeys(message.replace('\\"', '"') for message in _WARNING.findall(stderr)))


def secrets_in_use(project: Project, places: Places, declared: t.Collection[str]) -> dict[str, list[str]]:
    """Return the services that mount each of the stack's secrets, by the secret's name.

    Raises:
        ReleaseError: a service mounts a secret that the stack does not declare.
    """
    users: dict[str, list[str]] = {}
    for service in project.services:
        for key in service.secrets:
            name = _secret_name(project.secret_files.get(key, ""), places)
            if name is None:
                continue
            if name not in declared:
                raise ReleaseError(
                    f"service {service.name} mounts the secret {name!r}, which stack.yml does not declare; add it to "
                    "secrets there",
                    reason="release_invalid",
                )
            users.setdefault(name, []).append(service.name)
    return users


def models_in_use(project: Project, places: Places, models: t.Sequence[Model]) -> dict[str, list[str]]:
    """Return the models that each service mounts as C(<name>/<version>), by the service's name.

    Raises:
        ReleaseError: a service mounts all of ./models, or a model that the release does not pin.
    """
    pinned = {model.name: model for model in models}
    found = {}
    for service in project.services:
        names = [
            name for name in (_model_name(mount, service.name, places, pinned) for mount in service.mounts) if name
        ]
        found[service.name] = list(dict.fromkeys(pinned[name].folder for name in names))
    return found


def host_override(
    project: Project, places: Places, models: t.Sequence[Model], mounted: t.Mapping[str, str]
) -> dict[str, t.Any]:
    """Return the Compose file that a host adds as the last one.

    It mounts models by the path of their version and secrets by a path of their value, instead of through the
    release's folder: so a container stays what it was made as whatever is deployed beside it, is recreated when
    something that it uses changed, and only then.

    Args:
        mounted: the file that holds this value of each secret, by the secret's name.
    """
    pinned = {model.name: model for model in models}
    users = secrets_in_use(project, places, mounted)
    services: dict[str, t.Any] = {}
    for service in project.services:
        entry: dict[str, t.Any] = {}
        volumes = [_model_mount(mount, service.name, places, pinned) for mount in service.mounts]
        if any(volumes):
            entry["volumes"] = [volume for volume in volumes if volume]
        used = sorted(name for name, services_of in users.items() if service.name in services_of)
        if used:
            values = ",".join(os.path.basename(mounted[name]) for name in used)
            entry["labels"] = {SECRETS_LABEL: values}
        if entry:
            services[service.name] = entry
    files = {key: _secret_name(file, places) for key, file in project.secret_files.items()}
    secrets = {key: {"file": mounted[name]} for key, name in files.items() if name is not None and name in users}
    override = {"services": services, "secrets": secrets}
    return t.cast("dict[str, t.Any]", _escaped({key: value for key, value in override.items() if value}))


def mounts_from(project: Project, folder: str) -> set[str]:
    """Return the services that mount something of a folder."""
    return {s.name for s in project.services if any(_below(mount.source, folder) is not None for mount in s.mounts)}


def encode(override: t.Mapping[str, t.Any]) -> bytes:
    """Return a Compose file: JSON is YAML."""
    return (json.dumps(override, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _service(name: str, data: t.Mapping[str, t.Any]) -> Service:
    replicas = (data.get("deploy") or {}).get("replicas")
    replicas = data.get("scale", 1) if replicas is None else replicas
    mounts = (
        Mount(item["source"], item["target"], bool(item.get("read_only")))
        for item in data.get("volumes") or ()
        if item.get("type") == "bind"
    )
    ports = (_port(name, item) for item in data.get("ports") or ())
    secrets = (item["source"] for item in data.get("secrets") or ())
    return Service(
        name=name,
        image=data.get("image", ""),
        replicas=int(replicas),
        mounts=tuple(mounts),
        ports=tuple(port for port in ports if port),
        secrets=tuple(secrets),
    )


def _port(service: str, data: t.Mapping[str, t.Any]) -> Port | None:
    """Return a fixed port; Docker chooses the others (none given, or a range) among those that are free."""
    published = str(data.get("published") or "")
    if not published.isdigit() or published == "0":
        return None
    return Port(service, data.get("host_ip") or "", int(published), data.get("protocol") or "tcp")


def _secret_name(file: str, places: Places) -> str | None:
    return _below(file, places.secrets)


def _model_name(mount: Mount, service: str, places: Places, pinned: t.Mapping[str, Model]) -> str | None:
    inside = _below(mount.source, os.path.join(places.release, MODELS))
    if inside is None:
        return None
    name = inside.split("/", 1)[0]
    if name in pinned:
        return name
    what = f"./{MODELS}/{name}, a model that stack.yml does not pin" if name else f"./{MODELS} as a whole"
    raise ReleaseError(
        f"service {service} mounts {what}; mount ./{MODELS}/<name> of: {', '.join(sorted(pinned)) or 'none'}",
        reason="release_invalid",
    )


def _model_mount(mount: Mount, service: str, places: Places, pinned: t.Mapping[str, Model]) -> dict[str, t.Any] | None:
    name = _model_name(mount, service, places, pinned)
    if name is None:
        return None
    inside = t.cast(str, _below(mount.source, os.path.join(places.release, MODELS)))
    source = os.path.join(places.models, pinned[name].folder, *inside.split("/")[1:])
    # A missing model must be an error, not an empty folder that Docker makes.
    return {
        "type": "bind",
        "source": source,
        "target": mount.target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _below(path: str, folder: str) -> str | None:
    """Return the path relative to a folder (empty for the folder itself), None for one outside."""
    path, folder = os.path.normpath(path), os.path.normpath(folder)
    if path == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None


def _unescaped(value: t.Any) -> t.Any:
    return _each_string(value, lambda text: text.replace("$$", "$"))


def _escaped(value: t.Any) -> t.Any:
    return _each_string(value, lambda text: text.replace("$", "$$"))


def _each_string(value: t.Any, change: t.Callable[[str], str]) -> t.Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_string(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_string(item, change) for item in value]
    return value
