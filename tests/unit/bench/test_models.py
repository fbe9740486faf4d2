# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.bench import models_cases as cases
from ansible_collections.emorobcare.fleet.tests.bench import models_data as data
from ansible_collections.emorobcare.fleet.tests.bench import models_peers as peers
from ansible_collections.emorobcare.fleet.tests.bench import models_report as report

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = report.Sample(2.0, 1.0, 0.5, 0.1, 10 << 20, 5000, 0, 4000)
CASE = cases.Case("2x1KiB", 2, 1024)


def row(name: str, *walls: float, against: str = "ours", **more: t.Any) -> report.Row:
    return report.Row(name, against, tuple(dataclasses.replace(SAMPLE, wall=wall) for wall in walls), **more)


# Cases


@pytest.mark.parametrize(
    ("name", "scale", "count", "size"),
    [
        pytest.param("1x4GiB", 1.0, 1, 4 << 30, id="as it is"),
        pytest.param("1x4GiB", 0.05, 1, 205 << 20, id="a large file gets smaller, by whole MiB"),
        pytest.param("4x1GiB", 0.25, 4, 256 << 20, id="several large files stay as many"),
        pytest.param("2000x256KiB", 0.05, 100, 256 << 10, id="small files get fewer"),
        pytest.param("2000x256KiB", 0.00001, 1, 256 << 10, id="one file is the least"),
        pytest.param("1x4GiB", 0.00001, 1, 1 << 20, id="one MiB is the least"),
    ],
)
def test_a_scale_makes_large_files_smaller_and_small_ones_fewer(name: str, scale: float, count: int, size: int) -> None:
    whole = next(case for case in cases.CASES if case.name == name)
    assert cases.scaled(whole, scale) == dataclasses.replace(whole, count=count, size=size)


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)


# Figures


def test_figures_are_medians_with_their_spread_and_every_sample() -> None:
    rows = [row("ours", 3.0, 1.0, 2.0), row("other", 8.0, 4.0, 40.0)]
    figures = report.row_figures(rows[1], rows, report.Limit({"copy": 1.0, "hash": 0.5}))
    assert figures["wall_seconds"] == {"median": 8.0, "min": 4.0, "max": 40.0}
    assert figures["of_the_limit"] == 8.0
    assert figures["of_ours"] == 4.0
    assert [sample["wall"] for sample in figures["samples"]] == [8.0, 4.0, 40.0]


@pytest.mark.parametrize(
    ("value", "to", "expected"),
    [(3.0, 2.0, 1.5), (1.0, 3.0, 0.333), (3.0, None, None), (3.0, 0.0, None)],
)
def test_a_ratio_without_anything_to_compare_with_is_none(
    value: float, to: float | None, expected: float | None
) -> None:
    assert report.ratio(value, to) == expected


def test_whole_runs_are_held_against_each_other() -> None:
    rows = [row("ours", 1.0), row("whole", 4.0, against="whole"), row("other, whole", 8.0, against="whole")]
    assert report.row_figures(rows[2], rows, report.Limit({}))["of_ours"] == 2.0


def test_a_ratio_to_a_row_that_was_not_measured_is_none() -> None:
    rows = [row("ours", why_not="it failed"), row("other", 8.0)]
    assert report.row_figures(rows[1], rows, report.Limit({}))["of_ours"] is None


def test_what_was_not_measured_says_why_and_has_no_figures() -> None:
    rows = [row("other", why_not="other is not installed")]
    assert report.row_figures(rows[0], rows, report.Limit({})) == {"not_measured": "other is not installed"}


def test_the_limit_is_the_part_that_takes_longest() -> None:
    limit = report.Limit({"copy": 1.0, "hash": 3.0, "write": 2.0})
    assert (limit.part, limit.seconds) == ("hash", 3.0)
    assert report.Limit({}).seconds is None


def test_figures_of_a_part_of_the_files_are_multiplied_but_memory_is_not() -> None:
    multiplied = report.multiplied(SAMPLE, 200)
    assert (multiplied.wall, multiplied.cpu, multiplied.read) == (400.0, 300.0, 1_000_000)
    assert multiplied.peak_memory == SAMPLE.peak_memory


@pytest.mark.parametrize(
    ("walls", "ours", "settled"),
    [
        pytest.param([9.0], [2.0], True, id="slow, and slower than ours"),
        pytest.param([9.0], [4.0], False, id="slow, but so is ours"),
        pytest.param([7.0], [0.1], False, id="quick enough to be run again"),
        pytest.param([9.0, 5.0], [1.0], False, id="slow once only"),
        pytest.param([], [1.0], False, id="not run yet"),
        pytest.param([9.0], [], False, id="ours was not measured"),
    ],
)
def test_only_what_is_slow_beyond_doubt_is_run_once(walls: list[float], ours: list[float], settled: bool) -> None:
    assert report.is_settled(walls, ours) is settled


# Tables


def test_a_table_goes_from_fast_to_slow_with_the_limit_first_and_the_missing_last() -> None:
    rows = [row("ours", 2.0, 3.0, 4.0, durable=True), row("gone", why_not="no | there"), row("quick", 1.5)]
    lines = report.table(CASE, rows, report.Limit({"copy": 0.5, "hash": 0.25})).splitlines()
    firsts = [line.split(" | ")[0].strip("| ") for line in lines]
    assert firsts == ["2x1KiB", "---", "*limit: copy*", "quick", "ours", "gone"]
    assert "| 3.00 | 2.00 to 4.00 | yes | 1.50 |" in lines[4]
    assert lines[4].endswith("| 2.0x | 6.00x | 1.00x |")
    assert "| once | no |" in lines[3]
    assert "not measured: no \\| there" in lines[5]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_all_tables_and_the_stored_figures_can_be_made_of_the_same_results() -> None:
    about = {
        "machine": {"processor": "P", "cores": 2, "memory_bytes": 8 << 30, "kernel": "6.1", "file_system": "ext4"},
        "tools": {"curl": "8.1", "wget": ""},
        "run": {"date": "2026-01-02", "rounds": 3, "scale": 0.5},
    }
    measured = [(CASE, [row("ours", 1.0), row("gone", why_not="so")], report.Limit({"hash": 0.5}))]
    text = report.tables(measured, about)
    assert text.startswith("2026-01-02, P, 2 cores, 8 GiB, Linux 6.1, ext4; medians of 3 rounds. Sizes or counts")
    assert text.endswith("Versions: curl 8.1.")
    stored = json.loads(json.dumps(report.results(measured, about)))
    assert stored["cases"]["2x1KiB"]["bytes"] == 2048
    assert stored["cases"]["2x1KiB"]["peers"]["gone"] == {"not_measured": "so"}


def test_a_block_is_replaced_between_its_markers_and_nothing_else() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.with_block(document, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.with_block(once, "new") == once


@pytest.mark.parametrize(
    "document",
    [
        "none",
        report.BEGIN,
        f"{report.END}{report.BEGIN}",
        f"{report.BEGIN}{report.BEGIN}{report.END}",
        f"{report.BEGIN}{report.END}{report.END}",
    ],
)
def test_a_document_without_one_pair_of_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="must have one line"):
        report.with_block(document, "new")


def test_the_document_has_the_markers() -> None:
    assert report.with_block((ROOT / "docs" / "measurements.md").read_text(encoding="utf-8"), "new")


# Peers


def job(folder: Path, case: cases.Case) -> cases.Job:
    for name in ("work", "out"):
        (folder / name).mkdir()
    files = tuple(
        cases.Served(name, case.size, hashlib.sha256(name.encode()).hexdigest(), f"http://127.0.0.1:1/data/{name}")
        for name in data.file_names(case)
    )
    return cases.Job(case, files, "http://127.0.0.1:1", folder / "ca.pem", folder / "work", folder / "out", cores=3)


TOOLS = peers.Tools(Path("/venv/bin/python"), Path("/hub/bin/python"), Path("/checkout"))


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: str(case.name))
def test_every_peer_of_a_case_has_a_script_that_a_shell_can_read(case: cases.Case, tmp_path: Path) -> None:
    whole = job(tmp_path, case)
    for peer in (peer for peer in peers.PEERS if peer.does(case)):
        script = peer.script(peers.asked(peer, whole), TOOLS)
        read = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
        assert read.returncode == 0, (peer.name, read.stderr)


def test_only_where_each_file_takes_a_process_are_many_small_files_sampled(tmp_path: Path) -> None:
    whole = job(tmp_path, next(case for case in cases.CASES if case.many_small))
    given = {peer.name: len(peers.asked(peer, whole).files) for peer in peers.PEERS}
    assert {name for name, count in given.items() if count < len(whole.files)} == {
        "get_url",
        "get_url, whole ansible run",
    }


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_verifying_by_openssl_takes_the_pinned_content_and_no_other(at_once: bool, count: int, tmp_path: Path) -> None:
    asked = job(tmp_path, cases.Case("some", count, 8))
    for file in asked.files:
        (asked.out / file.path).write_text(file.name)  # what its digest is of
    script = "set -eu\n" + peers.openssl(asked, at_once=at_once)
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode == 0
    (asked.out / asked.files[-1].path).write_text("other")
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode != 0


def test_what_came_over_the_network_is_not_read_back(tmp_path: Path) -> None:
    whole = job(tmp_path, cases.Case("one", 1, 1000))
    wget = next(peer for peer in peers.PEERS if peer.name.startswith("wget"))
    curl = next(peer for peer in peers.PEERS if peer.name.startswith("curl"))
    assert peers.read_back(wget, whole, 2000) == 1000
    assert peers.read_back(curl, whole, 1000) == 1000


# Data


def test_files_are_made_once_and_counted_by_content_and_size(tmp_path: Path) -> None:
    case = cases.Case("two", 2, 5000)
    content = data.Data(tmp_path / "data")
    assert content.bytes_to_make([case, case]) == 10_000
    files = content.files(case, "http://host")
    stamps = [content.path(file).stat().st_mtime_ns for file in files]
    again = data.Data(tmp_path / "data")
    assert again.bytes_to_make([case]) == 0
    assert again.files(case, "http://host") == files
    assert [content.path(file).stat().st_mtime_ns for file in files] == stamps
    assert data.missing_contents(tmp_path / "data", files) == ""
    assert data.missing_sizes(tmp_path / "data", files) == ""
    content.path(files[0]).write_bytes(bytes(5000))
    assert data.missing_contents(tmp_path / "data", files) == files[0].name
    content.path(files[0]).unlink()
    assert data.missing_sizes(tmp_path / "data", files) == "1 of 5000 bytes"


def test_a_hard_link_does_not_count_as_a_second_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    assert len(data.distinct_files(tmp_path)) == 1


def test_data_of_other_sizes_are_removed(tmp_path: Path) -> None:
    content = data.Data(tmp_path)
    old, new = cases.Case("old", 1, 10), cases.Case("new", 1, 20)
    for case in (old, new):
        content.files(case, "http://host")
    content.keep_only([new])
    assert content.bytes_to_make([old, new]) == 10


# Processes. They are measured by a process of their own, as whoever measures becomes the parent of orphans.

MEASURE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from ansible_collections.emorobcare.fleet.tests.bench import models_process as process
process.adopt_orphans()
ballast = bytearray(b"x" * (200 << 20))
command = process.Command(tuple(json.loads(sys.argv[1])), {"PATH": "/usr/bin:/bin"}, Path("/"))
try:
    told = asdict(process.measure(command, Path(sys.argv[2]), float(sys.argv[3])))
except process.DidNotEnd as exc:
    told = {"why": str(exc)}
told["strays"] = len(process.end_strays(keep=()))
told["left"] = process.end_strays(keep=())
print(json.dumps(told))
"""


def measured(tmp_path: Path, *argv: str, timeout: float = 60) -> dict[str, t.Any]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(argv), str(tmp_path / "log"), str(timeout)],
        env={"PYTHONPATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


def test_what_a_command_starts_is_measured_with_it_and_we_are_not(tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(bytes(3 << 20))
    told = measured(tmp_path, "sh", "-c", f"cat {tmp_path / 'content'} >/dev/null; exit 3")
    assert told["status"] == 3
    assert told["read"] >= 3 << 20
    assert 0 < told["peak_memory"] < 100 << 20  # ours is 200 MiB
    assert told["strays"] == 0


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    told = measured(tmp_path, "sh", "-c", "sleep 1000 & setsid sleep 1000 & wait", timeout=1)
    assert "longer" in told["why"]
    assert told["strays"] > 0
    assert told["left"] == []


def test_what_a_command_prints_is_kept(tmp_path: Path) -> None:
    assert measured(tmp_path, "sh", "-c", "echo out; echo err >&2; kill -TERM $$")["status"] == -15
    assert (tmp_path / "log").read_text() == "out\nerr\n"
