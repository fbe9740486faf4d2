# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_parts import (
    Colour,
    Link,
    Parts,
    Volume,
    colour_of,
    other,
    skipping,
    split,
    without,
)

LIFECYCLES = {"api": "stateless", "load": "job", "db": "stateful", "cache": "stateful"}
NETWORKS = {"default": {"name": "shop_default"}, "inner": {"name": "shop_inner", "internal": True}}
VOLUMES = {"data": {"name": "shop_data"}}


def parts(colour: Colour = "blue", **config: t.Any) -> Parts:
    """Split what `docker compose config` would print of these services."""
    return split({"networks": NETWORKS, "volumes": VOLUMES, **config}, "shop", colour, LIFECYCLES)


def refusal(**config: t.Any) -> str:
    with pytest.raises(ReleaseError) as caught:
        parts(**config)
    assert caught.value.reason == "release_invalid"
    return str(caught.value)


def service(**more: t.Any) -> dict[str, t.Any]:
    return {"image": "i", "networks": {"default": None}, **more}


def test_services_go_to_the_data_or_to_a_side_by_their_lifecycle() -> None:
    made = parts("green", services={"api": service(), "load": service(), "db": service()})
    assert (made.data["name"], sorted(made.data["services"])) == ("shop-data", ["db"])
    assert (made.side["name"], sorted(made.side["services"])) == ("shop-green", ["api", "load"])
    label = {"org.emorobcare.fleet.stack": "shop"}
    assert all(one["labels"] == label for part in (made.data, made.side) for one in part["services"].values())


def test_a_stack_without_data_has_an_empty_project_for_it() -> None:
    made = parts(services={"api": service()})
    assert made.data == {"name": "shop-data", "services": {}, "networks": {}}


def test_nothing_that_was_given_is_changed() -> None:
    config: dict[str, t.Any] = {"services": {"api": service(depends_on={"db": {}}, labels={"a": "b"}), "db": service()}}
    before = json.dumps(config)
    parts(**config)
    assert json.dumps(config) == before


def test_each_part_has_networks_of_its_own_but_for_external_ones() -> None:
    outside = {"name": "robots", "external": True}
    both = {"inner": {"aliases": ["store"]}, "default": None, "outside": None}
    services = {"api": service(networks=both), "db": service(networks=both), "load": service(networks={})}
    made = parts(services=services, networks={**NETWORKS, "outside": outside, "unused": {"name": "x"}})
    labels = {"org.emorobcare.fleet.stack": "shop"}
    for part, name in ((made.data, "shop-data"), (made.side, "shop-blue")):
        assert part["networks"] == {
            "default": {"name": f"{name}_default", "labels": labels},
            "inner": {"name": f"{name}_inner", "internal": True, "labels": labels},
            "outside": outside,
        }
    assert made.links == (
        Link("db", "shop-blue_default", ("db",)),
        Link("db", "shop-blue_inner", ("db", "store")),
    )
    assert made.networks == {"api": ("shop-blue_default", "robots", "shop-blue_inner"), "load": ()}


def test_data_is_linked_to_no_network_that_the_side_does_not_have() -> None:
    made = parts(services={"api": service(), "db": service(networks={"inner": None})})
    assert made.links == ()


def test_volumes_become_external_ones_with_the_name_that_they_always_had() -> None:
    volumes = {
        "data": {"name": "shop_data", "driver_opts": {"type": "tmpfs", "size": 5}},
        "old": {"name": "archive", "external": True},
        "unused": {"name": "shop_unused"},
    }
    mounts = [{"type": "volume", "source": name, "target": "/d"} for name in ("data", "old")]
    mounts += [{"type": "bind", "source": "/etc", "target": "/e"}, {"type": "volume", "target": "/anonymous"}]
    made = parts(services={"api": service(volumes=mounts), "db": service(volumes=mounts[:1])}, volumes=volumes)
    assert made.volumes == (Volume("shop_data", "data", "local", {"size": "5", "type": "tmpfs"}),)
    assert made.side["volumes"] == {
        "data": {"name": "shop_data", "external": True},
        "old": {"name": "archive", "external": True},
    }
    assert made.data["volumes"] == {"data": {"name": "shop_data", "external": True}}


def test_a_part_has_the_secrets_and_configs_that_its_services_use() -> None:
    services = {
        "api": service(secrets=[{"source": "key"}], configs=[{"source": "web"}]),
        "db": service(secrets=[{"source": "password"}]),
    }
    secrets = {"key": {"file": "/s/key"}, "password": {"file": "/s/password"}, "unused": {"file": "/s/unused"}}
    made = parts(services=services, secrets=secrets, configs={"web": {"file": "/c"}, "none": {"file": "/n"}})
    assert (made.side["secrets"], made.side["configs"]) == ({"key": {"file": "/s/key"}}, {"web": {"file": "/c"}})
    assert made.data["secrets"] == {"password": {"file": "/s/password"}}
    assert "configs" not in made.data


@pytest.mark.parametrize(
    ("name", "needs", "kept"),
    [
        pytest.param("api", ["db"], [], id="data is gated before a side comes up"),
        pytest.param("api", ["db", "load"], ["load"], id="what is on the same side is kept"),
        pytest.param("db", ["cache"], ["cache"], id="data that waits for data"),
    ],
)
def test_an_order_across_the_border_is_kept_by_gates(name: str, needs: list[str], kept: list[str]) -> None:
    how = {"condition": "service_healthy"}
    services = {one: service() for one in LIFECYCLES} | {name: service(depends_on=dict.fromkeys(needs, how))}
    made = parts(services=services)
    one = {**made.data["services"], **made.side["services"]}[name]
    assert one.get("depends_on", {}) == dict.fromkeys(kept, how)
    assert ("depends_on" in one) is bool(kept)


TWICE = "cannot be there twice; {}, make the service stateful, or use rollout.strategy recreate"
REFUSALS = [
    pytest.param(
        {"api": service(container_name="shop")},
        f"service api is replaced side by side, and container_name 'shop' {TWICE.format('take it out')}",
        id="a name for a container",
    ),
    pytest.param(
        {"load": service(ports=[{"target": 1, "published": "80"}, {"target": 2}, {"target": 3, "published": "81"}])},
        "service load is replaced side by side, and published port 80, 81 "
        + TWICE.format("take `ports` out and name the service in ingress.routes"),
        id="ports of the host",
    ),
    pytest.param(
        {"api": service(network_mode="host")},
        "service api is replaced side by side, and network_mode host "
        + TWICE.format("take it out and name the service in ingress.routes"),
        id="the host's network",
    ),
    pytest.param(
        {"db": service(depends_on={"api": {}}), "api": service()},
        "stateful service db depends on api, which is not stateful: data comes up first. Turn the dependency around, "
        "or make api stateful",
        id="data that waits for a side",
    ),
    *(
        pytest.param(
            {"api": service(**{key: value}), "db": service()},
            "service api lives in the container of db, and one of them is stateful: they are replaced at different "
            "times. Give both the same lifecycle, or let them meet on a network",
            id=key,
        )
        for key, value in (
            ("network_mode", "service:db"),
            ("pid", "service:db"),
            ("ipc", "service:db"),
            ("volumes_from", ["db:ro"]),
        )
    ),
]


@pytest.mark.parametrize(("services", "message"), REFUSALS)
def test_what_cannot_be_there_twice_is_refused_with_the_way_out(services: dict[str, t.Any], message: str) -> None:
    assert refusal(services=services) == message


@pytest.mark.parametrize(
    "services",
    [
        pytest.param({"db": service(container_name="db", ports=[{"target": 1, "published": "1"}])}, id="data, once"),
        pytest.param({"db": service(network_mode="host")}, id="data in the host's network"),
        pytest.param({"api": service(ports=[{"target": 80}])}, id="a port that Docker chooses"),
        pytest.param({"api": service(network_mode="service:load"), "load": service()}, id="together on a side"),
        pytest.param({"api": service(network_mode="none", pid="host")}, id="shared with no service"),
    ],
)
def test_what_can_be_there_twice_passes(services: dict[str, t.Any]) -> None:
    parts(services=services)


def test_a_fixed_subnet_is_refused_on_a_side_and_not_for_data_alone() -> None:
    networks = {"inner": {"name": "shop_inner", "ipam": {"config": [{"subnet": "10.0.0.0/24"}]}}}
    inner = {"networks": {"inner": None}}
    assert refusal(services={"api": service(**inner)}, networks=networks) == (
        "network inner has a fixed subnet, which blue and green cannot have both; take `ipam` out of it, or use "
        "rollout.strategy recreate"
    )
    parts(services={"db": service(**inner)}, networks=networks)


def test_a_name_that_dns_cannot_hold_is_refused() -> None:
    key = "n" * 53
    fits, long = {key: None}, {f"{key}n": None}
    networks: dict[str, t.Any] = {name: {} for name in (*fits, *long)}
    parts(services={"api": service(networks=fits)}, networks=networks)
    message = refusal(services={"api": service(networks=long)}, networks=networks)
    assert message == (
        f"network {key}n would be called shop-blue_{key}n, which has 64 characters and DNS allows 63; give the network "
        "or the stack a shorter name"
    )


def test_jobs_are_left_out_of_a_side_with_whatever_waits_for_them() -> None:
    waits = {"load": {"condition": "service_completed_successfully"}}
    side = parts(
        services={"api": service(depends_on={**waits, "web": {}}), "web": service(depends_on=waits), "load": service()}
    ).side
    before = json.dumps(side)
    rest = without(side, ["load", "unknown"])
    assert sorted(rest["services"]) == ["api", "web"]
    assert rest["services"]["api"]["depends_on"] == {"web": {}}
    assert "depends_on" not in rest["services"]["web"]
    assert rest["networks"] == side["networks"]
    assert json.dumps(side) == before


def test_jobs_are_left_out_of_a_whole_project_by_a_file_of_its_own() -> None:
    waits = {"load": {"condition": "service_completed_successfully"}, "db": {"condition": "service_started"}}
    services = {"api": {"depends_on": waits}, "db": {}, "load": {}, "web": {"depends_on": {"db": {}}}}
    assert skipping({"services": services}, ["load"]) == (
        'services:\n  "api":\n    depends_on: !override {"db": {"condition": "service_started"}}\n'
        '  "load": {"profiles": ["skipped"]}\n'
    )


def test_colours() -> None:
    assert (other("blue"), other("green"), other(None)) == ("green", "blue", "blue")
    assert (colour_of("blue"), colour_of("green"), colour_of(""), colour_of("red")) == ("blue", "green", None, None)
