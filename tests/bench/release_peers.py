# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is measured, and what each is asked to do on the host. Pure.

All bring up the files of one release. The way of docker-rollout (scale to two, wait until healthy, remove the old one)
is our own few lines in the agent, after what its manual says; draining is what the manual advises besides.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.tests.faults._load import KINDS, NEW_CONNECTIONS, Kind

CHECKOUT = "/root/fleet"
Way = t.Literal["ours", "compose", "rollout", "draining"]
NAMES: dict[Way, str] = {
    "ours": "stack_release",
    "compose": "docker compose up --wait",
    "rollout": "second up, first removed",
    "draining": "second up, first drained, removed",
}
PORTS: dict[Way, int] = {"ours": 18080, "compose": 18081, "rollout": 18082, "draining": 18083}

# The manual's example: a file that makes the health check fail, and ten seconds. The images have no shell.
_MARKS: dict[str, dict[str, t.Any]] = {
    "api": {"mark": ["/usr/bin/python3", "-c", "open('/tmp/drain', 'w')"], "seconds": 10},
    "frontend": {"mark": ["wget", "-q", "-O", "/tmp/drain", "http://127.0.0.1:8080/"], "seconds": 10},
}

Request = dict[str, t.Any]


@dataclass(frozen=True)
class Subject:
    """A stack that is measured.

    `replaced` are the services that an update replaces, in their order; `marked` whether answers say the release.
    """

    name: str
    path: str
    environment: str
    kinds: tuple[Kind, ...]
    prober: str
    replaced: tuple[str, ...]
    ways: tuple[Way, ...]
    marked: bool = True
    models: bool = False

    @property
    def release(self) -> str:
        return f"/root/bench/{self.name}.json"

    def folder(self, way: Way) -> str:
        return f"/root/bench/{self.name}-{way}"

    def project(self, way: Way) -> str:
        """Return how the names of its Compose projects begin."""
        return self.name if way == "ours" else f"peer-{self.name}-{way}"

    def parameters(self, way: Way, number: int) -> dict[str, str]:
        """Return the host's values: what changes from update to update, and where the door is."""
        changing = {"RELEASE": str(number)} if self.marked else {"LOG_LEVEL": ("info", "warning")[number % 2]}
        return {**changing, "BIND": "0.0.0.0", "PORT": str(PORTS[way])}


SMALL = Subject(
    "bench",
    "bench/release",
    "",
    KINDS,
    NEW_CONNECTIONS.name,
    ("api", "frontend"),
    ("ours", "compose", "rollout", "draining"),
)
_SEARCH = "/api/search?q=Nobody%20visits%20me&limit=3"
EMOROBCARE = Subject(
    name="emorobcare",
    path="stacks/emorobcare",
    environment="dev",
    kinds=(
        Kind("page, new connections", "GET", "/", keep=False, coloured=False),
        Kind("page, kept alive", "GET", "/", coloured=False),
        Kind("API ready, new connections", "GET", "/api/ready", keep=False, coloured=False),
        Kind("search, kept alive", "GET", _SEARCH, coloured=False),
        Kind("speech ready, kept alive", "GET", "/asr/ready", coloured=False),
    ),
    prober="API ready, new connections",
    replaced=("api", "asr"),
    ways=("ours", "compose"),
    marked=False,
    models=True,
)


def compose_argv(subject: Subject, way: Way, files: t.Sequence[str]) -> list[str]:
    """Return the beginning of a Compose command on the release's files and, for the small stack, a door's."""
    folder = subject.folder(way)
    doors = {"compose": "compose.published.yml", "rollout": "compose.proxied.yml", "draining": "compose.proxied.yml"}
    paths = [f"{folder}/{name}" for name in files]
    paths += [f"{CHECKOUT}/bench/release/beside/{doors[way]}"] if subject.marked else []
    words = [word for path in paths for word in ("--file", path)]
    return ["docker", "compose", "--project-name", subject.project(way), "--project-directory", folder, *words]


def environment(subject: Subject, way: Way, number: int, proxy: str) -> dict[str, str]:
    """Return what the Compose files are filled in with."""
    more = {"PROXY_IMAGE": proxy, "PROXY_FILE": f"{CHECKOUT}/bench/release/beside/haproxy.cfg"}
    return {**subject.parameters(way, number), **more, "FLEET_SECRETS": f"{subject.folder(way)}/secrets"}


@dataclass(frozen=True)
class Peer:
    """A way of bringing a stack up; `files` are the release's Compose files, `proxy` the image of a proxy."""

    subject: Subject
    way: Way
    files: tuple[str, ...]
    proxy: str

    @property
    def name(self) -> str:
        return NAMES[self.way]

    @property
    def port(self) -> int:
        return PORTS[self.way]

    def up(self, number: int) -> Request:
        """Return what brings the stack up where it is not, and does nothing where it is as it should be."""
        if self.way == "ours":
            return self._module(number, journal=False)
        argv = [*self._compose(), "up", "--detach", "--wait", "--quiet-pull"]
        return {"do": "commands", "argvs": [argv], "environment": self._environment(number)}

    def update(self, number: int) -> Request:
        """Return what replaces the services by those of another release."""
        if self.way == "ours":
            return self._module(number, journal=True)
        if self.way == "compose":
            return self.up(number)
        request = {"do": "rollout", "compose": self._compose(), "services": list(self.subject.replaced)}
        drain = {"drain": _MARKS} if self.way == "draining" else {}
        return {**request, **drain, "environment": self._environment(number)}

    def back(self) -> Request:
        """Return what goes back to the release before; ours only."""
        options = {"state": "rolled_back", "stack": self.subject.name}
        return {"do": "module", "options": options, "journal": True}

    def down(self) -> Request:
        if self.way == "ours":
            options = {"state": "absent", "stack": self.subject.name, "data": True}
            return {"do": "module", "options": options, "journal": False}
        argv = [*self._compose(), "down", "--volumes", "--remove-orphans"]
        return {"do": "commands", "argvs": [argv], "environment": self._environment(0)}

    def _module(self, number: int, *, journal: bool) -> Request:
        options = {"parameters": self.subject.parameters("ours", number)}
        return {"do": "module", "release": self.subject.release, "options": options, "journal": journal}

    def _compose(self) -> list[str]:
        return compose_argv(self.subject, self.way, self.files)

    def _environment(self, number: int) -> dict[str, str]:
        return environment(self.subject, self.way, number, self.proxy)
