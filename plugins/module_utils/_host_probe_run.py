# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ask what containers of this host can do: one container does most of it, and nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import sys
import time
import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Docker,
    DockerCli,
    must,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import CONTEXT
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_command import run
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_connection import parse_stat
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import NAMES, Probe, Probes, all_alike
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import (
    BESIDE_USR,
    PREFIX,
    Asked,
    System,
    create_argv,
    exit_argv,
    gateway_argv,
    import_argv,
    mountpoint_argv,
    network_argv,
    port_argv,
    published,
    removal_argvs,
    start_argv,
    stop_argv,
    tar_of,
    volume_argv,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_inside import GIVEN, TAKEN
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Lines, printable
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import loaded_source

WORK = "/var/lib/fleet/probe"
_NAME = re.compile(rf"{PREFIX}([0-9]+)-([0-9]+)-[0-9a-f]{{8}}")
_START = 30.0  # seconds until a container must have said what it found, besides the time for its questions
_PAUSE = 0.1  # seconds
_GONE = ("no such", "not found")
_SAID = 300  # characters
_NO_PACKETS = ("192.0.2.1", 9)  # of TEST-NET-1: connecting a datagram socket sends nothing, but chooses our address


def probe(asked: Asked, docker: Docker | None = None, work: str = WORK) -> dict[str, Probe]:
    """Return what each probe found.

    :param docker: the command line; by itself that of this host's own engine, whatever its settings say.
    :param work: folder of the host for what containers are to see of it.
    """
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    docker = docker or DockerCli({**kept, "DOCKER_CONTEXT": CONTEXT})
    try:
        must(docker.ask(["docker", "version", "--format", "{{.Server.Version}}"]), "docker version")
    except ReleaseError as exc:
        return all_alike("not applicable", str(exc))
    system = _system()
    if system is None:
        return all_alike("not applicable", "there is no Python below /usr that a container could run")
    make_dirs(work)
    _remove_stale(docker, work)
    name = f"{PREFIX}{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"
    folder = os.path.join(work, name)
    os.mkdir(folder)
    try:
        return _Run(docker, asked, system, name, folder).all()
    finally:
        _remove(docker, folder)


def _system() -> System | None:
    """Return what the container takes from this host, None if there is no Python to take."""
    pythons = [os.path.realpath(path) for path in (sys.executable, "/usr/bin/python3")]
    usable = [path for path in pythons if path.startswith("/usr/") and os.path.isfile(path)]
    if not usable:
        return None
    links = {}
    for name in BESIDE_USR:
        path = f"/{name}"
        if os.path.islink(path):
            links[name] = os.readlink(path)
        elif os.path.isdir(path):
            links[name] = ""
    return System(usable[0], links, os.path.isfile("/etc/ld.so.cache"))


def _started(pid: int) -> str:
    """Return when a process was started, an empty string when it is gone; with its number that names it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())[2]
    except OSError:
        return ""


def _remove_stale(docker: Docker, work: str) -> None:
    """Remove what a probe left behind that was killed; its folder tells of it."""
    for entry in os.listdir(work):
        match = _NAME.fullmatch(entry)
        if match and _started(int(match[1])) != match[2]:
            _remove(docker, os.path.join(work, entry))


def _remove(docker: Docker, folder: str) -> None:
    """Remove all that a probe made. What cannot be removed now is by the next one, as long as its folder is there."""
    gone = True
    for argv in removal_argvs(os.path.basename(folder)):
        try:
            answer = docker.ask(argv)
        except ReleaseError:
            return
        gone &= not answer.code or any(sign in answer.stderr.lower() for sign in _GONE)
    if gone:
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One run of all probes."""

    def __init__(self, docker: Docker, asked: Asked, system: System, name: str, folder: str) -> None:
        self._docker, self._asked, self._system, self._name = docker, asked, system, name
        self._folder, self._shared = folder, os.path.join(folder, "shared")
        self._token = secrets.token_hex(16)
        self._source = f"{loaded_source('_host_probe_inside')}\nmain(sys.argv[1])\n"

    def all(self) -> dict[str, Probe]:
        try:
            self._make_image()
        except ReleaseError as exc:
            return all_alike("not applicable", f"no image could be made for the probes: {exc}")
        try:
            return self._found(self._start())
        except ReleaseError as exc:  # an engine may end at any question
            return all_alike("fail", printable(str(exc), _SAID))

    def _found(self, said: t.Mapping[str, t.Any]) -> dict[str, Probe]:
        found = {
            "dns": self._compared("dns", self._asked.dns, said),
            "outbound": self._compared("outbound", self._asked.outbound, said),
            "bind_mount": self._kept(said, "bind_mount", self._shared),
            "volume": self._kept(said, "volume", self._mountpoint()),
            "published_port": self._published_port(),
            "sigterm": self._sigterm(),
        }
        return {name: found[name] for name in NAMES}

    def _make_image(self) -> None:
        archive = os.path.join(self._folder, "image.tar")
        with open(archive, "wb") as file:
            file.write(tar_of(self._system))
        must(self._docker.ask(import_argv(self._name, archive)), "docker image import")

    def _start(self) -> dict[str, t.Any]:
        """Start the container, and return what it found.

        :raises ReleaseError: it did not start, or said nothing.
        """
        os.mkdir(self._shared)
        os.chmod(self._shared, 0o777)  # root in a container may be nobody outside
        given = os.path.join(self._shared, GIVEN)
        with open(given, "w", encoding="ascii") as file:
            file.write(self._token)
        os.chmod(given, 0o644)
        must(self._docker.ask(network_argv(self._name)), "docker network create")
        must(self._docker.ask(volume_argv(self._name)), "docker volume create")
        order = self._asked.order(self._token)
        argv = create_argv(self._name, self._system, self._shared, self._source, order)
        must(self._docker.ask(argv), "docker container create")
        return self._said()

    def _said(self) -> dict[str, t.Any]:
        stream, lines, heard = self._docker.stream(start_argv(self._name)), Lines(), ""
        deadline = time.monotonic() + _START + self._asked.timeout
        try:
            while time.monotonic() < deadline:
                piece = stream.read(max(deadline - time.monotonic(), 0.0))
                if not piece:
                    break
                for line in lines.feed(piece):
                    if line.startswith("{"):
                        return t.cast("dict[str, t.Any]", json.loads(line))
                    heard = f"{heard} {line}"
        except TimeoutError:
            heard = f"{heard} (it said nothing in time)"
        finally:
            stream.close()
        heard = " ".join((heard, *lines.rest()))
        raise ReleaseError(f"the probe's container did not run: {printable(heard, _SAID)}", reason="docker_failed")

    def _compared(self, name: str, what: str, said: t.Mapping[str, t.Any]) -> Probe:
        """Judge a question that the host itself may have no answer to, which is then no fault of containers."""
        if not what:
            return Probe("not applicable", "it was not asked for")
        well, detail = said[name]
        if well:
            return Probe("pass", printable(detail, _SAID))
        empty = Asked(timeout=self._asked.timeout)
        asked = replace(empty, dns=what) if name == "dns" else replace(empty, outbound=what)
        ended = run([sys.executable, "-I", "-S", "-c", self._source, asked.order()], _START + self._asked.timeout)
        try:
            host_well, host_detail = json.loads(ended.said[-1])[name]
        except (IndexError, KeyError, ValueError):
            host_well, host_detail = False, str(ended)
        if host_well:
            told = (
                f"{what}: {printable(detail, _SAID)} in a container, while on the host {printable(host_detail, _SAID)}"
            )
            return Probe("fail", told)
        return Probe("not applicable", f"{what}: the host itself fails ({printable(host_detail, _SAID)})")

    def _kept(self, said: t.Mapping[str, t.Any], name: str, folder: str) -> Probe:
        """Judge whether the host finds what the container wrote."""
        well, detail = said[name]
        if not well:
            return Probe("fail", printable(detail, _SAID))
        try:
            with open(os.path.join(folder, TAKEN), encoding="ascii", errors="replace") as file:
                same = file.read() == self._token
        except OSError as exc:
            return Probe("fail", f"the host does not find what a container wrote: {exc}")
        if not same:
            return Probe("fail", "the host finds something else than a container wrote")
        return Probe("pass", "the host finds what a container wrote")

    def _mountpoint(self) -> str:
        return self._docker.ask(mountpoint_argv(self._name)).stdout.strip()

    def _published_port(self) -> Probe:
        answer = self._docker.ask(port_argv(self._name))
        port = published(answer.stdout)
        if port is None:
            return Probe("fail", f"no port is published: {printable(answer.stdout + answer.stderr, _SAID)}")
        address = _own_address() or self._docker.ask(gateway_argv(self._name)).stdout.strip()
        deadline = time.monotonic() + self._asked.timeout
        while True:
            wrong = self._fetch(address, port)
            if not wrong:
                return Probe("pass", f"{address}:{port} leads into the container")
            if time.monotonic() >= deadline:
                return Probe("fail", f"{address}:{port} does not lead into the container: {wrong}")
            time.sleep(_PAUSE)

    def _fetch(self, address: str, port: int) -> str:
        """Return what is wrong with a published port, an empty string if nothing is."""
        try:
            with socket.create_connection((address, port), self._asked.timeout) as connection:
                got = b""
                while len(got) < len(self._token):
                    piece = connection.recv(64)
                    if not piece:
                        break
                    got += piece
        except OSError as exc:
            return str(exc)
        return "" if got == self._token.encode() else "somebody else answers"

    def _sigterm(self) -> Probe:
        stopped = self._docker.ask(stop_argv(self._name))
        code = self._docker.ask(exit_argv(self._name)).stdout.strip()
        if stopped.code:
            return Probe("fail", f"docker stop failed: {printable(stopped.stderr, _SAID)}")
        if code != "0":
            return Probe("fail", f"a container that ends at SIGTERM ended with exit code {code}")
        return Probe("pass", "a container ends when it is told to")


def _own_address() -> str:
    """Return the address by which this host would speak to others, an empty string when it has no route to them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(_NO_PACKETS)
        except OSError:
            return ""
        return str(one.getsockname()[0])


def asking(asked: Asked) -> t.Callable[[], Probes]:
    """Return what asks each time that it is called."""
    return lambda: probe(asked)
