# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role says of itself, what it decides, and that it asks the module only for what the module takes."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.emorobcare.fleet.plugins.modules.model_pull import ARGUMENT_SPEC

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "model_sync"
MODULE = "emorobcare.fleet.model_pull"
NOT_VARIABLES = {"name", "version", "files", "progress_path", "retry_delay"}


def read(name: str) -> t.Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


OPTIONS = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
DEFAULTS = read("defaults/main.yml")


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
    """Whether all of a task's conditions hold."""
    return all(decide("{{ " + str(condition) + " }}", **found) for condition in conditions)


def test_the_documented_defaults_are_those_that_count() -> None:
    assert {name: option["default"] for name, option in OPTIONS.items()} == DEFAULTS


def test_every_option_of_the_module_is_a_variable_with_its_default() -> None:
    options = {f"model_sync_{name}": spec for name, spec in ARGUMENT_SPEC.items() if name not in NOT_VARIABLES}
    assert set(options) <= set(OPTIONS)
    for name, spec in options.items():
        assert OPTIONS[name].get("choices", []) == sorted(
            spec.get("choices", []), key=OPTIONS[name].get("choices", []).index
        )
        assert OPTIONS[name]["type"] == spec["type"]
        assert OPTIONS[name]["default"] == spec.get("default", "")


def test_every_use_of_the_module_gets_all_that_says_how_to_fetch() -> None:
    (block,) = [task for task in read("tasks/main.yml") if "module_defaults" in task]
    passed = block["module_defaults"][MODULE]
    assert set(passed) == set(ARGUMENT_SPEC) - NOT_VARIABLES - {"state"}
    for name, value in passed.items():
        assert f"model_sync_{name}" in value
    files = [task["ansible.builtin.include_tasks"]["file"] for task in block["block"]]
    uses = [task[MODULE] for name in files for task in read(f"tasks/{name}") if MODULE in task]
    assert sorted(use.get("state", "present") for use in uses) == ["absent", "present", "present", "verified"]
    assert [set(use) - {"name", "version", "files", "state"} for use in uses] == [set()] * 4


def test_what_is_not_set_is_not_passed() -> None:
    passed = read("tasks/main.yml")[1]["module_defaults"][MODULE]
    options = decide(passed)
    assert set(passed) - set(options) == {"proxy", "ca_path", "hub_token", "registry_username", "registry_password"}
    assert decide(passed, model_sync_proxy="http://p")["proxy"] == "http://p"


def result(action: str, **more: t.Any) -> dict[str, t.Any]:
    return {"action": action, "tools_missing": [], "removed": [], **more}


@pytest.mark.parametrize(
    ("seen", "pending"),
    [
        (result("none"), False),
        (result("stamp"), True),
        (result("publish"), True),
        (result("repair"), True),
        (result("none", removed=["1"]), True),
    ],
)
def test_only_what_has_something_to_do_is_run(seen: dict[str, t.Any], pending: bool) -> None:
    found = {"results": [{**seen, "__model_sync_model": {"name": "m"}}]}
    assert decide("{{ __model_sync_pending }}", __model_sync_seen=found) == ([{"name": "m"}] if pending else [])


@pytest.mark.parametrize(
    ("stack", "manifest", "good"), [("s", "", True), ("", "m", True), ("", "", False), ("s", "m", False)]
)
def test_there_is_exactly_one_list_of_models(stack: str, manifest: str, good: bool) -> None:
    check = read("tasks/validate.yml")[1]["ansible.builtin.assert"]["that"]
    assert holds(check, model_sync_stack=stack, model_sync_manifest=manifest) is good


@pytest.mark.parametrize(
    ("keep", "versions", "good"), [(0, 3, True), (1, 1, True), (1, 2, False), (2, 2, True), (1, 0, True)]
)
def test_versions_that_are_asked_for_together_may_not_push_each_other_out(keep: int, versions: int, good: bool) -> None:
    check = read("tasks/validate.yml")[4]["ansible.builtin.assert"]["that"]
    models = [{"name": "a", "version": "1"}, *({"name": "m", "version": str(number)} for number in range(versions))]
    assert holds(check, model_sync_keep=keep, __model_sync_models=models) is good


IN_USE = {"failed": True, "reason": "in_use", "stacks": ["shop"]}
REMOVALS = [
    pytest.param({"failed": False}, "demo", False, id="removed"),
    pytest.param(IN_USE, "demo", False, id="another stack uses it"),
    pytest.param({**IN_USE, "stacks": ["demo", "shop"]}, "demo", True, id="this stack uses it"),
    pytest.param(IN_USE, "", True, id="a stack uses a model of a manifest"),
    pytest.param({"failed": True, "reason": "in_use", "path": "/state.json"}, "demo", True, id="nobody can tell"),
    pytest.param({"failed": True, "reason": "locked"}, "demo", True, id="another failure"),
    pytest.param({"failed": True}, "demo", True, id="a failure without a reason"),
]


@pytest.mark.parametrize(("removed", "stack", "failed"), REMOVALS)
def test_a_model_in_use_by_other_stacks_alone_stays_without_a_failure(
    removed: dict[str, t.Any], stack: str, failed: bool
) -> None:
    assert is_failed(removed, stack, check_mode=False) is failed


def is_failed(removed: dict[str, t.Any], stack: str, check_mode: bool) -> bool:
    found = {"model_sync_stack": stack, "__model_sync_read": {"name": stack}, "ansible_check_mode": check_mode}
    return holds(read("tasks/remove.yml")[0]["failed_when"], __model_sync_removed=removed, **found)


def test_check_mode_removes_models_of_a_stack_that_the_play_would_have_removed_before() -> None:
    used = {**IN_USE, "stacks": ["demo"]}
    assert is_failed(used, "demo", check_mode=False)
    assert not is_failed(used, "demo", check_mode=True)


def test_what_stays_is_told() -> None:
    results = [{"changed": True}, {**IN_USE, "msg": "model m is in use"}, {"failed": True, "reason": "locked"}]
    used = decide("{{ __model_sync_used }}", __model_sync_removed={"results": results})
    assert [one["msg"] for one in used] == ["model m is in use"]
