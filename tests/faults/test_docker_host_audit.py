# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An audit of a real host: one thing is broken, its row alone fails; it is put right, and the row passes."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import CONTAINER_CONTROLS
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import CONTROLS
from ansible_collections.emorobcare.fleet.tests.faults._audited import CONFIG, Audited
from ansible_collections.emorobcare.fleet.tests.faults._releases import PATIENCE

_DROP_IN = "/etc/systemd/system/docker.service.d/tcp.conf"
_SOCKET_UNIT = "/usr/lib/systemd/system/docker.socket"
_CERTIFICATE = "/etc/docker/certs.d/registry.test:5000/ca.crt"
_TLS = "/etc/docker/tls"
_REDIRECTS = "/proc/sys/net/ipv4/conf/all/accept_redirects"


@pytest.fixture(name="host", scope="module")
def host_fixture(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Audited]:
    with Audited(tmp_path_factory.mktemp("audited")) as host:
        yield host


@pytest.fixture(name="before", scope="module")
def before_fixture(host: Audited) -> dict[str, str]:
    """What an audit says of the host while it is as it should be."""
    return host.statuses()


def test_the_host_has_a_row_for_every_control_and_fails_none(host: Audited, before: dict[str, str]) -> None:
    assert set(before) == {control.slug for control in CONTROLS}
    assert [row for row in host.audit() if row["status"] == "fail"] == []
    excused = {slug for slug, status in before.items() if status == "exception"}
    assert excused == {"rootless", "userns-remap", "authorization-plugin"}


@dataclass(frozen=True)
class Violation:
    """What breaks one control, and what puts it right: shell scripts, or other options of the engine."""

    slug: str
    script: str = ""
    repair: str = ""
    options: dict[str, t.Any] = field(default_factory=dict)
    status: str = "fail"
    also: tuple[str, ...] = ()  # what cannot hold then


def _owned(slug: str, path: str) -> Violation:
    return Violation(f"{slug}-owner", f"chown robot {path}", f"chown root {path}")


def _moded(slug: str, path: str, bad: str, good: str) -> Violation:
    return Violation(f"{slug}-mode", f"chmod {bad} {path}", f"chmod {good} {path}")


FILES = [
    violation
    for slug, path, bad, good in (
        ("docker-service", _DROP_IN, "0664", "0644"),
        ("docker-socket", _SOCKET_UNIT, "0646", "0644"),
        ("etc-docker", "/etc/docker", "0775", "0755"),
        ("registry-certificates", _CERTIFICATE, "0644", "0444"),
        ("tls-authority", f"{_TLS}/ca.pem", "0644", "0444"),
        ("tls-certificate", f"{_TLS}/cert.pem", "0464", "0444"),
        ("tls-key", f"{_TLS}/key.pem", "0440", "0400"),
        ("engine-socket", "/run/docker.sock", "0666", "0660"),
        ("daemon-json", "/etc/docker/daemon.json", "0666", "0644"),
        ("etc-default-docker", "/etc/default/docker", "0664", "0644"),
        ("etc-sysconfig-docker", "/etc/sysconfig/docker", "0755", "0644"),
        ("containerd-socket", "/run/containerd/containerd.sock", "0661", "0660"),
    )
    for violation in (_owned(slug, path), _moded(slug, path, bad, good))
]
HOST = [
    Violation("trusted-users", "usermod --append --groups docker robot", "gpasswd --delete robot docker"),
    Violation("host-hardened", f"echo 1 > {_REDIRECTS}", f"echo 0 > {_REDIRECTS}"),
    Violation("host-hardened", "iptables --policy INPUT ACCEPT", "iptables --policy INPUT DROP"),
    Violation(
        "host-hardened",
        "printf 'PermitRootLogin yes\\n' > /etc/ssh/sshd_config.d/a.conf",
        "rm /etc/ssh/sshd_config.d/a.conf",
    ),
    Violation(
        "host-hardened",
        "printf 'KbdInteractiveAuthentication yes\\n' > /etc/ssh/sshd_config.d/a.conf",
        "rm /etc/ssh/sshd_config.d/a.conf",
    ),
    Violation(
        "engine-version",
        "find /var/lib/apt/lists /var/lib/apt/periodic -maxdepth 1 -exec touch --date='40 days ago' {} +",
        "touch /var/lib/apt/lists",
    ),
    Violation(
        "image-sprawl",
        "tar --create --file=- /etc/hostname | docker import - > /tmp/lost",
        'docker image rm "$(cat /tmp/lost)"',
    ),
    Violation(
        "container-sprawl",
        "tar --create --file=- /etc/hostname | docker import - lab/some; docker create --name lost lab/some /true",
        "docker rm lost; docker image rm lab/some",
    ),
    Violation(
        "engine-tls",
        "mkdir /etc/systemd/system/docker.socket.d;"
        "printf '[Socket]\\nListenStream=2375\\n' > /etc/systemd/system/docker.socket.d/tcp.conf",
        "rm -r /etc/systemd/system/docker.socket.d",
    ),
]
ENGINE = [
    Violation("icc", options={"icc": True}),
    Violation("log-level", options={"log-level": "debug"}),
    # The engine refuses icc false where it may not filter.
    Violation("iptables", options={"iptables": False, "icc": True}, also=("icc",)),
    Violation("insecure-registries", options={"insecure-registries": ["registry.test:5000"]}),
    Violation("default-ulimits", options={"default-ulimits": {}}),
    Violation("default-cgroup", options={"cgroup-parent": "others.slice"}),
    Violation("central-logs", options={"log-driver": "local", "log-opts": {}}, status="exception"),
    Violation("central-logs", options={"log-driver": "journald", "log-opts": {}}, status="exception"),
    Violation("default-no-new-privileges", options={"no-new-privileges": False}),
    Violation("live-restore", options={"live-restore": False}),
    Violation("userland-proxy", options={"userland-proxy": True}),
    Violation("default-seccomp", options={"seccomp-profile": "unconfined"}),
    Violation("experimental", options={"experimental": True}),
    Violation("separate-partition", options={"data-root": "/srv/docker"}, status="exception"),
]
VIOLATIONS = [*HOST, *FILES, *ENGINE]


@pytest.mark.parametrize(
    "violation", VIOLATIONS, ids=[f"{one.slug}-{number}" for number, one in enumerate(VIOLATIONS, 1)]
)
def test_what_is_broken_fails_alone_and_passes_when_it_is_put_right(
    host: Audited, before: dict[str, str], violation: Violation
) -> None:
    if violation.options:
        host.configure(**{**CONFIG, **violation.options})
    else:
        host.shell(violation.script)
    broken = host.statuses()
    if violation.options:
        host.configure(**CONFIG)
    else:
        host.shell(violation.repair)
    assert {slug: status for slug, status in broken.items() if status != before[slug]} == dict.fromkeys(
        (violation.slug, *violation.also), violation.status
    )
    assert host.statuses() == before
    assert before[violation.slug] == "pass"


def test_of_a_socket_that_systemd_opens_its_own_group_counts_and_not_that_of_the_options(
    host: Audited, before: dict[str, str]
) -> None:
    host.shell("usermod --append --groups docker robot")
    host.configure(**CONFIG, group="robot")
    try:
        assert {slug: status for slug, status in host.statuses().items() if status != before[slug]} == {
            "trusted-users": "fail"
        }
    finally:
        host.shell("gpasswd --delete robot docker")
        host.configure(**CONFIG)


def test_remapped_users_and_no_other_row_pass_once_they_are_on(host: Audited, before: dict[str, str]) -> None:
    host.configure(**CONFIG, **{"userns-remap": "default"})
    try:
        assert {slug: status for slug, status in host.statuses().items() if status != before[slug]} == {
            "userns-remap": "pass"
        }
    finally:
        host.configure(**CONFIG)


# What goes by the engine's word, its files or its options, and so cannot be known while it is away.
_WITHOUT_ENGINE = (
    "separate-partition",
    "icc",
    "log-level",
    "live-restore",
    "default-seccomp",
    "image-sprawl",
    "swarm-mode",
)


def test_an_engine_that_is_away_makes_no_control_pass_that_needs_its_word(
    host: Audited, before: dict[str, str]
) -> None:
    host.shell("systemctl stop docker.socket docker.service")
    try:
        rows = {row["slug"]: row for row in host.audit()}
    finally:
        host.shell("systemctl start docker.socket docker.service")
    needs = {control.slug for control in CONTROLS if control.section in (2, 4, 5, 6, 7)}
    assert {slug for slug in needs if rows[slug]["status"] != "fail"} == set()
    for slug in _WITHOUT_ENGINE:
        assert rows[slug]["status"] == "fail"
        assert rows[slug]["evidence"][0].startswith("not known: ")
    assert rows["etc-docker-mode"]["status"] == "pass"
    assert host.statuses() == before


def test_options_that_the_engine_has_not_read_yet_do_not_pass(host: Audited, before: dict[str, str]) -> None:
    host.shell("touch --date='1 minute' /etc/docker/daemon.json")
    rows = {row["slug"]: row for row in host.audit()}
    failing = {slug for slug, row in rows.items() if row["status"] == "fail"}
    host.restart()
    host.shell("touch --date='1 minute ago' /etc/docker/daemon.json")
    assert "userland-proxy" in failing
    assert "after the engine's start; restart it" in rows["userland-proxy"]["evidence"][0]
    assert rows["icc"]["status"] == "pass", "the engine itself tells"
    assert host.statuses() == before


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("printf '{\\n \"icc\": false,\\n}' > daemon.json", "is no JSON: "),
        ("rm daemon.json; ln --symbolic daemon.json daemon.json", "Too many levels of symbolic links"),
    ],
    ids=["broken", "unreadable"],
)
def test_a_daemon_json_that_cannot_be_read_makes_nothing_pass_that_is_in_it(
    host: Audited, before: dict[str, str], script: str, said: str
) -> None:
    host.shell(f"cd /etc/docker; cp daemon.json /root/daemon.json; {script}")
    rows = {row["slug"]: row for row in host.audit()}
    host.shell("rm /etc/docker/daemon.json; cp --preserve=mode /root/daemon.json /etc/docker/daemon.json")
    host.shell("touch --date='1 hour ago' /etc/docker/daemon.json")
    for slug in ("userland-proxy", "default-ulimits", "iptables", "tls-key-mode", "log-level"):
        assert rows[slug]["status"] == "fail"
        assert said in rows[slug]["evidence"][0]
    assert host.statuses() == before


def test_the_module_fails_by_its_rules_and_writes_metrics_that_prometheus_reads(host: Audited) -> None:
    path = "/var/lib/metrics/docker_host_audit.prom"
    host.shell("chmod 0666 /etc/docker/daemon.json")
    try:
        checked = host.module("docker_host_audit", strict=True, textfile=path, _ansible_check_mode=True)
        assert host.shell("ls /var/lib") == host.shell("ls /var/lib | grep --invert-match metrics")
        result = host.module("docker_host_audit", strict=True, textfile=path)
        warned = host.module("docker_host_audit", strict=True, rules={"daemon-json-mode": {"level": "warn"}})
    finally:
        host.shell("chmod 0644 /etc/docker/daemon.json")
    assert checked["reason"] == "controls_failed"
    assert result["failed"]
    assert result["msg"] == "1 control fails: 3.18 daemon-json-mode"
    assert "       - /etc/docker/daemon.json (0666, at most 0644)" in result["table"]
    assert not warned.get("failed")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(host.run("cat", path) + "\n")
        for sample in family.samples
    }
    assert samples["docker_host_audit_failing", "3.18", "daemon-json-mode", "fail"] == 1
    assert samples["docker_host_audit_rows", "3", "fail"] == 1
    assert samples["docker_host_audit_timestamp_seconds",] > 0
    assert host.run("ls", "/var/lib/metrics") == "docker_host_audit.prom"


def test_a_container_that_runs_has_a_row_for_each_control_of_its_section(host: Audited) -> None:
    tree = "$(ldd /usr/bin/sleep | grep --only-matching '/[^ ]*') /usr/bin/sleep"
    host.shell(f"tar --create --dereference --absolute-names {tree} | docker import - lab/sleep")
    # Its logs go nowhere: the machine has no way to where the engine would send them.
    options = "--detach --name bad --log-driver none --privileged --volume /etc:/mnt --volume sly:/sly"
    host.shell("docker volume create --opt type=none --opt o=bind --opt device=/usr sly")
    host.shell(f"docker run {options} lab/sleep /usr/bin/sleep infinity")
    try:
        rows = host.audit()
    finally:
        host.shell("docker rm --force bad; docker volume rm sly; docker image rm lab/sleep")
    of_container = {row["slug"]: row for row in rows if row["subject"] == "bad"}
    assert {control.slug for control in CONTAINER_CONTROLS} <= set(of_container)
    assert of_container["privileged"]["status"] == "fail"
    assert of_container["host-paths"]["status"] == "fail"
    assert set(of_container["host-paths"]["evidence"]) == {"/etc:/mnt", "/usr:/sly"}
    assert of_container["needed-ports"]["status"] == "exception"
    assert of_container["host-network"]["status"] == "pass"
    of_image = {row["slug"]: row for row in rows if row["subject"] == "lab/sleep:latest"}
    assert of_image["image-user"]["status"] == "fail"


@dataclass(frozen=True)
class SwarmStep:
    """A step of a Swarm's life, and what its rows say after it."""

    script: str
    statuses: dict[str, str]


SWARM = [
    SwarmStep(
        "docker swarm init --advertise-addr 127.0.0.1",
        {
            "swarm-managers": "pass",
            "swarm-interface": "fail",
            "swarm-networks": "fail",
            "swarm-secrets": "pass",
            "swarm-autolock": "exception",
            "swarm-autolock-rotation": "not applicable",
            "swarm-node-certificates": "pass",
            "swarm-authority": "pass",
            "swarm-data-plane": "not applicable",
            "swarm-mode": "exception",
            "live-restore": "not applicable",
        },
    ),
    SwarmStep(
        "docker swarm leave --force; docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377",
        {"swarm-interface": "pass"},
    ),
    SwarmStep("echo y | docker network rm ingress", {"swarm-networks": "pass"}),
    SwarmStep("docker network create --driver overlay plain", {"swarm-networks": "fail"}),
    SwarmStep(
        "docker network rm plain; docker network create -d overlay --opt encrypted fine", {"swarm-networks": "pass"}
    ),
    SwarmStep(
        "docker service create --quiet --detach --replicas 0 --name talker --env DB_PASSWORD=Xu7ePh4uWo lab/none",
        {"swarm-secrets": "fail"},
    ),
    SwarmStep("docker service rm talker", {"swarm-secrets": "pass"}),
    SwarmStep("docker swarm update --cert-expiry 8760h", {"swarm-node-certificates": "fail"}),
    SwarmStep("docker swarm update --cert-expiry 720h", {"swarm-node-certificates": "pass"}),
    SwarmStep("docker swarm update --autolock", {"swarm-autolock": "pass", "swarm-autolock-rotation": "fail"}),
]


def test_a_swarm_is_held_against_its_controls_step_by_step(host: Audited) -> None:
    host.configure(**{**CONFIG, "live-restore": False})
    known: dict[str, str] = {}
    try:
        for step in SWARM:
            host.shell(step.script)
            known.update(step.statuses)
            # A Swarm does what it is told a moment later.
            deadline = time.monotonic() + PATIENCE
            said: dict[str, str] = {}
            while said != known and time.monotonic() < deadline:
                said = {slug: status for slug, status in host.statuses().items() if slug in known}
            assert said == known, step.script
    finally:
        host.shell("docker swarm leave --force")
        host.configure(**CONFIG)


def test_the_playbook_shows_what_does_not_hold_and_refuses_it_only_if_it_is_strict(host: Audited) -> None:
    host.shell("chmod 0666 /etc/docker/daemon.json")
    try:
        done = host.ansible("playbooks/audit.yml")
        strictly = host.ansible("playbooks/audit.yml", "--extra-vars", "docker_host_audit_strict=true")
    finally:
        host.shell("chmod 0644 /etc/docker/daemon.json")
    assert done.returncode == 0, done.stdout
    assert "/etc/docker/daemon.json (0666, at most 0644)" in done.stdout
    assert "changed=0" in done.stdout
    assert strictly.returncode != 0
    assert "audited: 1 control fails: 3.18 daemon-json-mode" in strictly.stdout


def test_an_audit_changes_nothing_of_what_it_looks_at(host: Audited) -> None:
    listed = "find /etc /run/docker.sock /var/lib/docker -printf '%p %m %u %T@ %s\\n' | sort | sha256sum"
    before = host.shell(listed)
    first = host.module("docker_host_audit")
    assert host.shell(listed) == before
    assert not first["changed"]
