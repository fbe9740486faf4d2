#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell in one look what role docker_host must know of a host
version_added: 0.2.0
description:
  - Asks Docker about itself, and looks at packages, a group's users, kernel settings, tables of nftables, units, the
    clock and how the connecting user is let in. Changes nothing.
  - One module where several would do the same, because every task costs a round trip, and a role that finds nothing
    to do should need few of them.
  - What a host does not have (dpkg, nftables, sshd, a kernel setting) is told as such, and is no failure.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  packages:
    description: Names of Debian packages to look for.
    type: list
    elements: str
    default: []
  group:
    description: The group whose users are told.
    type: str
    default: docker
  sysctls:
    description:
      - Kernel settings and the values that they should have, by the names that C(sysctl) writes.
      - In a container only those of networks (C(net.)) are looked at, because the others are its machine's.
    type: dict
    default: {}
  units:
    description: Units of systemd of which it is told whether they are active.
    type: list
    elements: str
    default: []
  paths:
    description: Files and folders of which it is told whether they are there, and of files what they hold.
    type: list
    elements: path
    default: []
  owned:
    description:
      - Files, folders and sockets that should belong to somebody, and be open to no more than a mode says.
      - Links to anything else (that of a masked unit leads to C(/dev/null)), and to what is not there, are passed over.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The path, or a pattern with C(*) for several.
        type: path
        required: true
      mode:
        description: The most that its mode may be, in octal.
        type: str
        required: true
      owner:
        description: The name of its owner; empty where any is right.
        type: str
        default: root
      group:
        description: The name of its group; empty where any is right.
        type: str
        default: root
  folder:
    description: Where M(emorobcare.fleet.host_change) keeps what a host had before.
    type: path
    default: /var/lib/fleet/host
  notes:
    description: Folder with JSON files in which role docker_host notes what no file of the host says.
    type: path
    default: /var/lib/fleet/docker-host
seealso:
  - module: emorobcare.fleet.host_change
  - module: emorobcare.fleet.docker_host_audit
"""

EXAMPLES = r"""
- name: Look at the host
  emorobcare.fleet.host_info:
    packages: [nftables, auditd]
    sysctls: {net.ipv4.tcp_syncookies: 1}
  register: host

- name: Say who is root by another name
  ansible.builtin.debug:
    msg: "{{ (host.members + host.own) | join(', ') }}"
"""

RETURN = r"""
docker:
  description: What C(docker info) said of the engine and the plugins of the command, in JSON.
  type: dict
  returned: success
  contains:
    stdout:
      description: The answer; empty where there is no such command. It tells of plugins even where no engine answers.
      type: str
    stderr:
      description: What was wrong.
      type: str
packages:
  description: Those of O(packages) that are installed, by name.
  type: dict
  returned: success
  sample: {nftables: {version: 1.1.3-1, held: false}}
members:
  description: The users that are listed in O(group); empty too where there is no such group.
  type: list
  elements: str
  returned: success
own:
  description: The users whose own group is O(group).
  type: list
  elements: str
  returned: success
sysctls:
  description: The values of those O(sysctls) that this kernel has, blanks between numbers made one.
  type: dict
  returned: success
  sample: {net.ipv4.tcp_syncookies: "1"}
drifted:
  description: Names of RV(sysctls) whose value is another than the wanted one.
  type: list
  elements: str
  returned: success
units:
  description: Those of O(units) that are active.
  type: list
  elements: str
  returned: success
paths:
  description: Those of O(paths) that are there, with the SHA-256 of files; empty for what is no file.
  type: dict
  returned: success
owned:
  description:
    - What is there of O(owned), with links followed, each once, as M(emorobcare.fleet.host_change) takes files. What is
      tighter than it need be stays so, and an owner or a group that may be any is left out.
  type: list
  elements: dict
  returned: success
  sample: [{path: /etc/docker, mode: "0755", owner: root, group: root}]
loose:
  description: Paths of RV(owned) that are not so.
  type: list
  elements: str
  returned: success
tables:
  description: The tables of nftables, as C(family name); empty too where there is no C(nft).
  type: list
  elements: str
  returned: success
  sample: [inet fleet_docker]
changes:
  description: Names of the changes that O(folder) keeps the originals of.
  type: list
  elements: str
  returned: success
notes:
  description: What the files of O(notes) hold, by their names without C(.json).
  type: dict
  returned: success
  sample: {users: [operator]}
container:
  description: The kind of container that the host itself is, empty where it is a machine.
  type: str
  returned: success
systemd:
  description: Whether systemd is the service manager.
  type: bool
  returned: success
codename:
  description: The code name of the host's system, as in its archive; empty where it has none.
  type: str
  returned: success
  sample: trixie
clock:
  description: The host's time, in seconds since 1970 in UTC.
  type: int
  returned: success
open_files:
  description: How many files the first process may raise its limit of open files to.
  type: int
  returned: success
login:
  description: Who connected, before becoming another user, and how sshd would let them in again.
  type: dict
  returned: success
  contains:
    user:
      description: The user.
      type: str
    sshd:
      description: Whether the host has an sshd that told its configuration.
      type: bool
    has_key:
      description: Whether sshd accepts a public key of the user's, as far as files tell, or keys from elsewhere.
      type: bool
    ports:
      description: Where sshd listens.
      type: list
      elements: int
    root:
      description: How root comes in (C(PermitRootLogin)), as sshd says it.
      type: str
"""

import glob
import grp
import hashlib
import json
import os
import pwd
import stat
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_info import (
    PACKAGES_FORMAT,
    drifted,
    has_keys,
    key_file,
    parse_codename,
    parse_open_files,
    parse_packages,
    parse_tables,
    parse_ways,
    settled_here,
    tightened,
)

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "packages": {"type": "list", "elements": "str", "default": []},
    "group": {"type": "str", "default": "docker"},
    "sysctls": {"type": "dict", "default": {}},
    "units": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "list", "elements": "path", "default": []},
    "owned": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "mode": {"type": "str", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
    },
    "folder": {"type": "path", "default": "/var/lib/fleet/host"},
    "notes": {"type": "path", "default": "/var/lib/fleet/docker-host"},
}

_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/sbin"]

Ask = t.Callable[[t.List[str]], str]  # noqa: UP006 - evaluated on hosts with Python 3.9

_PROC = Path("/proc")
_RUN = Path("/run")


def read(path: Path) -> str | None:
    """Return what a file holds, None where there is none or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def digest(path: Path) -> str:
    """Return the SHA-256 of what a file holds, nothing where there is no file or it may not be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except OSError:
        return ""


def look_packages(ask: Ask, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
    answer = ask(["dpkg-query", "--show", f"--showformat={PACKAGES_FORMAT}", "--", *names]) if names else ""
    return {name: {"version": one.version, "held": one.held} for name, one in parse_packages(answer).items()}


def look_group(name: str) -> tuple[list[str], list[str]]:
    """Return the users that a group lists, and those whose own group it is."""
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return [], []
    return sorted(group.gr_mem), sorted(user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid)


def look_sysctls(names: t.Iterable[str], container: str) -> dict[str, str]:
    """Return the values of the settings that this kernel has and that are this host's own."""
    found = {}
    for name in names:
        value = read(_PROC / "sys" / name.replace(".", "/")) if settled_here(name, container) else None
        if value is not None:
            found[name] = " ".join(value.split())
    return found


def name_of(number: int, kind: t.Callable[[int], t.Any]) -> str:
    """Return the name of a user or a group, its number where it has none."""
    try:
        return str(kind(number)[0])
    except KeyError:
        return str(number)


def stat_owned(path: str) -> os.stat_result | None:
    """Look at a path; None where it is no file, folder or socket: the link of a masked unit leads to /dev/null."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found if stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK) else None


def look_owned(wanted: t.Iterable[t.Mapping[str, str]]) -> tuple[list[dict[str, str]], list[str]]:
    """Return how what is there of files, folders and sockets should be, and the paths of what is not so.

    Raises:
        ValueError: a mode is no octal number.
    """
    rows: dict[str, dict[str, str]] = {}
    loose: set[str] = set()
    for one in wanted:
        try:
            most = int(one["mode"], 8)
        except ValueError:
            raise ValueError(f"owned: the mode of {one['path']} is an octal number such as 0644") from None
        for path in sorted(map(os.path.realpath, glob.glob(one["path"]))):
            found = stat_owned(path)
            if found is None:
                continue
            mode = stat.S_IMODE(found.st_mode)
            should = tightened(mode, most)
            names = {"owner": name_of(found.st_uid, pwd.getpwuid), "group": name_of(found.st_gid, grp.getgrgid)}
            belongs = {name: one[name] for name in names if one[name]}
            rows[path] = {"path": path, "mode": f"{should:04o}", **belongs}
            if mode != should or {**names, **belongs} != names:
                loose.add(path)
    return list(rows.values()), sorted(loose)


def look_units(ask: Ask, units: t.Sequence[str]) -> list[str]:
    if not units or not (_RUN / "systemd" / "system").is_dir():
        return []
    states = ask(["systemctl", "is-active", "--", *units]).split()
    return [unit for unit, state in zip(units, states) if state == "active"]


def look_container() -> str:
    """The first process knows it, as systemd's own programs do; Docker's own mark is for where it does not say."""
    for setting in (read(_PROC / "1" / "environ") or "").split("\0"):
        if setting.startswith("container="):
            return setting.partition("=")[2]
    return (read(_RUN / "systemd" / "container") or "").strip() or ("docker" if Path("/.dockerenv").exists() else "")


def connecting_user() -> str:
    """Who logged in: sudo says it, else the kernel's audit does, else it is who runs this."""
    name = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER")
    if name:
        return name
    for number in (read(_PROC / "self" / "loginuid") or "", str(os.getuid())):
        try:
            return pwd.getpwuid(int(number)).pw_name
        except (KeyError, ValueError, OverflowError):
            continue
    return ""


def look_login(ask: Ask) -> dict[str, t.Any]:
    user = connecting_user()
    answer = ask(["sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1"])
    ways = parse_ways(answer)
    try:
        home = pwd.getpwnam(user).pw_dir
    except KeyError:
        home = ""
    files = [key_file(pattern, user, home) for pattern in ways.key_files]
    keys = ways.delegated or any(has_keys(read(Path(file)) or "") for file in files)
    return {
        "user": user,
        "sshd": bool(answer),
        "has_key": ways.by_key and keys,
        "ports": list(ways.ports),
        "root": ways.root,
    }


def look_changes(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def look_notes(folder: Path) -> dict[str, t.Any]:
    """Return what notes say.

    Raises:
        ValueError: one is damaged.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = json.loads(read(path) or "")
        except ValueError:
            raise ValueError(f"{path} is damaged; remove it, and what it says of the host before is lost") from None
    return found


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C"}

    def run(argv: list[str]) -> tuple[str, str]:
        """Return what a command says; nothing where the host has no such command."""
        found = module.get_bin_path(argv[0], opt_dirs=_FOLDERS)
        _code, out, err = module.run_command([found, *argv[1:]]) if found else (1, "", f"no command {argv[0]}")
        return out, err

    def ask(argv: list[str]) -> str:
        return run(argv)[0]

    params, container = module.params, look_container()
    try:
        owned, loose = look_owned(params["owned"])
        notes = look_notes(Path(params["notes"]))
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    members, own = look_group(params["group"])
    sysctls = look_sysctls(params["sysctls"], container)
    stdout, stderr = run(["docker", "info", "--format", "{{ json . }}"])
    module.exit_json(
        changed=False,
        docker={"stdout": stdout, "stderr": stderr.strip()},
        packages=look_packages(ask, params["packages"]),
        members=members,
        own=own,
        sysctls=sysctls,
        drifted=drifted(params["sysctls"], sysctls),
        paths={path: digest(Path(path)) for path in params["paths"] if os.path.exists(path)},
        owned=owned,
        loose=loose,
        units=look_units(ask, params["units"]),
        tables=parse_tables(ask(["nft", "list", "tables"])),
        changes=look_changes(Path(params["folder"])),
        notes=notes,
        container=container,
        systemd=(_RUN / "systemd" / "system").is_dir(),
        codename=parse_codename(read(Path("/etc/os-release")) or ""),
        clock=int(time.time()),
        open_files=parse_open_files(read(_PROC / "1" / "limits") or ""),
        login=look_login(ask),
    )


if __name__ == "__main__":
    main()
