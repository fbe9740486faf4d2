# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role decides from what it finds: the expressions of its vars, without a host."""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.emorobcare.fleet.tests.unit.roles.docker_host._role import ROLE, decide, host_info


def info(version: str = "", plugins: t.Sequence[str] = (), **more: t.Any) -> dict[str, t.Any]:
    """What `docker info` says."""
    client = {"Plugins": [{"Name": plugin} for plugin in plugins]} if plugins else {"Plugins": None}
    return {"stdout": json.dumps({"ServerVersion": version, "ClientInfo": client, **more}), "stderr": ""}


def host(major: str, look: dict[str, t.Any], packages: t.Sequence[str] = (), dockerd: bool = False) -> dict[str, t.Any]:
    system, _blank, release = major.rpartition(" ")
    facts = {
        "distribution": system or "Debian",
        "distribution_major_version": release.partition(".")[0],
        "distribution_version": release,
        "distribution_release": "bookworm",
    }
    found = {package: {"version": "1", "held": False} for package in (*packages, *TOOLS)}
    return {
        "ansible_facts": facts,
        "__docker_host_host": host_info(packages=found, docker=look),
        "__docker_host_dockerd": {"rc": 0 if dockerd else 1},
    }


# What hardening needs is there, unless a test is about that.
TOOLS = ("auditd", "chrony", "nftables", "procps", "unattended-upgrades")

NOTHING = {"stdout": "", "stderr": "no command docker"}
BARE_CLIENT = info()
WITHOUT_BUILDX = info("20.10.24", ["compose"])


@pytest.mark.parametrize(
    ("look", "answers", "missing"),
    [
        (info("26.1.5", ["buildx", "compose", "scan"]), True, []),
        (WITHOUT_BUILDX, True, ["buildx"]),
        (info("26.1.5"), True, ["compose", "buildx"]),
        (info("", ["buildx", "compose"]), False, []),
        (NOTHING, False, ["compose", "buildx"]),
        ({"stdout": "Cannot connect", "stderr": ""}, False, ["compose", "buildx"]),
    ],
)
def test_what_docker_says_of_itself_is_understood(look: dict[str, t.Any], answers: bool, missing: list[str]) -> None:
    found = host_info(docker=look)
    assert decide("__docker_host_engine_answers", __docker_host_host=found) is answers
    assert decide("__docker_host_missing_plugins", __docker_host_host=found) == missing


def test_a_plugin_that_does_not_start_is_missing() -> None:
    client = {"Plugins": [{"Name": "compose"}, {"Name": "buildx", "Err": "exec format error"}]}
    look = {"stdout": json.dumps({"ServerVersion": "26.1.5", "ClientInfo": client}), "stderr": ""}
    assert decide("__docker_host_missing_plugins", __docker_host_host=host_info(docker=look)) == ["buildx"]


DEBIAN_12 = ["docker.io", "iptables", "docker-compose=2.*", "docker-buildx", "python3-apt"]
DEBIAN_13 = ["docker.io", "docker-cli", "iptables", "docker-compose=2.*", "docker-buildx", "python3-apt"]


@pytest.mark.parametrize(
    ("found", "origin", "wanted", "release"),
    [
        pytest.param(host("12", NOTHING), "debian", DEBIAN_12, "trixie", id="a bare Debian 12"),
        pytest.param(host("13", NOTHING), "debian", DEBIAN_13, "", id="a bare Debian 13"),
        pytest.param(host("12", BARE_CLIENT), "debian", DEBIAN_12, "trixie", id="a client of somebody's alone"),
        pytest.param(
            host("12", info("", ["compose", "buildx"])),
            "debian",
            ["docker.io", "iptables", "python3-apt"],
            "",
            id="the plugins without an engine need no other release",
        ),
        pytest.param(
            host("12", WITHOUT_BUILDX, ["docker.io"], dockerd=True),
            "debian",
            ["docker-buildx", "python3-apt"],
            "trixie",
            id="only the plugin",
        ),
        pytest.param(
            host("12", WITHOUT_BUILDX, ["docker-ce"], dockerd=True),
            "docker",
            ["docker-buildx-plugin", "python3-apt"],
            "",
            id="Docker's own engine gets Docker's own plugin",
        ),
        pytest.param(
            host("13", info("", ["compose"]), ["docker.io"], dockerd=True),
            "debian",
            ["docker-buildx", "python3-apt"],
            "",
            id="a stopped engine is not installed again",
        ),
    ],
)
def test_only_what_is_missing_is_installed_and_from_where_it_fits(
    found: dict[str, t.Any], origin: str, wanted: list[str], release: str
) -> None:
    assert decide("__docker_host_origin", **found) == origin
    assert decide("__docker_host_wanted", **found) == wanted
    assert decide("__docker_host_plugins_release", **found) == release


DOCKER_CE = [
    "docker-ce",
    "docker-ce-cli",
    "containerd.io",
    "iptables",
    "docker-compose-plugin",
    "docker-buildx-plugin",
    "python3-apt",
]
UBUNTU = ["docker.io", "iptables", "docker-compose-v2", "docker-buildx", "python3-apt"]


@pytest.mark.parametrize(
    ("system", "source", "wanted"),
    [
        pytest.param("Ubuntu 22.04", "debian", UBUNTU, id="Ubuntu 22.04 from its own archive"),
        pytest.param("Ubuntu 24.04", "debian", UBUNTU, id="Ubuntu 24.04 from its own archive"),
        pytest.param("Debian 12", "docker", DOCKER_CE, id="Debian 12 from Docker's repository"),
        pytest.param("Debian 13", "docker", DOCKER_CE, id="Debian 13 from Docker's repository"),
        pytest.param("Ubuntu 24.04", "docker", DOCKER_CE, id="Ubuntu from Docker's repository"),
    ],
)
def test_each_source_has_its_packages_and_only_the_archive_of_debian_12_needs_another_release(
    system: str, source: str, wanted: list[str]
) -> None:
    found = {**host(system, NOTHING), "docker_host_source": source}
    assert decide("__docker_host_wanted", **found) == wanted
    assert decide("__docker_host_plugins_release", **found) == ""


def test_dockers_repository_is_told_to_apt_only_where_the_engine_is_from_there() -> None:
    asked = {"docker_host_source": "docker", "docker_host_repository_uri": "https://mirror.example.org/debian"}
    engine = info("26.1.5", ["compose", "buildx"])
    for packages, uri in [(["docker-ce"], asked["docker_host_repository_uri"]), (["docker.io"], "")]:
        (docker, nvidia) = decide("__docker_host_repositories", **host("13", engine, packages, dockerd=True), **asked)
        assert (docker["uri"], docker["suite"], docker["component"]) == (uri, "bookworm", "stable")
        assert nvidia["uri"] == ""


def test_apt_is_told_again_only_when_it_was_told_something_else(tmp_path: pathlib.Path) -> None:
    key = tmp_path / "docker.asc"
    key.write_text("a key\n", encoding="utf-8")
    asked = {
        "ansible_managed": "managed",
        "ansible_check_mode": False,
        "docker_host_source": "docker",
        "docker_host_repository_uri": "https://mirror.example.org/debian",
        "docker_host_repository_key": str(key),
        "docker_host_versions": {"docker-ce": "5:28.*"},
    }
    found = host("13", info("28.0.0", ["compose", "buildx"]), ["docker-ce"], dockerd=True)
    wanted = decide("__docker_host_apt_wanted", **found, **asked)
    assert wanted["/etc/apt/keyrings/docker-host.asc"] == "a key\n"
    assert "URIs: https://mirror.example.org/debian\n" in wanted["/etc/apt/sources.list.d/docker-host.sources"]
    assert "Pin: version 5:28.*\n" in wanted["/etc/apt/preferences.d/docker-host-versions.pref"]
    assert decide("__docker_host_apt_differs", **found, **asked) is True
    found["__docker_host_host"]["paths"] = {
        path: hashlib.sha256(content.encode()).hexdigest() for path, content in wanted.items()
    }
    assert decide("__docker_host_apt_differs", **found, **asked) is False
    assert decide("__docker_host_apt_differs", **found) is False  # nothing is asked for


def test_what_hardening_needs_is_installed_with_the_engine() -> None:
    found = host("13", NOTHING)
    found["__docker_host_host"]["packages"] = {}
    assert decide("__docker_host_missing_tools", **found) == [
        "auditd",
        "nftables",
        "procps",
        "systemd-timesyncd",
        "unattended-upgrades",
    ]
    assert "nftables" in decide("__docker_host_wanted", **found)
    assert decide("__docker_host_missing_tools", **found, docker_host_harden="false") == []


def test_what_a_depot_lacks_is_not_asked_for_and_its_subjects_are_left_out() -> None:
    found = {
        **host("13", NOTHING),
        "docker_host_packages": "/var/lib/fleet/packages",
        "__docker_host_candidates": {
            "stdout": "nftables:\n  Installed: (none)\n  Candidate: 1.1.3-1\n"
            "auditd:\n  Installed: (none)\n  Candidate: (none)\n"
        },
    }
    found["__docker_host_host"]["packages"] = {"procps": {"version": "1", "held": False}}
    assert sorted(decide("__docker_host_unavailable", **found)) == ["auditd", "systemd-timesyncd"]
    assert sorted(decide("__docker_host_untooled", **found)) == ["audit_rules", "time"]
    assert "nftables" in decide("__docker_host_wanted", **found)
    assert not {"auditd", "systemd-timesyncd", "unattended-upgrades"} & set(decide("__docker_host_wanted", **found))
    assert "firewall" in decide("__docker_host_on", **found)
    assert not {"audit_rules", "time", "updates"} & set(decide("__docker_host_on", **found))


@pytest.mark.parametrize(("held", "wrong"), [(False, ["docker-ce"]), (True, [])], ids=["not held yet", "held"])
def test_a_version_is_held_once_and_only_of_what_is_installed(held: bool, wrong: list[str]) -> None:
    found = host_info(packages={"docker-ce": {"version": "5:27.5.1-1", "held": held}})
    asked = {"docker_host_versions": {"docker-ce": "5:27.*", "docker-ce-cli": "5:27.*"}}
    assert decide("__docker_host_held_wrong", __docker_host_host=found, **asked) == wrong


def test_an_engine_of_no_package_is_foreign() -> None:
    assert decide("__docker_host_origin", **host("12", WITHOUT_BUILDX, dockerd=True)) == "foreign"


@pytest.mark.parametrize(
    ("targets", "archive", "mirror"),
    [
        pytest.param(
            ["vendor|bookworm|main|http://vendor/", "Debian|bookworm|main|http://mirror/debian/"],
            "",
            "http://mirror/debian/",
            id="the archive that says that it is Debian's",
        ),
        pytest.param(
            ["Debian|bookworm-security|main|http://security/", "|bookworm|main|http://mirror/debian/"],
            "",
            "http://mirror/debian/",
            id="the release itself, not its security archive",
        ),
        pytest.param(["Debian|bookworm|main|http://mirror/"], "http://own/debian", "http://own/debian", id="as told"),
        pytest.param(["Debian|sid|main|http://mirror/"], "", "", id="none"),
        pytest.param([], "", "", id="no lists"),
    ],
)
def test_the_plugins_come_from_the_mirror_that_the_host_uses(targets: list[str], archive: str, mirror: str) -> None:
    found = {**host("12", NOTHING), "__docker_host_targets": {"stdout_lines": targets}, "docker_host_archive": archive}
    assert decide("__docker_host_mirror", **found) == mirror


@pytest.mark.parametrize("major", ["12", "13"])
@pytest.mark.parametrize("check", [True, False])
def test_with_a_depots_packages_apt_is_told_of_them_alone_in_check_mode_too(major: str, check: bool) -> None:
    found = {
        **host(major, NOTHING),
        "docker_host_packages": "/var/lib/fleet/packages",
        "__docker_host_sandbox": {"path": "/tmp/x"},
        "ansible_check_mode": check,
    }
    assert decide("__docker_host_repository", **found) == "/var/lib/fleet/packages/bookworm"
    assert decide("__docker_host_apt_environment", **found)["APT_CONFIG"] == "/tmp/x/apt.conf"
    assert decide("__docker_host_apt_options", **found) == []
    assert decide("__docker_host_plugins_release", **found) == ""
    assert decide("__docker_host_wanted", **found) == {"12": DEBIAN_12, "13": DEBIAN_13}[major]


def test_without_a_depot_apt_has_its_own_configuration() -> None:
    assert "APT_CONFIG" not in decide("__docker_host_apt_environment", **host("13", NOTHING))


def rendered(name: str) -> list[str]:
    """The lines of a template for apt that are no comments."""
    text = (ROLE / "templates" / "depot" / name).read_text(encoding="utf-8")
    variables = {
        "ansible_managed": "managed",
        "__docker_host_sandbox": {"path": "/tmp/x"},
        "__docker_host_repository": "/var/lib/fleet/packages/trixie",
    }
    told = str(Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text)))
    return [line for line in told.splitlines() if line and not line.startswith(("#", "//"))]


def test_the_depots_source_is_a_folder_whose_trust_was_established_before() -> None:
    assert rendered("depot.sources.j2") == [
        "Types: deb",
        "URIs: file:/var/lib/fleet/packages/trixie",
        "Suites: ./",
        "Trusted: yes",
        "Check-Date: no",
        "Check-Valid-Until: no",
    ]


def test_apt_reads_no_other_source_and_writes_no_list_of_the_hosts_own() -> None:
    told = dict(line.rstrip(";").split(" ", 1) for line in rendered("apt.conf.j2"))
    assert told["Dir::Etc::SourceList"] == '"/tmp/x/depot.sources"'
    assert told["Dir::Etc::SourceParts"] == '"/dev/null"'
    assert told["Dir::State::Lists"] == '"/tmp/x/lists"'
    assert told["Dir::Cache::pkgcache"] == told["Dir::Cache::srcpkgcache"] == '""'


def test_defaults_and_argument_specs_are_the_same() -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert {name: option["default"] for name, option in options.items()} == defaults
