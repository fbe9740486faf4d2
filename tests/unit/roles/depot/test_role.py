# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role says of itself, and what it passes to its modules."""

from __future__ import annotations

import importlib
import pathlib
import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "depot"
TASKS = sorted(path.name for path in (ROLE / "tasks").iterdir())


def read(name: str) -> t.Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def template(expression: str, **variables: t.Any) -> t.Any:
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(expression))


def test_defaults_and_argument_specs_are_the_same() -> None:
    options = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == read(
        "defaults/main.yml"
    )


@pytest.mark.parametrize("file", TASKS)
def test_what_it_passes_are_options_of_its_modules(file: str) -> None:
    for task in read(f"tasks/{file}"):
        for key, arguments in task.items():
            if key.startswith("emorobcare.fleet."):
                name = key.rpartition(".")[2]
                module = importlib.import_module(f"ansible_collections.emorobcare.fleet.plugins.modules.{name}")
                assert set(arguments) <= set(module.ARGUMENT_SPEC), (file, key)


GIVEN = {
    "depot_state": "synced",
    "depot_source": "/media/usb",
    "depot_keys": "",
    "depot_fleet": "",
    "depot_stack": "",
    "depot_stack_path": "",
}
REQUESTS = [
    pytest.param({}, True, id="a release from a stick"),
    pytest.param({"depot_source": ""}, False, id="from nowhere"),
    pytest.param({"depot_state": "enrolled", "depot_source": ""}, False, id="to enrol without keys"),
    pytest.param({"depot_state": "enrolled", "depot_source": "", "depot_keys": "k"}, False, id="without a fleet"),
    pytest.param(
        {"depot_state": "enrolled", "depot_source": "", "depot_keys": "k", "depot_fleet": "f"}, True, id="to enrol"
    ),
    pytest.param({"depot_state": "reported"}, False, id="a report of no stack"),
    pytest.param({"depot_state": "written", "depot_keys": "k", "depot_fleet": "f"}, False, id="to write no stack"),
    pytest.param(
        {"depot_state": "written", "depot_keys": "k", "depot_fleet": "f", "depot_stack_path": "s"}, True, id="to write"
    ),
]


@pytest.mark.parametrize(("given", "allowed"), REQUESTS)
def test_contradictions_are_refused_before_anything_is_done(given: dict[str, str], allowed: bool) -> None:
    (check,) = read("tasks/validate.yml")
    conditions = check["ansible.builtin.assert"]["that"]
    variables = {**GIVEN, **given}
    results = [template(f"{{{{ {condition} }}}}", **variables) for condition in conditions]
    assert all(results) is allowed
    message = template(check["ansible.builtin.assert"]["fail_msg"], **variables)
    assert "playbooks/keys.yml" in message


@pytest.mark.parametrize(("on_disk", "own_medium"), [(False, True), (True, False), ("true", False), ("false", True)])
def test_a_new_depot_wants_a_medium_of_its_own_unless_it_is_said(on_disk: bool | str, own_medium: bool) -> None:
    (write,) = (
        task["emorobcare.fleet.depot_write"]
        for task in read("tasks/write.yml")
        if task["name"] == "write | Write what the release is made of"
    )
    assert template(write["own_medium"], depot_on_disk=on_disk) is own_medium


@pytest.mark.parametrize(
    ("outcome", "state", "failure"),
    [
        pytest.param({"failed": False, "gate": []}, "committed", "", id="committed"),
        pytest.param({"failed": True, "reason": "gate_failed"}, "failed", "gate_failed", id="failed"),
        pytest.param({"failed": True}, "failed", "failed", id="failed without a word"),
    ],
)
def test_what_became_of_the_release_is_reported(outcome: dict[str, t.Any], state: str, failure: str) -> None:
    (task,) = read("tasks/report.yml")
    arguments = task["emorobcare.fleet.depot_receipt"]
    assert template(arguments["state"], depot_outcome=outcome) == state
    assert template(arguments["failure"], depot_outcome=outcome) == failure
    assert template(arguments["gate"], depot_outcome=outcome) == []


def test_the_image_of_the_ingress_goes_into_the_depot_too() -> None:
    document = {
        "images": {"api": {"reference": "shop/api:1"}},
        "ingress": {"image": "emorobcare.fleet/base-haproxy:1"},
    }
    read_stack = {"release": {"document": document}, "pulled": ["mongo:7", "shop/api:1"]}
    told = template(read("vars/main.yml")["__depot_images"], __depot_read=read_stack)
    assert told == ["emorobcare.fleet/base-haproxy:1", "mongo:7", "shop/api:1"]
