# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apt import (
    Wanted,
    check_wanted,
    configuration,
    describe_argv,
    download_argv,
    failure,
    parse_mirrors,
    parse_simulation,
    preferences,
    resolve_argv,
    sources,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError

MAIN, SECURITY = "http://mirror.example/debian/", "http://mirror.example/debian-security/"
TRIXIE = Wanted("trixie", "amd64", ("jq", "docker-compose=2.*"), MAIN, SECURITY)
BOOKWORM = dataclasses.replace(TRIXIE, suite="bookworm")


def test_the_suite_its_updates_and_its_security_updates_are_asked_for_signed_by_debian() -> None:
    first, second = sources(TRIXIE).split("\n\n")
    keyring = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    assert first.split("\n") == [
        "Types: deb",
        f"URIs: {MAIN}",
        "Suites: trixie trixie-updates",
        "Components: main",
        keyring,
    ]
    assert second.split("\n")[1:3] == [f"URIs: {SECURITY}", "Suites: trixie-security"]
    assert keyring in second
    assert preferences(TRIXIE) == ""


def test_debian_12_gets_dockers_plugins_from_debian_13_and_nothing_else() -> None:
    assert "Suites: bookworm bookworm-updates\n" in sources(BOOKWORM)
    assert "Suites: trixie\n" in sources(BOOKWORM)
    everything, plugins = preferences(BOOKWORM).strip().split("\n\n")
    assert everything.split("\n") == ["Package: *", "Pin: release n=trixie", "Pin-Priority: 50"]
    assert plugins.split("\n") == [
        "Package: docker-buildx docker-compose",
        "Pin: release n=trixie",
        "Pin-Priority: 500",
    ]


def test_without_dockers_plugins_debian_12_does_not_ask_debian_13() -> None:
    alone = dataclasses.replace(BOOKWORM, packages=("jq",))
    assert "trixie" not in sources(alone) + preferences(alone)


def test_without_a_security_archive_there_is_no_source_of_it() -> None:
    assert "security" not in sources(dataclasses.replace(TRIXIE, security_mirror=""))


MACHINE = """Dir "/";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Proxy::mirror.example "DIRECT";
Acquire::Check-Date "false";
Acquire::AllowInsecureRepositories "1";
Acquire::Languages:: "none";
APT::Architecture "riscv64";
APT::Get::AllowUnauthenticated "1";
"""


def test_the_machines_proxies_are_kept_and_nothing_that_weakens_signatures_or_leaves_the_root() -> None:
    told = configuration("/r", "arm64", MACHINE)
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in told
    assert 'Acquire::https::Proxy::mirror.example "DIRECT";' in told
    assert 'Acquire::Check-Date "false";' in told
    assert 'AllowInsecureRepositories "1"' not in told
    assert "AllowUnauthenticated" not in told
    assert 'Acquire::AllowInsecureRepositories "false";' in told
    assert 'APT::Architecture "arm64";' in told
    assert "riscv64" not in told
    folders = [line.split('"')[1] for line in told.splitlines() if line.startswith("Dir") and '""' not in line]
    assert all(folder.startswith(("/r", "/etc/apt/auth.conf")) for folder in folders)


@pytest.mark.parametrize(
    ("listed", "suite", "mirrors"),
    [
        pytest.param(
            ["Debian|bookworm|main|http://a/|", "Debian|bookworm-security|main|http://s/|"],
            "trixie",
            ("http://a/", "http://s/"),
            id="another release's mirror has this one too",
        ),
        pytest.param(
            ["Debian|bookworm|main|http://a/|", "Debian|trixie|main|http://b/|"],
            "trixie",
            ("http://b/", ""),
            id="this very suite first",
        ),
        pytest.param(
            ["Debian|stable-updates|main|http://a/|", "Debian|stable/updates|main|http://s/|"],
            "trixie",
            ("http://a/", "http://s/"),
            id="by the names of other times",
        ),
        pytest.param(
            ["|trixie|main|http://a/|/usr/share/keyrings/debian-archive-keyring.gpg", "|trixie|main|http://b/|"],
            "trixie",
            ("http://a/", ""),
            id="lists that were never fetched",
        ),
        pytest.param(
            [
                "Vendor|trixie|main|http://v/|",
                "Debian|nodistro|main|http://n/|",
                "Debian|trixie|contrib|http://c/|",
                "Debian Backports|trixie-backports|main|http://b/|",
                "|cloud-sdk-trixie|main|http://g/|",
                "broken",
                "",
            ],
            "trixie",
            ("", ""),
            id="nobody else's",
        ),
    ],
)
def test_the_mirrors_are_those_that_the_machine_itself_uses(
    listed: list[str], suite: str, mirrors: tuple[str, str]
) -> None:
    assert parse_mirrors("\n".join(listed), suite) == mirrors


def test_what_apt_would_install_is_read_from_what_it_simulates() -> None:
    said = """NOTE: This is only a simulation!
Inst libjq1 (1.7.1-6+deb13u1 Debian:13.1/stable, Debian-Security:13/stable-security [amd64])
Inst passwd [1:4.16-1] (1:4.17.4-2 Debian:13.1/stable [amd64]) []
Inst libc6:arm64 (2.41-12 Debian:13.1/stable [arm64])
Conf libjq1 (1.7.1-6+deb13u1 Debian:13.1/stable [amd64])
"""
    assert parse_simulation(said) == [
        ("libjq1", "1.7.1-6+deb13u1"),
        ("passwd", "1:4.17.4-2"),
        ("libc6", "2.41-12"),
    ]


def test_users_values_come_behind_the_end_of_options() -> None:
    for argv in (resolve_argv(["jq"]), download_argv(["jq"]), describe_argv([("jq", "1")])):
        assert argv[argv.index("--") + 1 :] in (["jq"], ["jq=1"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"mirror": "deb.example/debian"}, "mirror"),
        ({"mirror": "http://a/ trixie main\ndeb http://evil/"}, "mirror"),
        ({"security_mirror": "[trusted=yes] http://a/"}, "security_mirror"),
        ({"keyring": "keys.gpg"}, "keyring"),
        ({"keyring": "/a /b"}, "keyring"),
        ({"packages": ("--force-yes",)}, "packages"),
    ],
)
def test_options_that_would_become_something_else_are_refused(changed: dict[str, object], named: str) -> None:
    with pytest.raises(DepotError, match=f"^{named}") as caught:
        check_wanted(dataclasses.replace(TRIXIE, **changed))  # type: ignore[arg-type]  # some are wrong on purpose
    assert caught.value.reason == "invalid"


def test_a_usual_request_is_not_refused() -> None:
    check_wanted(TRIXIE)
    check_wanted(dataclasses.replace(TRIXIE, mirror="file:/srv/debian", security_mirror=""))


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        (
            "E: Unable to locate package nosuch\nE: Unable to locate package other",
            "invalid",
            "package nosuch, other for",
        ),
        ("E: Version '9.*' for 'jq' was not found", "invalid", "package jq for amd64"),
        ("E: Package 'jq' has no installation candidate", "invalid", "package jq for amd64"),
        ("E: You don't have enough free space in /x/archives/.", "no_space", "room"),
        ("W: GPG error: invalid signature\nE: write: No space left on device", "no_space", "room"),
        ("E: Could not get lock /x/lists/lock. It is held by process 7", "locked", "another run"),
        ("E: Release file for http://a is not valid yet (invalid for another 3d)", "clock", "clock"),
        ("W: GPG error: http://a trixie InRelease: NO_PUBKEY 0E98404D386FA1D9", "unsigned", "keyring"),
        ("E: The repository 'http://a trixie Release' is not signed.", "unsigned", "signature of trixie"),
        ("E: Failed to fetch http://a/x.deb  Hash Sum mismatch", "blob_corrupt", "nothing of it was kept"),
        ("E: Failed to fetch http://a/x.deb  File has unexpected size (1 != 2)", "blob_corrupt", "another mirror"),
        ("The following packages have unmet dependencies:\n a : Depends: b\nE: Broken", "invalid", "together"),
        ("W: Failed to fetch http://a  Temporary failure resolving 'a'", "unavailable", "cannot be reached"),
        ("E: Failed to fetch http://a  Could not connect to 127.0.0.1:9", "unavailable", "cannot be reached"),
        ("E: The repository 'http://a nosuch Release' does not have a Release file.", "unavailable", "no suite trixie"),
        ("E: something that was never seen", "unavailable", "something that was never seen"),
        ("", "unavailable", "apt said: nothing"),
    ],
)
def test_apts_complaints_become_a_reason_and_a_way_out(said: str, reason: str, told: str) -> None:
    error = failure(said, TRIXIE, "reading lists")
    assert error.reason == reason
    assert told in str(error)


def test_the_packages_that_the_archive_lacks_are_facts_of_the_result() -> None:
    assert failure("E: Unable to locate package nosuch", TRIXIE, "x").details == {"packages": ["nosuch"]}
