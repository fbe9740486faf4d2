# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_debian import (
    debian_argv,
    debian_environment,
    explain_debian_failure,
    is_local,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import Recipe

RECIPE = Recipe("trixie", ("netbase", "tzdata"), run=(("/usr/bin/python3", "-c", "print('a b')"),))


def test_packages_are_only_unpacked_and_written_to_standard_output() -> None:
    argv = debian_argv(RECIPE)
    assert argv[:4] == ["mmdebstrap", "--variant=extract", "--format=tar", "--include=netbase,tzdata"]
    assert argv[-3:] == ["--", "trixie", "-"]


def test_packages_of_another_architecture_are_asked_for_by_its_name() -> None:
    assert "--architectures=armhf" in debian_argv(RECIPE, None, "armhf")
    assert not [word for word in debian_argv(RECIPE) if word.startswith("--architectures")]


def test_programs_run_in_the_tree_after_the_packages_were_recorded() -> None:
    hooks = [word for word in debian_argv(RECIPE) if word.startswith("--extract-hook=")]
    assert "status.d" in hooks[0]
    assert hooks[1:] == ["--extract-hook=chroot \"$1\" /usr/bin/python3 -c 'print('\"'\"'a b'\"'\"')'"]


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        pytest.param(None, [], id="mmdebstrap chooses"),
        pytest.param("", [], id="empty is none"),
        pytest.param("http://mirror.example/debian", ["http://mirror.example/debian"], id="a URL"),
        pytest.param(
            "deb http://a x main\n\n deb http://b y main\n", ["deb http://a x main", "deb http://b y main"], id="lines"
        ),
    ],
)
def test_mirrors_come_last(mirror: str | None, words: list[str]) -> None:
    assert debian_argv(RECIPE, mirror)[-len(words) - 2 :] == ["trixie", "-", *words]


def test_of_the_environment_only_the_way_to_the_archive_is_passed_on() -> None:
    inherited = {"PATH": "/bin", "http_proxy": "http://p", "NO_PROXY": "x", "TOKEN": "secret", "PYTHONPATH": "/x"}
    environment = debian_environment(inherited, "/var/tmp/x")
    assert environment["PATH"] == "/bin:/usr/sbin:/sbin"
    assert environment["TMPDIR"] == "/var/tmp/x"
    assert environment["SOURCE_DATE_EPOCH"] == "1735689600"
    assert (environment["http_proxy"], environment["NO_PROXY"]) == ("http://p", "x")
    assert not {"TOKEN", "PYTHONPATH"} & set(environment)


# Ends of what mmdebstrap 1.3.5 and 1.5.7 wrote; only the archive's name was changed.
FAILURES = [
    pytest.param(
        "I: downloading packages with apt...\n"
        "Reading package lists...\nBuilding dependency tree...\nE: Unable to locate package no-such-thing\n"
        "E: apt download failed: E: apt-get --yes install netbase no-such-thing failed\nE: mmdebstrap failed to run\n",
        "suite trixie at the-mirror has no package no-such-thing; correct packages in the recipe",
        id="unknown package",
    ),
    pytest.param(
        "E: Package 'mongodb' has no installation candidate\nE: mmdebstrap failed to run\n",
        "has no package mongodb",
        id="package without a candidate",
    ),
    pytest.param(
        "Err:2 http://archive.example/debian nosuchsuite Release\n  404  Not Found [IP: 203.0.113.80 80]\n"
        "E: The repository 'http://archive.example/debian nosuchsuite Release' does not have a Release file.\n",
        "the-mirror has no suite trixie",
        id="unknown suite",
    ),
    pytest.param(
        "Err:1 http://127.0.0.1:9/debian trixie InRelease\n"
        "  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)\n"
        "E: Some index files failed to download. They have been ignored, or old ones used instead.\n",
        "the-mirror cannot be reached; check the network, or set mirror",
        id="archive that refuses",
    ),
    pytest.param(
        "E: Failed to fetch http://no.invalid/debian/dists/trixie/InRelease  Could not resolve 'no.invalid'\n",
        "the-mirror cannot be reached",
        id="archive without an address",
    ),
    pytest.param(
        "  At least one invalid signature was encountered.\n"
        "E: The repository 'http://archive.example/debian-security trixie-security InRelease' is not signed.\n"
        "E: Write error - write (28: No space left on device)\n",
        "no space left in /var/tmp; free some, or set work_directory",
        id="a full disk breaks signatures too",
    ),
    pytest.param(
        "E: Failed to fetch http://archive.example/debian/dists/trixie-updates/main/binary-armhf/Packages.xz  "
        "File has unexpected size (720 != 1108). Mirror sync in progress? [IP: 203.0.113.80 80]\n",
        "the-mirror is being updated, and its parts do not fit together; run again later",
        id="an archive in the middle of an update",
    ),
    pytest.param(
        "  The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B8\n",
        "install the package debian-archive-keyring in a version that knows this suite",
        id="unknown key",
    ),
    pytest.param(
        "chroot: failed to run command '/nope': No such file or directory\n"
        'E: setup failed: E: command failed: chroot "$1" /nope\nE: mmdebstrap failed to run\n',
        "/nope failed, which the recipe's run asks for",
        id="a program that the tree lacks",
    ),
    pytest.param("I: success\nE: unheard of\n", "mmdebstrap said:\n  E: unheard of", id="anything else is quoted"),
    pytest.param("", "mmdebstrap said:\n  nothing", id="silence"),
]


@pytest.mark.parametrize(("output", "message"), FAILURES)
def test_a_failure_names_its_cause_and_the_way_out(output: str, message: str) -> None:
    assert message in explain_debian_failure(output, "trixie", "the-mirror", "/var/tmp")


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (None, False),
        ("", False),
        ("http://archive.example/debian", False),
        ("copy:/media/debian", True),
        ("deb [trusted=yes] file:/srv/debian trixie main\ndeb copy:/srv/security trixie main", True),
        ("deb copy:/srv/debian trixie main\ndeb https://archive.example/debian trixie main", False),
    ],
)
def test_only_an_archive_that_is_here_in_whole_is_local(mirror: str | None, expected: bool) -> None:
    assert is_local(mirror) is expected
