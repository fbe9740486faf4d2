# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import (
    AuditFacts,
    EngineFacts,
    HostFacts,
    Listing,
    PackageFacts,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_look import (
    file_fact,
    look,
    look_at_host,
    members,
    read_chains,
    read_policy_answer,
    units,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker

POLICY = """docker-ce:
  Installed: (none)
  Candidate: (none)
  Version table:
docker.io:
  Installed: 26.1.5+dfsg1-9
  Candidate: 26.1.5+dfsg1-10
  Version table:
 *** 26.1.5+dfsg1-9 500
"""
UNIT_FOLDER = "usr/lib/systemd/system"


class Programs(NoDocker):
    """Answers to commands by their first two words; all else is an engine that is away."""

    def __init__(self, answers: t.Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.asked: list[list[str]] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        self.asked.append(list(argv))
        if argv[0] == "docker":
            raise ReleaseError("the Docker engine does not answer", reason="docker_unavailable")
        return self.answers[" ".join(argv[:2])]


def write(root: Path, path: str, text: str = "", mode: int = 0o644) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    return tmp_path


def host(root: Path, answers: t.Mapping[str, Answer] | None = None) -> HostFacts:
    return look_at_host(Programs(answers or {}), EngineFacts(), ["robot"], str(root))


def test_a_file_is_told_with_its_mode_and_a_link_with_where_it_leads(root: Path) -> None:
    write(root, "/opt/daemon.json", mode=0o640)
    (root / "etc").mkdir()
    (root / "etc/daemon.json").symlink_to(root / "opt/daemon.json")
    fact = file_fact("/etc/daemon.json", str(root))
    assert (fact.kind, fact.mode, fact.real, fact.problem) == ("file", 0o640, "/opt/daemon.json", "")
    assert fact.owner
    assert fact.group
    assert not file_fact("/etc/none", str(root)).there
    assert not file_fact("/opt/daemon.json/below", str(root)).there


def test_a_file_that_cannot_be_looked_at_says_so_and_is_not_absent(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    fact = file_fact("/loop", str(root))
    assert fact.there
    assert fact.problem == "/loop: Too many levels of symbolic links"


def test_a_unit_is_the_first_of_its_name_with_all_that_is_dropped_in(root: Path) -> None:
    write(root, f"{UNIT_FOLDER}/docker.service")
    write(root, f"{UNIT_FOLDER}/docker.service.d/b.conf")
    write(root, "etc/systemd/system/docker.service.d/a.conf")
    write(root, "etc/systemd/system/docker.service.d/readme")
    dropped = "/etc/systemd/system/docker.service.d/a.conf"
    packaged = (f"/{UNIT_FOLDER}/docker.service", dropped, f"/{UNIT_FOLDER}/docker.service.d/b.conf")
    assert units("docker.service", str(root)) == Listing(packaged)
    write(root, "etc/systemd/system/docker.service")
    assert units("docker.service", str(root)).paths[0] == "/etc/systemd/system/docker.service"
    assert units("docker.socket", str(root)) == Listing()


def test_a_unit_that_is_masked_has_no_file(root: Path) -> None:
    write(root, f"{UNIT_FOLDER}/docker.socket")
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/docker.socket").symlink_to("/dev/null")
    assert units("docker.socket", str(root)) == Listing()


def test_a_folder_that_cannot_be_listed_says_so(root: Path) -> None:
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/docker.service.d").symlink_to("docker.service.d")
    (root / "etc/docker").mkdir()
    (root / "etc/docker/certs.d").symlink_to("certs.d")
    found = host(root)
    assert "Too many levels of symbolic links" in found.service_units.problem
    assert "Too many levels of symbolic links" in found.certificates.problem


def test_certificates_and_networks_of_a_socket_unit_are_found(root: Path) -> None:
    write(root, "etc/docker/certs.d/registry.test:5000/ca.crt")
    write(root, f"{UNIT_FOLDER}/docker.socket", "[Socket]\nListenStream=/run/docker.sock\nListenStream=2375\n")
    write(root, "etc/systemd/system/docker.socket.d/a.conf", "[Socket]\nListenStream = 10.0.0.2:2376\n")
    found = host(root)
    assert found.certificates == Listing(("/etc/docker/certs.d/registry.test:5000/ca.crt",))
    assert found.files[found.certificates.paths[0]].kind == "file"
    assert found.socket_listens == ("2375", "10.0.0.2:2376")
    assert (found.socket_paths, found.socket_group) == (Listing(("/run/docker.sock",)), "root")
    more = "[Socket]\nListenStream=\nListenStream=%t/other.sock\nSocketGroup=operators\n"
    write(root, "etc/systemd/system/docker.socket.d/b.conf", more)
    found = host(root)
    assert (found.socket_listens, found.socket_group) == ((), "operators")
    assert found.socket_paths == Listing(("/run/other.sock",))
    assert not found.files["/run/other.sock"].there
    write(root, "etc/systemd/system/docker.socket.d/c.conf", "[Socket]\nListenStream=%h/x.sock\nListenStream=@x\n")
    found = host(root)
    assert found.socket_listens == ("@x",), "of an abstract socket no mode keeps anybody away"
    assert found.socket_paths.problem == "docker.socket: ListenStream=%h/x.sock; write the path"


def test_users_of_the_engine_are_those_in_the_group_of_each_socket(root: Path) -> None:
    write(root, "run/docker.sock")
    group = file_fact("/run/docker.sock", str(root)).group
    assert host(root).socket_users == {group: members(group)}


@pytest.mark.parametrize(("path", "text"), [("run/systemd/container", "lxc\n"), (".dockerenv", "")])
def test_a_host_that_is_a_container_is_known(root: Path, path: str, text: str) -> None:
    assert host(root).container == ""
    write(root, path, text)
    assert host(root).container == (text.strip() or "docker")


@pytest.mark.parametrize(
    ("status", "rules", "audit"),
    [
        (
            Answer(0, "enabled 1\nfailure 1\n", ""),
            Answer(0, "-w /etc/docker -p wa -k docker\n", ""),
            AuditFacts(("-w /etc/docker -p wa -k docker",), True, True),
        ),
        (Answer(0, "enabled 2\n", ""), Answer(0, "No rules\n", ""), AuditFacts((), True, True)),
        (Answer(0, "enabled 0\n", ""), Answer(0, "No rules\n", ""), AuditFacts((), False, True)),
        (
            Answer(0, "enabled 1\n", ""),
            Answer(4, "", "You must be root to run this program.\n"),
            AuditFacts((), True, True, "/usr/sbin/auditctl -l: You must be root to run this program."),
        ),
    ],
)
def test_the_kernels_audit_is_asked(root: Path, status: Answer, rules: Answer, audit: AuditFacts) -> None:
    assert host(root).audit == AuditFacts()
    write(root, "usr/sbin/auditctl", mode=0o755)
    answers = {"/usr/sbin/auditctl -s": status, "/usr/sbin/auditctl -l": rules}
    assert host(root, answers).audit == audit


def test_the_package_is_asked_for_while_the_engine_is(root: Path) -> None:
    write(root, "usr/bin/apt-cache", mode=0o755)
    write(root, "var/lib/apt/lists/mirror_InRelease")
    days = 3 * 24 * 3600
    os.utime(root / "var/lib/apt/lists", (time.time() - days - 60,) * 2)
    programs = Programs({"/usr/bin/apt-cache policy": Answer(0, POLICY, "")})
    found = look(programs, [], str(root))
    assert found.host.package == PackageFacts("docker.io", "26.1.5+dfsg1-9", "26.1.5+dfsg1-10", 3)
    assert found.engine.problem == "the Docker engine does not answer"


def test_lists_that_were_never_fetched_have_no_age(root: Path) -> None:
    write(root, "usr/bin/apt-cache", mode=0o755)
    programs = Programs({"/usr/bin/apt-cache policy": Answer(0, POLICY, "")})
    assert look(programs, [], str(root)).host.package.lists_age is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(0, POLICY.replace("26.1.5+dfsg1-9", "(none)"), ""), "whether the engine is the newest: apt did not"),
        (Answer(100, "", "E: broken"), "/usr/bin/apt-cache policy docker-ce docker.io: E: broken"),
    ],
)
def test_a_package_that_nobody_knows_says_why(root: Path, answer: Answer, why: str) -> None:
    assert look(Programs({}), [], str(root)).host.package.problem.endswith("this host has no apt")
    write(root, "usr/bin/apt-cache", mode=0o755)
    found = look(Programs({"/usr/bin/apt-cache policy": answer}), [], str(root))
    assert found.host.package.problem.startswith(why)


def test_versions_are_read_by_package() -> None:
    assert read_policy_answer(POLICY) == {
        "docker-ce": ("(none)", "(none)"),
        "docker.io": ("26.1.5+dfsg1-9", "26.1.5+dfsg1-10"),
    }


def test_kernel_sshd_and_mounts_are_read(root: Path) -> None:
    write(root, "proc/sys/kernel/dmesg_restrict", "1\n")
    write(root, "proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /var/my\\040docker ext4 rw 0 0\n")
    write(root, "usr/sbin/sshd", mode=0o755)
    found = host(root, {"/usr/sbin/sshd -T": Answer(0, "port 22\npermitrootlogin no\n", "")})
    assert found.mounts == ("/", "/var/my docker")
    assert found.system.kernel == {"kernel.dmesg_restrict": "1"}
    assert found.system.sshd["permitrootlogin"] == "no"
    assert found.trusted == ("robot",)
    silent = host(root, {"/usr/sbin/sshd -T": Answer(255, "", "no hostkeys available")})
    assert silent.system.sshd_problem == "/usr/sbin/sshd -T: no hostkeys available"


CHAINS = {
    "nftables": [
        {"metainfo": {"version": "1.1.3"}},
        {"chain": {"family": "inet", "table": "fleet", "name": "input", "hook": "input", "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}},
    ]
}


def test_chains_on_input_are_read_from_nftables(root: Path) -> None:
    write(root, "usr/sbin/nft", mode=0o755)
    found = host(root, {"/usr/sbin/nft --json": Answer(0, json.dumps(CHAINS), "")})
    assert found.system.input_policies == {"inet fleet input": "drop"}
    assert read_chains([]) == {}
    broken = host(root, {"/usr/sbin/nft --json": Answer(0, "{", "")})
    assert broken.system.firewall_problem == "/usr/sbin/nft printed no JSON"
    refused = host(root, {"/usr/sbin/nft --json": Answer(1, "", "Operation not permitted")})
    assert "Operation not permitted" in refused.system.firewall_problem


def test_without_nftables_iptables_is_asked_for_both_versions(root: Path) -> None:
    for name in ("iptables", "ip6tables"):
        write(root, f"usr/sbin/{name}", mode=0o755)
    answers = {
        "/usr/sbin/iptables --list-rules": Answer(0, "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n", ""),
        "/usr/sbin/ip6tables --list-rules": Answer(0, "-P INPUT ACCEPT\n", ""),
    }
    found = host(root, answers)
    assert found.system.input_policies == {"ip filter INPUT": "drop", "ip6 filter INPUT": "accept"}


def test_members_of_a_group_are_second_and_first_members(monkeypatch: pytest.MonkeyPatch) -> None:
    class Group:
        gr_gid, gr_mem = 990, ["zoe", "ada"]

    class User:
        def __init__(self, name: str, gid: int) -> None:
            self.pw_name, self.pw_gid = name, gid

    monkeypatch.setattr(grp, "getgrnam", lambda _name: Group)
    monkeypatch.setattr(pwd, "getpwall", lambda: [User("eve", 990), User("bob", 100)])
    assert members("docker") == ("ada", "eve", "zoe")


def test_a_group_without_a_name_has_the_users_of_its_number() -> None:
    assert members("no-group-of-this-name") == ()
    user = pwd.getpwuid(os.getuid())
    assert user.pw_name in members(str(user.pw_gid))


def test_nothing_is_written_and_no_program_is_asked_to_change_anything(root: Path) -> None:
    for name in ("auditctl", "sshd", "nft", "apt-cache"):
        write(root, f"usr/sbin/{name}", mode=0o755)
    programs = Programs(
        {
            "/usr/sbin/auditctl -s": Answer(0, "enabled 1\n", ""),
            "/usr/sbin/auditctl -l": Answer(0, "No rules\n", ""),
            "/usr/sbin/sshd -T": Answer(0, "", ""),
            "/usr/sbin/nft --json": Answer(0, "{}", ""),
            "/usr/sbin/apt-cache policy": Answer(0, POLICY, ""),
        }
    )
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))
    look(programs, [], str(root))
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*")) == before
    assert sorted(argv[1] for argv in programs.asked) == ["--json", "-T", "-l", "-s", "info", "policy"]
