# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import threading
import types
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.bench import depot, depot_agent, depot_measure, depot_peers
from ansible_collections.emorobcare.fleet.tests.bench import depot_report as report
from ansible_collections.emorobcare.fleet.tests.bench.depot_peers import APPLIERS, VERIFIERS, WRITERS, Subject, Way
from ansible_collections.emorobcare.fleet.tests.bench.images_report import with_block

ROOT = Path(__file__).resolve().parents[3]
ABOUT = {
    "machine": {"processor": "P", "cores": 2, "file_system": "ext4"},
    "run": {"date": "2026-01-02", "rounds": 1, "engine": "26.1", "skopeo": "1.18", "load_average": [0.5, 1.25]},
}
SUBJECT = Subject("/root/bench.json", ("demo/api:1", "demo/page:2"), 1764158400)


def sample(seconds: float, written: int = 100_000_000, peak_extra: int = 8_000_000) -> report.Sample:
    return report.Sample(seconds, written, peak_extra, {"gather": 1.0})


def measured() -> report.Found:
    found = report.Found(size=100_000_000)
    seconds: dict[Way, float] = {
        "depot": 2.0,
        "copy": 1.5,
        "archive": 8.0,
        "skopeo": 6.0,
        "hash": 1.9,
        "sha256sum": 4.0,
    }
    found.write = {way: [sample(seconds[way])] for way in WRITERS}
    found.second = {way: [sample(seconds[way], written=1_500_000)] for way in WRITERS if way != "copy"}
    found.warm = {way: [sample(seconds[way])] for way in VERIFIERS}
    found.cold = {way: [sample(seconds[way])] for way in VERIFIERS}
    found.apply = {way: [sample(seconds[way])] for way in APPLIERS}
    found.plays = {"the role writes a depot": [9.0, 11.0]}
    return found


def test_tables_hold_all_beside_ours() -> None:
    text = report.tables(measured(), ABOUT)
    assert "| depot | 2.00 | 50 | 75 % | 100.0 | 100 % |" in text
    assert "| depot, once the engine has given the images | 1.00 | 100 | 150 % |  |  |" in text
    assert "| docker save, gzip | 8.00 | 12 | 19 % | 100.0 | 100 % |" in text
    assert "| depot | 2.00 | 1.50 | 1.50 % |" in text
    assert "| depot | 2.00 | 95 % | 2.00 | 95 % |" in text
    assert "| depot | 2.00 | 1.00x | 8.0 (8.0 to 8.0) | 8 % |" in text
    assert "| skopeo | 6.00 | 3.00x | 8.0 (8.0 to 8.0) | 8 % |" in text
    assert "| the role writes a depot | 10.0 (9.00 to 11.0) |" in text
    for figure in ("cp (70 %)", "first (2 %)", "hashing (90 %)", "of the release (10 %)"):
        assert figure in text
    assert "**" not in text


def test_what_misses_its_figure_is_bold_where_it_is_ours() -> None:
    found = measured()
    found.write["depot"] = [sample(4.0)]
    found.second["depot"] = [sample(2.0, written=2_500_000)]
    found.warm["depot"] = [sample(2.5)]
    found.apply["depot"] = [sample(2.0, peak_extra=11_000_000)]
    found.apply["archive"] = [sample(2.0, peak_extra=99_000_000)]
    text = report.tables(found, ABOUT)
    assert text.count("**") == 2 * 5  # the whole of writing, and the part of it, are two
    for words in ("**38 %**", "**50 %**", "**2.50 %**", "**76 %**", "**11 %**"):
        assert words in text
    assert "| 99.0 (99.0 to 99.0) | 99 % |" in text


def test_parts_that_were_not_measured_have_no_table() -> None:
    found = dataclasses.replace(measured(), second={}, warm={}, cold={}, apply={}, plays={})
    text = report.tables(found, ABOUT)
    assert "writing a release" in text
    assert text.count("| --- |") == 1


def test_what_is_stored_has_every_sample() -> None:
    stored = json.loads(json.dumps(report.results(measured(), ABOUT)))
    assert stored["release_bytes"] == 100_000_000
    assert stored["apply"]["skopeo"]["peak_extra_bytes"] == {"median": 8e6, "min": 8e6, "max": 8e6}
    assert stored["write"]["depot"]["samples"][0]["steps"] == {"gather": 1.0}
    assert stored["whole_playbooks"]["the role writes a depot"]["samples"] == [9.0, 11.0]


def test_the_document_has_a_place_for_the_tables() -> None:
    document = (ROOT / "docs" / "measurements.md").read_text()
    assert "new" in with_block(document, "new", report.BEGIN, report.END)


@pytest.mark.parametrize(
    "request_",
    [
        *(depot_peers.write(way, SUBJECT) for way in WRITERS if way != "depot"),
        *(depot_peers.apply(way, SUBJECT) for way in APPLIERS if way != "depot"),
        depot_peers.verify("sha256sum", cold=True),
        depot_peers.sums(),
    ],
)
def test_every_script_is_one_that_bash_can_read(request_: depot_peers.Request) -> None:
    done = subprocess.run(["bash", "-n", "-c", request_["script"]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", WRITERS)
def test_every_way_writes_into_a_folder_of_its_own_and_is_synced(way: Way) -> None:
    first, second = depot_peers.write(way, SUBJECT), depot_peers.write(way, SUBJECT, "second")
    assert first["into"] != second["into"]
    assert way == "depot" or first["script"].endswith("&& sync -f .")


@pytest.mark.parametrize("way", APPLIERS)
def test_what_is_applied_is_read_from_the_disk_and_its_room_is_watched(way: Way) -> None:
    request = depot_peers.apply(way, SUBJECT)
    assert request["cold"] == [depot_peers.folder(way)]
    assert request["disk"] == depot_peers.WORK


def test_what_is_asked_for_is_known_to_the_agent() -> None:
    asked = [depot_peers.write(way, SUBJECT) for way in WRITERS]
    asked += [depot_peers.verify(way, cold=False) for way in VERIFIERS]
    asked += [depot_peers.apply(way, SUBJECT) for way in APPLIERS]
    assert {request["do"] for request in asked} <= set(depot_agent.WORKERS)


def test_the_source_that_is_changed_is_there() -> None:
    assert (ROOT / depot_measure.CHANGED).is_file()


def test_bytes_that_were_written_are_those_of_new_and_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"1")
    (tmp_path / "replaced").write_bytes(b"12")
    before = depot_agent.files_of(str(tmp_path))
    (tmp_path / "new").write_bytes(b"12345")
    (tmp_path / "other").write_bytes(b"12")
    (tmp_path / "other").rename(tmp_path / "replaced")  # of the same bytes, and yet written
    assert depot_agent.written(before, depot_agent.files_of(str(tmp_path))) == 7
    assert depot_agent.written({}, depot_agent.files_of(str(tmp_path / "none"))) == 0


def test_blobs_are_hashed_and_held_against_their_names(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (b"a" * 3_000_000, b""):
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
    request = {"do": "hash", "depot": str(tmp_path), "cold": [str(tmp_path)]}
    answer = depot_agent.measured(request, depot_agent.hash_blobs)
    assert (answer["written"], answer["peak_extra"]) == (0, 0)
    assert answer["seconds"] > 0
    (blobs / ("0" * 64)).write_bytes(b"b")
    with pytest.raises(SystemExit, match="other content"):
        depot_agent.hash_blobs(request)


def test_a_script_that_fails_in_the_middle_of_a_pipe_fails() -> None:
    with pytest.raises(SystemExit, match="failed"):
        depot_agent.run_script({"script": "false | cat"})


def test_seconds_of_parts_are_noted_while_the_block_lasts() -> None:
    owner, steps = types.SimpleNamespace(double=lambda number: 2 * number), {"double": 1.0}
    plain = owner.double
    with depot_agent.timed(owner, "double", steps):
        assert owner.double(4) == 8
    assert steps["double"] > 1.0
    assert owner.double is plain


def test_used_space_that_is_given_back_is_counted(tmp_path: Path) -> None:
    used, seen = iter([50, 90, 70]), threading.Event()

    def look(_folder: str) -> int:
        value = next(used, 60)
        if value == 60:
            seen.set()
        return value

    with depot_agent.Disk(str(tmp_path), look) as disk:
        assert seen.wait(60)
    assert (disk.extra, disk.grown) == (30, 10)


@pytest.mark.parametrize(
    ("words", "whole"), [([], True), (["--repeat", "1"], False), (["--parts", "write,apply"], False)]
)
def test_only_a_run_of_everything_is_a_whole_one(words: list[str], whole: bool) -> None:
    assert depot.is_whole(depot.options(words)) is whole


@pytest.mark.parametrize("words", [["--repeat", "0"], ["--parts", "none"]])
def test_a_run_of_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        depot.options(words)
