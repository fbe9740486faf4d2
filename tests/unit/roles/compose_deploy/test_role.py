# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role says of itself, what it decides, and that it asks the module for all that the module takes."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.emorobcare.fleet.plugins.modules import recover_tool, stack_release

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "compose_deploy"
MODULE = "emorobcare.fleet.stack_release"
RENAMED = {"to": "release_to"}
FROM_THE_STACK = {"stack", "release", "id", "files"}


def read(name: str) -> t.Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


OPTIONS = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
DEFAULTS = read("defaults/main.yml")
(DEPLOY,) = read("tasks/deploy.yml")


def trusted(value: t.Any) -> t.Any:
    """Ansible's own loader marks what may be a template; a plain YAML loader does not."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def decide(expression: t.Any, **found: t.Any) -> t.Any:
    """The value of an expression on a host where these things were found."""
    variables = trusted(DEFAULTS) | trusted(read("vars/main.yml"))
    return Templar(loader=DataLoader(), variables=variables | found).template(trusted(expression))


def holds(conditions: t.Any, **found: t.Any) -> bool:
    """Whether all of these conditions hold."""
    conditions = conditions if isinstance(conditions, list) else [conditions]
    return all(decide("{{ " + str(condition) + " }}", **found) for condition in conditions)


def test_the_documented_defaults_are_those_that_count() -> None:
    assert {name: option["default"] for name, option in OPTIONS.items()} == DEFAULTS


def test_every_option_of_the_module_is_a_variable_with_its_default() -> None:
    for name, spec in stack_release.ARGUMENT_SPEC.items():
        if name in FROM_THE_STACK:
            continue
        option = OPTIONS[f"compose_deploy_{RENAMED.get(name, name)}"]
        assert option["type"] == spec["type"]
        assert option.get("choices") == spec.get("choices")
        assert option["default"] == spec.get("default", "")


READ = {"name": "shop", "release": {"document": {"stack": "shop"}, "id": "9f86", "files": {"compose.yml": ""}}}
CALLS: list[t.Any] = [
    pytest.param({}, {"release", "id", "files"}, "shop", id="deploy"),
    pytest.param({"compose_deploy_state": "absent"}, set(), "shop", id="take off"),
    pytest.param({"compose_deploy_state": "absent", "compose_deploy_name": "desk"}, set(), "desk", id="by name"),
    pytest.param(
        {"compose_deploy_state": "rolled_back", "compose_deploy_release_to": "3f9a"}, {"to"}, "folder", id="go back"
    ),
]


@pytest.mark.parametrize(("variables", "passed", "stack"), CALLS)
def test_the_module_gets_what_its_state_takes(variables: dict[str, t.Any], passed: set[str], stack: str) -> None:
    found = {"compose_deploy_stack": "/srv/folder/", "__compose_deploy_read": READ, **variables}
    options = decide(DEPLOY[MODULE], **found)
    assert set(DEPLOY[MODULE]) == set(stack_release.ARGUMENT_SPEC)
    assert set(options) & {"release", "id", "files", "to"} == passed
    assert options["stack"] == stack


@pytest.mark.parametrize("stack", ["shop", "/srv/shop", "/srv/shop/"])
def test_going_back_needs_nothing_of_the_folder_but_its_name(stack: str) -> None:
    found = {"compose_deploy_stack": stack, "compose_deploy_state": "rolled_back"}
    (reading,) = [task for task in read("tasks/validate.yml") if "ansible.builtin.set_fact" in task]
    assert not holds(reading["when"], **found)
    assert decide(DEPLOY[MODULE], **found)["stack"] == "shop"


RELATIONS: list[t.Any] = [
    pytest.param({}, False, id="no stack"),
    pytest.param({"stack": "s"}, True, id="a folder"),
    pytest.param({"name": "n"}, False, id="a deployment by name"),
    pytest.param({"name": "n", "state": "rolled_back"}, True, id="back by name"),
    pytest.param({"name": "n", "state": "absent", "data": True}, True, id="off by name"),
    pytest.param({"stack": "s", "data": True}, False, id="data of what stays"),
    pytest.param({"stack": "s", "keep": 0}, False, id="keep nothing"),
    pytest.param({"stack": "s", "release_to": "3f9a"}, False, id="a target without going back"),
    pytest.param({"stack": "s", "accept_loss": True}, False, id="a loss without going back"),
    pytest.param({"stack": "s", "state": "rolled_back", "release_to": "3f9a", "accept_loss": True}, True, id="back"),
]


@pytest.mark.parametrize(("variables", "good"), RELATIONS)
def test_what_contradicts_itself_is_refused(variables: dict[str, t.Any], good: bool) -> None:
    checks = [task["ansible.builtin.assert"] for task in read("tasks/validate.yml") if "ansible.builtin.assert" in task]
    found = {f"compose_deploy_{name}": value for name, value in variables.items()}
    assert all(holds(check["that"], **found) for check in checks) is good
    for check in checks:
        assert decide(check["fail_msg"], **found)


@pytest.mark.parametrize(
    ("variables", "included"),
    [
        ({}, {"validate", "tools", "recovery", "deploy"}),
        ({"compose_deploy_recovery": False}, {"validate", "tools", "deploy"}),
        ({"compose_deploy_state": "rolled_back"}, {"validate", "recovery", "deploy"}),
        ({"compose_deploy_state": "absent"}, {"validate", "deploy", "no_recovery"}),
    ],
)
def test_a_host_is_ready_for_a_power_cut_before_anything_is_touched(
    variables: dict[str, t.Any], included: set[str]
) -> None:
    tasks = read("tasks/main.yml")
    names = [task["ansible.builtin.include_tasks"]["file"].partition(".")[0] for task in tasks]
    assert names == ["validate", "tools", "recovery", "deploy", "no_recovery"]
    queries = {"__compose_deploy_queries": [1], **variables}
    assert {name for name, task in zip(names, tasks, strict=True) if holds(task.get("when", []), **queries)} == included


def test_the_unit_runs_the_program_that_the_module_writes_for_the_same_folders() -> None:
    tasks = read("tasks/recovery.yml")
    wanted = decide(tasks[0]["emorobcare.fleet.recover_tool"], compose_deploy_root="/srv/fleet")
    assert wanted == {
        "path": recover_tool.ARGUMENT_SPEC["path"]["default"],
        "root": "/srv/fleet",
        "secrets_root": "/etc/fleet/secrets",
    }
    template = (ROLE / "templates/etc/systemd/system/fleet-recover.service.j2").read_text()
    unit = decide(template, compose_deploy_root="/srv/fleet", ansible_managed="managed")
    assert f"ExecStart={wanted['path']} --wait 300\n" in unit
    assert "ReadWritePaths=-/srv/fleet\n" in unit
    assert "TimeoutStartSec=30min\n" in unit
    assert unit.startswith("#\n# managed\n#\n")


def test_the_check_of_the_unit_is_one_command_with_one_place_for_its_path() -> None:
    check = decide("{{ __compose_deploy_unit_check }}")
    assert check.count("%") == 1
    assert check.startswith("sh -c '")
    assert check.endswith("' check %s")
