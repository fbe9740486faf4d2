# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines of real machines, changed under load: with Docker 26.1 and 20.10 under systemd, and 26.1 without."""

from __future__ import annotations

import json
import signal
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import KEYS, known
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_hold import TABLE
from ansible_collections.emorobcare.fleet.tests.faults._engines import FILE, HOSTS, IDLE, PORT, Client, Engines, Host
from ansible_collections.emorobcare.fleet.tests.faults._releases import wait_for

LIMITS: dict[str, t.Any] = {"live-restore": True, "log-opts": {"max-file": "3", "max-size": "1m"}}
# Both pass each check that an engine makes of its file, and only its start finds what is wrong with the second.
GOOD: dict[str, t.Any] = {**LIMITS, "userland-proxy": False}
BAD: dict[str, t.Any] = {**LIMITS, "log-opts": {"max-fle": "3"}}
# Keys of our table that went before the engine of Debian 13 came.
GONE = {"cluster-advertise", "cluster-store", "cluster-store-opts", "graph", "oom-score-adjust"}

# Kills itself as soon as the engine is about to be started anew.
KILLED = """
import json, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emorobcare.fleet.plugins.module_utils import _docker_restart
from ansible_collections.emorobcare.fleet.plugins.modules.docker_daemon import main
def start_anew(run, *rest):
    if sys.argv[1] == "down":
        run(["systemctl", "kill", "--signal=KILL", "docker.service"])
    os.kill(os.getpid(), signal.SIGKILL)
_docker_restart.start_anew = start_anew
with patch_module_args(json.load(sys.stdin)):
    main()
"""


# One machine of three every time; `make test-all` tries them all.
SOME = [HOSTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in HOSTS[1:])]
QUICK = [*HOSTS[:2], pytest.param(HOSTS[2], marks=pytest.mark.slow)]


@pytest.fixture(name="host", params=SOME)
def host_fixture(request: pytest.FixtureRequest, engines: Engines) -> t.Iterator[Host]:
    """A machine with an engine as it came, and one container that serves."""
    host = engines.host(request.param)
    yield host
    assert TABLE not in host.run("nft", "list", "tables"), "connections are still held"


@pytest.fixture(name="untouched", params=QUICK)
def untouched_fixture(request: pytest.FixtureRequest, engines: Engines) -> t.Iterator[Host]:
    """A machine whose engine nothing happens to; it may be the one of the test before, to which nothing happened."""
    host = engines.host(request.param, again=False)
    process, text = host.engine(), host.file()
    yield host
    assert (host.engine(), host.file()) == (process, text)


@pytest.fixture(name="new")
def new_fixture(engines: Engines) -> Host:
    """The machine with the newer engine, under systemd."""
    return engines.host("trixie")


@pytest.fixture(name="old")
def old_fixture(engines: Engines) -> Host:
    """The machine with the older engine, which cannot check its file."""
    return engines.host("bookworm")


def nothing_lost(clients: t.Mapping[str, Client]) -> None:
    for where, client in clients.items():
        assert client.asked.requests, where
        assert not client.asked.lost, f"{where}: {client.asked}"


@pytest.mark.parametrize("host", QUICK, indirect=True)
def test_a_restart_under_load_loses_no_request_and_stops_no_container(host: Host) -> None:
    before, process = host.started(), host.engine()
    with host.asked() as clients:
        result = host.done(options=GOOD, restart=True)
    nothing_lost(clients)
    assert (result["changed"], result["action"], result["needs_restart"]) == (True, "restart", False)
    assert result["restarted"]["held"]
    assert result["restarted"]["live_restore"]
    assert (host.started(), host.engine() != process) == (before, True)
    assert not host.done(options=GOOD, restart=True)["changed"]


def test_without_the_engines_proxy_a_restart_loses_no_request_either(host: Host) -> None:
    host.done(options=GOOD, restart=True, probe=False)
    with host.asked() as clients:
        assert host.done(options={"userland-proxy": True}, restart=True)["action"] == "restart"
    nothing_lost(clients)


def test_a_request_under_way_through_the_engines_proxy_is_waited_for(host: Host) -> None:
    with Client(host.container, "127.0.0.1", "/slow", 2) as client:
        result = host.done(options=GOOD, restart=True, probe=False, drain=20)
    assert not client.asked.lost, client.asked
    assert result["restarted"]["cut"] == 0


def test_an_engine_that_does_not_start_is_started_with_the_old_file_and_nobody_notices(host: Host) -> None:
    before = host.started()
    with host.asked() as clients:
        result = host.daemon(options=BAD, restart=True)
    nothing_lost(clients)
    assert (result["failed"], result["reason"], result["reverted"]) == (True, "restart_failed", True)
    assert "unknown log opt 'max-fle'" in result["msg"]
    assert host.started() == before
    assert json.loads(host.file() or "") == {
        "live-restore": True
    }  # which was asked for, and is what saved the container


def test_a_file_that_somebody_has_spoilt_since_the_engine_started_costs_no_container(host: Host) -> None:
    before = host.started()
    host.put('{"live-restor": true, "debug": true}\n')
    result = host.done(options={"live-restore": True}, remove=["live-restor"], restart=True, timeout=10)
    assert (result["action"], result["restarted"]["live_restore"], host.started()) == ("restart", True, before)
    assert json.loads(host.file() or "") == {"debug": True, "live-restore": True}
    host.put('{"live-restore": true, "oops": 1}\n')
    wrong = host.daemon(options=BAD, remove=["oops"], restart=True, timeout=10)
    assert (wrong["reason"], wrong["reverted"], host.started()) == ("restart_failed", True, before)
    assert host.docker("version", "--format", "{{.Server.Version}}")


def test_live_restore_that_somebody_wrote_and_told_nobody_is_told_before_the_restart(host: Host) -> None:
    host.put('{\n  "live-restore": true\n}\n')
    before = host.started()
    result = host.done(options={"log-level": "warn"}, restart=True, probe=False)
    assert (result["restarted"]["live_restore"], host.started()) == (True, before)


def test_what_waited_for_a_restart_is_taken_back_as_well_when_the_engine_does_not_start(host: Host) -> None:
    host.put('{"debug": false}\n')
    result = host.done(options=BAD)
    assert (result["action"], result["needs_restart"]) == ("reload", True)
    assert set(result["pending"]) == {"log-opts"}
    assert host.daemon(options=BAD, restart=True)["reason"] == "restart_failed"
    assert json.loads(host.file() or "") == {"debug": False, "live-restore": True}
    assert host.docker("version", "--format", "{{.Server.Version}}")


def test_the_file_of_before_the_first_change_comes_back_and_containers_run_on(host: Host) -> None:
    text = '{"debug":   true}'
    host.put(text)
    host.done(options=GOOD, restart=True, probe=False)
    before = host.started()
    with host.asked() as clients:
        result = host.done(state="absent", restart=True)
    nothing_lost(clients)
    assert (result["changed"], host.file(), host.started()) == (True, text, before)
    assert host.docker("info", "--format", "{{.LiveRestoreEnabled}}") == "false"
    assert not host.done(state="absent", restart=True)["changed"]


def test_what_a_reload_is_enough_for_restarts_nothing(host: Host) -> None:
    process = host.engine()
    result = host.done(options={"live-restore": True, "max-concurrent-downloads": 2}, restart=True)
    assert (result["action"], result["needs_restart"], host.engine()) == ("reload", False, process)
    assert host.docker("info", "--format", "{{.LiveRestoreEnabled}}") == "true"


def test_without_leave_the_engine_is_not_restarted_and_check_mode_touches_nothing(host: Host) -> None:
    process = host.engine()
    told = host.done(options=GOOD, restart=True, _ansible_check_mode=True, _ansible_diff=True)
    assert (told["changed"], told["action"], host.file()) == (True, "restart", None)
    assert "would be restarted" in told["msg"]
    assert '"userland-proxy": false' in told["diff"][0]["after"]
    result = host.done(options=GOOD)
    assert (result["action"], sorted(result["pending"])) == ("reload", ["log-opts", "userland-proxy"])
    again = host.done(options=GOOD)
    assert (again["changed"], again["needs_restart"], host.engine()) == (False, True, process)
    assert host.done(options=GOOD, restart=True)["changed"]
    assert host.engine() != process


def test_containers_from_before_a_log_limit_are_named(new: Host) -> None:
    result = new.done(options=LIMITS, restart=True, probe=False)
    assert result["stale"] == ["web"]
    new.docker("rm", "--force", "web")
    new.serve()
    assert new.done(options=LIMITS, restart=True)["stale"] == []


def test_the_default_bridge_of_running_containers_stays_and_the_module_says_so(host: Host) -> None:
    result = host.done(options={"live-restore": True, "icc": False}, restart=True, probe=False)
    form = '{{index .Options "com.docker.network.bridge.enable_icc"}}'
    assert host.docker("network", "inspect", "bridge", "--format", form) == "true"
    assert (result["pending"], result["needs_restart"]) == (["icc"], True)
    assert "no container runs" in result["msg"]
    assert not host.done(options={"live-restore": True, "icc": False}, restart=True)["changed"]
    host.docker("stop", "--time", "1", "web")
    assert host.done(options={"live-restore": True, "icc": False}, restart=True)["pending"] == []
    assert host.docker("network", "inspect", "bridge", "--format", form) == "false"


def test_without_live_restore_containers_that_no_policy_starts_run_again(host: Host, base: str) -> None:
    host.docker("run", "--detach", "--name", "plain", base, *IDLE)
    result = host.done(options={"log-level": "warn"}, restart=True, probe=False)
    assert set(result["restarted"]["restarted"]) == {"plain", "web"}
    assert host.docker("container", "inspect", "--format", "{{.State.Running}}", "plain") == "true"


def test_a_flag_of_the_unit_is_refused_and_not_left_to_kill_the_engine(host: Host) -> None:
    flag = {"hosts": ["unix:///var/run/docker.sock"]} if host.machine != "plain" else {"debug": True}
    if host.machine == "plain":
        host.restart_by_hand("--debug")
    message = host.refused("option_is_flag", options=flag, restart=True)
    assert "refuses to be told twice" in message


@pytest.mark.slow  # that machine is made for this alone
def test_live_restore_as_a_flag_keeps_containers_and_runtimes_are_added_to_those_of_flags(engines: Engines) -> None:
    host = engines.host("plain")
    host.restart_by_hand("--live-restore", "--add-runtime=theirs=/usr/sbin/runc")
    before, process = host.started(), host.engine()
    result = host.done(options={"log-level": "warn", "runtimes": {"ours": {"path": "/usr/sbin/runc"}}}, restart=True)
    assert (result["restarted"]["live_restore"], host.started(), host.engine() != process) == (True, before, True)
    assert {"ours", "theirs"} <= set(json.loads(host.docker("info", "--format", "{{json .Runtimes}}")))


@pytest.mark.parametrize(
    ("reason", "options", "says"),
    [
        pytest.param("option_unknown", {"live-restor": True}, "live-restore", id="unknown"),
        pytest.param("option_invalid", {"log-opts": {"max-file": 3}}, "in quotes", id="a number for a text"),
        pytest.param("option_invalid", {"icc": "no"}, "true or false", id="a text for a flag"),
        pytest.param("data_hidden", {"data-root": "/srv/docker"}, "would not see", id="other data"),
        pytest.param("data_hidden", {"userns-remap": "default"}, "would not see", id="other users"),
    ],
)
def test_what_an_engine_does_not_take_or_would_hide_is_refused(
    untouched: Host, reason: str, options: dict[str, t.Any], says: str
) -> None:
    assert says in untouched.refused(reason, options=options, restart=True)


def test_addresses_that_the_host_itself_has_are_refused_and_a_free_network_is_named(untouched: Host) -> None:
    base = f"{untouched.address.rpartition('.')[0]}.0/24"
    pools = {"default-address-pools": [{"base": base, "size": 26}]}
    message = untouched.refused("address_collision", options=pools, restart=True)
    assert base in message
    assert "eth0" in message
    assert "free here" in message


def test_a_file_that_is_no_json_is_refused_with_its_line(new: Host) -> None:
    new.put('{\n  "debug": true\n  "icc": false\n}\n')
    assert "line 3, column 3" in new.refused("file_invalid", options=LIMITS)


def test_live_restore_in_a_swarm_is_refused(new: Host) -> None:
    new.docker("swarm", "init", "--advertise-addr", new.address)
    try:
        assert "docker swarm leave" in new.refused("option_forbidden", options=LIMITS, restart=True)
    finally:
        new.docker("swarm", "leave", "--force")


def test_a_restart_leaves_the_tasks_of_a_swarm_to_it(new: Host, base: str) -> None:
    def tasks() -> str:
        return new.docker("ps", "--quiet", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=sleeper")

    new.docker("swarm", "init", "--advertise-addr", new.address)
    try:
        new.docker("service", "create", "--detach", "--no-resolve-image", "--name", "sleeper", base, *IDLE)
        wait_for(lambda: tasks() != "")
        before = tasks()
        result = new.done(options={"log-level": "warn"}, restart=True, probe=False)
        assert result["restarted"]["restarted"] == ["web"]
        wait_for(lambda: tasks() != "" and before not in tasks())
    finally:
        new.docker("swarm", "leave", "--force")


@pytest.mark.parametrize("state", ["up", "down"])
def test_killed_in_mid_restart_the_old_file_and_a_running_engine_come_back_by_themselves(new: Host, state: str) -> None:
    process = new.start_program(KILLED, {"options": GOOD, "restart": True, "probe": False}, state)
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    wait_for(lambda: json.loads(new.file() or "{}") == {"live-restore": True})
    wait_for(lambda: new.run("docker", "version", "--format", "{{.Server.Version}}", check=False) != "")
    wait_for(lambda: TABLE not in new.run("nft", "list", "tables"))
    assert new.done(options=GOOD, restart=True)["changed"]


def test_a_hold_that_nobody_releases_ends_by_itself(new: Host) -> None:
    rules = (
        "from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_hold import *; "
        "from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import run_command; "
        f"assert Hold(run_command, [Port({PORT})], 3).place()"
    )
    new.execute(rules)
    with Client(new.container, "127.0.0.1", "/", 1) as client:  # returns when the first request was answered
        pass
    assert not client.asked.lost
    assert client.asked.longest > 0.9, "nothing was held"
    new.run("nft", "delete", "table", "inet", TABLE)


def test_the_table_of_keys_is_that_of_the_real_engines(new: Host, old: Host) -> None:
    for host, version, gone in ((new, (26, 1), GONE), (old, (20, 10), set[str]())):
        names = [name for name in known(version) if KEYS[name].kind != "map"]
        document = dict.fromkeys((*names, "no-such-key"))
        path = "/root/keys.json"
        host.write(path, json.dumps(document))
        validate = ["--validate"] if host is new else []  # an older engine stops at the key that it does not know
        said = host.run("sh", "-c", f"dockerd {' '.join(validate)} --config-file={path} 2>&1 || true")
        unknown = {name.strip() for name in said.partition("configuration option: ")[2].split(",")}
        assert unknown == {"no-such-key", *(gone & set(names))}, said


def test_the_engines_own_file_is_readable_by_all_and_writable_by_root(new: Host) -> None:
    new.done(options={"debug": True})
    assert new.run("stat", "--format", "%a %U %G", FILE) == "644 root root"


def test_a_password_of_a_proxy_is_in_no_diff(new: Host) -> None:
    proxies = {"proxies": {"https-proxy": "http://robot:geheim@proxy.example:3128"}}
    told = new.daemon(options=proxies, _ansible_check_mode=True, _ansible_diff=True)
    assert "proxy.example" in json.dumps(told["diff"])
    assert "geheim" not in json.dumps(told["diff"])
