# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Gather what an audit's rules judge of the engine. Reads only; what it does not answer says so in the facts."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    CONFIG,
    EngineFacts,
    StoredImage,
    SwarmFacts,
    read_flags,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    Docker,
    inspect_argv,
    must,
    no_engine,
    read_json,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

PATIENCE = 15.0
"""Seconds for a command that answers from memory: an engine that hangs must not hold an audit up."""

_SLACK = 2.0  # seconds; the kernel tells when it booted in whole ones, and so when a process began
_INFO = ["docker", "info", "--format", "{{json .}}"]
_CONTAINERS = ["docker", "container", "ls", "--all", "--quiet", "--no-trunc"]
_IMAGES = ["docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{json .}}"]
_OVERLAYS = ["docker", "network", "ls", "--quiet", "--no-trunc", "--filter", "driver=overlay"]
_SERVICES = ["docker", "service", "ls", "--quiet"]
_GONE = ("no such", "not found")

T = t.TypeVar("T")


def look_at_engine(docker: Docker, root: str = "") -> EngineFacts:
    """Look at the engine: its options where it has a process, the rest where it answers."""
    options, options_problem, pending = _options(root)
    facts: dict[str, t.Any] = {"options": options, "options_problem": options_problem, "pending": pending}
    try:
        facts["info"] = info = _info(docker)
    except ReleaseError as exc:
        return EngineFacts(problem=str(exc), **facts)
    facts["bridge"], facts["bridge_problem"] = _try(lambda: _bridge(docker))
    containers, facts["containers_problem"] = _try(lambda: _containers(docker))
    images, facts["images_problem"] = _try(lambda: _images(docker))
    facts.update(containers=containers or (), images=images or ())
    engine = EngineFacts(**facts)
    facts["commands"] = container_commands(root, engine.running)
    volumes, facts["volumes_problem"] = _try(lambda: _volumes(docker, engine))
    facts["volumes"] = volumes or {}
    used, facts["used_problem"] = _try(lambda: _used(docker, engine))
    facts["used"] = used or ()
    if engine.in_swarm:
        manager = bool((info.get("Swarm") or {}).get("ControlAvailable"))
        facts["swarm"] = _swarm(docker, engine.data_root, manager, root)
    return EngineFacts(**facts)


def _try(ask: t.Callable[[], T]) -> tuple[T | None, str]:
    """Return what was asked for, or nothing and why."""
    try:
        return ask(), ""
    except ReleaseError as exc:
        return None, str(exc)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        return None, f"the engine gave an answer that cannot be read ({exc!r})"


def _info(docker: Docker) -> t.Mapping[str, t.Any]:
    answer = docker.ask(_INFO, timeout=PATIENCE)
    info = read_json(must(answer, "docker info"), "docker info")
    errors = info.get("ServerErrors") if isinstance(info, t.Mapping) else ["no object"]
    if errors:  # a command line that found no engine still tells of itself, and some say that this is fine
        raise no_engine(Answer(1, "", "; ".join(str(error) for error in errors)))
    return t.cast("t.Mapping[str, t.Any]", info)


def _bridge(docker: Docker) -> t.Mapping[str, str] | None:
    answer = docker.ask(["docker", "network", "inspect", "bridge"], timeout=PATIENCE)
    if answer.code and any(sign in answer.stderr.lower() for sign in _GONE):
        return None
    found = read_json(must(answer, "docker network inspect bridge"), "docker network inspect bridge")
    return t.cast("t.Mapping[str, str]", found[0].get("Options") or {})


def _containers(docker: Docker) -> tuple[t.Mapping[str, t.Any], ...]:
    ids = must(docker.ask(_CONTAINERS, timeout=PATIENCE), "docker container ls").split()
    return tuple(_inspect(docker, inspect_argv(ids))) if ids else ()


def _inspect(docker: Docker, argv: t.Sequence[str]) -> list[t.Mapping[str, t.Any]]:
    """Return what `inspect` knows of several things; what went away since they were listed is left out.

    Raises:
        ReleaseError, ValueError: there is no answer, or a strange one.
    """
    answer = docker.ask(argv, timeout=PATIENCE)
    complaints = [line for line in answer.stderr.splitlines() if line.strip()]
    gone = complaints and all(any(sign in line.lower() for sign in _GONE) for line in complaints)
    text = answer.stdout if gone else must(answer, " ".join(argv[:3]))
    found = read_json(text, " ".join(argv[:3]))
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{' '.join(argv[:3])} gave no list of objects")
    return found


def _images(docker: Docker) -> tuple[StoredImage, ...]:
    lines = must(docker.ask(_IMAGES, timeout=PATIENCE), "docker image ls").splitlines()
    images = (read_json(line, "docker image ls") for line in lines if line)

    def told(value: str) -> str:
        return "" if value == "<none>" else value

    return tuple(StoredImage(one["ID"], told(one["Repository"]), told(one.get("Digest") or "")) for one in images)


def _volumes(docker: Docker, engine: EngineFacts) -> dict[str, t.Mapping[str, t.Any]]:
    mounts = (mount for one in engine.running for mount in one.get("Mounts") or ())
    names = tuple(dict.fromkeys(str(mount["Name"]) for mount in mounts if mount.get("Type") == "volume"))
    found = _inspect(docker, ["docker", "volume", "inspect", "--", *names]) if names else []
    return {str(one["Name"]): one.get("Options") or {} for one in found}


def _used(docker: Docker, engine: EngineFacts) -> tuple[tuple[t.Mapping[str, t.Any], tuple[str, ...]], ...]:
    ids = tuple(dict.fromkeys(str(one["Image"]) for one in engine.running))
    found = _inspect(docker, ["docker", "image", "inspect", "--", *ids]) if ids else []
    return tuple((one, _history(docker, str(one["Id"]))) for one in found)


def _history(docker: Docker, image: str) -> tuple[str, ...]:
    argv = ["docker", "image", "history", "--no-trunc", "--format", "{{json .CreatedBy}}", "--", image]
    lines = must(docker.ask(argv, timeout=PATIENCE), "docker image history").splitlines()
    steps = [read_json(line, "docker image history") for line in lines]
    if not all(isinstance(step, str) for step in steps):
        raise ValueError("docker image history gave no list of steps")
    return tuple(steps)


def _swarm(docker: Docker, data_root: str, manager: bool, root: str) -> SwarmFacts:
    path = f"{data_root}/swarm/docker-state.json"
    state, state_problem = _document(root + path)
    if not manager:
        return SwarmFacts(state, state_problem or ("" if state else f"{path} is not there"))
    networks, networks_problem = _try(lambda: _overlays(docker))
    environments, services_problem = _try(lambda: _services(docker))
    return SwarmFacts(state, state_problem, networks or {}, networks_problem, environments or {}, services_problem)


def _overlays(docker: Docker) -> dict[str, t.Mapping[str, str]]:
    ids = must(docker.ask(_OVERLAYS, timeout=PATIENCE), "docker network ls").split()
    found = _inspect(docker, ["docker", "network", "inspect", "--", *ids]) if ids else []
    return {str(one["Name"]): one.get("Options") or {} for one in found}


def _services(docker: Docker) -> dict[str, tuple[str, ...]]:
    ids = must(docker.ask(_SERVICES, timeout=PATIENCE), "docker service ls").split()
    found = _inspect(docker, ["docker", "service", "inspect", "--", *ids]) if ids else []
    return {
        str(one["Spec"]["Name"]): tuple(one["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Env") or ())
        for one in found
    }


def _options(root: str) -> tuple[dict[str, t.Any], str, str]:
    """Return what the engine was started with, why that is not known, and since when the file says something newer."""
    process = engine_process(root)
    if process is None:
        return {}, "the engine's options: there is no process dockerd on this host", ""
    number, argv = process
    flags = read_flags(argv[1:])
    config = str(flags.get("config-file") or CONFIG)
    document, problem = _document(root + config)
    if problem:
        return {}, f"the engine's options: {problem[len(root) :]}", ""
    return {**document, **flags}, "", _pending(root, config, _began(root, number))


def _document(path: str) -> tuple[dict[str, t.Any], str]:
    """Return the object in a JSON file, nothing where there is no file; and why it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}, ""
    except OSError as exc:
        return {}, f"{path}: {exc.strerror}"
    except ValueError as exc:
        return {}, f"{path} is no JSON: {printable(str(exc), 200)}"
    return (document, "") if isinstance(document, dict) else ({}, f"{path} holds no JSON object")


def engine_process(root: str) -> tuple[int, list[str]] | None:
    """Return process id and command line of this host's dockerd: others on the machine may be of hosts within it."""
    try:
        with open(f"{root}/run/docker.pid", encoding="ascii") as file:
            told = [file.read().strip()]
    except (OSError, ValueError):
        told = []
    for name in [*(name for name in told if name.isdigit()), *_processes(root)]:
        argv = _argv(f"{root}/proc/{name}")
        if argv and os.path.basename(argv[0]) == "dockerd" and _is_ours(root, name):
            return int(name), argv
    return None


def _processes(root: str) -> list[str]:
    return sorted((name for name in os.listdir(f"{root}/proc") if name.isdigit()), key=int)


def _argv(folder: str) -> list[str]:
    try:
        with open(f"{folder}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0") if word]
    except OSError:
        return []


def _is_ours(root: str, name: str) -> bool:
    try:
        return os.readlink(f"{root}/proc/{name}/ns/pid") == os.readlink(f"{root}/proc/self/ns/pid")
    except OSError:
        return False


def _began(root: str, number: int) -> float | None:
    """Return when a process began, in seconds since 1970: field 22 of proc(5) is in ticks since the machine booted."""
    try:
        with open(f"{root}/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open(f"{root}/proc/stat", encoding="utf-8") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _pending(root: str, config: str, began: float | None) -> str:
    """Say since when the file differs from what the engine has read; of one that is not there its folder tells."""
    try:
        there = os.path.lexists(root + config)
        changed = os.stat(root + (config if there else os.path.dirname(config))).st_mtime
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f"{config}: {exc.strerror}"
    if began is None:
        return "when the engine was started, so whether it has read its daemon.json"
    if changed <= began + _SLACK:
        return ""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(changed))
    how = "changed" if there else "perhaps removed"
    return f"whether the engine has read {config}: it was {how} on {when}, after the engine's start; restart it"


def container_commands(root: str, containers: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, tuple[str, ...]]:
    """Return the commands that run in each container, by its id: of all processes in the same process namespace."""
    spaces: dict[str, list[str]] = {}
    for name in _processes(root):
        argv = _argv(f"{root}/proc/{name}")
        spaces.setdefault(_space(root, name), []).extend([" ".join(argv)] if argv else [])
    found = {}
    for container in containers:
        space = _space(root, str((container.get("State") or {}).get("Pid") or 0))
        if space and space != _space(root, "self"):
            found[str(container.get("Id"))] = tuple(spaces.get(space, ()))
    return found


def _space(root: str, name: str) -> str:
    try:
        return os.readlink(f"{root}/proc/{name}/ns/pid")
    except OSError:
        return ""
