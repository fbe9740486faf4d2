# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Look at a host's engine, its file, its containers and its surroundings, and have the engine check a file."""

from __future__ import annotations

import json
import os
import re
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import (
    Container,
    Document,
    Draft,
    Wanted,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_addresses import (
    Taken,
    asked_for,
    read_networks,
    read_peers,
    read_taken,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_checks import (
    Held,
    Program,
    Surroundings,
    data_root,
    explain_unknown,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import checks_itself
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import NOT_FOUND, Engine, Run, find_engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import FOLDER, inspect
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import digest
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, read_json, write_json
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

_PENDING = "pending.json"
_RESOLVER = "/etc/resolv.conf"
_UNKNOWN = re.compile(r"don't match any configuration option: ([^\n]*)")
_CHECKED = re.compile(r"^unable to configure the Docker daemon with file [^:]*: ")
# What a data root holds that is no volume.
_NO_VOLUMES = frozenset({"metadata.db", "backingFsBlockDev"})


@dataclass(frozen=True)
class Found:
    """What there is.

    :ivar text: what the file holds; None where there is none.
    :ivar info: what `docker info` says; empty where the engine does not answer.
    """

    text: str | None
    engine: Engine
    program: Program
    info: Document
    containers: tuple[Container, ...] = ()

    @property
    def live_restore(self) -> bool:
        return bool(self.info.get("LiveRestoreEnabled"))

    @property
    def silent(self) -> bool:
        """Whether there is an engine that does not answer: one that hangs, or is about to end again."""
        return bool(self.engine.pid) and not self.info

    @property
    def running(self) -> tuple[Container, ...]:
        return tuple(one for one in self.containers if one.running)


def read_file(path: str) -> str | None:
    """Return what a file holds, None where there is none.

    :raises HostError: it is no text.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:  # as it is, so that its digest is that of the file
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UnicodeDecodeError, OSError) as exc:
        raise HostError(f"{path} cannot be read: {exc}. Nothing was changed", reason="file_invalid") from None


def look(run: Run, path: str, pid_file: str) -> Found:
    """Look at file, engine and containers.

    :raises HostError: there is no engine on this host, nothing to ask it with, or the file cannot be read.
    """
    engine = find_engine(run, pid_file)
    said = run(["dockerd", "--version"])
    version = re.search(r"version v?(\d+)\.(\d+)", said.stdout)
    if version is None:
        raise HostError(
            f"there is no Docker engine on this host (dockerd --version: {printable(said.stderr) or 'no answer'}); "
            "install one (role emorobcare.fleet.docker_host)",
            reason="engine_unavailable",
        )
    program = Program((int(version[1]), int(version[2])), engine.arguments, engine.origin)
    info = _info(run) if engine.pid else {}
    return Found(read_file(path), engine, program, info, _containers(run) if info else ())


def _info(run: Run) -> Document:
    answer = run(["docker", "info", "--format", "{{json .}}"])
    if answer.code == NOT_FOUND:
        raise HostError(
            "there is no docker command on this host, so its engine cannot be asked: install it (package docker-cli of "
            "Debian, docker-ce-cli of Docker). Nothing was changed",
            reason="engine_unavailable",
        )
    try:
        info = json.loads(answer.stdout)
    except ValueError:
        return {}
    return info if isinstance(info, dict) and info.get("ServerVersion") else {}


def _containers(run: Run) -> tuple[Container, ...]:
    listed = run(["docker", "container", "ls", "--all", "--quiet", "--no-trunc"])
    return tuple(_container(raw) for raw in inspect(run, listed.stdout.split()))


def _container(raw: t.Mapping[str, t.Any]) -> Container:
    host = raw.get("HostConfig") or {}
    log = host.get("LogConfig") or {}
    return Container(
        name=raw["Name"].lstrip("/"),
        running=bool(raw["State"].get("Running")),
        policy=(host.get("RestartPolicy") or {}).get("Name", ""),
        removed=bool(host.get("AutoRemove")),
        log_driver=log.get("Type", ""),
        log_options=log.get("Config") or {},
    )


def look_around(run: Run, found: Found, draft: Draft) -> Surroundings:
    """Look at what a change of the file must fit.

    :raises HostError: the host's addresses cannot be read, and the change gives some to containers.
    """
    info = found.info
    swarm = str((info.get("Swarm") or {}).get("LocalNodeState", "inactive")) != "inactive"
    if not info:
        root = data_root(draft.before)
        return Surroundings(found.program, _was_swarm(root), _held_on_disk(root), _taken(run, draft, engine=False))
    volumes = run(["docker", "volume", "ls", "--quiet"]).stdout.split()
    held = Held(
        int(info.get("Images", 0)),
        int(info.get("Containers", 0)),
        len(volumes),
        str(info.get("Driver", "")),
        any("io.containerd.snapshotter" in str(pair) for pair in info.get("DriverStatus") or ()),
    )
    return Surroundings(found.program, swarm, held, _taken(run, draft, engine=True))


def _was_swarm(root: str) -> bool:
    return os.path.exists(os.path.join(root, "swarm", "docker-state.json"))


def _held_on_disk(root: str) -> Held:
    """What an engine that does not run would find; it alone knows how many images are in there."""
    images = [os.path.join(root, "image", driver, "repositories.json") for driver in _names(root, "image")]
    return Held(
        images=sum(_has_entries(path) for path in images),
        containers=len(_names(root, "containers")),
        volumes=len(set(_names(root, "volumes")) - _NO_VOLUMES),
    )


def _names(*path: str) -> list[str]:
    try:
        return os.listdir(os.path.join(*path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_entries(path: str) -> bool:
    data = read_json(path)
    return bool(data.get("Repositories")) if isinstance(data, dict) else False


def _taken(run: Run, draft: Draft, engine: bool) -> tuple[Taken, ...]:
    try:
        if not asked_for(draft.after, draft.changed):
            return ()
    except ValueError:  # is refused for what it is
        return ()
    networks, bridges = read_networks(_networks(run)) if engine else ((), frozenset())
    addresses = _ip(run, "address")
    routes = _ip(run, "-4", "route", "show", "table", "all") + _ip(run, "-6", "route", "show", "table", "all")
    peers = read_peers(
        run(["ss", "-Htn", "state", "established"]).stdout, read_file(_RESOLVER) or "", addresses, bridges
    )
    return (*read_taken(addresses, routes, bridges), *networks, *peers)


def _ip(run: Run, *words: str) -> list[dict[str, t.Any]]:
    answer = run(["ip", "-json", *words])
    if answer.code:
        _no_ip(answer.stderr)
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(answer.stdout or "[]"))
    except ValueError:
        _no_ip(answer.stdout)


def _no_ip(said: str) -> t.NoReturn:
    raise HostError(
        "what addresses this host has and reaches cannot be told, so none are given to containers: ip -json: "
        f"{printable(said, 200)}. Install iproute2. Nothing was changed",
        reason="address_collision",
    )


def _networks(run: Run) -> list[dict[str, t.Any]]:
    ids = run(["docker", "network", "ls", "--quiet", "--no-trunc"]).stdout.split()
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(run(["docker", "network", "inspect", "--", *ids]).stdout))
    except ValueError:
        return []


def have_checked(run: Run, wanted: Wanted, draft: Draft, program: Program) -> None:
    """Have the engine check what the file is to hold, together with its arguments, where it can.

    :raises HostError: it does not take it.
    """
    if not checks_itself(program.version) or draft.text is None:
        return
    with tempfile.TemporaryDirectory(prefix="fleet-docker-") as folder:
        path = os.path.join(folder, "daemon.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(draft.text)
        answer = run(["dockerd", "--validate", f"--config-file={path}", *_without_file(program.arguments)])
    if answer.code == 0:
        return
    unknown = _UNKNOWN.search(answer.stderr)
    if unknown:
        names = [name.strip() for name in unknown[1].split(",")]
        raise HostError(explain_unknown(names, wanted, program), reason="option_unknown")
    said = _CHECKED.sub("", printable(answer.stderr or answer.stdout))
    raise HostError(
        f"{wanted.path}: the engine would not start with what is wanted: {said}. Correct the options that it names. "
        "Nothing was changed",
        reason="option_invalid",
    )


def _without_file(arguments: t.Sequence[str]) -> list[str]:
    kept, words = [], iter(arguments)
    for word in words:
        if word == "--config-file":
            next(words, "")
        elif not word.startswith("--config-file="):
            kept.append(word)
    return kept


@dataclass(frozen=True)
class Pending:
    """What an earlier run has written, and what this engine has not taken since it started.

    :ivar keys: those that wait.
    :ivar taken: the file as the engine has it, None where there was none.
    :ivar written: the digest of the file as it was left; another one tells that somebody has edited it since.
    """

    keys: tuple[str, ...] = ()
    taken: str | None = None
    written: str = ""

    def is_left(self, text: str | None) -> bool:
        return bool(self.keys) and self.written == digest((text or "").encode())


def read_pending(engine: Engine, folder: str = FOLDER) -> Pending:
    """Return what waits for this engine to start anew."""
    data = read_json(os.path.join(folder, _PENDING))
    if not isinstance(data, dict) or not engine.identity or data.get("engine") != engine.identity:
        return Pending()
    return Pending(tuple(data["keys"]), data["taken"], data["written"])


def write_pending(engine: Engine, pending: Pending, folder: str = FOLDER) -> None:
    """Remember it for as long as this engine runs."""
    make_dirs(folder, 0o700)
    write_json(
        os.path.join(folder, _PENDING),
        {
            "engine": engine.identity,
            "keys": list(pending.keys),
            "taken": pending.taken,
            "written": pending.written,
        },
    )
