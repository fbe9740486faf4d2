# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Gather what an audit's rules judge on the host itself. Reads only; what cannot be read says so in the facts.

A root folder may be given, so that a tree of files stands for a host.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import grp
import json
import os
import pwd
import re
import stat
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils import _cis_files as files
from ansible_collections.emorobcare.fleet.plugins.module_utils import _cis_host as rules
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditFacts,
    EngineFacts,
    FileFact,
    Found,
    HostFacts,
    Kind,
    Listing,
    PackageFacts,
    SystemFacts,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_look_engine import PATIENCE, look_at_engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Docker
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import printable

# In systemd's order: the first folder that has a unit gives it.
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
_PACKAGES = ("docker-ce", "docker.io")
_KINDS: tuple[tuple[t.Callable[[int], bool], Kind], ...] = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISSOCK, "socket"),
)
_CLOCK_ERROR = 5  # TIME_ERROR: what adjtimex returns for a clock that nothing keeps right
_DAY = 24 * 3600


def look(docker: Docker, trusted: t.Sequence[str], root: str = "") -> Found:
    """Look at a host and its engine; `trusted` are the users who may be in group docker."""
    # apt takes seconds where its cache is older than its lists.
    with ThreadPoolExecutor(1) as pool:
        package = pool.submit(_package, docker, root)
        engine = look_at_engine(docker, root)
        host = look_at_host(docker, engine, trusted, root)
        return Found(replace(host, package=package.result()), engine)


def look_at_host(docker: Docker, engine: EngineFacts, trusted: t.Sequence[str], root: str) -> HostFacts:
    """Look at the host, but for the engine's package."""
    services, sockets = units("docker.service", root), units("docker.socket", root)
    certificates = _certificates(root)
    listens = _socket_options("ListenStream", sockets.paths, root)
    host = HostFacts(
        container=_container(root),
        service_units=services,
        socket_units=sockets,
        socket_listens=tuple(address for address in listens if not address.startswith(("/", "%"))),
        socket_paths=_socket_paths(listens),
        socket_group=(_socket_options("SocketGroup", sockets.paths, root) or ["root"])[-1],
        certificates=certificates,
        audit=_audit(docker, root),
        trusted=tuple(trusted),
        mounts=_mounts(root),
        system=_system(docker, root),
    )
    paths = [*rules.watched_paths(), *files.paths_of(Found(host, engine))]
    host = replace(host, files={path: file_fact(path, root) for path in paths})
    groups = {host.files[path].group for path in files.engine_sockets(Found(host, engine)).paths}
    return replace(host, socket_users={group: members(group) for group in groups if group})


def file_fact(path: str, root: str = "") -> FileFact:
    """Look at a path; of a link at what it leads to."""
    try:
        found = os.stat(root + path)
    except (FileNotFoundError, NotADirectoryError):
        return FileFact(path)
    except OSError as exc:
        return FileFact(path, "other", problem=f"{path}: {exc.strerror}")
    kind: Kind = next((kind for test, kind in _KINDS if test(found.st_mode)), "other")
    real = os.path.realpath(root + path)[len(os.path.realpath(root)) if root else 0 :]
    return FileFact(path, kind, stat.S_IMODE(found.st_mode), _user(found.st_uid), _group(found.st_gid), real)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def members(group: str) -> tuple[str, ...]:
    """Return who is in a group, as second group or as first; one without a name goes by its number."""
    try:
        found = grp.getgrnam(group)
        number, named = str(found.gr_gid), found.gr_mem
    except KeyError:
        number, named = group, []
    first = [user.pw_name for user in pwd.getpwall() if str(user.pw_gid) == number]
    return tuple(sorted({*named, *first}))


def units(name: str, root: str) -> Listing:
    """Return a unit's file and all that is dropped in, in systemd's order. One that is masked has no file."""
    found: list[str] = []
    try:
        for folder in _UNIT_FOLDERS:
            path = f"{folder}/{name}"
            if os.path.lexists(root + path):
                found += [] if os.path.realpath(root + path) == os.devnull else [path]
                break
        for folder in _UNIT_FOLDERS:
            found += _listed(f"{folder}/{name}.d", root, ".conf")
    except OSError as exc:
        return Listing(tuple(found), f"{exc.filename}: {exc.strerror}")
    return Listing(tuple(found))


def _listed(folder: str, root: str, suffix: str = "") -> list[str]:
    """Return the paths in a folder, none where there is no folder.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(root + folder)) if name.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _certificates(root: str) -> Listing:
    try:
        folders = _listed(files.CERTIFICATES, root)
        return Listing(tuple(path for folder in folders for path in _listed(folder, root)))
    except OSError as exc:
        return Listing((), f"{exc.filename}: {exc.strerror}")


def _socket_options(name: str, paths: t.Iterable[str], root: str) -> list[str]:
    """Return the values of an option in unit files; an empty one takes back those before it."""
    found: list[str] = []
    for path in paths:
        for line in read(path, root).splitlines():
            key, equals, value = line.strip().partition("=")
            if key.strip() == name and equals:
                found = [*found, value.strip()] if value.strip() else []
    return found


def _socket_paths(listens: t.Iterable[str]) -> Listing:
    """Return the paths on which systemd listens; of what it may put in for `%`, the folder of what runs is known."""
    paths = [re.sub(r"^(?:%t|/var/run)/", "/run/", one) for one in listens if one.startswith(("/", "%"))]
    problem = "".join(f"docker.socket: ListenStream={path}; write the path" for path in paths if "%" in path)
    return Listing(tuple(path for path in paths if "%" not in path), problem)


def read(path: str, root: str) -> str:
    """Return a small file's text, nothing where it cannot be read."""
    try:
        with open(root + path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _container(root: str) -> str:
    """Return what the host runs in, where it is a container: systemd notes that at boot, Docker leaves a mark."""
    told = read("/run/systemd/container", root).strip()
    return told or ("docker" if os.path.exists(f"{root}/.dockerenv") else "")


def _program(name: str, root: str) -> str:
    """Return where a program is: others' PATH may lack the folders of root."""
    return next((place for place in rules.places([name]) if os.access(root + place, os.X_OK)), "")


def _ask(docker: Docker, argv: t.Sequence[str]) -> tuple[Answer, str]:
    """Return what a command answered, and why it did not."""
    try:
        answer = docker.ask(argv, timeout=PATIENCE)
    except (ReleaseError, OSError) as exc:
        return Answer(1, "", ""), f"{argv[0]}: {exc}"
    said = printable(answer.stderr, 200) or f"exit code {answer.code}"
    return answer, f"{' '.join(argv)}: {said}" if answer.code else ""


def _audit(docker: Docker, root: str) -> AuditFacts:
    program = _program("auditctl", root)
    if not program:
        return AuditFacts()
    status, problem = _ask(docker, [program, "-s"])
    rules_there, problem_too = _ask(docker, [program, "-l"])
    enabled = re.search(r"^enabled [12]$", status.stdout, re.MULTILINE) is not None
    lines = tuple(line for line in rules_there.stdout.splitlines() if line.startswith("-"))
    return AuditFacts(lines, enabled, True, problem or problem_too)


def _mounts(root: str) -> tuple[str, ...]:
    lines = (line.split() for line in read("/proc/self/mounts", root).splitlines())
    return tuple(
        re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[1]) for words in lines if len(words) > 1
    )


def _package(docker: Docker, root: str) -> PackageFacts:
    program = _program("apt-cache", root)
    if not program:
        return PackageFacts(problem="whether the engine is the newest: this host has no apt")
    answer, problem = _ask(docker, [program, "policy", *_PACKAGES])
    versions = read_policy_answer(answer.stdout)
    installed = [name for name in _PACKAGES if versions.get(name, ("(none)", ""))[0] != "(none)"]
    if problem or not installed:
        return PackageFacts(problem=problem or "whether the engine is the newest: apt did not install it")
    return PackageFacts(installed[0], *versions[installed[0]], lists_age=_lists_age(root))


def read_policy_answer(text: str) -> dict[str, tuple[str, str]]:
    """Return installed version and candidate by package, of what `apt-cache policy` prints."""
    pattern = re.compile(r"^(\S+):\n  Installed: (\S+)\n  Candidate: (\S+)$", re.MULTILINE)
    return {match[1]: (match[2], match[3]) for match in pattern.finditer(text)}


def _lists_age(root: str) -> int | None:
    """Return how many days ago apt fetched its lists. Their own times are the server's; those below are of the host."""
    folder = f"{root}/var/lib/apt/lists"
    if not glob.glob(f"{glob.escape(folder)}/*Release"):
        return None
    times = []
    for path in (f"{root}/var/lib/apt/periodic/update-success-stamp", folder):
        with contextlib.suppress(OSError):
            times.append(os.stat(path).st_mtime)
    return max(0, int((time.time() - max(times)) // _DAY)) if times else None


def _system(docker: Docker, root: str) -> SystemFacts:
    sshd, sshd_problem = _sshd(docker, root)
    policies, firewall_problem = _firewall(docker, root)
    values = {name: read(f"/proc/sys/{name.replace('.', '/')}", root).strip() for name in rules.KERNEL_NAMES}
    kernel = {name: value for name, value in values.items() if value}
    return SystemFacts(kernel, sshd, sshd_problem, _clock(), policies, firewall_problem)


def _sshd(docker: Docker, root: str) -> tuple[dict[str, str], str]:
    program = _program("sshd", root)
    if not program:
        return {}, ""
    answer, problem = _ask(docker, [program, "-T"])
    return {
        name: value for name, _space, value in (line.partition(" ") for line in answer.stdout.splitlines())
    }, problem


def _firewall(docker: Docker, root: str) -> tuple[dict[str, str], str]:
    """Return the policy of each chain that sees packets for this host, by family and name."""
    nft = _program("nft", root)
    if nft:
        answer, problem = _ask(docker, [nft, "--json", "list", "chains"])
        try:
            return ({}, problem) if problem else (read_chains(json.loads(answer.stdout)), "")
        except ValueError:
            return {}, f"{nft} printed no JSON"
    policies: dict[str, str] = {}
    problems = []
    for family, name in (("ip", "iptables"), ("ip6", "ip6tables")):
        program = _program(name, root)
        if program:
            answer, problem = _ask(docker, [program, "--list-rules", "INPUT"])
            problems += [problem] if problem else []
            match = re.search(r"^-P INPUT (\w+)", answer.stdout, re.MULTILINE)
            policies.update({f"{family} filter INPUT": match[1].lower()} if match else {})
    return policies, "; ".join(problems)


def read_chains(document: t.Any) -> dict[str, str]:
    """Return the policies of the chains on input, of what `nft --json list chains` prints."""
    items = document.get("nftables") if isinstance(document, t.Mapping) else None
    chains = [item["chain"] for item in items or () if isinstance(item, t.Mapping) and "chain" in item]
    return {
        f"{chain.get('family')} {chain.get('table')} {chain.get('name')}": str(chain.get("policy"))
        for chain in chains
        if chain.get("hook") == "input"
    }


def _clock() -> bool | None:
    """Return whether the kernel takes its clock for right; asking changes nothing (adjtimex with no modes)."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    return None if state < 0 else bool(state != _CLOCK_ERROR)
