# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_info import (
    Package,
    Ways,
    drifted,
    has_keys,
    key_file,
    parse_codename,
    parse_open_files,
    parse_packages,
    parse_tables,
    parse_ways,
    settled_here,
    tightened,
)


def test_only_installed_packages_count_and_holds_are_told() -> None:
    answer = (
        "install installed nftables 1.1.3-1\n"
        "hold installed docker-ce 5:27.5.1-1\n"
        "deinstall config-files chrony 4.6-1\n"
        "unknown not-installed auditd \n"
    )
    assert parse_packages(answer) == {"nftables": Package("1.1.3-1", False), "docker-ce": Package("5:27.5.1-1", True)}


def test_tables_are_told_by_family_and_name() -> None:
    assert parse_tables("table ip nat\ntable inet fleet_docker\n") == ["inet fleet_docker", "ip nat"]
    assert parse_tables("") == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Debian GNU/Linux"\nVERSION_CODENAME=trixie\n', "trixie"),
        ('VERSION_CODENAME="noble"\n', "noble"),
        ("NAME=Other\n", ""),
    ],
)
def test_a_systems_code_name_is_read_with_quotes_and_without(text: str, name: str) -> None:
    assert parse_codename(text) == name


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("Max open files            1024                 20000                files     ", 20000),
        ("Max open files            1024                 unlimited            files     ", 2**30),
        ("Max open files            1024                 9223372036854775807  files     ", 2**30),
        ("Max processes             1                    1                    processes ", 2**30),
    ],
    ids=["a limit", "unlimited", "more than the kernel has", "not told"],
)
def test_the_hard_limit_of_open_files_is_what_counts(line: str, limit: int) -> None:
    assert (
        parse_open_files(f"Limit                     Soft Limit           Hard Limit           Units     \n{line}\n")
        == limit
    )


SSHD = (
    "permitrootlogin without-password\nport 22\nport 2222\npubkeyauthentication yes\n"
    "authorizedkeysfile .ssh/authorized_keys /etc/keys/%u\n"
)


def test_sshd_says_where_it_listens_and_where_keys_are() -> None:
    assert parse_ways(SSHD) == Ways(
        (".ssh/authorized_keys", "/etc/keys/%u"), False, True, (22, 2222), "without-password"
    )


@pytest.mark.parametrize(
    ("more", "delegated"),
    [
        ("authorizedkeyscommand /usr/bin/ask\n", True),
        ("authorizedkeyscommand none\n", False),
        ("trustedusercakeys /etc/ssh/ca.pub\n", True),
        ("trustedusercakeys none\n", False),
        ("gssapiauthentication yes\n", True),
    ],
)
def test_keys_may_come_from_elsewhere_than_a_users_files(more: str, delegated: bool) -> None:
    assert parse_ways(SSHD + more).delegated is delegated


def test_an_sshd_that_takes_no_keys_is_told_as_such() -> None:
    assert not parse_ways("pubkeyauthentication no\nauthorizedkeysfile none\n").by_key
    assert parse_ways("authorizedkeysfile none\n").key_files == ()


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (".ssh/authorized_keys", "/home/ana/.ssh/authorized_keys"),
        ("/etc/ssh/keys/%u", "/etc/ssh/keys/ana"),
        ("%h/keys", "/home/ana/keys"),
        ("/etc/100%%u/%u", "/etc/100%u/ana"),
    ],
)
def test_a_pattern_of_key_files_leads_where_sshd_looks(pattern: str, path: str) -> None:
    assert key_file(pattern, "ana", "/home/ana") == path


def test_a_file_of_keys_that_has_only_comments_has_none() -> None:
    assert has_keys("# ana's\n\nssh-ed25519 AAAA ana\n")
    assert not has_keys("# ana's\n\n   \n  # none\n")


def test_a_setting_drifts_when_its_value_is_another_and_blanks_do_not_count() -> None:
    wanted: dict[str, t.Any] = {"net.a": 1, "net.b": "4096\t87380", "net.gone": 1}
    assert drifted(wanted, {"net.a": "0", "net.b": "4096 87380"}) == ["net.a"]


def test_in_a_container_only_settings_of_networks_are_its_own() -> None:
    assert settled_here("kernel.dmesg_restrict", "")
    assert not settled_here("kernel.dmesg_restrict", "docker")
    assert settled_here("net.ipv4.tcp_syncookies", "docker")


@pytest.mark.parametrize(
    ("found", "most", "mode"),
    [(0o666, 0o644, 0o644), (0o600, 0o644, 0o600), (0o644, 0o644, 0o644), (0o777, 0o755, 0o755)],
)
def test_what_is_tighter_than_it_need_be_stays_so(found: int, most: int, mode: int) -> None:
    assert tightened(found, most) == mode
