# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Every control of the benchmark, and what a policy makes of what was found: rows. Pure."""

from __future__ import annotations

import datetime
import fnmatch
import typing as t
from dataclasses import replace

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_policy import (
    Policy,
    PolicyError,
    Setting,
    matches,
    read_policy,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import facts_of_service, unrendered
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_container_facts import (
    ContainerFacts,
    engine_of_info,
    facts_of_inspect,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_containers import (
    CONTAINER_CONTROLS,
    ENGINE_CONTROLS,
    RULES,
    look_at_compose,
    look_at_container,
    look_at_engine,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Looked, Row
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_daemon import DAEMON_CONTROLS, look_at_daemon
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts, Found
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_files import FILE_CONTROLS, look_at_files
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_host import HOST_CONTROLS, look_at_host
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_images import (
    IMAGE_CONTROLS,
    facts_of_image,
    look_at_image,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_swarm import SWARM_CONTROLS, look_at_swarm
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

HOST = "host"
"""The subject of rows that are about no container, service or image."""

CONTROLS: tuple[Control, ...] = (
    *HOST_CONTROLS,
    *DAEMON_CONTROLS,
    *FILE_CONTROLS,
    *IMAGE_CONTROLS,
    *ENGINE_CONTROLS,
    *CONTAINER_CONTROLS,
    *SWARM_CONTROLS,
)
"""The whole benchmark, in its order."""

SLUGS = tuple(control.slug for control in CONTROLS)
_BY_SLUG = {control.slug: control for control in CONTROLS}

Level = t.Literal["fail", "warn"]


def read_rules(rules: t.Mapping[str, t.Any]) -> dict[str, Setting]:
    """Read the task's rules.

    Raises:
        HostError: one is unknown, or excuses without saying why and until when.
    """
    try:
        return read_policy(rules, SLUGS)
    except PolicyError as exc:
        raise HostError(str(exc), reason="rules_invalid") from None


def judge(found: Found, policy: Policy, today: datetime.date) -> list[Row]:
    """Return a row for every control of the host, and for each container that runs and each image that it runs from."""
    rows = [
        _row(slug, HOST, looked, policy, today)
        for looks in (look_at_host, look_at_daemon, look_at_files, look_at_swarm)
        for slug, looked in looks(found).items()
    ]
    rows += _running_rows(found.engine, policy, today)
    return sorted(rows, key=lambda row: (row.control.order, row.subject))


def _running_rows(engine: EngineFacts, policy: Policy, today: datetime.date) -> list[Row]:
    """Return the rows of sections 4 and 5; controls that have nothing to be about say so, or why nobody knows."""
    rows: list[Row] = []
    about = engine_of_info(engine.info)
    if not engine.silent:
        rows += [_row(slug, HOST, looked, policy, today) for slug, looked in look_at_engine(about).items()]
    for document in engine.running:
        facts = facts_of_inspect(document, about, engine.commands.get(str(document.get("Id"))), engine.volumes)
        if facts.mounts_problem and engine.volumes_problem:
            facts = replace(facts, mounts_problem=f"{facts.mounts_problem}: {engine.volumes_problem}")
        rows += _container_rows(facts, look_at_container(facts), policy, today)
    for document, history in engine.used:
        image = facts_of_image(document, history)
        rows += [_row(slug, image.name, looked, policy, today) for slug, looked in look_at_image(image).items()]
    told = {row.control.slug for row in rows}
    for control in (*IMAGE_CONTROLS, *ENGINE_CONTROLS, *CONTAINER_CONTROLS):
        problem = engine.silent or engine.containers_problem
        problem = problem or (engine.used_problem if control in IMAGE_CONTROLS else "")
        nothing = Looked(unknown=problem) if problem else Looked(not_applicable="no container runs on this host")
        if problem or control.slug not in told:
            rows.append(_row(control.slug, HOST, nothing, policy, today))
    return rows


def judge_compose(document: t.Any, policy: Policy, today: datetime.date) -> list[Row]:
    """Return a row for every control of containers, for each service of a Compose document.

    Raises:
        HostError: it is no Compose document, or none that Compose has rendered.
    """
    rows = []
    services = look_at_compose(document)
    _must_be_rendered(document)
    for name, looked in services.items():
        rows += _container_rows(facts_of_service(name, document["services"][name], document), looked, policy, today)
    return sorted(rows, key=lambda row: (row.control.order, row.subject))


def _must_be_rendered(document: t.Mapping[str, t.Any]) -> None:
    """Refuse a Compose document that says something else once Compose has rendered it.

    Raises:
        HostError: it has C(include), C(extends), paths beside its own folder, or variables where a rule looks.
    """
    places = list(unrendered(document, {key for rule in RULES for key in rule.keys}))
    if places:
        raise HostError(
            f"only Compose knows what this document comes to ({', '.join(places)}). Render it first: "
            "`docker compose config --format json`",
            reason="compose_invalid",
        )


def _container_rows(
    facts: ContainerFacts, looked: t.Mapping[str, Looked], policy: Policy, today: datetime.date
) -> list[Row]:
    levels: dict[str, Level] = {rule.control.slug: "fail" if rule.level(facts) == "fail" else "warn" for rule in RULES}
    return [_row(slug, facts.name, one, policy, today, levels[slug]) for slug, one in looked.items()]


def _row(slug: str, subject: str, looked: Looked, policy: Policy, today: datetime.date, default: Level = "fail") -> Row:
    """Return what one control comes to. What could not be looked at fails, whatever kind of control it is."""
    control, setting = _BY_SLUG[slug], policy.get(slug)
    if looked.not_applicable:
        return Row(control, subject, "not applicable", (looked.not_applicable,))
    if not looked.evidence and not looked.unknown and not looked.unseen:
        return Row(control, subject, "pass", (looked.seen,) if looked.seen else ())
    evidence = (
        *looked.evidence,
        *((f"not known: {looked.unknown}",) if looked.unknown else ()),
        *((f"nobody looked: {looked.unseen}",) if looked.unseen else ()),
    )
    if setting is None:
        if control.kind != "enforced" and not looked.unknown:
            why = control.why if control.kind == "recorded" else f"an opt-in, for what it costs: {control.why}"
            return Row(control, subject, "exception", evidence, why)
        return Row(control, subject, "fail", evidence, level=default)
    if setting.level != "ignore":
        return Row(control, subject, "fail", evidence, level="warn" if setting.level == "warn" else "fail")
    return _excused(control, subject, evidence, setting, today)


def _excused(control: Control, subject: str, evidence: tuple[str, ...], setting: Setting, today: datetime.date) -> Row:
    until = setting.until.isoformat() if setting.until else ""
    if setting.until is not None and setting.until < today:
        return Row(control, subject, "fail", evidence, f"no longer excused: {until} has passed", until)
    counted = tuple(text for text in evidence if not _is_meant(text, subject, setting.paths))
    if not counted:
        return Row(control, subject, "exception", evidence, setting.reason, until)
    partly = len(counted) < len(evidence)
    return Row(control, subject, "fail", counted, f"the rest is excused: {setting.reason}" if partly else "")


def _is_meant(evidence: str, subject: str, globs: t.Sequence[str]) -> bool:
    """Tell whether an excuse means this: all without paths, else what matches by subject or by the evidence's path."""
    return not globs or matches(evidence, globs) or any(fnmatch.fnmatchcase(subject, glob) for glob in globs)
