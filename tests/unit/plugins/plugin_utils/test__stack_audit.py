# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import RULES
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_audit import audit_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import SCHEMA_FILE, schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml

FAULTS = [
    pytest.param(
        "{level: ignore, reason: vendor}",
        "stack.yml:3: audit.rules.setuid: a rule that is ignored needs a reason and a last day; missing: until",
        id="no last day",
    ),
    pytest.param(
        "{level: ignore}",
        "stack.yml:3: audit.rules.setuid: a rule that is ignored needs a reason and a last day; missing: reason, until",
        id="neither",
    ),
    pytest.param(
        "{level: ignore, reason: vendor, until: 2027-02-30}",
        'stack.yml:3: audit.rules.setuid.until: "2027-02-30" is no date of the calendar; allowed: a date such as'
        " 2027-06-30",
        id="no such day",
    ),
    pytest.param(
        "{level: warn, paths: [/opt/*]}",
        "stack.yml:3: audit.rules.setuid.paths: only a rule of level ignore can be narrowed by paths",
        id="paths of a rule that counts",
    ),
    pytest.param(
        "{level: stop}",
        'stack.yml:3: audit.rules.setuid.level: "stop" is not allowed. Allowed: fail, warn, ignore',
        id="no such level",
    ),
    pytest.param(
        "{level: ignore, reason: vendor, until: soon}",
        'stack.yml:3: audit.rules.setuid.until: "soon" is not allowed; allowed: a date ("2027-06-30")',
        id="no date at all",
    ),
]


def problems(text: str) -> list[str]:
    document = parse_yaml("stack.yml", text.encode())
    return [str(problem) for problem in schema_problems(document) or audit_problems(document)]


@pytest.mark.parametrize(("rule", "message"), FAULTS)
def test_a_rule_that_makes_no_sense_is_refused(rule: str, message: str) -> None:
    assert problems(f"name: x\nservices: {{a: {{lifecycle: job}}}}\naudit: {{rules: {{setuid: {rule}}}}}\n") == [
        message
    ]


def test_an_image_s_own_rules_are_looked_at_too() -> None:
    text = (
        "name: x\nservices: {a: {lifecycle: job}}\nimages: {a: {context: a, audit: {rules: {sbom: {level: ignore}}}}}\n"
    )
    (problem,) = problems(text)
    assert problem.startswith("stack.yml:3: images.a.audit.rules.sbom: ")


def test_a_reason_and_a_last_day_will_do() -> None:
    rule = "{level: ignore, reason: vendor, until: 2027-06-30, paths: [/opt/*]}"
    assert problems(f"name: x\nservices: {{a: {{lifecycle: job}}}}\naudit: {{rules: {{setuid: {rule}}}}}\n") == []


def test_the_schema_knows_every_rule() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert sorted(schema["$defs"]["audit"]["properties"]["rules"]["properties"]) == sorted(rule.name for rule in RULES)
