# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditRule,
    EngineFacts,
    read_audit_rules,
    read_flags,
)


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ([], {}),
        (["-H", "fd://", "--containerd=/run/c.sock"], {"hosts": ["fd://"], "containerd": "/run/c.sock"}),
        (["-H=fd://", "--host", "tcp://0.0.0.0:2376"], {"hosts": ["fd://", "tcp://0.0.0.0:2376"]}),
        (["-Hfd://"], {"hosts": ["fd://"]}),
        (["-DH", "tcp://0.0.0.0:2375"], {"debug": True, "hosts": ["tcp://0.0.0.0:2375"]}),
        (
            ["--ip-forward-no-drop", "--allow-direct-routing", "-H", "tcp://0.0.0.0:2375"],
            {"ip-forward-no-drop": True, "allow-direct-routing": True, "hosts": ["tcp://0.0.0.0:2375"]},
        ),
        (["--of-a-later-engine", "-H", "fd://"], {"of-a-later-engine": "", "hosts": ["fd://"]}),
        (["--icc=false", "--userland-proxy=0"], {"icc": False, "userland-proxy": False}),
        (["--live-restore", "-D"], {"live-restore": True, "debug": True}),
        (["-l", "warn"], {"log-level": "warn"}),
        (["--default-ulimit", "nofile=1024:2048"], {"default-ulimits": {"nofile": "1024:2048"}}),
        (["--storage-opt=dm.basesize=20G"], {"storage-opts": ["dm.basesize=20G"]}),
        (["--insecure-registry", "a:5000", "--insecure-registry=b"], {"insecure-registries": ["a:5000", "b"]}),
        (["--tlsverify", "--tlskey", "/k.pem", "word"], {"tlsverify": True, "tlskey": "/k.pem"}),
        (["--seccomp-profile"], {"seccomp-profile": ""}),
    ],
)
def test_flags_are_read_by_the_names_of_daemon_json(argv: list[str], options: dict[str, t.Any]) -> None:
    assert read_flags(argv) == options


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("-w /etc/docker -p wa -k docker", AuditRule("/etc/docker", True, frozenset("wa"))),
        ("-w /etc/docker/ -p wa", AuditRule("/etc/docker", True, frozenset("wa"))),
        ("-w /usr/bin/dockerd -k docker", AuditRule("/usr/bin/dockerd", True, frozenset("rwxa"))),
        (
            "-a always,exit -S all -F dir=/etc/docker -F perm=rwa -F key=docker",
            AuditRule("/etc/docker", True, frozenset("rwa")),
        ),
        ("-a exit,always -F path=/etc/docker -F perm=war", AuditRule("/etc/docker", False, frozenset("rwa"))),
        ("-a always,exit -F arch=b64 -F path=/x", AuditRule("/x", False, frozenset("rwxa"))),
        ("-a never,exit -S all -F dir=/etc/docker", AuditRule("/etc/docker", True, frozenset("rwxa"), never=True)),
        ("-a exit,never -F path=/x -F uid=0", AuditRule("/x", False, frozenset("rwxa"), never=True)),
        ("-a never,task", AuditRule("", True, frozenset("rwxa"), never=True)),
        ("-a never,user -F uid=7", None),
        ("-a never,exclude -F msgtype=CWD", None),
        ("-a always,exit -F dir=/etc/docker -C auid!=uid", None),
        ("-a always,exit -F dir=/etc/docker -F uid=0", None),
        ("-a always,exit -F dir!=/etc/docker", None),
        ("-a always,exit -S execve -F path=/x", None),
        ("-a always,exit -S execve -F key=all", None),
    ],
)
def test_a_rule_of_the_kernels_audit_is_read_or_does_not_count(line: str, rule: AuditRule | None) -> None:
    assert read_audit_rules([line]) == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("rule", "path", "covers"),
    [
        (AuditRule("/etc/docker", True, frozenset("wa")), "/etc/docker", True),
        (AuditRule("/etc/docker", True, frozenset("wa")), "/etc/docker/daemon.json", True),
        (AuditRule("/etc/docker", False, frozenset("wa")), "/etc/docker/daemon.json", False),
        (AuditRule("/etc/docker", True, frozenset("wa")), "/etc/docker2", False),
        (AuditRule("/etc/docker", True, frozenset("w")), "/etc/docker", False),
        (AuditRule("/etc/docker", True, frozenset("w"), never=True), "/etc/docker/daemon.json", True),
        (AuditRule("", True, frozenset("rwxa"), never=True), "/etc/docker", True),
    ],
)
def test_a_rule_covers_a_path_and_a_folder_what_is_below(rule: AuditRule, path: str, covers: bool) -> None:
    assert rule.covers(path) is covers


def test_security_options_are_told_apart_from_their_profiles() -> None:
    engine = EngineFacts(info={"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns", "apparmor"]})
    assert engine.security == {"seccomp": "builtin", "cgroupns": "", "apparmor": ""}


@pytest.mark.parametrize(
    ("info", "options", "root"),
    [
        ({}, {}, "/var/lib/docker"),
        ({}, {"data-root": "/srv/docker"}, "/srv/docker"),
        ({"DockerRootDir": "/srv/docker"}, {}, "/srv/docker"),
        ({"DockerRootDir": "/srv/docker/1.1", "SecurityOptions": ["name=userns"]}, {}, "/srv/docker"),
    ],
)
def test_the_data_root_is_above_that_of_remapped_users(
    info: dict[str, t.Any], options: dict[str, t.Any], root: str
) -> None:
    assert EngineFacts(info=info, options=options).data_root == root
