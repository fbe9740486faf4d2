# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hold the services of a stack against the rules about containers, before anything is deployed. Pure.

The rules are those that audit what runs (_cis_containers); here a policy says how grave a violation is.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import facts_of_service
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import ContainerFacts
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import RULES, Rule
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import Parts, attribute, merged
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_render import rendered
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_audit import level_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import Problem, unknown
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import Stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

Level = t.Literal["fail", "warn", "ignore", "off"]


@dataclass(frozen=True)
class Judging:
    """How services are judged: whether violations are refused, on which day, with which values of parameters.

    Without a day it is that of this machine's clock; parameters that are not there count by their defaults.
    """

    refuse: bool = True
    today: datetime.date | None = None
    parameters: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Violation:
    """A rule that a service violates: how grave that is, what shows it, and where in which file.

    `reason` and `until` are those of a rule that is ignored; `until` alone, of one that is not ignored any more.
    """

    service: str
    rule: Rule
    level: Level
    evidence: tuple[str, ...]
    where: Problem
    reason: str = ""
    until: str = ""

    def as_result(self) -> dict[str, t.Any]:
        return {
            "service": self.service,
            "rule": self.rule.control.slug,
            "control": self.rule.control.number,
            "level": self.level,
            "evidence": list(self.evidence),
            "way_out": self.rule.control.way_out,
            "reason": self.reason,
            "until": self.until,
        }


def rule_problems(stack_file: Document) -> t.Iterator[Problem]:
    """Return what is wrong with the policy of a stack file that the schema let through."""
    services = stack_file.data["services"]
    for name, rule in stack_file.data.get("hardening", {}).get("rules", {}).items():
        at = ("hardening", "rules", name)
        yield from level_problems(stack_file, at, rule)
        for index, service in enumerate(rule.get("services", ())):
            if service not in services:
                yield stack_file.problem((*at, "services", index), unknown("service", service, services, "Services"))


def violations(stack: Stack, stack_file: Document, documents: t.Sequence[Document], how: Judging) -> list[Violation]:
    """Return what the services that a deployment starts violate, what is ignored included.

    The policy of C(stack_file) is one that `rule_problems` let through.
    """
    policy = stack_file.data.get("hardening", {}).get("rules", {})
    today = how.today or datetime.date.today()
    defaults = {name: one.default for name, one in stack.parameters.items() if one.default is not None}
    values = {**defaults, **{name: value for name, value in how.parameters.items() if name in stack.parameters}}
    document = rendered(documents, {name: _text(value) for name, value in values.items()})
    parts = merged(documents, "services")
    built = {image.service for image in stack.images}
    found: list[Violation] = []
    for name, service in document.get("services", {}).items():
        if not isinstance(service, dict) or service.get("profiles") or name not in parts:
            continue
        job = name in stack.services and stack.services[name].lifecycle == "job"
        facts = facts_of_service(name, service, document, job)
        found += _of_service(_as_built(facts) if name in built else facts, parts[name], policy, today)
    return found


def hardening_problems(
    stack: Stack, stack_file: Document, documents: t.Sequence[Document], how: Judging
) -> tuple[list[Violation], list[Problem]]:
    """Return what the services violate, and what keeps the stack from being deployed: that, or a policy at fault."""
    faults = list(rule_problems(stack_file))
    if faults:
        return [], faults
    found = violations(stack, stack_file, documents, how)
    return found, [one.where for one in found if how.refuse and one.level == "fail"]


def warning(stack: str, found: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Say in a line a service what is violated and does not keep the stack from being deployed; empty for nothing.

    C(found) are violations as results.
    """
    services: dict[str, list[str]] = {}
    for one in found:
        if one["level"] == "warn":
            services.setdefault(one["service"], []).append(f"{one['rule']} ({one['control']})")
    if not services:
        return ""
    lines = [f"{name}: {', '.join(rules)}" for name, rules in services.items()]
    return "\n".join(
        [f"stack {stack}: services could be held tighter; docs/stack-file.md, hardening, says how.", *lines]
    )


def _of_service(
    facts: ContainerFacts, parts: Parts, policy: t.Mapping[str, t.Any], today: datetime.date
) -> t.Iterator[Violation]:
    for rule in RULES:
        evidence = rule.look(facts).evidence
        if not evidence:
            continue
        said = policy.get(rule.control.slug, {})
        if said and facts.name not in said.get("services", [facts.name]):
            said = {}
        level: Level = said.get("level") or rule.level(facts)
        until, expired = said.get("until", ""), False
        if level == "ignore" and datetime.date.fromisoformat(until) < today:
            level, expired = rule.level(facts), True
        if level == "off":
            continue
        where = _where(rule, facts.name, parts, evidence, until if expired else "")
        kept = level == "ignore"
        yield Violation(
            facts.name, rule, level, evidence, where, said["reason"] if kept else "", until if kept or expired else ""
        )


def _where(rule: Rule, service: str, parts: Parts, evidence: tuple[str, ...], expired: str) -> Problem:
    """Return the problem at the key that shows it, or at the service where no key does."""
    shows = [part for key in rule.keys for part in attribute(parts, key)[-1:]]
    part = shows[0] if shows else parts[-1]
    control = rule.control
    past = f" (no longer ignored: {expired} has passed)" if expired else ""
    message = (
        f"service {service!r}: {'; '.join(evidence)} (CIS {control.number}, {control.slug}){past}. {control.way_out}; "
        f"or say in stack.yml why it may, and until when: hardening.rules.{control.slug}"
    )
    return part.problem(message)


def _as_built(facts: ContainerFacts) -> ContainerFacts:
    """Return what counts of an image that we build: the release pins it, and image_audit asks for its health check."""
    return dataclasses.replace(facts, image="", health=facts.health or ("HEALTHCHECK",))


def _text(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
