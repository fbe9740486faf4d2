# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditFacts,
    FileFact,
    Found,
    Listing,
    PackageFacts,
    SystemFacts,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_files import SOCKET
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_host import HOST_CONTROLS, look_at_host
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import (
    UNIT,
    good,
    good_host,
    with_engine,
    with_host,
    with_info,
    with_options,
)

AUDITED = [control.slug for control in HOST_CONTROLS if control.slug.startswith("audit-")]
# The part of a rule's path by which the rule of each control is found among those of the good host.
NEEDED = {
    "audit-dockerd": "/usr/sbin/dockerd",
    "audit-run-containerd": "/run/containerd",
    "audit-data-root": "-w /var/lib/docker",
    "audit-etc-docker": "/etc/docker",
    "audit-docker-service": "docker.service",
    "audit-containerd-sock": "/run/containerd",
    "audit-docker-sock": "docker.socket",
    "audit-etc-default-docker": "/etc/default",
    "audit-daemon-json": "/etc/docker",
    "audit-containerd-config": "/etc/containerd",
    "audit-etc-sysconfig-docker": "/etc/sysconfig",
    "audit-containerd": "path=/usr/bin/containerd ",
    "audit-containerd-shim": "path=/usr/bin/containerd-shim ",
    "audit-containerd-shim-runc-v1": "shim-runc-v1",
    "audit-containerd-shim-runc-v2": "shim-runc-v2",
    "audit-runc": "/usr/sbin/runc",
}


def system(**changed: object) -> Found:
    return with_host(system=replace(good_host().system, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("control", HOST_CONTROLS, ids=lambda control: control.slug)
def test_on_a_good_host_every_rule_passes_and_says_what_it_saw(control: Control) -> None:
    looked = look_at_host(good())[control.slug]
    assert looked.seen
    assert looked == Looked(seen=looked.seen)


@pytest.mark.parametrize(
    ("slug", "found", "evidence"),
    [
        (
            "separate-partition",
            with_host(mounts=("/",)),
            "/var/lib/docker shares its file system with the rest of the host",
        ),
        ("trusted-users", with_host(socket_users={"docker": ("guest", "robot")}), "guest is in group docker"),
        ("host-hardened", system(sshd={"permitrootlogin": "yes"}), "ssh: permitrootlogin is yes, not no or "),
        ("host-hardened", system(sshd={"passwordauthentication": "yes"}), "ssh: passwordauthentication is yes, not no"),
        (
            "host-hardened",
            system(sshd={"passwordauthentication": "no", "kbdinteractiveauthentication": "yes"}),
            "ssh: kbdinteractiveauthentication is yes, not no",
        ),
        ("host-hardened", system(kernel={"kernel.dmesg_restrict": "0"}), "kernel: kernel.dmesg_restrict is 0, not 1"),
        ("host-hardened", system(clock_synchronised=False), "time: nothing keeps the clock right"),
        ("host-hardened", system(input_policies={}), "firewall: what no rule names comes in by IPv4"),
        (
            "host-hardened",
            system(input_policies={"ip filter INPUT": "drop"}),
            "firewall: what no rule names comes in by IPv6",
        ),
        (
            "engine-version",
            with_host(package=PackageFacts("docker.io", "26.1.5", "26.1.6", 0)),
            "docker.io 26.1.5 is installed, apt has 26.1.6",
        ),
        *((slug, with_host(audit=AuditFacts()), "auditd is not installed") for slug in AUDITED),
        *(
            (slug, with_host(audit=replace(good_host().audit, enabled=False)), "the rules are loaded, and the kernel's")
            for slug in AUDITED
        ),
    ],
)
def test_a_violation_is_told_with_what_shows_it(slug: str, found: Found, evidence: str) -> None:
    looked = look_at_host(found)
    assert looked[slug].evidence[0].startswith(evidence)


@pytest.mark.parametrize("slug", AUDITED)
def test_without_its_rule_a_path_is_not_audited(slug: str) -> None:
    audit = good_host().audit
    lines = tuple(line for line in audit.lines if NEEDED[slug] not in f"{line} ")
    assert len(lines) < len(audit.lines)
    looked = look_at_host(with_host(audit=replace(audit, lines=lines)))
    assert "no rule tells of writes and changed attributes" in looked[slug].evidence[0]


@pytest.mark.parametrize(
    "line",
    [
        "-a never,exit -S all -F path=/usr/sbin/dockerd",
        "-w /usr/sbin/dockerd -p x -k docker",
        "-a always,exit -S all -F path=/usr/sbin/dockerd -F perm=wa -F auid=1000",
        "-a always,exit -F arch=b64 -S unlink -F path=/usr/sbin/dockerd",
        "-w /usr/sbin/dockerd-rootless -p wa",
        "-a always,exit -S all -F path=/usr/sbin/dockerd -F perm=wa -C auid!=uid",
    ],
)
def test_a_rule_that_does_not_tell_all_of_the_path_is_none(line: str) -> None:
    lines = (*(one for one in good_host().audit.lines if "dockerd" not in one), line)
    looked = look_at_host(with_host(audit=AuditFacts(lines, True, True)))
    assert looked["audit-dockerd"].evidence


@pytest.mark.parametrize(
    ("lines", "silent"),
    [
        (("-a never,exit -S all", "{rule}"), True),
        (("-a never,exit -S all -F dir=/usr", "{rule}"), True),
        (("-a never,exit -S all -F path=/usr/sbin/dockerd -F uid=0", "{rule}"), True),
        (("{rule}", "-a never,task"), True),
        (("{rule}", "-a never,exit -S all"), False),
        (("-a never,exit -S all -F dir=/usr/share", "{rule}"), False),
        (("-a never,user", "{rule}"), False),
    ],
)
def test_a_rule_after_one_that_says_never_of_the_path_tells_nothing(lines: tuple[str, ...], silent: bool) -> None:
    rule = "-w /usr/sbin/dockerd -p wa -k docker"
    audit = AuditFacts(tuple(line.format(rule=rule) for line in lines), True, True)
    looked = look_at_host(with_host(audit=audit))["audit-dockerd"]
    assert [*looked.evidence] == ([looked.evidence[0]] if silent else [])
    assert not silent or looked.evidence[0].startswith("/usr/sbin/dockerd: the first rule about it says never (")


def test_a_rule_on_what_is_no_folder_tells_of_nothing_below_it() -> None:
    files = {**good_host().files, "/etc/docker": FileFact("/etc/docker", "file", real="/etc/docker")}
    audit = AuditFacts(("-w /etc/docker -p wa -k docker",), True, True)
    looked = look_at_host(with_host(files=files, audit=audit))
    assert looked["audit-etc-docker"].seen
    assert looked["audit-daemon-json"].evidence


def test_a_rule_for_the_real_path_of_a_link_counts() -> None:
    files = good_host().files
    linked = {
        **files,
        "/usr/bin/containerd": FileFact("/usr/bin/containerd", "file", 0o755, "root", "root", "/opt/containerd"),
    }
    lines = (
        *(one for one in good_host().audit.lines if "path=/usr/bin/containerd " not in one),
        "-w /opt/containerd -p rwxa",
    )
    looked = look_at_host(with_host(files=linked, audit=AuditFacts(lines, True, True)))
    assert looked["audit-containerd"].seen


@pytest.mark.parametrize(
    ("slug", "found", "why"),
    [
        ("separate-partition", with_engine(problem="the engine hangs"), "the engine hangs"),
        ("trusted-users", with_engine(options_problem="no process"), "no process"),
        ("audit-dockerd", with_host(audit=AuditFacts((), True, True, "auditctl: no")), "auditctl: no"),
        ("audit-docker-service", with_host(service_units=Listing((UNIT,), "no right")), "no right"),
        ("engine-version", with_host(package=PackageFacts(problem="no apt")), "no apt"),
        (
            "engine-version",
            with_host(package=PackageFacts("docker.io", "1", "1", 31)),
            "whether docker.io 1 is the newest: ",
        ),
        (
            "engine-version",
            with_host(package=PackageFacts("docker.io", "1", "1", None)),
            "whether docker.io 1 is the newest: ",
        ),
        ("host-hardened", system(sshd={}, sshd_problem="sshd: no"), "sshd: no"),
        ("host-hardened", system(input_policies={}, firewall_problem="nft: no"), "nft: no"),
    ],
)
def test_what_could_not_be_looked_at_is_not_known(slug: str, found: Found, why: str) -> None:
    looked = look_at_host(found)[slug]
    assert looked.unknown.startswith(why)
    assert not looked.evidence


def test_a_container_has_no_audit_and_no_kernel_of_its_own() -> None:
    inside = replace(
        good_host(),
        container="docker",
        system=SystemFacts({"kernel.dmesg_restrict": "0"}, {}, "", False, {"inet a b": "drop"}),
    )
    looked = look_at_host(Found(inside, good().engine))
    assert looked["host-hardened"].seen
    assert {looked[slug].not_applicable for slug in AUDITED} == {
        "a container (docker) has no audit of its own, its machine has"
    }


def test_what_is_not_there_need_not_be_audited() -> None:
    files = {**good_host().files, "/etc/sysconfig/docker": FileFact("/etc/sysconfig/docker")}
    looked = look_at_host(with_host(files=files, audit=AuditFacts()))
    assert looked["audit-etc-sysconfig-docker"].not_applicable == "not on this host: /etc/sysconfig/docker"


def test_without_ipv6_no_firewall_of_ipv6_is_missed() -> None:
    values = {"net.ipv6.conf.all.disable_ipv6": "1"}
    found = system(input_policies={"ip filter INPUT": "drop"}, kernel=values)
    assert look_at_host(found)["host-hardened"].seen


def test_who_may_use_the_engine_is_who_is_in_the_group_of_its_socket_whatever_its_options_say() -> None:
    found = with_options(group="robots")
    users = {"docker": ("guest", "robot"), "robots": ("robot",)}
    looked = look_at_host(Found(replace(found.host, socket_users=users), found.engine))["trusted-users"]
    assert looked.evidence == ("guest is in group docker",)


def test_root_is_no_stranger_in_a_group_of_its_own() -> None:
    files = good_host().files
    files = {**files, SOCKET: replace(files[SOCKET], group="root")}
    found = with_host(files=files, socket_users={"root": ("root",)})
    assert look_at_host(found)["trusted-users"].seen == "group root: root"
    without = with_host(files={**files, SOCKET: FileFact(SOCKET)})
    assert look_at_host(without)["trusted-users"].not_applicable == "not on this host: /run/docker.sock"


def test_the_data_root_of_an_engine_without_remapped_users_is_its_own() -> None:
    found = with_info(DockerRootDir="/srv/docker", SecurityOptions=[])
    assert look_at_host(found)["separate-partition"].evidence[0].startswith("/srv/docker ")
