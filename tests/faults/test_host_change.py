# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a real host that break containers or lock the operator out are taken back, by whoever is left to do so."""

from __future__ import annotations

import json
import os
import re
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import NAMES
from ansible_collections.emorobcare.fleet.tests.faults._engines import Engines
from ansible_collections.emorobcare.fleet.tests.faults._lab_host import LabHost, result_of
from ansible_collections.emorobcare.fleet.tests.faults._releases import wait_for

FILE = "/etc/fleet/demo.nft"
STATE = "/var/lib/fleet/host"
UNITS = "/etc/systemd/system"
TABLE = "table inet demo {{ chain demo {{ type filter hook {hook} priority -5; {rule}; }}; }}\n"
# The command says who runs it, and stays until it is killed; once.
STAYS = "test -e /run/pids && exit; echo $PPID $$ > /run/pids.new; mv /run/pids.new /run/pids; exec sleep 1000"
HARDENED = {
    "icc": False,
    "userns-remap": "default",
    "userland-proxy": False,
    "no-new-privileges": True,
    "live-restore": True,
    "log-driver": "none",
    "ip": "127.0.0.1",
}


@pytest.fixture(name="host", scope="module")
def host_fixture(engines: Engines) -> LabHost:
    """Debian 13 with systemd."""
    return engines.host("trixie")


@pytest.fixture(name="untouched")
def untouched_fixture(host: LabHost) -> t.Iterator[LabHost]:
    """The host, which a test leaves as it was: no file, no journal, no unit, no mark, no container, no image."""
    yield host
    assert not host.has(FILE)
    assert host.run("nft", "list", "tables", "inet") == ""
    assert host.run("find", "/var/lib/fleet", "-name", "journal.json") == ""
    assert host.run("find", UNITS, "/run", "-maxdepth", "2", "-name", "fleet-host-change*") == ""
    for kind in ("container", "image", "network", "volume"):
        assert host.run("docker", kind, "ls", "--quiet", "--filter", "label=org.emorobcare.fleet.probe") == ""


@pytest.fixture(name="asked", scope="module")
def asked_fixture(host: LabHost) -> dict[str, t.Any]:
    """A machine that this host reaches: the one that its packages came from."""
    sources = host.run("sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true")
    found = re.search(r"https?://([^/\s]+)", sources)
    assert found, sources
    return {"dns": found[1], "outbound": f"{found[1]}:80"}


def firewall(hook: str, rule: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": "demo",
        "files": [
            {
                "path": FILE,
                "content": TABLE.format(hook=hook, rule=rule),
                "validate": ["nft", "--check", "--file", "%s"],
            }
        ],
        "activate": [["nft", "--file", FILE]],
        "deactivate": [["nft", "delete", "table", "inet", "demo"]],
        **more,
    }


def engine(host: LabHost, doing: str) -> None:
    """Start, stop or restart the engine, which systemd lets start only so often."""
    host.run("systemctl", "reset-failed", "docker.service")
    host.run("systemctl", doing, "docker.socket", "docker.service")


def statuses(probes: dict[str, t.Any]) -> dict[str, str]:
    return {name: probe["status"] for name, probe in probes.items()}


ALL_PASS = dict.fromkeys(NAMES, "pass")


def test_all_probes_pass_on_a_fresh_host(untouched: LabHost, asked: dict[str, t.Any]) -> None:
    result = untouched.module("docker_host_probe", **asked)
    assert statuses(result["probes"]) == ALL_PASS, result["probes"]


def test_all_probes_pass_under_a_hardened_engine(untouched: LabHost, asked: dict[str, t.Any]) -> None:
    untouched.write("/etc/docker/daemon.json", json.dumps(HARDENED))
    try:
        engine(untouched, "restart")
        result = untouched.module("docker_host_probe", **asked)
        assert statuses(result["probes"]) == ALL_PASS, result["probes"]
    finally:
        untouched.run("rm", "/etc/docker/daemon.json")
        engine(untouched, "restart")


def test_without_an_engine_nothing_applies_and_a_change_is_made_all_the_same(untouched: LabHost) -> None:
    engine(untouched, "stop")
    try:
        probes = untouched.module("docker_host_probe")["probes"]
        assert statuses(probes) == dict.fromkeys(NAMES, "not applicable")
        assert "does not answer" in probes["dns"]["detail"]
        made = untouched.module("host_change", **firewall("forward", "udp dport 9 drop"))
        assert (made["changed"], statuses(made["probes"]["after"])["volume"]) == (True, "not applicable")
        given_back = untouched.module("host_change", name="demo", state="absent")
        assert (given_back["changed"], given_back["files"]) == (True, [FILE])
    finally:
        engine(untouched, "start")


def test_what_a_change_does_is_done_once_and_given_back(untouched: LabHost, asked: dict[str, t.Any]) -> None:
    options = firewall("forward", "udp dport 9 drop", probes=asked)
    made = untouched.module("host_change", **options)
    assert (made["changed"], made["files"], made["waits"]) == (True, [FILE], 0)
    assert statuses(made["probes"]["before"]) == statuses(made["probes"]["after"]) == ALL_PASS
    again = untouched.module("host_change", **options)
    assert (again["changed"], again["probes"]) == (False, {"before": None, "after": None})
    assert "demo" in untouched.run("nft", "list", "tables", "inet")
    assert untouched.module("host_change", name="demo", state="absent")["changed"]
    assert not untouched.module("host_change", name="demo", state="absent")["changed"]


def test_a_firewall_that_kills_dns_of_containers_is_taken_back(untouched: LabHost, asked: dict[str, t.Any]) -> None:
    probes = {**asked, "settle": 1}
    result = untouched.module("host_change", **firewall("forward", "udp dport 53 drop", probes=probes))
    assert (result["failed"], result["reason"], result["reverted"]) == (True, "probe_failed", True)
    seen = {when: found["dns"]["status"] for when, found in result["probes"].items()}
    assert seen == {"before": "pass", "after": "fail", "again": "pass"}
    assert re.search(r"dns: before pass \(.+\), after fail \(.+name resolution.+\)", result["msg"])


def test_a_rule_that_its_checker_refuses_changes_nothing(untouched: LabHost) -> None:
    result = untouched.module("host_change", **firewall("forward", "no such rule"))
    assert (result["reason"], result["reverted"]) == ("validate_failed", False)
    assert FILE in result["msg"]


def test_a_change_that_locks_ssh_out_goes_back_by_itself(untouched: LabHost) -> None:
    process = untouched.start_ssh("host_change", **firewall("input", "tcp dport 22 drop", confirm=8, probe=False))
    wait_for(lambda: not untouched.reached_by_ssh())
    wait_for(untouched.reached_by_ssh)
    assert result_of(process)["waits"] == 8  # its own connection was held up, too
    wait_for(lambda: untouched.has(f"{STATE}/demo/note.json"))
    told = untouched.ssh("host_change", name="demo", state="confirmed")
    assert (told["failed"], told["reason"]) == (True, "unconfirmed")
    assert "nobody confirmed change demo within 8 s" in told["msg"]


def test_only_a_new_connection_confirms(untouched: LabHost) -> None:
    harmless = firewall("input", "udp dport 9 drop", confirm=300, probe=False)
    assert untouched.ssh("host_change", "shared", **harmless)["waits"] == 300
    same = untouched.ssh("host_change", "shared", name="demo", state="confirmed")
    assert (same["failed"], same["reason"]) == (True, "same_connection")
    other = untouched.ssh("host_change", "shared", **{**harmless, "name": "other"})
    assert (other["failed"], other["reason"]) == (True, "unconfirmed")
    assert untouched.ssh("host_change", name="demo", state="confirmed")["changed"]
    assert not untouched.ssh("host_change", name="demo", state="confirmed")["changed"]
    assert untouched.module("host_change", name="demo", state="absent")["files"] == [FILE]


@pytest.mark.parametrize("signal", ["KILL", "TERM", "HUP"])
def test_a_task_that_is_killed_is_followed_by_the_way_back(untouched: LabHost, signal: str) -> None:
    untouched.run("rm", "--force", "/run/pids")
    stays = {"activate": [["nft", "--file", FILE], ["sh", "-c", STAYS]], "probe": False}
    process = untouched.start("host_change", {**firewall("input", "udp dport 9 drop"), **stays})
    wait_for(lambda: untouched.has("/run/pids"))
    module, command = untouched.run("cat", "/run/pids").split()
    assert untouched.has(FILE)
    untouched.run("kill", f"-{signal}", module)
    printed = process.communicate()[0]
    wait_for(lambda: not untouched.has(f"{STATE}/demo/journal.json"))
    if signal == "KILL":
        untouched.run("kill", command)
        told = untouched.module("host_change", name="demo", state="absent")["recovered"]
        assert told == ["change demo was cut off (activating) and was taken back"]
    else:
        told = json.loads(printed)
        assert (told["reason"], told["reverted"]) == ("interrupted", True)
        assert f"cut off by SIG{signal}" in told["msg"]


def test_a_power_cut_while_a_change_waits_is_followed_by_a_boot_on_the_old_files(untouched: LabHost) -> None:
    drop_in = f"{UNITS}/docker.service.d/demo.conf"
    files = [
        {"path": drop_in, "content": "[Service]\nEnvironment=DEMO=1\n"},
        {"path": "/etc/motd", "content": "changed\n", "mode": "0600"},
    ]
    before = untouched.run("sh", "-c", "stat --format '%a %U %G' /etc/motd && cat /etc/motd")
    commands = [
        ["systemctl", "daemon-reload"],
        ["systemctl", "reset-failed", "docker"],
        ["systemctl", "restart", "docker"],
    ]
    made = untouched.module("host_change", name="demo", files=files, activate=commands, confirm=3600, probe=False)
    assert made["waits"] == 3600
    # A systemd that has read the unit may start it; it is to do nothing before the power was off.
    unit = untouched.run("find", UNITS, "-maxdepth", "1", "-name", "fleet-host-change*").rpartition("/")[2]
    untouched.run("systemctl", "start", unit)
    assert untouched.has(drop_in)
    environment = ["systemctl", "show", "docker", "--property=Environment"]
    assert "DEMO" in untouched.run(*environment)
    untouched.cut_power()
    untouched.wait_for_boot()
    assert not untouched.has(drop_in)
    assert untouched.run("sh", "-c", "stat --format '%a %U %G' /etc/motd && cat /etc/motd") == before
    assert "DEMO" not in untouched.run(*environment)
    told = untouched.module("host_change", name="demo", state="confirmed")
    assert (told["failed"], told["reason"]) == (True, "unconfirmed")


def test_two_changes_at_once_are_refused(untouched: LabHost) -> None:
    untouched.run("rm", "--force", "/run/pids")
    stays = {"activate": [["sh", "-c", STAYS]], "deactivate": [["true"]], "probe": False}
    process = untouched.start("host_change", {**firewall("input", "udp dport 9 drop"), **stays})
    wait_for(lambda: untouched.has("/run/pids"))
    module, command = untouched.run("cat", "/run/pids").split()
    for check in (False, True):
        other = {**firewall("input", "udp dport 9 drop"), "name": "other", "_ansible_check_mode": check}
        refused = untouched.module("host_change", **other, lock_timeout=0.1)
        assert (refused["failed"], refused["reason"]) == (True, "locked")
        assert f"process {module} " in refused["msg"]
    untouched.run("kill", command)
    assert json.loads(process.communicate()[0])["reason"] == "activate_failed"


def test_contents_that_are_not_to_be_shown_are_nowhere(untouched: LabHost) -> None:
    secret = f"password {os.urandom(12).hex()}"
    hidden = {"path": FILE, "content": f"first line\n{secret}\n", "validate": ["grep", "nothing", "%s"], "diff": False}
    results = [
        untouched.module("host_change", name="demo", files=[{**hidden, "validate": validate}], probe=False)
        for validate in (["cat", "%s", "/nowhere"], [])
    ]
    assert [result.get("reason") for result in results] == ["validate_failed", None]
    assert secret not in json.dumps(results)
    untouched.run("logger", "--tag", "ansible", "the log is written")
    wait_for(lambda: "the log is written" in untouched.run("journalctl", "--boot", "--no-pager"))
    assert secret not in untouched.run("journalctl", "--boot", "--no-pager")
    assert untouched.module("host_change", name="demo", state="absent")["changed"]
