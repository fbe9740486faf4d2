# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""An audit as a table for people, and as metrics for Prometheus (text format 0.0.4, by a file of node_exporter's)."""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_scan import write_durably
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Row, Status

SECTIONS: t.Mapping[int, str] = {
    1: "host",
    2: "daemon",
    3: "files",
    4: "images",
    5: "containers",
    6: "operations",
    7: "Swarm",
}
STATUSES: tuple[Status, ...] = ("pass", "fail", "exception", "not applicable")
_SHOWN = 6  # lines of evidence
_TOGETHER = 4  # pieces of evidence, or names, in a line
_HEAD = f"{'section':<14}" + "".join(f"{status:>16}" for status in STATUSES)


def count(rows: t.Iterable[Row]) -> dict[int, dict[str, int]]:
    """Return how many rows have each status, by section; each section and each status is there."""
    counts = {section: dict.fromkeys(map(str, STATUSES), 0) for section in SECTIONS}
    for row in rows:
        counts[row.control.section][row.status] += 1
    return counts


def table(rows: t.Sequence[Row]) -> list[str]:
    """Return lines: counts by section, then what fails with the evidence and the way out, then what is excused."""
    lines = [_HEAD]
    for section, counts in count(rows).items():
        if any(counts.values()):
            lines.append(f"{section} {SECTIONS[section]:<12}" + "".join(f"{counts[status]:>16}" for status in STATUSES))
    for level, title in (("fail", "FAILS"), ("warn", "FAILS, and the policy only warns of it")):
        failing = [row for row in rows if row.status == "fail" and row.level == level]
        lines += ["", title] if failing else []
        for group in _by_control(failing):
            lines += _failing(group)
    excused = [row for row in rows if row.status == "exception"]
    lines += ["", "EXCUSED"] if excused else []
    for group in _by_control(excused):
        until = f", until {group[0].until}" if group[0].until else ""
        subjects = "" if group[0].subject == "host" else f" ({_shortened([row.subject for row in group], ', ')})"
        lines.append(f"{group[0].control.number:<7}{group[0].control.slug}{subjects}: {group[0].reason}{until}")
    return lines


def _by_control(rows: t.Iterable[Row]) -> list[list[Row]]:
    """Return rows together that say the same of one control, for one reason."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.control.slug, row.reason, row.until), []).append(row)
    return list(groups.values())


def _failing(group: t.Sequence[Row]) -> list[str]:
    control = group[0].control
    lines = [f"{control.number:<7}{control.slug}: {control.title}"]
    # Of the host itself each piece of evidence has a line; containers, services and images that are alike share one.
    told = [text for row in group if row.subject == "host" for text in row.evidence]
    alike: dict[str, list[str]] = {}
    for row in group:
        if row.subject != "host":
            alike.setdefault(_shortened(row.evidence, "; "), []).append(row.subject)
    told += [f"{_shortened(subjects, ', ')}: {evidence}" for evidence, subjects in alike.items()]
    lines += [f"       - {text}" for text in told[:_SHOWN]]
    lines += [f"       - and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else []
    lines += [f"       {group[0].reason}"] if group[0].reason else []
    return [*lines, f"       => {control.way_out}"]


def _shortened(texts: t.Sequence[str], between: str) -> str:
    more = len(texts) - _TOGETHER
    return between.join(texts[:_TOGETHER]) + (f"{between}and {more} more" if more > 0 else "")


def verdict(rows: t.Iterable[Row]) -> str:
    """Return what keeps a host from passing in one line, nothing when nothing does."""
    bad = {row.control.number: row.control.slug for row in rows if row.status == "fail" and row.level == "fail"}
    if not bad:
        return ""
    fail = "1 control fails" if len(bad) == 1 else f"{len(bad)} controls fail"
    return f"{fail}: {', '.join(f'{number} {slug}' for number, slug in bad.items())}"


def metrics(rows: t.Sequence[Row], now: float) -> str:
    """Return the metrics: counts by section and status, each failing control, and when: seconds since 1970."""
    lines = [
        "# HELP docker_host_audit_rows Controls of the CIS Docker Benchmark by section and status, of each container.",
        "# TYPE docker_host_audit_rows gauge",
    ]
    for section, counts in count(rows).items():
        for status in STATUSES:
            labels = f'section="{section}",status="{status.replace(" ", "_")}"'
            lines.append(f"docker_host_audit_rows{{{labels}}} {counts[status]}")
    lines += [
        "# HELP docker_host_audit_failing How many subjects (the host, containers, images) fail a control, if any do.",
        "# TYPE docker_host_audit_failing gauge",
    ]
    failing: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row.status == "fail":
            key = (row.control.number, row.control.slug, row.level)
            failing[key] = failing.get(key, 0) + 1
    for (number, slug, level), subjects in failing.items():
        labels = f'control="{number}",slug="{slug}",level="{level}"'
        lines.append(f"docker_host_audit_failing{{{labels}}} {subjects}")
    lines += [
        "# HELP docker_host_audit_timestamp_seconds When the host was last audited.",
        "# TYPE docker_host_audit_timestamp_seconds gauge",
        f"docker_host_audit_timestamp_seconds {now:.0f}",
    ]
    return "\n".join(lines) + "\n"


def write_metrics(path: str, rows: t.Sequence[Row], now: float) -> None:
    """Replace the file of metrics: a reader sees the old one or the new one, and so does the host after a power cut.

    Raises:
        OSError: the disk is full, or the folder may not be written.
    """
    write_durably(path, metrics(rows, now).encode())
