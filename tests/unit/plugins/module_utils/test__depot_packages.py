# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages import (
    SUITES,
    Package,
    check_requests,
    choose,
    default_packages,
    field,
    make_plan,
    parse_date,
    parse_stanzas,
    write_index,
    write_release,
)

ROLES = pathlib.Path(__file__).parents[4] / "roles"
SHA = hashlib.sha256(b"jq").hexdigest()
STANZA = f"""Package: jq
Version: 1:1.7.1-6+deb13u1
Architecture: amd64
Depends: libjq1 (= 1.7.1-6+deb13u1), libc6 (>= 2.38)
Description: lightweight and flexible command-line JSON processor
 More of it,
 .
 on several lines with Filename: in one of them
Tag: implemented-in::c,
 role::program
Filename: pool/main/j/jq/jq_1.7.1-6+deb13u1_amd64.deb
Size: 79404
MD5sum: 00000000000000000000000000000000
SHA256: {SHA}"""


def package(name: str = "jq", version: str = "1.7.1-6", sha256: str = SHA) -> Package:
    return Package(name, version, "amd64", 10, sha256, f"Package: {name}\nVersion: {version}\nSHA256: {sha256}")


def test_a_stanza_of_the_archive_is_read_and_kept() -> None:
    (found,) = parse_stanzas(STANZA + "\n\n")
    assert (found.name, found.version, found.architecture) == ("jq", "1:1.7.1-6+deb13u1", "amd64")
    assert (found.size, found.sha256, found.stanza) == (79404, SHA, STANZA)


def test_a_file_has_no_epoch_in_its_name_and_apts_own_copy_has() -> None:
    (found,) = parse_stanzas(STANZA)
    assert found.path == "pool/jq_1.7.1-6+deb13u1_amd64.deb"
    assert found.archive_name == "jq_1%3a1.7.1-6+deb13u1_amd64.deb"


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ("Package: jq", "Package: ../../etc/passwd", "Package"),
        ("Package: jq", "", "Package"),
        ("Version: 1:1.7.1-6+deb13u1", "Version: 1/../../x", "Version"),
        ("Version: 1:1.7.1-6+deb13u1", "Version: 1:1:1", "Version"),
        ("Architecture: amd64", "Architecture: amd64/..", "Architecture"),
        ("Size: 79404", "Size: many", "Size"),
        ("Size: 79404", "Size: -1", "Size"),
        (f"SHA256: {SHA}", f"SHA256: {SHA[:-1]}", "SHA256"),
        (f"SHA256: {SHA}", f"SHA256: {SHA.upper()}", "SHA256"),
        (f"\nSHA256: {SHA}", "", "SHA256"),
    ],
)
def test_an_index_that_cannot_be_relied_on_is_refused_and_the_field_is_named(
    line: str, instead: str, named: str
) -> None:
    with pytest.raises(DepotError, match=rf": {named} is ") as caught:
        parse_stanzas(STANZA.replace(line, instead))
    assert caught.value.reason == "blob_corrupt"


def test_a_field_is_found_by_its_name_and_not_in_another_ones_text() -> None:
    assert field(STANZA, "filename") == "pool/main/j/jq/jq_1.7.1-6+deb13u1_amd64.deb"
    assert field(STANZA, "Tag") == "implemented-in::c,"
    assert field("X-Size: 1\nSize:", "Size") == ""


def test_the_index_is_what_the_archive_says_with_the_place_that_a_package_has_here() -> None:
    (found,) = parse_stanzas(STANZA)
    (again,) = parse_stanzas(write_index([found]).decode())
    kept = [line for line in STANZA.split("\n") if not line.startswith("Filename: ")]
    assert again.stanza.split("\n") == [*kept, "Filename: pool/jq_1.7.1-6+deb13u1_amd64.deb"]
    assert " on several lines with Filename: in one of them" in again.stanza


def test_the_same_packages_give_the_same_bytes_in_whatever_order_they_were_found() -> None:
    packages = [package("b"), package("a"), package("c")]
    assert write_index(packages) == write_index(reversed(packages))
    index = write_index(packages)
    assert write_release("trixie", "amd64", 1763400000, index) == write_release("trixie", "amd64", 1763400000, index)


def test_the_release_file_binds_the_index_and_has_the_time_that_it_was_given() -> None:
    told = write_release("trixie", "arm64", 1763400000, b"index").decode()
    assert "\nDate: Mon, 17 Nov 2025 17:20:00 UTC\n" in told
    assert f"\nSHA256:\n {hashlib.sha256(b'index').hexdigest()} 5 Packages\n" in told
    assert "\nCodename: trixie\nDate" in told
    assert "\nArchitectures: arm64\n" in told
    assert "Valid-Until" not in told


@pytest.mark.parametrize(
    ("found", "missing", "stale"),
    [
        ({}, ["a", "b"], []),
        ({"pool/a_1.7.1-6_amd64.deb": SHA, "pool/b_1.7.1-6_amd64.deb": SHA, "Packages": "x", "Release": "y"}, [], []),
        ({"pool/a_1.7.1-6_amd64.deb": SHA, "pool/b_1.7.1-6_amd64.deb": "0" * 64}, ["b"], []),
        ({"pool/a_1.7.1-5_amd64.deb": SHA}, ["a", "b"], ["pool/a_1.7.1-5_amd64.deb"]),
        ({"Packages.new": SHA, "pool/a_1.7.1-6_amd64.deb.new": SHA}, ["a", "b"], None),
    ],
)
def test_what_is_missing_wrong_or_not_needed_any_more_is_planned(
    found: dict[str, str], missing: list[str], stale: list[str] | None
) -> None:
    plan = make_plan((package("a"), package("b")), found)
    assert [one.name for one in plan.missing] == missing
    assert list(plan.stale) == (sorted(found) if stale is None else stale)
    assert plan.bytes_to_fetch == 10 * len(missing)
    assert plan.size == 20


@pytest.mark.parametrize("path", ["notes.txt", "pool/a.txt", "pool/sub/a.deb", "Packages.old", "other/a.deb"])
def test_a_foreign_file_is_refused_for_it_would_be_signed(path: str) -> None:
    with pytest.raises(DepotError, match="move it away") as caught:
        make_plan((package(),), {path: SHA})
    assert (caught.value.reason, caught.value.details) == ("invalid", {"path": path})


def test_what_apt_chose_is_found_in_the_index_and_sorted() -> None:
    a, b = package("a"), package("b", "2")
    assert choose([("b", "2"), ("a", "1.7.1-6"), ("b", "2")], [b, a, package("a", "1.7.1-6", "f" * 64)]) == (a, b)


def test_a_choice_that_the_index_does_not_describe_is_refused() -> None:
    with pytest.raises(DepotError, match=r"apt would install b 3") as caught:
        choose([("b", "3")], [package("b", "2")])
    assert caught.value.reason == "mixed"


@pytest.mark.parametrize(
    "request_", ["", "-o=x", "--allow-unauthenticated", "Jq", "jq/trixie", "jq=", "jq=1 2", "./x.deb", "jq-", "jq\n"]
)
def test_what_apt_would_take_for_something_else_is_refused(request_: str) -> None:
    with pytest.raises(DepotError, match="packages") as caught:
        check_requests([request_])
    assert caught.value.reason == "invalid"


def test_no_package_at_all_is_refused() -> None:
    with pytest.raises(DepotError, match="packages is empty"):
        check_requests([])


HEADER = b"!<arch>\ndebian-binary   1763400000  0     0     100644  4         `\n"


def test_a_package_tells_when_it_was_made() -> None:
    assert len(HEADER) == 68
    assert parse_date(HEADER) == 1763400000


@pytest.mark.parametrize("header", [b"", HEADER[:30], HEADER.replace(b"!<arch>", b"!<ARCH>"), b"\x7fELF" * 17])
def test_what_is_no_package_tells_no_time(header: bytes) -> None:
    with pytest.raises(DepotError) as caught:
        parse_date(header)
    assert caught.value.reason == "blob_corrupt"


def installed_by_roles(suite: str) -> set[str]:
    """What the two roles install on hosts, by their own variables."""
    docker: dict[str, t.Any] = yaml.safe_load((ROLES / "docker_host/vars/main/install.yml").read_text(encoding="utf-8"))
    deploy: dict[str, t.Any] = yaml.safe_load((ROLES / "compose_deploy/vars/main.yml").read_text(encoding="utf-8"))
    release = docker["__docker_host_releases"][{"bookworm": "Debian 12", "trixie": "Debian 13"}[suite]]
    lists = [release["engine"], release["compose"], release["buildx"], deploy["__compose_deploy_packages"]]
    harden: dict[str, t.Any] = yaml.safe_load((ROLES / "docker_host/vars/main/harden.yml").read_text(encoding="utf-8"))
    # What is on by default where packages come from a depot; unattended upgrades are not.
    tools = harden["__docker_host_subject_packages"]
    lists.append([tools[subject] for subject in ("audit_rules", "firewall", "kernel", "time")])
    return {name for names in lists for name in names} | {"python3-apt"}


@pytest.mark.parametrize("suite", SUITES)
def test_by_default_all_that_the_roles_install_is_there(suite: str) -> None:
    assert installed_by_roles(suite) <= set(default_packages(suite))
    check_requests(default_packages(suite))
