# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What must hold between the keys of an audit's rule in stack.yml. Pure."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import KeyPath, Problem, show
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document


def audit_problems(stack_file: Document) -> t.Iterator[Problem]:
    """Return what is wrong with the audit of a stack file, its images' included, that the schema let through."""
    at: KeyPath = ("audit", "rules")
    yield from _rule_problems(stack_file, at, stack_file.data.get("audit", {}))
    for service, image in stack_file.data.get("images", {}).items():
        yield from _rule_problems(stack_file, ("images", service, *at), image.get("audit", {}))


def level_problems(stack_file: Document, at: KeyPath, rule: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    """Return what is wrong with a rule's level and what belongs to it; C(at) is the rule's place."""
    missing = [key for key in ("reason", "until") if rule["level"] == "ignore" and key not in rule]
    if missing:
        message = f"a rule that is ignored needs a reason and a last day; missing: {', '.join(missing)}"
        yield stack_file.problem(at, message)
    if "until" in rule and not _is_date(rule["until"]):
        message = f"{show(rule['until'])} is no date of the calendar; allowed: a date such as 2027-06-30"
        yield stack_file.problem((*at, "until"), message)


def _rule_problems(stack_file: Document, at: KeyPath, audit: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for name, rule in audit.get("rules", {}).items():
        yield from level_problems(stack_file, (*at, name), rule)
        if "paths" in rule and rule["level"] != "ignore":
            yield stack_file.problem((*at, name, "paths"), "only a rule of level ignore can be narrowed by paths")


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
