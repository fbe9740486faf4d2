# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apt import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages import Package, Plan, default_packages
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages_write import Apt
from ansible_collections.emorobcare.fleet.plugins.modules import depot_packages

PARAMS = {
    "suite": "trixie",
    "architecture": "amd64",
    "packages": None,
    "mirror": "",
    "security_mirror": "",
    "keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}
OWN = "Debian|trixie|main|http://own/debian/|\nDebian|trixie-security|main|http://own/security/|\n"


def machine(sources: str) -> Apt:
    """apt on a machine that has these package sources."""
    return Apt("/nowhere", lambda argv, _environment: (0, sources if "indextargets" in argv else "", ""))


def test_documentation_and_argument_spec_are_equal() -> None:
    options = yaml.safe_load(depot_packages.DOCUMENTATION)["options"]
    keys = ("type", "elements", "required", "default", "choices")
    told = {name: {key: option[key] for key in keys if key in option} for name, option in options.items()}
    assert told == depot_packages.ARGUMENT_SPEC
    reasons = yaml.safe_load(depot_packages.RETURN)["reason"]["choices"]
    assert set(reasons) <= set(t.get_args(Reason))


@pytest.mark.parametrize(
    ("given", "mirror", "security"),
    [
        ({}, "http://own/debian/", "http://own/security/"),
        ({"security_mirror": "http://s/"}, "http://own/debian/", "http://s/"),
        ({"mirror": "http://m/"}, "http://m/", ""),
        ({"mirror": "http://m/", "security_mirror": "http://s/"}, "http://m/", "http://s/"),
    ],
)
def test_the_machines_own_mirrors_count_where_none_is_named(given: dict[str, str], mirror: str, security: str) -> None:
    wanted = depot_packages.make_wanted({**PARAMS, **given}, machine(OWN))
    assert (wanted.mirror, wanted.security_mirror) == (mirror, security)
    assert list(wanted.packages) == default_packages("trixie")


def test_a_machine_that_knows_no_archive_is_told_what_to_set() -> None:
    with pytest.raises(DepotError, match="set mirror") as caught:
        depot_packages.make_wanted(PARAMS, machine(""))
    assert caught.value.reason == "invalid"


def test_the_report_tells_packages_bytes_and_a_diff_of_files() -> None:
    a, b = (Package(name, "1", "amd64", 10, "0" * 64, "") for name in "ab")
    plan = Plan((a, b), (b,), ("pool/b_0_amd64.deb",))
    told = depot_packages.report(plan, Wanted("trixie", "amd64", ("b",), "http://m/", ""), "/r")
    assert [(one["name"], one["fetched"]) for one in told["packages"]] == [("a", False), ("b", True)]
    assert (told["bytes"], told["bytes_to_fetch"], told["mirrors"]) == (20, 10, ["http://m/"])
    assert told["diff"]["before"].split() == ["pool/a_1_amd64.deb", "pool/b_0_amd64.deb"]
    assert told["diff"]["after"].split() == ["pool/a_1_amd64.deb", "pool/b_1_amd64.deb"]


@pytest.mark.parametrize("packages", [["--allow-unauthenticated"], [], ["jq; reboot"]])
def test_check_mode_refuses_what_the_real_run_would(
    packages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for check in (True, False):
        args = {"dest": str(tmp_path / "packages"), "suite": "trixie", "mirror": "file:/nowhere", "packages": packages}
        with patch_module_args({**args, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            depot_packages.main()
        result = json.loads(capsys.readouterr().out)
        assert (result["failed"], result["reason"]) == (True, "invalid")
    assert list(tmp_path.iterdir()) == []
