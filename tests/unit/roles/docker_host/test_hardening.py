# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role hardens on which host, and what it writes there."""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import typing as t
from dataclasses import replace

import pytest
import yaml
from ansible.template import trust_as_template

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditFacts,
    Found,
    Listing,
    read_audit_rules,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_files import paths_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_host import KERNEL, look_at_host, watched_paths
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_daemon_keys import KEYS
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import SOCKET_UNIT, UNIT, good, with_host
from ansible_collections.emorobcare.fleet.tests.unit.roles.docker_host._role import (
    ROLE,
    decide,
    host_info,
    render,
    templar,
)

BY_DEFAULT = [
    "time",
    "files",
    "kernel",
    "updates",
    "users",
    "daemon",
    "audit_rules",
    "firewall",
    "ssh",
]


def engine(**info: t.Any) -> dict[str, t.Any]:
    """What `docker info` said of an engine that answers."""
    return {"stdout": json.dumps({"ServerVersion": "28.0.0", "ClientInfo": {}, **info}), "stderr": ""}


def on(found: dict[str, t.Any] | None = None, **more: t.Any) -> list[str]:
    return t.cast("list[str]", decide("__docker_host_on", __docker_host_host=found or host_info(), **more))


def test_every_subject_has_a_file_and_a_switch() -> None:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    subjects = decide("__docker_host_subjects")
    assert {f"docker_host_{subject}" for subject in subjects} <= set(defaults)
    files = {path.stem for path in (ROLE / "tasks").glob("harden_*.yml")}
    assert files == {f"harden_{subject}" for subject in subjects}


def test_a_machine_is_hardened_by_default_and_what_breaks_something_is_off() -> None:
    assert on() == BY_DEFAULT


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        pytest.param({"docker_host_harden": False}, set(BY_DEFAULT), id="a developer's machine"),
        pytest.param({"docker_host_harden": "false"}, set(BY_DEFAULT), id="as the command line has it"),
        pytest.param({"docker_host_state": "absent"}, set(BY_DEFAULT), id="taken back"),
        pytest.param({"docker_host_ssh": "no"}, {"ssh"}, id="one switch"),
        pytest.param({"docker_host_packages": "/depot"}, {"updates"}, id="a host of depots"),
    ],
)
def test_what_is_switched_off_is_not_done(asked: dict[str, t.Any], gone: set[str]) -> None:
    assert set(on(**asked)) == set(BY_DEFAULT) - gone


def test_what_a_host_has_not_is_not_hardened() -> None:
    login = {"user": "operator", "sshd": False, "has_key": False, "ports": [], "root": ""}
    assert "ssh" not in on(host_info(login=login))
    assert "time" not in on(host_info(container="docker"))
    assert "time" not in on(host_info(systemd=False))


def test_what_breaks_something_is_done_when_it_is_asked_for() -> None:
    asked: dict[str, t.Any] = {
        f"docker_host_{subject}": True for subject in ("userns", "rootless", "apparmor", "seccomp")
    }
    assert {"userns", "rootless", "apparmor", "seccomp", "accelerators"} <= set(
        on(**asked, docker_host_accelerators=["nvidia"])
    )


def test_what_was_on_and_is_off_now_is_taken_back_in_the_other_order() -> None:
    found = host_info(changes=["docker-daemon", "firewall", "kernel", "ssh"], notes={"users": ["games"]})
    assert decide("__docker_host_off", __docker_host_host=found, docker_host_state="absent") == [
        "ssh",
        "firewall",
        "daemon",
        "users",
        "kernel",
    ]
    off = decide("__docker_host_off", __docker_host_host=found, docker_host_firewall=False)
    assert off == ["firewall"]


@pytest.mark.parametrize(
    ("info", "packages", "syncable"),
    [
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, {"containerd.io": "2.1.5-1"}, True),
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, {"containerd": "1.7.24~ds1-6"}, False),
        ({"DriverStatus": [["Backing Filesystem", "extfs"]]}, {"containerd.io": "2.1.5-1"}, False),
        ({"DriverStatus": None}, {}, False),
    ],
    ids=["containerd 2 keeps images", "containerd 1 cannot be told", "the classic store", "no engine"],
)
def test_only_a_containerd_that_keeps_images_and_can_is_told_to_sync(
    info: dict[str, t.Any], packages: dict[str, str], syncable: bool
) -> None:
    installed = {name: {"version": version, "held": False} for name, version in packages.items()}
    found = host_info(packages=installed, docker=engine(**info))
    assert decide("__docker_host_store_syncable", __docker_host_host=found) is syncable


def options(found: dict[str, t.Any] | None = None, **more: t.Any) -> dict[str, t.Any]:
    given = {"__docker_host_host": found or host_info(), **more}
    return t.cast("dict[str, t.Any]", decide("__docker_host_daemon_wanted", **given))


def test_the_engine_gets_options_that_its_table_knows_and_no_other() -> None:
    told = options(
        docker_host_registry_mirrors=["https://mirror.example.org"],
        docker_host_data_root="/data/docker",
        docker_host_address_pools=[{"base": "10.200.0.0/16", "size": 24}],
        docker_host_userns=True,
        docker_host_seccomp=True,
        docker_host_seccomp_profile="x",
        docker_host_accelerators=["nvidia"],
    )
    assert set(told) <= set(KEYS)
    assert told["log-opts"] == {"max-size": "10m", "max-file": "5"}
    assert told["userns-remap"] == "default"
    assert told["features"] == {"cdi": True}


def test_what_is_not_asked_for_is_left_to_the_engine() -> None:
    assert not {"registry-mirrors", "data-root", "default-address-pools", "userns-remap", "runtimes"} & set(options())


def test_a_swarm_gets_no_live_restore_and_another_engine_does() -> None:
    assert options()["live-restore"] is True
    assert "live-restore" not in options(host_info(docker=engine(Swarm={"LocalNodeState": "active"})))


def test_containers_may_open_no_more_files_than_the_host_lets_anybody() -> None:
    assert options()["default-ulimits"]["nofile"]["Hard"] == 65536
    few = options(host_info(open_files=20000))["default-ulimits"]["nofile"]
    assert (few["Soft"], few["Hard"]) == (20000, 20000)


def test_a_users_own_options_win() -> None:
    assert options(docker_host_daemon_options={"userland-proxy": True})["userland-proxy"] is True


def test_what_the_engine_was_told_and_is_told_no_longer_is_removed_and_nobody_elses() -> None:
    noted = ["icc", "log-opts.max-size", "registry-mirrors", "runtimes.nvidia"]
    found = host_info(notes={"daemon": noted})
    former = decide("__docker_host_daemon_former", __docker_host_host=found)
    assert former == ["registry-mirrors", "runtimes.nvidia"]


def test_the_engines_file_stays_as_closed_as_somebody_has_made_it() -> None:
    tight = host_info(owned=[{"path": "/etc/docker/daemon.json", "mode": "0600", "owner": "root", "group": "root"}])
    assert decide("__docker_host_daemon_mode", __docker_host_host=tight) == "0600"
    assert decide("__docker_host_daemon_mode", __docker_host_host=host_info()) == "0644"


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("net.ipv4.ip_forward", 0, True),
        ("net.ipv4.ip_forward", "0", True),
        ("net.ipv4.conf.all.forwarding", 0, True),
        ("net.ipv6.conf.default.forwarding", False, True),
        ("net.ipv4.ip_forward", 1, False),
        ("net.ipv4.conf.all.rp_filter", 0, False),
    ],
)
def test_nobody_turns_forwarding_off(name: str, value: t.Any, refused: bool) -> None:
    assert bool(problems(docker_host_kernel_settings={name: value})) is refused


def problems(**asked: t.Any) -> list[str]:
    return [" ".join(problem.split()) for problem in decide("__docker_host_problems", **asked) if problem]


def test_defaults_are_a_request_that_is_right() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"docker_host_source": "docker"}, "docker_host_repository_uri"),
        ({"docker_host_source": "depot"}, "docker_host_packages"),
        ({"docker_host_packages": "/x", "docker_host_archive": "http://mirror/debian"}, "one or the other"),
        ({"docker_host_archive": "not a URI"}, "docker_host_archive (not a URI)"),
        ({"docker_host_firewall_sources": ["10.0.0.0/8", "everywhere"]}, "not everywhere"),
        ({"docker_host_firewall_extra": {"postrouting": []}}, "not as postrouting"),
        ({"docker_host_seccomp": True}, "docker_host_seccomp_profile"),
        ({"docker_host_userns": True, "docker_host_rootless": True}, "choose one"),
        ({"docker_host_userns": True, "docker_host_daemon": False}, "turn both on"),
        ({"docker_host_files_extra": [{"path": "/x"}]}, "path and mode"),
        ({"docker_host_nvidia_repository_uri": "https://x"}, "go together"),
        ({"docker_host_confirm": -1}, "docker_host_confirm"),
    ],
)
def test_a_request_that_cannot_be_right_is_refused_and_says_only_what_is_wrong(
    asked: dict[str, t.Any], words: str
) -> None:
    (problem,) = problems(**asked)
    assert words in problem


def misfits(found: dict[str, t.Any] | None = None, **asked: t.Any) -> list[str]:
    given = {"__docker_host_host": found or host_info(), **asked}
    return [" ".join(one.split()) for one in decide("__docker_host_misfits", **given) if one]


LOGIN = {"user": "operator", "sshd": True, "has_key": True, "ports": [22], "root": "yes"}


@pytest.mark.parametrize(
    ("found", "asked", "words"),
    [
        pytest.param({}, {}, "", id="a host as it should be"),
        pytest.param({"clock": 0}, {}, "The clock of robot says 1970-01-01", id="a clock without a battery"),
        pytest.param({"clock": 0}, {"docker_host_time": False}, "", id="a clock that is left alone"),
        pytest.param({"login": {**LOGIN, "has_key": False}}, {}, "sshd knows no key of this user", id="no key"),
        pytest.param({}, {"ansible_password": "x"}, "the inventory has one", id="a password in the inventory"),
        pytest.param(
            {"login": {**LOGIN, "has_key": False}},
            {"docker_host_ssh_settings": {"PasswordAuthentication": "yes"}},
            "",
            id="passwords that are to stay",
        ),
        pytest.param({"login": {**LOGIN, "has_key": False}}, {"ansible_connection": "local"}, "", id="not over SSH"),
        pytest.param(
            {"login": {**LOGIN, "has_key": False}},
            {"ansible_connection": "community.docker.docker"},
            "",
            id="nor by an engine",
        ),
        pytest.param(
            {"login": {**LOGIN, "user": "root"}},
            {"docker_host_ssh_settings": {"PermitRootLogin": "no"}},
            "root is who comes in",
            id="root who would be out",
        ),
        pytest.param({"own": ["ana"]}, {}, "docker is the own group of ana", id="a group of one's own"),
        pytest.param({"own": ["ana"]}, {"docker_host_users_allowed": ["ana"]}, "", id="who may have it"),
        pytest.param({}, {"docker_host_apparmor": True}, "runs without AppArmor", id="a kernel without AppArmor"),
    ],
)
def test_a_host_that_would_lock_somebody_out_is_refused_before_anything_is_done(
    found: dict[str, t.Any], asked: dict[str, t.Any], words: str
) -> None:
    told = misfits(host_info(**found), **asked)
    assert len(told) == bool(words)
    assert words in " ".join(told)


def test_kernel_settings_cover_what_the_audit_wants_and_only_those_of_this_host_are_written() -> None:
    wanted = decide("__docker_host_kernel_wanted")
    for name, allowed in KERNEL.items():
        assert str(wanted[name]) in allowed, name
    found = host_info(sysctls={"net.ipv4.tcp_syncookies": "0", "net.ipv4.conf.all.send_redirects": "1"})
    assert render("etc/sysctl.d/60-fleet-docker.conf", __docker_host_host=found) == [
        "net.ipv4.conf.all.send_redirects = 0",
        "net.ipv4.tcp_syncookies = 1",
    ]
    pattern = decide("__docker_host_kernel_load", __docker_host_host=found)[-1]
    assert re.search(pattern, "net.ipv4.tcp_syncookies")
    assert not re.search(pattern, "kernel.sysrq")


def test_what_the_kernel_had_first_is_what_it_is_given_back() -> None:
    found = host_info(sysctls={"net.a": "0", "net.b": "2"}, notes={"kernel": {"net.a": "1"}})
    assert decide("__docker_host_kernel_back", __docker_host_host=found) == ["net.a=1", "net.b=2"]


BPF = "kernel.unprivileged_bpf_disabled"


def test_no_setting_is_one_that_the_kernel_would_not_give_back_before_a_boot() -> None:
    assert decide("__docker_host_kernel_wanted")[BPF] == 2
    found = host_info(sysctls={BPF: "0"}, drifted=[BPF])
    assert decide("__docker_host_kernel_back", __docker_host_host=found) == [f"{BPF}=0"]
    assert decide("__docker_host_kernel_drifted", __docker_host_host=found) == [BPF]


def test_what_the_kernel_lets_nobody_change_before_a_boot_is_neither_loaded_nor_given_back() -> None:
    found = host_info(sysctls={BPF: "1", "net.a": "0"}, drifted=[BPF], notes={"kernel": {BPF: "2"}})
    assert decide("__docker_host_kernel_back", __docker_host_host=found) == ["net.a=0"]
    assert decide("__docker_host_kernel_drifted", __docker_host_host=found) == []
    pattern = decide("__docker_host_kernel_load", __docker_host_host=found)[-1]
    assert re.search(pattern, "net.a")
    assert not re.search(pattern, BPF)
    assert f"{BPF} = 2" in render("etc/sysctl.d/60-fleet-docker.conf", __docker_host_host=host_info(sysctls={BPF: "1"}))


def test_a_user_who_asks_for_what_lasts_until_a_boot_gets_it_and_can_still_take_the_rest_back() -> None:
    asked = {"docker_host_kernel_settings": {BPF: 1}}
    found = host_info(sysctls={BPF: "2", "net.a": "0"}, drifted=[BPF])
    assert decide("__docker_host_kernel_drifted", __docker_host_host=found, **asked) == [BPF]
    assert re.search(decide("__docker_host_kernel_load", __docker_host_host=found, **asked)[-1], BPF)
    assert decide("__docker_host_kernel_back", __docker_host_host=found, **asked) == ["net.a=0"]


FOLDERS = ["/etc", "/etc/default", "/etc/systemd", "/run", "/usr/bin", "/usr/lib/systemd/system", "/usr/sbin"]


def rules(folders: t.Iterable[str] = (*FOLDERS, "/var/lib"), **more: t.Any) -> list[str]:
    found = host_info(paths=dict.fromkeys(folders, ""))
    return render("etc/audit/rules.d/60-fleet-docker.rules", __docker_host_host=found, **more)


def test_all_that_the_audit_wants_watched_is_watched_and_no_full_log_halts_a_machine() -> None:
    watched = {line.split()[1] for line in rules()}
    # What is in /usr/local came from no package, and the rest is not Debian's.
    others = ("/usr/local/", "/etc/sysconfig/", "/run/docker/")
    programs = ("containerd", "dockerd", "runc")
    for path in watched_paths():
        folder, _slash, name = path.rpartition("/")
        if path.startswith("/") and not path.startswith(others) and not name.startswith(programs):
            # A folder's rule is for all that is in it.
            assert {path, folder} & watched or path == "/var/lib/docker" or name == "docker", path
    assert all(re.fullmatch(r"-w /\S+ -p x?wa -k docker", line) for line in rules())


def test_rules_whose_folder_is_not_there_are_left_out_because_the_kernel_would_take_none_after_them() -> None:
    asked = decide("__docker_host_asked_paths", __docker_host_host=host_info())
    assert set(FOLDERS) <= set(asked)
    static = [line.split()[1] for line in rules([one for one in FOLDERS if one != "/usr/lib/systemd/system"])]
    assert "/etc/containerd" in static  # its own folder is /etc
    assert not [path for path in static if path.startswith("/usr/lib/")]
    data: dict[str, t.Any] = {"docker_host_audit_rules_data": True, "docker_host_data_root": "/data/docker"}
    assert not any("/data" in line for line in rules(**data))
    assert "-w /data/docker -p wa -k docker" in rules([*FOLDERS, "/data"], **data)


def test_what_is_in_containerds_folder_is_watched_from_the_boot_on() -> None:
    given: dict[str, t.Any] = {"ansible_managed": "managed"}
    files = decide("__docker_host_audit_files", __docker_host_host=host_info(), **given)
    (folders,) = [one for one in files if one["path"].startswith("/etc/tmpfiles.d/")]
    assert folders["content"].splitlines()[-1] == "d /run/containerd 0711 root root"
    assert len(decide("__docker_host_audit_files", __docker_host_host=host_info(systemd=False), **given)) == 1
    auditd = {"auditd": {"version": "1:4.0", "held": False}}
    load = decide("__docker_host_audit_load", __docker_host_host=host_info(packages=auditd))
    assert [argv[0] for argv in load] == ["install", "augenrules"]
    assert decide("__docker_host_audit_load", __docker_host_host=host_info(packages=auditd, container="lxc")) == []


def test_folders_are_there_before_their_rules_are_loaded() -> None:
    subjects = decide("__docker_host_subjects")
    assert subjects.index("audit_rules") > max(subjects.index(one) for one in ("daemon", "seccomp", "store"))


@pytest.mark.parametrize(
    ("held", "becomes"),
    [
        (None, "version = 2\n"),
        ('disabled_plugins = ["cri"]\n', 'disabled_plugins = ["cri"]\n'),
    ],
    ids=["a host without the file", "a file of the package's"],
)
def test_containerd_is_told_to_sync_whether_it_has_a_file_or_not(held: str | None, becomes: str) -> None:
    (read, _check, write) = yaml.safe_load((ROLE / "tasks" / "harden_store.yml").read_text(encoding="utf-8"))
    file = {} if held is None else {read["ansible.builtin.slurp"]["src"]: ""}
    slurped = {"skipped": True} if held is None else {"content": base64.b64encode(held.encode()).decode()}
    given = {"__docker_host_host": host_info(paths=file), "__docker_host_containerd": slurped}
    assert templar(**given).evaluate_conditional(trust_as_template(read["when"])) is bool(file)
    content = write["emorobcare.fleet.host_change"]["files"][0]["content"]
    told = templar(**given).template(trust_as_template(content))
    assert told == f'imports = ["/etc/containerd/conf.d/*.toml"]\n{becomes}'
    given["__docker_host_host"] = host_info(paths={read["ansible.builtin.slurp"]["src"]: ""})
    again = {"content": base64.b64encode(told.encode()).decode()}
    assert templar(**{**given, "__docker_host_containerd": again}).template(trust_as_template(content)) == told


def test_who_runs_the_engines_command_is_noted_and_no_other_program_is() -> None:
    assert [line for line in rules() if "x" in line.split()[3]] == ["-w /usr/bin/docker -p xwa -k docker"]
    (rule,) = read_audit_rules(["-w /usr/bin/docker -p xwa -k docker"])
    assert rule.covers("/usr/bin/docker")


DROP_IN = "/etc/systemd/system/docker.service.d/fleet-firewall.conf"


def with_drop_ins() -> Found:
    """A host with the units of the engine's package, the role's own drop-in and one of somebody's."""
    theirs = "/etc/systemd/system/docker.socket.d/theirs.conf"
    return with_host(service_units=Listing((UNIT, DROP_IN)), socket_units=Listing((SOCKET_UNIT, theirs)))


def test_the_audit_takes_the_roles_rules_for_all_that_it_wants_watched_the_roles_own_drop_in_too() -> None:
    assert (
        decide("__docker_host_firewall_before", __docker_host_host=host_info(), ansible_managed="")["path"] == DROP_IN
    )
    host = replace(with_drop_ins().host, audit=AuditFacts(tuple(rules()), True, True))
    looked = look_at_host(Found(host, good().engine))
    others = {"audit-data-root", "audit-etc-sysconfig-docker"}  # is off by default; is not Debian's
    audited = {slug: one for slug, one in looked.items() if slug.startswith("audit-") and slug not in others}
    assert DROP_IN in audited["audit-docker-service"].seen
    assert not [one for one in audited.values() if one.evidence or one.unknown]


def test_all_whose_owner_and_mode_the_audit_looks_at_is_held_by_the_role() -> None:
    # By docker_host_files_extra; what is not Debian's.
    others = ("/root/.docker/*", "/etc/sysconfig/*")
    owned = [*others, *(one["path"] for one in decide("__docker_host_owned"))]
    assert not [path for path in paths_of(with_drop_ins()) if not any(fnmatch.fnmatch(path, one) for one in owned)]


def test_the_engines_socket_keeps_the_group_that_the_engine_gives_it() -> None:
    (socket,) = [one for one in decide("__docker_host_owned") if one["path"] == "/run/docker.sock"]
    assert socket == {"path": "/run/docker.sock", "mode": "0660", "group": ""}


def test_access_to_data_is_watched_only_when_that_is_asked_for() -> None:
    assert not any("/var/lib/docker" in line for line in rules())
    assert "-w /var/lib/docker -p wa -k docker" in rules(docker_host_audit_rules_data=True)
    assert "-w /data -p wa -k docker" in rules(["/"], docker_host_audit_rules_data=True, docker_host_data_root="/data")


def test_security_updates_are_of_security_and_never_of_the_engine() -> None:
    lines = [line.strip() for line in render("etc/apt/apt.conf.d/52fleet-security-updates")]
    origins = [line for line in lines if line.startswith('"origin=')]
    assert origins
    assert all("ecurity" in line for line in origins)
    for package in ("docker.io", "docker-ce", "containerd.io", "containerd", "runc", "docker-cli"):
        assert f'"^{re.escape(package)}$";' in lines
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in lines


def firewall(**more: t.Any) -> str:
    found = {"__docker_host_host": host_info(), **more}
    return "\n".join(line.strip() for line in render("etc/fleet/docker-firewall.nft", **found))


def test_the_firewall_is_replaced_in_one_transaction_and_drops_what_is_not_named() -> None:
    text = firewall()
    assert text.startswith("add table inet fleet_docker\ndelete table inet fleet_docker\ntable inet fleet_docker {")
    assert "type filter hook input priority filter - 5; policy drop;" in text
    forward = text[text.index("chain forward") :]
    assert forward.index("ip saddr { 10.0.0.0/8, ") < forward.index("ct status dnat drop")
    assert forward.index("ip6 saddr { fc00::/7, fe80::/10 } accept") < forward.index("ct status dnat drop")
    assert "chain output" not in text


def test_the_firewall_leaves_ssh_open_wherever_sshd_listens() -> None:
    login = {"user": "operator", "sshd": True, "has_key": True, "ports": [22, 2222], "root": "yes"}
    assert "tcp dport { 22, 2222 } accept" in firewall(__docker_host_host=host_info(login=login))
    nowhere = {**login, "ports": [], "root": ""}
    assert "tcp dport { 22 } accept" in firewall(__docker_host_host=host_info(login=nowhere))


def test_a_family_without_addresses_is_closed_to_all() -> None:
    text = firewall(docker_host_firewall_sources=["192.0.2.0/24"])
    assert text.count("ip saddr { 192.0.2.0/24 } accept") == 2
    assert "ip6 saddr" not in text


def test_a_users_own_rules_come_first() -> None:
    text = firewall(docker_host_firewall_extra={"input": ["tcp dport 9 drop"], "output": ["udp dport 53 drop"]})
    assert text.index("tcp dport 9 drop") < text.index("ct state established,related accept")
    assert "chain output" in text


def test_nobody_comes_in_with_a_password_and_a_users_own_settings_win() -> None:
    given = {
        "__docker_host_host": host_info(),
        "docker_host_ssh_settings": {"AllowTcpForwarding": "no", "X11Forwarding": "yes"},
    }
    lines = render("etc/ssh/sshd_config.d/10-fleet.conf", **given)
    assert {"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AllowTcpForwarding no"} <= set(lines)
    assert "X11Forwarding yes" in lines
    assert "PermitRootLogin prohibit-password" in lines


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("yes", "prohibit-password"),
        ("without-password", "prohibit-password"),
        ("no", "no"),
        ("forced-commands-only", "forced-commands-only"),
    ],
)
def test_a_door_that_is_closed_to_root_is_not_opened(found: str, wanted: str) -> None:
    given = host_info(login={**LOGIN, "root": found})
    assert f"PermitRootLogin {wanted}" in render("etc/ssh/sshd_config.d/10-fleet.conf", __docker_host_host=given)


def test_sshd_is_told_without_systemd_too() -> None:
    assert decide("__docker_host_ssh_reload", __docker_host_host=host_info())[0] == "systemctl"
    assert decide("__docker_host_ssh_reload", __docker_host_host=host_info(systemd=False))[0] == "start-stop-daemon"


def test_without_systemd_there_is_no_unit_for_the_firewall() -> None:
    given = {"ansible_managed": "managed"}
    for systemd, count in ((True, 3), (False, 1)):
        files = decide("__docker_host_firewall_files", __docker_host_host=host_info(systemd=systemd), **given)
        assert len(files) == count


def test_an_engine_that_has_just_been_started_and_runs_nothing_may_be_restarted() -> None:
    started = {"__docker_host_begun": {"changed": True}}
    idle, busy = (host_info(docker=engine(ContainersRunning=number)) for number in (0, 1))
    assert decide("__docker_host_fresh", __docker_host_host=idle, **started) is True
    assert decide("__docker_host_fresh", __docker_host_host=busy, **started) is False
    assert decide("__docker_host_fresh", __docker_host_host=idle) is False


def test_profiles_and_lingering_users_are_files() -> None:
    (profile,) = decide("__docker_host_apparmor_files", docker_host_apparmor_profiles={"camera": "profile camera {}"})
    assert profile["path"] == "/etc/apparmor.d/fleet-camera"
    assert profile["validate"][0] == "apparmor_parser"
    files = decide("__docker_host_rootless_files", docker_host_rootless_users=["ana", "ben"])
    assert files[0]["content"].splitlines() == ["[Service]", "Delegate=cpu cpuset io memory pids"]
    assert [one["path"] for one in files[1:]] == ["/var/lib/systemd/linger/ana", "/var/lib/systemd/linger/ben"]
