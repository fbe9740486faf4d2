# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The commands of the probes, and the image of their container. Pure.

The image comes from nowhere: it is folders and links alone, a tar of some hundred bytes. The container sees the host's
own /usr, read-only, and runs the Python there.
"""

from __future__ import annotations

import io
import json
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_inside import PORT, SHARED, VOLUME

LABEL = "org.emorobcare.fleet.probe"
PREFIX = "fleet-probe-"
# What a system has beside /usr: links into it where the two are merged, folders where they are not.
BESIDE_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS = ("usr", "etc", "dev", "proc", "sys", "tmp", "run", "var", SHARED.strip("/"), VOLUME.strip("/"))
_NSSWITCH = b"hosts: files dns\n"
_CACHE = "/etc/ld.so.cache"
_GRACE = 10  # seconds from SIGTERM to SIGKILL

# What modules take; what of it means what is in the documentation's fragment _probes.
QUESTIONS: dict[str, dict[str, t.Any]] = {
    "dns": {"type": "str", "default": ""},
    "outbound": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 10},
}
PROBING: dict[str, dict[str, t.Any]] = {
    "probe": {"type": "bool", "default": True},
    "probes": {
        "type": "dict",
        "options": {**QUESTIONS, "settle": {"type": "float", "default": 20}},
        "apply_defaults": True,
    },
}


@dataclass(frozen=True)
class Asked:
    """What to ask.

    :ivar dns: a name that containers must resolve; empty not to ask.
    :ivar outbound: host:port that they must reach; empty not to ask.
    :ivar timeout: seconds for one answer.
    """

    dns: str = ""
    outbound: str = ""
    timeout: float = 10.0

    def order(self, token: str = "") -> str:
        return json.dumps({"dns": self.dns, "outbound": self.outbound, "timeout": self.timeout, "token": token})


@dataclass(frozen=True)
class System:
    """What the container takes from the host.

    :ivar links: by the names of `BESIDE_USR` that are there, where each leads; empty for a folder.
    :ivar cache: whether there is a cache of libraries.
    """

    python: str
    links: t.Mapping[str, str]
    cache: bool = True


def read_asked(options: t.Mapping[str, t.Any]) -> Asked:
    """Read the options of `QUESTIONS`.

    :raises HostError: one makes no sense; the message names it.
    """
    asked = Asked(options["dns"], options["outbound"], options["timeout"])
    host, _colon, port = asked.outbound.rpartition(":")
    if asked.outbound and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise HostError(f"outbound: {asked.outbound!r} is no host:port, as in example.com:443", reason="invalid")
    if asked.timeout <= 0:
        raise HostError(f"timeout: {asked.timeout:g} is no number of seconds above 0", reason="invalid")
    return asked


def tar_of(system: System) -> bytes:
    """Return the image's only layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (*_FOLDERS, *(name for name, link in system.links.items() if not link)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, link in system.links.items():
            if link:
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, link
                tar.addfile(info)
        info = tarfile.TarInfo("etc/nsswitch.conf")
        info.size = len(_NSSWITCH)
        tar.addfile(info, io.BytesIO(_NSSWITCH))
    return buffer.getvalue()


def image_of(name: str) -> str:
    """Return the reference of a probe's image; all else that it makes has the probe's own name."""
    return f"{name}:latest"


def import_argv(name: str, archive: str) -> list[str]:
    return ["docker", "image", "import", "--change", f"LABEL {LABEL}={name}", "--", archive, image_of(name)]


def network_argv(name: str) -> list[str]:
    """Return the command for a network as stacks have them, with the engine's own DNS."""
    return ["docker", "network", "create", "--label", f"{LABEL}={name}", "--", name]


def volume_argv(name: str) -> list[str]:
    return ["docker", "volume", "create", "--label", f"{LABEL}={name}", "--", name]


def create_argv(name: str, system: System, folder: str, source: str, order: str) -> list[str]:
    """Return the command that makes the container.

    :param folder: the folder of the host that is mounted.
    :param source: of what runs in it.
    """
    shared = ["/usr", *(f"/{name}" for name, link in system.links.items() if not link)]
    shared += [_CACHE] if system.cache else []
    mounts = [f"type=bind,source={path},target={path},readonly" for path in shared]
    mounts += [f"type=bind,source={folder},target={SHARED}", f"type=volume,source={name},target={VOLUME}"]
    return [
        *("docker", "container", "create", "--name", name, "--label", f"{LABEL}={name}"),
        *("--network", name, "--publish", f"0.0.0.0::{PORT}", "--stop-signal", "SIGTERM"),
        *("--security-opt", "label=disable", "--env", "RES_OPTIONS=timeout:2 attempts:2"),
        *(word for mount in mounts for word in ("--mount", mount)),
        *("--", image_of(name), system.python, "-I", "-S", "-c", source, order),
    ]


def start_argv(name: str) -> list[str]:
    """Return the command that starts it and prints what it prints, whatever becomes of its log."""
    return ["docker", "container", "start", "--attach", name]


def stop_argv(name: str) -> list[str]:
    return ["docker", "container", "stop", "-t", str(_GRACE), name]


def exit_argv(name: str) -> list[str]:
    return ["docker", "container", "inspect", "--format", "{{.State.ExitCode}}", "--", name]


def port_argv(name: str) -> list[str]:
    return ["docker", "container", "port", name, f"{PORT}/tcp"]


def mountpoint_argv(name: str) -> list[str]:
    return ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", "--", name]


def gateway_argv(name: str) -> list[str]:
    return ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "--", name]


def removal_argvs(name: str) -> list[list[str]]:
    return [
        ["docker", "container", "rm", "--force", "--volumes", "--", name],
        ["docker", "network", "rm", "--", name],
        ["docker", "volume", "rm", "--force", "--", name],
        ["docker", "image", "rm", "--force", "--", image_of(name)],
    ]


def published(text: str) -> int | None:
    """Return the port of the host from what `docker container port` printed."""
    ports = [line.rsplit(":", 1)[1] for line in text.splitlines() if line.startswith("0.0.0.0:")]
    return int(ports[0]) if ports and ports[0].isdigit() else None
