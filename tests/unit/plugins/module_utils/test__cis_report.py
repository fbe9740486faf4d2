# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import os
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Row
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import CONTROLS, judge
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_report import (
    count,
    metrics,
    table,
    verdict,
    write_metrics,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import good

BY_SLUG = {control.slug: control for control in CONTROLS}
NOW = 1795705795.25
FAILS = Row(BY_SLUG["live-restore"], "host", "fail", ("containers end with the engine",))
ROWS = [
    FAILS,
    Row(BY_SLUG["icc"], "host", "pass", ("icc is false",)),
    Row(BY_SLUG["rootless"], "host", "exception", ("as root",), "it costs"),
    Row(BY_SLUG["privileged"], "camera", "exception", ("privileged",), "the driver", "2027-06-30"),
    *(Row(BY_SLUG["memory-limit"], f"c{n}", "fail", ("no limit",), level="warn") for n in range(6)),
    Row(BY_SLUG["memory-limit"], "other", "fail", tuple(f"e{n}" for n in range(6)), level="warn"),
]


def test_the_table_has_counts_then_failures_with_their_way_out_then_excuses() -> None:
    assert table(ROWS) == [
        "section                   pass            fail       exception  not applicable",
        "2 daemon                     1               1               1               0",
        "5 containers                 0               7               1               0",
        "",
        "FAILS",
        "2.15   live-restore: Containers run on while the engine is away",
        "       - containers end with the engine",
        f"       => {BY_SLUG['live-restore'].way_out}",
        "",
        "FAILS, and the policy only warns of it",
        f"5.11   memory-limit: {BY_SLUG['memory-limit'].title}",
        "       - c0, c1, c2, c3, and 2 more: no limit",
        "       - other: e0; e1; e2; e3; and 2 more",
        f"       => {BY_SLUG['memory-limit'].way_out}",
        "",
        "EXCUSED",
        "2.1    rootless: it costs",
        "5.5    privileged (camera): the driver, until 2027-06-30",
    ]


def test_much_evidence_is_cut_and_counted() -> None:
    lines = table([replace(FAILS, evidence=tuple(f"e{n}" for n in range(9)))])
    assert lines[-3:-1] == ["       - e5", "       - and 3 more"]


def test_an_end_of_an_excuse_is_told() -> None:
    assert "       no longer excused" in table([replace(FAILS, reason="no longer excused")])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ""),
        (ROWS[1:], ""),
        (ROWS, "1 control fails: 2.15 live-restore"),
    ],
)
def test_the_verdict_names_what_fails_and_not_what_only_warns(rows: list[Row], said: str) -> None:
    assert verdict(rows) == said


def test_prometheus_reads_the_metrics() -> None:
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics(ROWS, NOW))
        for sample in family.samples
    }
    assert len([name for name, _labels in found if name == "docker_host_audit_rows"]) == 7 * 4
    assert found["docker_host_audit_rows", (("section", "5"), ("status", "fail"))] == 7
    assert found["docker_host_audit_rows", (("section", "7"), ("status", "not_applicable"))] == 0
    failing = {labels: value for (name, labels), value in found.items() if name == "docker_host_audit_failing"}
    assert failing == {
        (("control", "2.15"), ("level", "fail"), ("slug", "live-restore")): 1,
        (("control", "5.11"), ("level", "warn"), ("slug", "memory-limit")): 7,
    }
    assert found["docker_host_audit_timestamp_seconds", ()] == 1795705795


def test_a_write_that_fails_leaves_the_old_metrics_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.prom"
    write_metrics(str(path), ROWS, NOW)
    before = path.read_text(encoding="utf-8")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_metrics(str(path), [], NOW + 1)
    assert path.read_text(encoding="utf-8") == before
    assert [one.name for one in tmp_path.glob("*.prom")] == ["audit.prom"], "a collector reads .prom alone"


def test_metrics_can_be_read_by_the_collector_and_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    old = os.umask(0o077)
    try:
        write_metrics(str(tmp_path / "a" / "audit.prom"), ROWS, NOW)
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "audit.prom").stat().st_mode & 0o777 == 0o644
    assert str(tmp_path / "a" / "audit.prom.new") in synced
    assert synced[-1] == str(tmp_path / "a")


def test_every_row_is_counted_once() -> None:
    rows = judge(good(), {}, datetime.date(2026, 12, 1))
    assert sum(sum(counts.values()) for counts in count(rows).values()) == len(rows)
