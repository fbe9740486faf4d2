# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_daemon import DAEMON_CONTROLS, look_at_daemon
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import Found, Listing
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import (
    INFO,
    good,
    with_engine,
    with_host,
    with_info,
    with_options,
)

OF_INFO = {
    *("rootless", "icc", "insecure-registries", "storage-driver", "userns-remap", "authorization-plugin"),
    *("central-logs", "live-restore", "default-seccomp", "experimental"),
}
OF_BOTH = {"central-logs"}
OF_OPTIONS = {
    *("log-level", "iptables", "engine-tls", "default-ulimits", "default-cgroup", "base-device-size"),
    *("userland-proxy",),
}


@pytest.mark.parametrize("control", DAEMON_CONTROLS, ids=lambda control: control.slug)
def test_on_a_good_engine_every_rule_passes_and_says_what_it_saw(control: Control) -> None:
    looked = look_at_daemon(good())[control.slug]
    assert looked.seen
    assert looked == Looked(seen=looked.seen)


def without(option: str) -> Found:
    return with_info(SecurityOptions=[one for one in INFO["SecurityOptions"] if f"name={option}" not in one])


@pytest.mark.parametrize(
    ("slug", "found", "evidence"),
    [
        ("rootless", without("rootless"), "the engine runs as root"),
        ("icc", with_engine(bridge={}), "containers on the default network reach each other (icc true)"),
        ("log-level", with_options(log_level="warn"), "log-level is warn"),
        ("log-level", with_info(Debug=True), "log-level is debug"),
        ("iptables", with_options(iptables=False), "iptables is false"),
        (
            "insecure-registries",
            with_info(RegistryConfig={"IndexConfigs": {"registry.test:5000": {"Secure": False}}}),
            "registry.test:5000 is asked without TLS",
        ),
        (
            "insecure-registries",
            with_info(RegistryConfig={"InsecureRegistryCIDRs": ["10.0.0.0/8", "127.0.0.0/8"]}),
            "10.0.0.0/8 is asked without TLS",
        ),
        ("storage-driver", with_info(Driver="aufs"), "the storage driver is aufs"),
        ("storage-driver", with_info(Driver="devicemapper"), "the storage driver is devicemapper"),
        (
            "engine-tls",
            with_options(hosts=["fd://", "tcp://0.0.0.0:2375"], tlsverify=None, tls=True),
            "the engine listens on tcp://0.0.0.0:2375 without asking for certificates",
        ),
        (
            "engine-tls",
            with_options(hosts=["0.0.0.0:2375"], tlsverify=False),
            "the engine listens on 0.0.0.0:2375 without asking for certificates",
        ),
        ("engine-tls", with_host(socket_listens=("2375",)), "docker.socket listens on 2375, without TLS"),
        ("default-ulimits", with_options(default_ulimits={}), "containers get the engine's own limits"),
        ("userns-remap", with_info(SecurityOptions=["name=seccomp,profile=builtin"]), "root of a container is root"),
        ("default-cgroup", with_options(cgroup_parent="/others"), "cgroup-parent is /others"),
        ("base-device-size", with_options(storage_opts=["dm.basesize=20G"]), "storage-opts has dm.basesize=20G"),
        ("authorization-plugin", with_info(Plugins={"Authorization": None}), "whoever reaches the socket may do all"),
        ("central-logs", with_info(LoggingDriver="json-file"), "logs stay on the host: log-driver is json-file"),
        ("central-logs", with_info(LoggingDriver="journald"), "logs stay on the host: log-driver is journald"),
        (
            "central-logs",
            with_options(log_opts=None),
            "logs stay on the host: log-driver is syslog, and syslog-address",
        ),
        *(
            ("central-logs", with_options(log_opts={"syslog-address": address}), "logs stay on the host: ")
            for address in ("unixgram:///dev/log", "unix:///dev/log", "udp://127.0.0.1:514", "tcp://[::1]:514")
        ),
        ("default-no-new-privileges", without("no-new-privileges"), "daemon.json says no-new-privileges, the engine"),
        ("live-restore", with_info(LiveRestoreEnabled=False), "containers end with the engine"),
        ("userland-proxy", with_options(userland_proxy=None), "a process for each published port"),
        ("userland-proxy", with_options(userland_proxy=True), "a process for each published port"),
        ("default-seccomp", without("seccomp"), "the engine filters no system calls"),
        (
            "default-seccomp",
            with_info(SecurityOptions=["name=seccomp,profile=unconfined"]),
            "the engine's seccomp profile is unconfined",
        ),
        ("experimental", with_info(ExperimentalBuild=True), "experimental features are on"),
    ],
)
def test_a_violation_is_told_with_what_shows_it(slug: str, found: Found, evidence: str) -> None:
    assert look_at_daemon(found)[slug].evidence[0].startswith(evidence)


def test_the_table_of_violations_has_every_control() -> None:
    assert {control.slug for control in DAEMON_CONTROLS} == OF_INFO | OF_OPTIONS | {"default-no-new-privileges"}


def test_an_engine_that_does_not_answer_leaves_unknown_what_it_alone_tells() -> None:
    looked = look_at_daemon(with_engine(problem="the engine hangs", info={}))
    assert {slug for slug, one in looked.items() if one.unknown == "the engine hangs"} == {
        *OF_INFO,
        "default-no-new-privileges",
    }


def test_options_that_are_not_known_leave_unknown_what_goes_by_them() -> None:
    looked = look_at_daemon(with_engine(options_problem="daemon.json is no JSON", options={}))
    assert {slug for slug, one in looked.items() if one.unknown == "daemon.json is no JSON"} == OF_OPTIONS | OF_BOTH
    assert looked["default-no-new-privileges"].seen == "the engine says so"


def test_options_that_the_engine_has_not_read_make_no_pass() -> None:
    options = {**good().engine.options, "hosts": ["tcp://0.0.0.0:2376"]}
    looked = look_at_daemon(with_engine(pending="whether it has read them", options=options))
    assert {slug for slug, one in looked.items() if one.unknown} == OF_OPTIONS | OF_BOTH
    broken = look_at_daemon(with_engine(pending="whether it has read them", options={}))
    assert broken["userland-proxy"].evidence


def test_an_engine_before_23_is_believed_by_its_options_alone() -> None:
    found = with_info(ServerVersion="20.10.24+dfsg1", SecurityOptions=["name=seccomp,profile=default"])
    assert look_at_daemon(found)["default-no-new-privileges"].seen == "no-new-privileges is true"


def test_a_swarm_has_no_live_restore() -> None:
    looked = look_at_daemon(with_info(LiveRestoreEnabled=False, Swarm={"LocalNodeState": "active"}))
    assert looked["live-restore"].not_applicable


def test_live_restore_that_is_only_written_does_not_pass() -> None:
    found = with_engine(options={"live-restore": True}, info={**INFO, "LiveRestoreEnabled": False})
    assert look_at_daemon(found)["live-restore"].evidence == (
        "daemon.json says live-restore, the engine runs without it",
    )


@pytest.mark.parametrize(
    ("found", "looked"),
    [
        (with_engine(bridge=None), Looked(not_applicable="there is no default network")),
        (with_engine(bridge=None, bridge_problem="no answer"), Looked(unknown="no answer")),
    ],
)
def test_a_host_without_a_default_network_is_told_from_one_that_gives_no_answer(found: Found, looked: Looked) -> None:
    assert look_at_daemon(found)["icc"] == looked


def test_a_socket_unit_that_cannot_be_read_may_listen_anywhere() -> None:
    assert look_at_daemon(with_host(socket_units=Listing((), "no right")))["engine-tls"].unknown == "no right"


def test_numbers_of_1_8_0_are_one_higher_after_the_storage_driver() -> None:
    told = {control.number: control.number_18 for control in DAEMON_CONTROLS if control.number_18}
    assert told == {"2.6": "2.6, 2.7", **{f"2.{number}": f"2.{number + 1}" for number in range(7, 19)}}
