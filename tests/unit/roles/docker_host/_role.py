# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The expressions of the role's vars, without a host."""

from __future__ import annotations

import functools
import pathlib
import typing as t

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "docker_host"


def trusted(value: t.Any) -> t.Any:
    """Ansible's own loader marks what may be a template; a plain YAML loader does not.

    Lookup plugins are called by their short names: full ones need the loader of collections, which pytest's imports of
    this collection do not bear.
    """
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value.replace("('ansible.builtin.", "('")) if isinstance(value, str) else value


@functools.cache
def variables() -> dict[str, t.Any]:
    """All variables of the role, in the order in which Ansible would let one win over another."""
    files = [ROLE / "defaults" / "main.yml", *sorted((ROLE / "vars" / "main").glob("*.yml"))]
    found: dict[str, t.Any] = {}
    for file in files:
        found |= trusted(yaml.safe_load(file.read_text(encoding="utf-8")))
    return found


def templar(**found: t.Any) -> Templar:
    loader = DataLoader()
    loader.set_basedir(str(ROLE / "templates"))
    return Templar(loader=loader, variables={**variables(), "inventory_hostname": "robot", **found})


def decide(name: str, **found: t.Any) -> t.Any:
    """The value of one of the role's variables on a host where these things were found."""
    return templar(**found).template(variables()[name])


def render(path: str, **found: t.Any) -> list[str]:
    """The lines of a template that are neither empty nor comments."""
    text = (ROLE / "templates" / f"{path}.j2").read_text(encoding="utf-8")
    told = str(templar(ansible_managed="managed", **found).template(trust_as_template(text)))
    return [line for line in told.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//"))]


def host_info(**found: t.Any) -> dict[str, t.Any]:
    """What module host_info says of a machine that nobody has hardened."""
    return {
        "docker": {"stdout": "", "stderr": "no command docker"},
        "packages": {},
        "members": [],
        "own": [],
        "sysctls": {"net.ipv4.tcp_syncookies": "1"},
        "drifted": [],
        "paths": {},
        "owned": [],
        "loose": [],
        "units": ["chrony.service"],
        "tables": [],
        "changes": [],
        "notes": {},
        "container": "",
        "systemd": True,
        "codename": "bookworm",
        "clock": 1795000000,
        "open_files": 2**30,
        "login": {"user": "operator", "sshd": True, "has_key": True, "ports": [22], "root": "yes"},
        **found,
    }
