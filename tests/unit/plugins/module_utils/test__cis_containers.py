# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import facts_of_service
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    ContainerFacts,
    Engine,
    Limits,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import (
    CONTAINER_CONTROLS,
    ENGINE_CONTROLS,
    RULES,
    look_at_compose,
    look_at_container,
    look_at_engine,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

LEVELS = {rule.control.slug: rule.level for rule in RULES}
HARD: dict[str, t.Any] = {
    "image": "shop/web:7",
    "user": "10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "cap_add": ["NET_BIND_SERVICE"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "on-failure:5",
    "healthcheck": {"test": ["CMD", "true"]},
    "ports": ["127.0.0.1:8080:8080"],
    "volumes": ["data:/data", "./models/x:/models/x:ro", "/etc/localtime:/etc/localtime:ro"],
    "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "64M", "pids": 32}}},
}
UNLIMITED = {"deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "64M"}}}}
GPU = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
RESERVED = {"deploy": {"resources": {**HARD["deploy"]["resources"], "reservations": {"devices": [GPU]}}}}
CASES: list[t.Any] = [
    ("apparmor-profile", {"security_opt": ["no-new-privileges", "apparmor=unconfined"]}, "fail"),
    ("selinux-labels", {"security_opt": ["no-new-privileges", "label:disable"]}, "fail"),
    ("capabilities", {"cap_add": ["SYS_ADMIN"]}, "fail"),
    ("capabilities", {"cap_add": ["CAP_NET_ADMIN"]}, "fail"),
    ("capabilities", {"cap_add": ["all"]}, "fail"),
    ("capabilities", {"cap_add": ["SYS_NICE"]}, "warn"),
    ("capabilities", {"cap_drop": ["NET_RAW"]}, "warn"),
    ("privileged", {"privileged": True}, "fail"),
    ("host-paths", {"volumes": ["/:/host:ro"]}, "fail"),
    ("host-paths", {"volumes": ["/etc/localtime:/etc/localtime"]}, "fail"),
    ("host-paths", {"volumes": ["/etc/shadow:/x:ro"]}, "fail"),
    ("host-paths", {"volumes": ["/var/lib:/x:ro"]}, "fail"),
    ("host-paths", {"volumes": [{"type": "bind", "source": "/var/run", "target": "/x"}]}, "fail"),
    ("ssh-server", {"command": ["/usr/sbin/sshd", "-D"]}, "warn"),
    ("ssh-server", {"ports": ["127.0.0.1:2222:22"]}, "warn"),
    ("privileged-ports", {"ports": ["127.0.0.1:80:8080"]}, "warn"),
    ("privileged-ports", {"ports": ["127.0.0.1:1000-1100:8080"]}, "warn"),
    ("host-network", {"network_mode": "host"}, "fail"),
    ("memory-limit", {"deploy": {"resources": {"limits": {"cpus": "0.5", "pids": 7}}}}, "warn"),
    ("cpu-limit", {"deploy": {"resources": {"limits": {"memory": "1g", "pids": 7}}}}, "warn"),
    ("read-only-root", {"read_only": False}, "warn"),
    ("port-address", {"ports": ["8080:8080"]}, "warn"),
    ("port-address", {"ports": ["0.0.0.0:8080:8080"]}, "warn"),
    ("port-address", {"ports": ["[::]:8080:8080"]}, "warn"),
    ("port-address", {"ports": ["8080"]}, "warn"),
    ("restart-limit", {"restart": "always"}, "off"),
    ("restart-limit", {"restart": "unless-stopped"}, "off"),
    ("restart-limit", {"restart": "on-failure"}, "off"),
    ("restart-limit", {"restart": "on-failure:6"}, "off"),
    ("host-pid", {"pid": "host"}, "fail"),
    ("host-ipc", {"ipc": "host"}, "fail"),
    ("devices", {"devices": ["/dev/video0:/dev/video0"]}, "warn"),
    ("devices", {"device_cgroup_rules": ["c 81:* rmw"]}, "warn"),
    ("devices", {"devices": ["/dev/sda1:/dev/sda1"]}, "fail"),
    ("devices", {"devices": ["/dev/mem:/dev/mem"]}, "fail"),
    ("devices", {"device_cgroup_rules": ["a *:* rwm"]}, "fail"),
    ("devices", {"device_cgroup_rules": ["c 1:1 r"]}, "fail"),
    ("devices", {"gpus": "all"}, "warn"),
    ("devices", {"gpus": [{"driver": "nvidia", "count": 1}]}, "warn"),
    ("devices", RESERVED, "warn"),
    ("container-ulimits", {"ulimits": {"nofile": -1}}, "warn"),
    ("container-ulimits", {"ulimits": {"nofile": {"soft": 1024, "hard": -1}}}, "warn"),
    ("mount-propagation", {"volumes": ["/srv/x:/x:rshared"]}, "fail"),
    ("host-uts", {"uts": "host"}, "fail"),
    ("seccomp-profile", {"security_opt": ["no-new-privileges", "seccomp:unconfined"]}, "fail"),
    ("cgroup-parent", {"cgroup_parent": "/system.slice"}, "warn"),
    ("new-privileges", {"security_opt": []}, "warn"),
    ("new-privileges", {"security_opt": ["no-new-privileges:false"]}, "warn"),
    ("health-check", {"healthcheck": {"disable": True}}, "warn"),
    ("health-check", {"healthcheck": None}, "warn"),
    ("image-version", {"image": "shop/web"}, "warn"),
    ("image-version", {"image": "registry:5000/shop/web:latest"}, "warn"),
    ("pids-limit", UNLIMITED, "warn"),
    ("default-bridge", {"network_mode": "bridge"}, "warn"),
    ("host-userns", {"userns_mode": "host"}, "fail"),
    ("docker-socket-mounted", {"volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}, "fail"),
    ("docker-socket-mounted", {"volumes": ["/run/containerd/containerd.sock:/x"]}, "fail"),
    ("docker-socket-mounted", {"use_api_socket": True}, "fail"),
    ("image-user", {"user": "0:0"}, "warn"),
    ("image-user", {"user": "root"}, "warn"),
]
HARMLESS = [
    {"cap_drop": ["all"], "cap_add": []},
    {"volumes": ["/srv/maps:/maps", "/home/robot/maps:/x", "/dev/null:/run/secrets/key:ro"]},
    {"volumes": ["/etc/fleet/secrets/shop/key:/run/secrets/key:ro"]},
    {"image": "shop/web:7@sha256:11"},
    {"image": "shop/web@sha256:11"},
    {"image": "shop/web:${VERSION}"},
    {"image": None},
    {"restart": None},
    {"security_opt": ["no-new-privileges=true", "seccomp=/etc/x.json", "apparmor=mine"]},
    {"network_mode": "service:db", "pid": "service:db", "ipc": "shareable"},
    {"devices": ["/dev/null"]},
    {"ulimits": {"nofile": 1024}},
]


def violated(service: dict[str, t.Any]) -> list[str]:
    return [slug for slug, looked in look_at_container(facts_of_service("web", service)).items() if looked.evidence]


def test_a_hardened_service_passes_every_rule() -> None:
    assert violated(HARD) == []


@pytest.mark.parametrize(("slug", "change", "level"), CASES, ids=lambda value: str(value)[:50])
def test_one_change_for_the_worse_violates_one_rule(slug: str, change: dict[str, t.Any], level: str) -> None:
    service = {**HARD, **change}
    assert violated(service) == [slug]
    assert LEVELS[slug](facts_of_service("web", service)) == level


@pytest.mark.parametrize("change", HARMLESS, ids=str)
def test_what_only_looks_like_a_violation_is_none(change: dict[str, t.Any]) -> None:
    assert violated({**HARD, **change}) == []


def test_every_rule_that_can_be_violated_is_violated_by_a_case() -> None:
    untestable = {"needed-ports", "exec-privileged", "exec-root"}
    assert {case[0] for case in CASES} == {rule.control.slug for rule in RULES} - untestable


def test_a_privileged_container_is_told_once() -> None:
    assert violated({**HARD, "privileged": True, "cap_drop": []}) == ["privileged"]


def test_each_control_of_the_section_is_there_once_and_in_its_order() -> None:
    numbers = [control.number for control in (*ENGINE_CONTROLS, *CONTAINER_CONTROLS)]
    assert numbers == [f"5.{number}" for number in range(1, 33)]
    slugs = [control.slug for control in (*ENGINE_CONTROLS, *CONTAINER_CONTROLS)]
    assert len(set(slugs)) == len(slugs)
    assert [rule.control for rule in RULES][:-1] == list(CONTAINER_CONTROLS)


@pytest.mark.parametrize("control", [*ENGINE_CONTROLS, *CONTAINER_CONTROLS], ids=lambda control: control.number)
def test_a_control_that_is_not_enforced_says_why(control: t.Any) -> None:
    assert bool(control.why) == (control.kind != "enforced")
    assert not control.way_out.endswith(".")


HERE = ContainerFacts("web", running=True, limits=Limits(1, "x", 1))


@pytest.mark.parametrize(
    ("slug", "facts", "state"),
    [
        ("apparmor-profile", {"engine": Engine(apparmor=False), "apparmor": ""}, "not applicable"),
        ("apparmor-profile", {"engine": Engine(apparmor=True), "apparmor": "docker-default"}, "pass"),
        ("apparmor-profile", {"engine": Engine(apparmor=True), "apparmor": "unconfined"}, "fail"),
        (
            "apparmor-profile",
            {"engine": Engine(apparmor=False), "security": (("apparmor", "unconfined"),)},
            "fail",
        ),
        ("selinux-labels", {"engine": Engine(selinux=False)}, "not applicable"),
        ("selinux-labels", {"engine": Engine(selinux=True), "process_label": "container_t"}, "pass"),
        ("selinux-labels", {"engine": Engine(selinux=True), "process_label": ""}, "fail"),
        ("selinux-labels", {"engine": Engine(selinux=False), "security": (("label", "disable"),)}, "not applicable"),
        ("selinux-labels", {"security": (("label", "disable"),), "pid": "host"}, "not applicable"),
        ("selinux-labels", {"security": (("label", "disable"),), "privileged": True}, "not applicable"),
        ("seccomp-profile", {"engine": Engine(seccomp=False)}, "fail"),
        ("seccomp-profile", {"engine": Engine(seccomp=True)}, "pass"),
        ("seccomp-profile", {"engine": Engine(seccomp=False), "security": (("seccomp", "{}"),)}, "pass"),
        ("new-privileges", {"engine": Engine(no_new_privileges=True)}, "pass"),
        ("new-privileges", {"engine": Engine(no_new_privileges=False)}, "fail"),
        ("ssh-server", {"processes": None}, "not known"),
        ("ssh-server", {"processes": None, "running": False}, "not applicable"),
        ("ssh-server", {"processes": ("nginx: master",)}, "pass"),
        ("ssh-server", {"processes": ("sshd: /usr/sbin/sshd -D",)}, "fail"),
        ("ssh-server", {"processes": ("/usr/sbin/sshd -D",)}, "fail"),
        ("default-bridge", {"network": "default", "networks": ("bridge",)}, "fail"),
        ("default-bridge", {"network": "shop", "networks": ("shop", "bridge")}, "fail"),
        ("image-user", {"user": ""}, "fail"),
        ("image-user", {"user": None}, "not applicable"),
        ("health-check", {"job": True}, "not applicable"),
        ("health-check", {"health": ()}, "fail"),
        ("image-version", {"image": "sha256:0f"}, "pass"),
        ("image-version", {"image": "88e274572df4"}, "pass"),
    ],
)
def test_what_only_the_engine_knows_counts_for_what_runs(slug: str, facts: dict[str, t.Any], state: str) -> None:
    looked = look_at_container(dataclasses.replace(HERE, **facts))[slug]
    states = {"fail": looked.evidence, "not applicable": looked.not_applicable, "not known": looked.unknown}
    assert state == next((name for name, told in states.items() if told), "pass")


def test_each_rule_says_what_it_saw() -> None:
    for slug, looked in look_at_container(facts_of_service("web", HARD)).items():
        assert looked.seen or looked.not_applicable or looked.unseen, slug


@pytest.mark.parametrize(("swarm", "evidence"), [(True, ("this engine is part of a Swarm",)), (False, ()), (None, ())])
def test_a_swarm_is_asked_of_the_engine(swarm: bool | None, evidence: tuple[str, ...]) -> None:
    looked = look_at_engine(Engine(swarm=swarm))["swarm-mode"]
    assert looked.evidence == evidence
    assert bool(looked.not_applicable) == (swarm is None)


def test_each_service_of_a_document_is_looked_at() -> None:
    found = look_at_compose({"services": {"web": HARD, "db": {**HARD, "pid": "host"}}})
    assert {name: [s for s, looked in one.items() if looked.evidence] for name, one in found.items()} == {
        "web": [],
        "db": ["host-pid"],
    }


@pytest.mark.parametrize("document", [None, [], {}, {"services": []}, {"services": {"web": None}}, "services: {}"])
def test_what_is_no_compose_document_is_refused_with_the_way_out(document: t.Any) -> None:
    with pytest.raises(HostError, match="docker compose config") as caught:
        look_at_compose(document)
    assert caught.value.reason == "compose_invalid"
