# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import look_at_compose
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_compose import (
    check_argv,
    connect_argv,
    disconnect_argv,
    ingress_compose,
    network_name,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_config import Ingress, Publish, Route, Tls

INGRESS = Ingress(
    "haproxy:1",
    (Route("db", 5432, tcp=Publish("", 5432)), Route("api", 8000)),
    http=Publish("127.0.0.1", 8101),
    https=Publish("", 443),
    tls=Tls("cert"),
)
COMPOSE = ingress_compose("demo", INGRESS, "/x/config", "/x/run")
SERVICE = COMPOSE["services"]["ingress"]


def test_it_is_a_project_of_its_own_without_rights() -> None:
    assert COMPOSE["name"] == "demo-ingress"
    wanted = {
        "image": "haproxy:1",
        "user": "10001:10001",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }
    assert {key: SERVICE[key] for key in wanted} == wanted
    assert SERVICE["labels"]["org.emorobcare.fleet.stack"] == "demo"


def test_it_violates_no_rule_about_containers_but_by_the_ports_that_people_ask_for_and_by_coming_back() -> None:
    looked = look_at_compose(COMPOSE)["ingress"]
    violated = {slug: one.evidence for slug, one in looked.items() if one.evidence}
    assert set(violated) == {"privileged-ports", "port-address", "restart-limit"}
    assert violated["privileged-ports"] == ("port 443:8443/tcp",)


def test_ports_of_the_host_lead_to_ports_that_need_no_rights() -> None:
    assert [(port.get("host_ip"), port["published"], port["target"]) for port in SERVICE["ports"]] == [
        ("127.0.0.1", "8101", 8080),
        (None, "443", 8443),
        (None, "5432", 15432),
    ]
    assert min(port["target"] for port in SERVICE["ports"]) >= 1024


def test_the_container_cannot_change_its_configuration() -> None:
    mounts = {volume["source"]: (volume["target"], volume["read_only"]) for volume in SERVICE["volumes"]}
    assert mounts == {"/x/config": ("/etc/haproxy", True), "/x/run": ("/run/haproxy", False)}


def test_its_health_is_asked_for_by_a_program_of_the_image() -> None:
    assert SERVICE["healthcheck"]["test"][:2] == ["CMD", "wget"]
    assert SERVICE["healthcheck"]["test"][-1] == "http://127.0.0.1:8404/health"


def test_networks_that_stay_are_external() -> None:
    compose = ingress_compose("demo", INGRESS, "/c", "/r", ["demo-green", "demo-blue"])
    assert list(compose["services"]["ingress"]["networks"]) == ["default", "demo-blue", "demo-green"]
    assert compose["networks"]["demo-blue"] == {"name": "demo-blue", "external": True}


@pytest.mark.parametrize("stack", ["demo", "a", "0", "00", "0-0", "0-0-0", "zz-9"])
def test_no_network_of_a_colour_sorts_before_its_own(stack: str) -> None:
    """Docker publishes through the network of the first name; see the util's text."""
    assert all(network_name(stack) < f"{stack}-{rest}" for rest in ("blue", "green_default", "data"))


def test_commands_end_their_options_before_names() -> None:
    assert connect_argv("n", "c") == ["docker", "network", "connect", "--", "n", "c"]
    assert disconnect_argv("n", "c") == ["docker", "network", "disconnect", "--", "n", "c"]
    assert check_argv("c", "/f") == ["docker", "exec", "--", "c", "haproxy", "-c", "-f", "/f"]
