# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Short and long forms of a Compose file mean the same."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import (
    facts_of_service,
    size_in_bytes,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import Mounted, Published

PORTS = [
    pytest.param("8000", Published("", "", "8000"), id="chosen by the engine"),
    pytest.param(8000, Published("", "", "8000"), id="a number"),
    pytest.param("80:8000", Published("", "80", "8000"), id="on every address"),
    pytest.param("127.0.0.1:80:8000/udp", Published("127.0.0.1", "80", "8000", "udp"), id="on one address"),
    pytest.param("127.0.0.1::8000", Published("127.0.0.1", "", "8000"), id="on one address, chosen"),
    pytest.param("[::1]:80:8000", Published("::1", "80", "8000"), id="IPv6"),
    pytest.param("${BIND:-127.0.0.1}:${PORT}:8000", Published("${BIND:-127.0.0.1}", "${PORT}", "8000"), id="variables"),
    pytest.param(
        {"target": 8000, "published": "80", "host_ip": "127.0.0.1", "protocol": "tcp"},
        Published("127.0.0.1", "80", "8000"),
        id="long",
    ),
]
VOLUMES = [
    pytest.param("/etc:/x", Mounted("/etc", "/x"), id="writable"),
    pytest.param("/etc/:/x:ro", Mounted("/etc", "/x", read_only=True), id="read-only"),
    pytest.param("/srv/../etc:/x", Mounted("/etc", "/x"), id="by a detour"),
    pytest.param("//etc:/x", Mounted("/etc", "/x"), id="by two slashes"),
    pytest.param("~/.ssh:/x", Mounted("/root/.ssh", "/x"), id="home"),
    pytest.param("/srv:/x:rw,rshared", Mounted("/srv", "/x", propagation="rshared"), id="shared"),
    pytest.param("data:/x", Mounted("data", "/x", bind=False), id="a volume"),
    pytest.param("/x", Mounted("", "/x", bind=False), id="a nameless volume"),
    pytest.param("disguise:/x", Mounted("/etc", "/x"), id="a volume that is a path"),
    pytest.param(
        {"type": "bind", "source": "/etc", "target": "/x", "read_only": True, "bind": {"propagation": "shared"}},
        Mounted("/etc", "/x", read_only=True, propagation="shared"),
        id="long",
    ),
    pytest.param({"type": "volume", "source": "disguise", "target": "/x"}, Mounted("/etc", "/x"), id="long, disguised"),
    pytest.param({"type": "tmpfs", "target": "/x"}, Mounted("", "/x", bind=False), id="memory"),
]
DOCUMENT = {
    "volumes": {"data": None, "disguise": {"driver_opts": {"type": "none", "o": "bind,ro", "device": "/etc"}}},
    "secrets": {"key": {"file": "/etc/shadow"}, "other": {"environment": "X"}},
    "configs": {"conf": {"file": "./nginx.conf"}},
}


@pytest.mark.parametrize(("item", "port"), PORTS)
def test_a_port_is_read_in_each_of_its_forms(item: t.Any, port: Published) -> None:
    assert facts_of_service("web", {"ports": [item]}).ports == (port,)


@pytest.mark.parametrize(("item", "mount"), VOLUMES)
def test_a_volume_is_read_in_each_of_its_forms(item: t.Any, mount: Mounted) -> None:
    assert facts_of_service("web", {"volumes": [item]}, DOCUMENT).mounts == (mount,)


def test_secrets_and_configs_are_mounts_of_the_files_that_they_name() -> None:
    service = {"secrets": ["key", {"source": "other"}], "configs": [{"source": "conf", "target": "/etc/nginx.conf"}]}
    assert facts_of_service("web", service, DOCUMENT).mounts == (
        Mounted("/etc/shadow", "/run/secrets/key", read_only=True),
        Mounted("nginx.conf", "/etc/nginx.conf", read_only=True),
    )


@pytest.mark.parametrize(
    "service",
    [
        {"deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "64M", "pids": 32}}}},
        {"cpus": 0.5, "mem_limit": "64m", "pids_limit": 32},
        {"cpu_shares": 512, "mem_limit": 67108864, "pids_limit": "32"},
    ],
)
def test_limits_count_where_either_of_both_places_has_them(service: dict[str, t.Any]) -> None:
    limits = facts_of_service("web", service).limits
    assert (limits.memory, limits.pids) == (64 * 1024**2, 32)
    assert limits.cpu


@pytest.mark.parametrize("service", [{}, {"pids_limit": -1, "mem_limit": 0, "cpus": 0}, {"pids_limit": "${PIDS}"}])
def test_what_lifts_a_limit_is_none(service: dict[str, t.Any]) -> None:
    limits = facts_of_service("web", service).limits
    assert (limits.memory, limits.cpu, limits.pids) == (0, "", 0)


@pytest.mark.parametrize(
    ("text", "size"), [("1gb", 1024**3), ("1.5M", 1572864), ("10", 10), ("2KiB", 2048), ("lots", 0), (None, 0)]
)
def test_a_size_is_read_as_compose_reads_it(text: str | None, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    ("check", "health"),
    [
        (None, None),
        ({"interval": "3s"}, None),
        ({"disable": True}, ("NONE",)),
        ({"test": ["NONE"]}, ("NONE",)),
        ({"test": "curl x"}, ("CMD-SHELL", "curl x")),
        ({"test": ["CMD", "true"]}, ("CMD", "true")),
    ],
)
def test_a_health_check_is_one_only_if_it_checks(check: t.Any, health: tuple[str, ...] | None) -> None:
    assert facts_of_service("web", {"healthcheck": check}).health == health


def test_who_is_waited_for_until_the_end_is_a_job() -> None:
    waits = {"depends_on": {"load": {"condition": "service_completed_successfully"}}}
    document = {"services": {"load": {}, "web": waits, "other": {"depends_on": ["load"]}}}
    assert [facts_of_service(name, {}, document).job for name in ("load", "web")] == [True, False]


def test_text_from_a_variable_is_true_as_compose_has_it() -> None:
    facts = facts_of_service("web", {"privileged": "true", "read_only": "yes", "cap_add": ["cap_sys_admin"]})
    assert (facts.privileged, facts.read_only, facts.cap_add) == (True, True, ("SYS_ADMIN",))


def test_options_devices_and_commands_are_read_in_each_of_their_forms() -> None:
    service = {
        "security_opt": ["seccomp:unconfined", "no-new-privileges:true"],
        "devices": ["/dev/video0:/dev/video0:r", {"source": "/dev/snd", "target": "/dev/snd"}],
        "entrypoint": "sh -c 'exec x'",
        "command": ["-D"],
        "ulimits": {"nofile": {"soft": 1, "hard": -1}, "nproc": 7},
        "restart": False,
    }
    facts = facts_of_service("web", service)
    assert (facts.option("seccomp"), facts.option("no-new-privileges")) == ("unconfined", "true")
    assert facts.devices == ("/dev/video0", "/dev/snd")
    assert facts.command == ("sh", "-c", "exec x", "-D")
    assert facts.ulimits == (("nofile", 1, -1), ("nproc", 7, 7))
    assert facts.restart == "no"
