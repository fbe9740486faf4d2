# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The ingress as a Compose project of its own. Pure.

Its container is made anew only when its image or a published port changes. So the project must not say anything that
an update changes: the colours' networks are connected while it runs (`connect_argv`), unless they are there for good.

Docker sends what is published through one of a container's networks: the one of the first name, when nothing else
decides. A colour that is connected later must not become that one, which would cut every connection. Hence the name
of the ingress' own network: no colour's network sorts before it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import STACK_LABEL
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import (
    CONFIG,
    FOLDER,
    HEALTH_PATH,
    HEALTH_PORT,
    HTTP_PORT,
    HTTPS_PORT,
    Ingress,
    Publish,
)

SERVICE = "ingress"
USER = 10001
"""Whom HAProxy runs as, and its group."""
RUN = "/run/haproxy"
"""Where the container sees the folder of the socket."""
SOCKET = "master.sock"

_MEMORY = "256M"
_LIFECYCLE_LABEL = "org.emorobcare.fleet.lifecycle"


def project_name(stack: str) -> str:
    return f"{stack}-ingress"


def network_name(stack: str) -> str:
    """Return the name of the ingress' own network; none that begins with a stack's name sorts before it."""
    return f"0-{stack}-ingress"


def ingress_compose(
    stack: str, ingress: Ingress, config_folder: str, run_folder: str, networks: t.Sequence[str] = ()
) -> dict[str, t.Any]:
    """Return the Compose project of a stack's ingress.

    Args:
        config_folder: absolute path on the host of the folder with the configuration, which HAProxy may only read.
        run_folder: that of its socket, which belongs to `USER`.
        networks: networks of colours that are there already and stay; adding one later makes a new container.
    """
    labels = {STACK_LABEL: stack, _LIFECYCLE_LABEL: SERVICE}
    external = {name: {"name": name, "external": True} for name in sorted(networks)}
    return {
        "name": project_name(stack),
        "services": {
            SERVICE: {
                "image": ingress.image,
                "entrypoint": ["haproxy"],
                "command": ["-W", "-S", f"{RUN}/{SOCKET},mode,600", "-f", f"{FOLDER}/{CONFIG}"],
                "user": f"{USER}:{USER}",
                "read_only": True,
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "restart": "unless-stopped",
                "stop_signal": "SIGTERM",
                "healthcheck": _HEALTH_CHECK,
                "ports": _ports(ingress),
                "volumes": [_mount(config_folder, FOLDER, read_only=True), _mount(run_folder, RUN)],
                "tmpfs": ["/tmp:size=16m,mode=1777,noexec,nosuid,nodev"],
                "ulimits": {"nofile": {"soft": 16384, "hard": 16384}},
                "deploy": {"resources": {"limits": {"cpus": "1", "memory": _MEMORY, "pids": 64}}},
                "logging": {"driver": "local", "options": {"max-size": "10m", "max-file": "3"}},
                "networks": {"default": {}, **{name: {} for name in external}},
                "labels": labels,
            }
        },
        "networks": {"default": {"name": network_name(stack), "labels": labels}, **external},
    }


def connect_argv(network: str, container: str) -> list[str]:
    """Return the command that attaches the running ingress to a colour's network; nothing is interrupted."""
    return ["docker", "network", "connect", "--", network, container]


def disconnect_argv(network: str, container: str) -> list[str]:
    return ["docker", "network", "disconnect", "--", network, container]


def check_argv(container: str, path: str) -> list[str]:
    """Return the command that has HAProxy read a configuration without using it."""
    return ["docker", "exec", "--", container, "haproxy", "-c", "-f", path]


_HEALTH_CHECK = {
    "test": ["CMD", "wget", "-q", "-T", "2", "-O", "/dev/null", f"http://127.0.0.1:{HEALTH_PORT}{HEALTH_PATH}"],
    "interval": "3s",
    "timeout": "3s",
    "retries": 3,
    "start_period": "10s",
}


def _ports(ingress: Ingress) -> list[dict[str, t.Any]]:
    ports = [_port(ingress.http, HTTP_PORT), _port(ingress.https, HTTPS_PORT)]
    tcp = sorted((route.tcp for route in ingress.routes if route.tcp), key=lambda publish: publish.port)
    ports += [_port(publish, publish.tcp_port) for publish in tcp]
    return [port for port in ports if port]


def _port(publish: Publish | None, target: int) -> dict[str, t.Any]:
    if publish is None:
        return {}
    address = {"host_ip": publish.address} if publish.address else {}
    return {"target": target, "published": str(publish.port), "protocol": "tcp", **address}


def _mount(source: str, target: str, read_only: bool = False) -> dict[str, t.Any]:
    # A folder that is missing must be an error, not an empty one that Docker makes.
    return {
        "type": "bind",
        "source": source.replace("$", "$$"),
        "target": target,
        "read_only": read_only,
        "bind": {"create_host_path": False},
    }
