# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon import Wanted, draft
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_addresses import Taken
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_checks import (
    Held,
    Program,
    Surroundings,
    check,
    check_given_back,
    explain_unknown,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

PATH = "/etc/docker/daemon.json"
OLD = Program((20, 10), ("-H", "fd://"), "unit docker.service")
NEW = Program((26, 1), ("-H", "fd://"), "unit docker.service")
FULL = Held(3, 2, 1, "overlay2")
ETH0 = Taken(ipaddress.ip_network("192.168.1.0/24"), "eth0", "address")


def checked(
    options: dict[str, t.Any], around: Surroundings, text: str | None = None, remove: tuple[str, ...] = ()
) -> None:
    wanted = Wanted(PATH, options, remove)
    check(wanted, draft(text, wanted), around)


@pytest.mark.parametrize(
    ("reason", "options", "around", "says"),
    [
        pytest.param(
            "option_unknown",
            {"live-restor": True},
            Surroundings(OLD),
            "options.live-restor: Docker 20.10 does not know it, and would not start (alike are live-restore",
            id="an unknown key names what is like it",
        ),
        pytest.param(
            "option_unknown",
            {"proxies": {}},
            Surroundings(OLD),
            "it came with Docker 23.0",
            id="a key of later engines",
        ),
        pytest.param(
            "option_is_flag",
            {"hosts": ["unix:///run/docker.sock"]},
            Surroundings(NEW),
            "hosts: the engine is started with -H (unit docker.service), and refuses to be told twice",
            id="a flag by its letter",
        ),
        pytest.param(
            "option_is_flag",
            {"insecure-registries": []},
            Surroundings(Program((26, 1), ("--insecure-registry=a", "--insecure-registry=b"), "x")),
            "--insecure-registry",
            id="a flag with another name",
        ),
        pytest.param(
            "option_is_flag",
            {"what-is-new": 1},
            Surroundings(Program((30, 0), ("--what-is-new", "1"), "x")),
            "--what-is-new",
            id="a flag that the table does not know",
        ),
        pytest.param(
            "option_forbidden",
            {"live-restore": True},
            Surroundings(NEW, swarm=True),
            "docker swarm leave",
            id="live-restore in a Swarm",
        ),
        pytest.param(
            "address_collision",
            {"bip": "192.168.1.1/24"},
            Surroundings(NEW, taken=(ETH0,)),
            "bip 192.168.1.1/24 overlaps 192.168.1.0/24 (the address of eth0): what is sent there would end in a "
            "container's network, and this host could be cut off; choose another network, 172.16.0.0/24 say",
            id="the host's own network",
        ),
        pytest.param("option_invalid", {"bip": "x"}, Surroundings(NEW), "a network such as", id="no network"),
        pytest.param(
            "data_hidden",
            {"data-root": "/srv"},
            Surroundings(NEW, held=FULL),
            "data-root: with /srv in place of /var/lib/docker the engine would not see what it holds now (3 images, 2 "
            "containers and 1 volumes)",
            id="another folder",
        ),
        pytest.param(
            "data_hidden", {"userns-remap": "x"}, Surroundings(NEW, held=FULL), "with x in place of none", id="users"
        ),
        pytest.param(
            "data_hidden",
            {"storage-driver": "vfs"},
            Surroundings(NEW, held=FULL),
            "vfs in place of overlay2",
            id="driver",
        ),
        pytest.param(
            "data_hidden",
            {"features": {"containerd-snapshotter": True}},
            Surroundings(NEW, held=FULL),
            "with containerd's image store in place of the classic image store",
            id="image store",
        ),
        pytest.param(
            "option_invalid", {"icc": "false"}, Surroundings(NEW), "icc is a str; the engine takes true", id="kind"
        ),
        pytest.param(
            "option_invalid",
            {"log-opts": {"max-file": 3}},
            Surroundings(NEW),
            'log-opts.max-file is 3; the engine takes texts there, "3" in quotes say',
            id="a number in a dictionary of texts",
        ),
        pytest.param(
            "option_invalid",
            {"mtu": True},
            Surroundings(NEW),
            "mtu is true; the engine takes a whole number",
            id="bool",
        ),
        pytest.param("option_invalid", {"dns": "9.9.9.9"}, Surroundings(NEW), "a list of texts", id="no list"),
        pytest.param(
            "file_unread",
            {"debug": True},
            Surroundings(Program((26, 1), ("--config-file", "/etc/other.json"), "the unit")),
            "the engine reads /etc/other.json",
            id="another file",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong_and_the_way_out(
    reason: str, options: dict[str, t.Any], around: Surroundings, says: str
) -> None:
    with pytest.raises(HostError) as caught:
        checked(options, around)
    assert caught.value.reason == reason
    assert says in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed")


@pytest.mark.parametrize(
    ("options", "around"),
    [
        pytest.param({"live-restore": False}, Surroundings(NEW, swarm=True), id="live-restore off in a Swarm"),
        pytest.param({"what-is-new": 1}, Surroundings(NEW), id="the engine itself checks what it knows"),
        pytest.param({"data-root": "/var/lib/docker/"}, Surroundings(NEW, held=FULL), id="the same folder"),
        pytest.param({"storage-driver": "overlay2"}, Surroundings(NEW, held=FULL), id="the same driver"),
        pytest.param({"userns-remap": "default"}, Surroundings(NEW), id="nothing to hide"),
        pytest.param({"features": {"buildkit": True}}, Surroundings(NEW, held=FULL), id="another feature"),
        pytest.param({"default-shm-size": "64M", "mtu": 1400, "ip": "127.0.0.1"}, Surroundings(OLD), id="kinds"),
        pytest.param({"debug": True}, Surroundings(Program((26, 1), (f"--config-file={PATH}",))), id="the same file"),
        pytest.param(
            {"runtimes": {}}, Surroundings(Program((26, 1), ("--add-runtime=x=/y",))), id="the one key beside its flag"
        ),
    ],
)
def test_what_an_engine_takes_is_not_refused(options: dict[str, t.Any], around: Surroundings) -> None:
    checked(options, around)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(HostError) as caught:
        checked({"hosts": [], "live-restore": True, "icc": 1}, Surroundings(NEW, swarm=True))
    assert caught.value.reason == "option_invalid"
    assert all(name in str(caught.value) for name in ("hosts:", "live-restore:", "options.icc"))


def test_a_key_that_was_there_before_is_named_as_such() -> None:
    with pytest.raises(HostError) as caught:
        checked({"debug": True}, Surroundings(OLD), '{"oops": 1}')
    assert f"{PATH}, oops (it was there before)" in str(caught.value)
    assert "list it under remove" in str(caught.value)
    checked({"debug": True}, Surroundings(OLD), '{"oops": 1}', remove=("oops",))


def test_a_key_cannot_be_wanted_and_removed() -> None:
    with pytest.raises(HostError, match="is in options, too"):
        checked({"debug": True}, Surroundings(NEW), remove=("debug",))


def test_what_the_engine_says_is_told_with_what_is_like_it() -> None:
    said = explain_unknown(["live-restor", "oom-score-adjust"], Wanted(PATH, {"live-restor": True}), NEW)
    assert "alike are live-restore" in said
    assert "oom-score-adjust (it was there before): Docker 26.1 does not know it" in said


def test_a_file_of_before_that_would_hide_what_has_come_since_is_not_given_back() -> None:
    made = draft('{"data-root": "/srv"}', Wanted(PATH, {}, ("data-root",)))
    check_given_back(made, Surroundings(NEW))
    with pytest.raises(HostError, match="with /var/lib/docker in place of /srv") as caught:
        check_given_back(made, Surroundings(NEW, held=FULL))
    assert caught.value.reason == "data_hidden"


def test_a_file_of_before_is_checked_for_where_it_is_not_for_what_it_holds() -> None:
    made = draft('{"debug": true}', Wanted(PATH, {"hosts": [], "oops": 1, "live-restore": True}))
    check_given_back(made, Surroundings(OLD))
    with pytest.raises(HostError, match="docker swarm leave"):
        check_given_back(made, Surroundings(OLD, swarm=True))
