# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine says of a container is read as it is meant; documents of an engine are cut to what is read."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    Engine,
    Limits,
    Mounted,
    Published,
    engine_of_info,
    facts_of_inspect,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import look_at_container

RUNNING: dict[str, t.Any] = {
    "Name": "/shop-web-1",
    "Path": "nginx",
    "Args": ["-g", "daemon off;"],
    "Image": "sha256:88e2",
    "AppArmorProfile": "docker-default",
    "ProcessLabel": "",
    "HostConfig": {
        "NetworkMode": "shop_default",
        "PortBindings": {"8000/tcp": [{"HostIp": "", "HostPort": ""}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        "CapAdd": ["CAP_NET_BIND_SERVICE"],
        "CapDrop": ["ALL"],
        "IpcMode": "private",
        "PidMode": "",
        "Privileged": False,
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        "UTSMode": "",
        "UsernsMode": "",
        "Memory": 67108864,
        "NanoCpus": 500000000,
        "CpuQuota": -1,
        "PidsLimit": 10,
        "Devices": [{"PathOnHost": "/dev/video0", "PathInContainer": "/dev/video0", "CgroupPermissions": "rwm"}],
        "DeviceCgroupRules": None,
        "Ulimits": [{"Name": "nofile", "Hard": -1, "Soft": 1024}],
    },
    "Mounts": [
        {"Type": "bind", "Source": "/srv/x", "Destination": "/x", "RW": False, "Propagation": "rprivate"},
        {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/d"},
    ],
    "Config": {"User": "10001", "Image": "shop/web:7", "Healthcheck": {"Test": ["CMD", "true"]}},
    "NetworkSettings": {
        "Ports": {"8000/tcp": [{"HostIp": "::", "HostPort": "32768"}], "9000/udp": None},
        "Networks": {"shop_default": {}},
    },
}


def test_a_container_is_read_from_what_the_engine_says() -> None:
    facts = facts_of_inspect(RUNNING, Engine(apparmor=True), ["nginx: master process"])
    assert (facts.name, facts.running, facts.image, facts.user) == ("shop-web-1", True, "shop/web:7", "10001")
    assert (facts.cap_add, facts.cap_drop) == (("NET_BIND_SERVICE",), ("ALL",))
    assert (facts.option("no-new-privileges"), facts.option("seccomp"), facts.option("label")) == (
        "",
        "unconfined",
        None,
    )
    assert facts.mounts == (
        Mounted("/srv/x", "/x", True, True, "rprivate"),
        Mounted("data", "/d", bind=False),
    )
    assert facts.ports == (Published("::", "32768", "8000"),)
    assert facts.limits == Limits(67108864, "NanoCpus 500000000", 10)
    assert (facts.restart, facts.read_only, facts.devices) == ("on-failure:5", True, ("/dev/video0",))
    assert (facts.ulimits, facts.health) == ((("nofile", 1024, -1),), ("CMD", "true"))
    assert (facts.command[0], facts.processes) == ("nginx", ("nginx: master process",))


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"Driver": "cdi", "DeviceIDs": ["vendor.com/lidar=0"], "Capabilities": None}, "cdi vendor.com/lidar=0"),
        ({"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]]}, "gpu"),
        ({"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu", "compute"]]}, "nvidia gpu,compute"),
    ],
)
def test_devices_that_are_asked_of_a_driver_are_told(request_: dict[str, t.Any], told: str) -> None:
    host = {**RUNNING["HostConfig"], "DeviceRequests": [request_]}
    facts = facts_of_inspect({**RUNNING, "HostConfig": host})
    assert facts.device_requests == (told,)
    assert f"device by request: {told}" in look_at_container(facts)["devices"].evidence


def test_ports_of_a_container_that_does_not_run_are_those_that_were_asked_for() -> None:
    stopped = {**RUNNING, "NetworkSettings": {"Ports": {}}}
    assert facts_of_inspect(stopped).ports == (Published("", "", "8000"),)


@pytest.mark.parametrize(("limit", "pids"), [(None, 0), (0, 0), (-1, 0), (7, 7)])
def test_no_limit_is_none_however_the_engine_writes_it(limit: int | None, pids: int) -> None:
    host = {**RUNNING["HostConfig"], "PidsLimit": limit}
    assert facts_of_inspect({**RUNNING, "HostConfig": host}).limits.pids == pids


def test_an_engine_that_says_next_to_nothing_can_be_read() -> None:
    facts = facts_of_inspect({"Name": "/x", "HostConfig": {}, "Config": {}})
    assert (facts.restart, facts.ports, facts.health, facts.user) == ("no", (), (), "")


@pytest.mark.parametrize(
    ("info", "engine"),
    [
        pytest.param(
            {
                "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
                "Swarm": {"LocalNodeState": "active"},
            },
            Engine(apparmor=True, selinux=False, seccomp=True, no_new_privileges=False, swarm=True),
            id="AppArmor and a Swarm",
        ),
        pytest.param(
            {"SecurityOptions": ["name=seccomp,profile=unconfined", "name=selinux", "name=no-new-privileges"]},
            Engine(apparmor=False, selinux=True, seccomp=False, no_new_privileges=True, swarm=False),
            id="SELinux, and no seccomp profile",
        ),
        pytest.param(
            {"SecurityOptions": None, "Swarm": {"LocalNodeState": "inactive"}},
            Engine(apparmor=False, selinux=False, seccomp=False, no_new_privileges=False, swarm=False),
            id="nothing",
        ),
    ],
)
def test_what_counts_for_every_container_is_read_from_the_engine(info: dict[str, t.Any], engine: Engine) -> None:
    assert engine_of_info(info) == engine


@pytest.mark.parametrize(
    ("options", "mount"),
    [
        ({"type": "none", "o": "bind", "device": "/"}, Mounted("/", "/d")),
        ({"o": "ro,rbind", "device": "//run/"}, Mounted("/run", "/d")),
        ({"type": "nfs", "o": "addr=10.0.0.2", "device": ":/srv"}, Mounted("data", "/d", bind=False)),
        ({}, Mounted("data", "/d", bind=False)),
    ],
)
def test_a_volume_counts_as_the_path_that_its_driver_binds(options: dict[str, str], mount: Mounted) -> None:
    facts = facts_of_inspect(RUNNING, volumes={"data": options})
    assert facts.mounts[1] == mount
    assert facts.mounts_problem == ""


def test_of_a_volume_that_nobody_has_asked_for_it_is_not_known_what_is_behind_it() -> None:
    assert facts_of_inspect(RUNNING).mounts_problem == "what is behind volume data"
