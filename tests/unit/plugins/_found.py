# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host on which every control of sections 1, 2, 3, 6 and 7 holds, for tests to break in one place."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils import _cis_files, _cis_host
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditFacts,
    EngineFacts,
    FileFact,
    Found,
    HostFacts,
    Listing,
    PackageFacts,
    StoredImage,
    SwarmFacts,
    SystemFacts,
)

UNIT = "/usr/lib/systemd/system/docker.service"
SOCKET_UNIT = "/usr/lib/systemd/system/docker.socket"
CERTIFICATE = "/etc/docker/certs.d/registry.test/ca.crt"
# Of openssl req -x509, valid from 2026-11-26; nothing but the date is looked at.
ROOT = """-----BEGIN CERTIFICATE-----
MIIBPTCB5aADAgECAhQBAgMEBQYHCAkKCwwNDg8QERITFDAKBggqhkjOPQQDAjAT
MREwDwYDVQQDEwhzd2FybS1jYTAeFw0yNjExMjYxMjAwMDBaFw00NjExMjExMjAw
-----END CERTIFICATE-----
"""

INFO: dict[str, t.Any] = {
    "DockerRootDir": "/var/lib/docker/165536.165536",
    "Driver": "overlay2",
    "Debug": False,
    "ExperimentalBuild": False,
    "LiveRestoreEnabled": True,
    "LoggingDriver": "syslog",
    "Plugins": {"Authorization": ["keeper"]},
    "RegistryConfig": {
        "IndexConfigs": {"docker.io": {"Secure": True}},
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
    },
    "SecurityOptions": [
        "name=apparmor",
        "name=seccomp,profile=builtin",
        "name=userns",
        "name=rootless",
        "name=no-new-privileges",
    ],
    "ServerVersion": "26.1.5",
    "Swarm": {"LocalNodeState": "inactive"},
    "SystemTime": "2026-12-01T12:00:00.5Z",
}
SWARM: dict[str, t.Any] = {
    "LocalNodeState": "active",
    "ControlAvailable": True,
    "Managers": 3,
    "Nodes": 5,
    "Cluster": {
        "Spec": {
            "EncryptionConfig": {"AutoLockManagers": True},
            "CAConfig": {"NodeCertExpiry": 90 * 24 * 3600 * 10**9},
        },
        "TLSInfo": {"TrustRoot": ROOT},
    },
}


def good_files() -> dict[str, FileFact]:
    modes = {
        "/etc/docker": 0o755,
        "/root/.docker/ca.pem": 0o444,
        "/root/.docker/cert.pem": 0o444,
        "/root/.docker/key.pem": 0o400,
        CERTIFICATE: 0o444,
        _cis_files.SOCKET: 0o660,
        _cis_files.CONTAINERD_SOCKET: 0o660,
        "/usr/sbin/dockerd": 0o755,
        "/usr/bin/containerd": 0o755,
        "/usr/bin/containerd-shim": 0o755,
        "/usr/bin/containerd-shim-runc-v1": 0o755,
        "/usr/bin/containerd-shim-runc-v2": 0o755,
        "/usr/sbin/runc": 0o755,
        "/run/containerd": 0o711,
    }
    plain = ["/etc/docker/daemon.json", "/etc/default/docker", "/etc/sysconfig/docker", "/etc/containerd/config.toml"]
    modes.update(dict.fromkeys([*plain, UNIT, SOCKET_UNIT], 0o644))
    groups = {_cis_files.SOCKET: "docker"}
    absent = {path: FileFact(path) for path in (*_cis_host.watched_paths(), *_cis_files.FIXED, *_cis_files.SOCKETS)}
    found = {path: FileFact(path, "file", mode, "root", groups.get(path, "root"), path) for path, mode in modes.items()}
    folders = {path: replace(found[path], kind="folder") for path in ("/etc/docker", "/run/containerd")}
    return {**absent, **found, **folders}


def good_host() -> HostFacts:
    folders = ("/etc/docker", "/run/containerd", "/etc/default", "/etc/sysconfig", "/etc/containerd")
    files = ("/run/docker.sock", UNIT, SOCKET_UNIT, *(p for p in good_files() if "/bin/" in p or "/sbin/" in p))
    lines = [f"-w {folder} -p wa -k docker" for folder in folders]
    lines += [f"-a always,exit -S all -F path={file} -F perm=wa -F key=docker" for file in files]
    lines += ["-w /var/lib/docker -p wa -k docker", "-a never,exit -S all -F dir=/var/lib/docker/overlay2"]
    values = {name: allowed[0] for name, allowed in _cis_host.KERNEL.items()}
    sshd = {name: allowed[0] for name, allowed in _cis_host.SSHD.items()}
    return HostFacts(
        files=good_files(),
        service_units=Listing((UNIT,)),
        socket_units=Listing((SOCKET_UNIT,)),
        certificates=Listing((CERTIFICATE,)),
        audit=AuditFacts(tuple(lines), True, True),
        socket_paths=Listing((_cis_files.SOCKET,)),
        socket_group="docker",
        socket_users={"docker": ("robot",)},
        trusted=("robot",),
        mounts=("/", "/var/lib/docker"),
        package=PackageFacts("docker.io", "26.1.5", "26.1.5", 3),
        system=SystemFacts(values, sshd, "", True, {"inet fleet input": "drop"}),
    )


def good_engine(**changed: t.Any) -> EngineFacts:
    """An engine; `changed` are values of its info."""
    options = {
        "default-ulimits": {"nofile": {"Soft": 1024}},
        "hosts": ["fd://"],
        "log-opts": {"syslog-address": "tcp+tls://logs.test:6514"},
        "no-new-privileges": True,
        "tlsverify": True,
        "userland-proxy": False,
    }
    running = {"Id": "c1", "Name": "/api", "Image": "sha256:aa", "State": {"Status": "running"}}
    ended = {
        **{"Id": "c2", "Name": "/migrate", "Image": "sha256:bb", "State": {"Status": "exited"}},
        "Config": {"Labels": {"com.docker.compose.project": "shop"}},
    }
    return EngineFacts(
        info={**INFO, **changed},
        bridge={"com.docker.network.bridge.enable_icc": "false"},
        options=options,
        containers=(running, ended),
        images=(
            StoredImage("sha256:aa"),
            StoredImage("sha256:cc", "shop/api"),
            StoredImage("sha256:dd", "", "sha256:1"),
        ),
        swarm=SwarmFacts(
            {"ListenAddr": "10.0.0.2:2377", "AdvertiseAddr": "10.0.0.2:2377", "DataPathAddr": "10.1.0.2"},
            networks={"ingress": {"encrypted": ""}},
            environments={"api": ("LEVEL=info",)},
        ),
    )


def good() -> Found:
    return Found(good_host(), good_engine())


def with_options(**options: t.Any) -> Found:
    """The good host with other options of the engine; None leaves one out, a name's `_` is a `-`."""
    engine = good_engine()
    merged = {**engine.options, **{name.replace("_", "-"): value for name, value in options.items()}}
    return Found(good_host(), replace(engine, options={n: v for n, v in merged.items() if v is not None}))


def with_info(**changed: t.Any) -> Found:
    return Found(good_host(), good_engine(**changed))


def with_host(**changed: t.Any) -> Found:
    return Found(replace(good_host(), **changed), good_engine())


def with_engine(**changed: t.Any) -> Found:
    return Found(good_host(), replace(good_engine(), **changed))


def with_swarm(facts: t.Mapping[str, t.Any] | None = None, **changed: t.Any) -> Found:
    """The good host in a good Swarm with other values in its info, or other facts."""
    engine = good_engine(Swarm={**SWARM, **changed})
    return Found(good_host(), replace(engine, swarm=replace(engine.swarm, **(facts or {}))))
