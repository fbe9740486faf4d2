# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a policy makes of the rules' evidence: failed, warned, ignored, passed, not scanned. Pure."""

from __future__ import annotations

import datetime
import fnmatch
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_rules import (
    RULE_NAMES,
    RULES,
    Level,
    Looked,
    Rule,
)

_SHOWN = 20
_LINES = 5

State = t.Literal["passed", "failed", "warned", "ignored", "not scanned", "not applicable"]


class PolicyError(Exception):
    """A policy makes no sense; the message is for the user."""


@dataclass(frozen=True)
class Setting:
    """What a policy says of one rule. Paths narrow an ignored rule to evidence that begins with a matching path."""

    level: Level
    reason: str = ""
    until: datetime.date | None = None
    paths: tuple[str, ...] = ()


Policy = t.Mapping[str, Setting]


@dataclass(frozen=True)
class Finding:
    """A violation: of which rule, how grave, what shows it (count is of all, evidence of the first), what to do."""

    rule: str
    level: Level
    evidence: tuple[str, ...]
    count: int
    message: str
    way_out: str

    def as_result(self) -> dict[str, t.Any]:
        return {
            "rule": self.rule,
            "level": self.level,
            "evidence": list(self.evidence),
            "count": self.count,
            "message": self.message,
            "way_out": self.way_out,
        }


@dataclass(frozen=True)
class Ignored:
    """A violation that the policy lets pass for a while, and why."""

    finding: Finding
    reason: str
    until: datetime.date

    def as_result(self) -> dict[str, t.Any]:
        return {**self.finding.as_result(), "reason": self.reason, "until": self.until.isoformat()}


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one image. Notes say, by rule, what kept it from being looked at."""

    states: t.Mapping[str, State]
    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...]
    notes: t.Mapping[str, str]

    @property
    def failed(self) -> bool:
        return "failed" in self.states.values()


def read_policy(rules: t.Mapping[str, t.Any], names: t.Collection[str] = RULE_NAMES) -> dict[str, Setting]:
    """Read a policy's rules: level, reason, until (YYYY-MM-DD) and paths by the rule's name, one of `names`.

    :raises PolicyError: a rule is unknown, or is ignored without a reason and a date.
    """
    return {name: _setting(name, data, names) for name, data in rules.items()}


def _setting(name: str, data: t.Any, names: t.Collection[str]) -> Setting:
    if name not in names:
        raise PolicyError(f"rules: unknown rule {name!r}. Allowed: {', '.join(names)}")
    level = data.get("level") if isinstance(data, t.Mapping) else None
    if level not in ("fail", "warn", "ignore"):
        raise PolicyError(f"rules.{name}.level is {level!r}; allowed: fail, warn, ignore")
    reason, until = str(data.get("reason") or ""), str(data.get("until") or "")
    if level == "ignore" and not (reason and until):
        raise PolicyError(f"rules.{name}: an ignored rule needs a reason, and until (YYYY-MM-DD), when it counts again")
    return Setting(level, reason, _date(name, until) if until else None, tuple(data.get("paths") or ()))


def _date(name: str, text: str) -> datetime.date:
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(text)
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise PolicyError(f"rules.{name}.until is {text!r}; it must be a date such as 2027-06-30") from None


def judge(looked: t.Mapping[str, Looked], policy: Policy, today: datetime.date) -> Verdict:
    """Hold what the rules found against a policy."""
    states: dict[str, State] = {}
    findings: list[Finding] = []
    ignored: list[Ignored] = []
    notes: dict[str, str] = {}
    for rule in RULES:
        one = _judge(rule, looked[rule.name], policy.get(rule.name), today)
        states.update(one.states)
        findings += one.findings
        ignored += one.ignored
        notes.update(one.notes)
    return Verdict(states, tuple(findings), tuple(ignored), notes)


def _judge(rule: Rule, looked: Looked, setting: Setting | None, today: datetime.date) -> Verdict:
    name = rule.name
    expired = setting is not None and setting.level == "ignore" and setting.until is not None and setting.until < today
    note = f" (no longer ignored: {setting.until} has passed)" if setting and expired else ""
    level: Level = rule.default if setting is None or expired else setting.level
    if looked.not_applicable:
        return Verdict({name: "not applicable"}, (), (), {name: looked.not_applicable})
    if looked.not_scanned:
        if setting is None or level != "fail" or expired:
            return Verdict({name: "not scanned"}, (), (), {name: looked.not_scanned})
        message = f"was not scanned, and its policy demands it: {looked.not_scanned}"
        finding = Finding(name, "fail", (), 0, message, "Make the scan possible, or set the rule's level to warn")
        return Verdict({name: "failed"}, (finding,), (), {name: looked.not_scanned})
    if not looked.evidence:
        return Verdict({name: "passed"}, (), (), {})
    passed_over: tuple[str, ...] = ()
    if setting is not None and level == "ignore":
        passed_over = tuple(text for text in looked.evidence if not setting.paths or matches(text, setting.paths))
        level = rule.default
    counted = tuple(text for text in looked.evidence if text not in passed_over)
    ignored: tuple[Ignored, ...] = ()
    if passed_over and setting is not None and setting.until is not None:
        ignored = (Ignored(_finding(rule, "ignore", passed_over, ""), setting.reason, setting.until),)
    if not counted:
        return Verdict({name: "ignored"}, (), ignored, {})
    state: State = "failed" if level == "fail" else "warned"
    return Verdict({name: state}, (_finding(rule, level, counted, note),), ignored, {})


def _finding(rule: Rule, level: Level, evidence: tuple[str, ...], note: str) -> Finding:
    return Finding(rule.name, level, evidence[:_SHOWN], len(evidence), rule.message + note, rule.way_out)


def matches(evidence: str, globs: t.Iterable[str]) -> bool:
    """Tell whether the path that evidence begins with matches: `/srv/*.py (0666)`, `/etc/key:3: private key`."""
    path = re.split(r" \(|: |:\d+: ", evidence, maxsplit=1)[0]
    return any(fnmatch.fnmatchcase(path, glob) for glob in globs)


def failure_message(verdicts: t.Mapping[str, Verdict]) -> str:
    """Say what keeps images from passing, by image; an empty string when nothing does."""
    bad = {reference: verdict for reference, verdict in verdicts.items() if verdict.failed}
    if not bad:
        return ""
    lines = [f"{len(bad)} of {len(verdicts)} images do not pass the audit:"]
    for reference, verdict in bad.items():
        lines.append(reference)
        for finding in verdict.findings:
            if finding.level == "fail":
                lines.append(f"  {finding.rule}: {finding.message}")
                lines += [f"    {text}" for text in finding.evidence[:_LINES]]
                more = finding.count - _LINES
                lines += [f"    and {more} more"] if more > 0 else []
                lines.append(f"    {finding.way_out}.")
    return "\n".join(lines)
