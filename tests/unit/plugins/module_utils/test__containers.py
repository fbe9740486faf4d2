# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import (
    Container,
    Published,
    epoch,
    parse_containers,
    with_shared_addresses,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

INSPECTED: dict[str, t.Any] = {
    "Id": "c1",
    "Name": "/shop-web-1",
    "Image": "sha256:abc",
    "RestartCount": 2,
    "State": {
        "Status": "running",
        "ExitCode": 1,
        "OOMKilled": True,
        "StartedAt": "2026-11-21T22:24:25.439695216Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "no database\n"}]},
    },
    "Config": {
        "Labels": {
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "web",
            "com.docker.compose.config-hash": "h1",
        }
    },
    "HostConfig": {
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "NetworkMode": "shop_default",
        "Memory": 64_000_000,
    },
    "NetworkSettings": {
        "Networks": {
            "shop_b": {"IPAddress": "172.18.0.3", "GlobalIPv6Address": ""},
            "shop_a": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"},
        },
        "Ports": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "9/udp": None},
    },
}


def test_an_inspected_container_is_read_whole() -> None:
    assert parse_containers(json.dumps([INSPECTED])) == (
        Container(
            id="c1",
            name="shop-web-1",
            project="shop",
            service="web",
            image="sha256:abc",
            config_hash="h1",
            status="running",
            exit_code=1,
            oom_killed=True,
            memory=64_000_000,
            health="unhealthy",
            health_output="no database\n",
            restarts=2,
            policy="on-failure",
            max_retries=3,
            started_at="2026-11-21T22:24:25.439695216Z",
            addresses=("172.18.0.2", "fd00::2", "172.18.0.3"),
            networks=("shop_a", "shop_b"),
            published=(Published("127.0.0.1", 8080, "tcp"),),
        ),
    )


def test_what_docker_leaves_out_has_a_default() -> None:
    bare = {
        **INSPECTED,
        "State": {"Status": "exited", "Health": {"Status": "none"}},
        "Config": {"Labels": None},
        "HostConfig": {"NetworkMode": "container:c9"},
        "NetworkSettings": {"Networks": None, "Ports": None},
    }
    (container,) = parse_containers(json.dumps([bare]))
    assert (container.health, container.service, container.shares_network_of) == ("", "", "c9")


def test_output_that_is_no_json_is_an_error_of_dockers() -> None:
    with pytest.raises(ReleaseError, match="printed no JSON") as caught:
        parse_containers("Error: no")
    assert caught.value.reason == "docker_failed"


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1970-01-01T00:00:10.5Z", 10.5),
        ("1970-01-01T00:01:00Z", 60.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_dockers_times_become_seconds(stamp: str, seconds: float | None) -> None:
    assert epoch(stamp) == seconds


@pytest.mark.parametrize(
    ("container", "over"),
    [
        pytest.param(Container("a", "a", status="running"), False, id="running"),
        pytest.param(Container("a", "a", status="exited"), True, id="ended, no policy"),
        pytest.param(Container("a", "a", status="exited", policy="no"), True, id="ended, policy no"),
        pytest.param(Container("a", "a", status="exited", policy="always"), False, id="ended, always restarted"),
        pytest.param(Container("a", "a", status="restarting", policy="on-failure"), False, id="about to be restarted"),
        pytest.param(Container("a", "a", status="exited", policy="on-failure"), True, id="ended well, on-failure"),
        pytest.param(
            Container("a", "a", status="exited", policy="on-failure", exit_code=1), False, id="failed, tries unlimited"
        ),
        pytest.param(
            Container("a", "a", status="exited", policy="on-failure", exit_code=1, max_retries=2, restarts=2),
            True,
            id="failed, tries used up",
        ),
        pytest.param(Container("a", "a", status="dead", policy="always"), True, id="dead"),
        pytest.param(Container("a", "a", status="created"), False, id="not started yet"),
    ],
)
def test_a_container_is_over_when_docker_will_not_start_it_again(container: Container, over: bool) -> None:
    assert container.over is over


def test_containers_are_reached_where_their_network_is() -> None:
    containers = (
        Container("net", "net", addresses=("172.18.0.2",)),
        Container("guest", "guest", shares_network_of="net"),
        Container("host", "host", shares_network_of="host"),
        Container("alone", "alone"),
    )
    assert with_shared_addresses(containers) == {
        "net": ("172.18.0.2",),
        "guest": ("172.18.0.2",),
        "host": ("127.0.0.1",),
        "alone": (),
    }
