# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils import _image_report as report

API = report.ImageReport("api", "demo/api:1", "sha256:a", 150_000_000)


def build(**changes: t.Any) -> dict[str, t.Any]:
    return {"service": "api", "reference": "demo/api:1", "id": "sha256:a", "size": 10, "built": True, **changes}


def audit(**changes: t.Any) -> dict[str, t.Any]:
    return {"service": "api", "reference": "demo/api:1", "id": "sha256:a", "size": 10, "layers": 3, **changes}


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (99_949, "99.9 kB"),
        (999_600, "1.00 MB"),
        (15_972_000, "16.0 MB"),
        (191_900_000, "192 MB"),
        (2_500_000_000, "2.50 GB"),
    ],
)
def test_sizes_have_three_digits(size: int, words: str) -> None:
    assert report.readable(size) == words


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("demo/api:1", "demo/api"),
        ("host:5000/demo/api", "host:5000/demo/api"),
        ("host:5000/demo/api:1@sha256:0", "host:5000/demo/api"),
    ],
)
def test_the_name_of_an_image_is_its_reference_without_what_changes(reference: str, name: str) -> None:
    assert dataclasses.replace(API, reference=reference).name == name


def test_a_build_and_its_audit_are_one_image() -> None:
    finding = {"rule": "size", "level": "fail", "message": "m", "evidence": ["a", "b"], "way_out": "w"}
    (image,) = report.read_images([build()], [audit(findings=[finding], states={"user": "passed"})])
    assert image.findings == (report.Finding("size", "fail", "m", "a\nb", "w"),)
    assert (image.layers, image.audited, image.states) == (3, True, (("user", "passed"),))


def test_findings_that_fail_come_first() -> None:
    findings = [{"rule": "a", "level": "warn"}, {"rule": "b", "level": "fail"}]
    (image,) = report.read_images([], [audit(findings=findings)])
    assert [one.rule for one in image.findings] == ["b", "a"]


def test_an_audit_of_another_image_than_the_build_is_refused() -> None:
    with pytest.raises(report.ImageReportError, match="service api: the audit is of another image"):
        report.read_images([build()], [audit(id="sha256:b")])


@pytest.mark.parametrize("bad", [{}, {"service": "api"}, {**build(), "size": "large"}, {**build(), "size": []}])
def test_what_is_no_result_is_refused(bad: dict[str, t.Any]) -> None:
    with pytest.raises(report.ImageReportError, match="must be results of image_build and image_audit"):
        report.read_images([bad], [])


def test_a_new_build_is_compared_with_the_one_before_and_making_the_report_again_says_the_same() -> None:
    first, known = report.with_sizes_before([API], None)
    assert first[0].change is None
    larger = dataclasses.replace(API, id="sha256:b", size=165_000_000)
    second, known = report.with_sizes_before([larger], known)
    assert second[0].change == 15_000_000
    again, known_again = report.with_sizes_before([larger], known)
    assert (again, known_again) == (second, known)


@pytest.mark.parametrize("known", [None, [], {"schema": 2, "images": {}}, {"schema": 1, "images": {"demo/api": 3}}])
def test_sizes_that_cannot_be_understood_count_as_unknown(known: t.Any) -> None:
    images, new = report.with_sizes_before([API], known)
    assert images[0].before is None
    assert new["images"]["demo/api"]["size"] == 150_000_000


def test_images_of_other_services_are_not_forgotten() -> None:
    _images, known = report.with_sizes_before([API], {"schema": 1, "images": {"demo/x": {"id": "i", "size": 1}}})
    assert set(known["images"]) == {"demo/api", "demo/x"}


def test_an_image_that_would_be_built_changes_nothing_that_is_known() -> None:
    _first, known = report.with_sizes_before([API], None)
    foreseen = dataclasses.replace(API, id=None, size=None)
    images, new = report.with_sizes_before([foreseen], known)
    assert new == known
    assert report.readable_change(images[0]) == "to be built"


@pytest.mark.parametrize(
    ("size", "before", "words"),
    [
        (110, 100, "+10 B (+10 %)"),
        (90, 100, "\N{MINUS SIGN}10 B (\N{MINUS SIGN}10 %)"),
        (100, 100, "same"),
        (100, None, "first"),
        (5, 0, "+5 B"),
    ],
)
def test_a_change_is_told_with_its_sign(size: int, before: int | None, words: str) -> None:
    assert report.readable_change(dataclasses.replace(API, size=size, before=before)) == words


def test_a_table_is_aligned_and_shows_what_nothing_has_looked_at() -> None:
    clean = dataclasses.replace(API, audited=True, layers=12, states=(("vulnerabilities", "passed"),))
    bad = report.Finding("size", "fail", "too large")
    other = report.ImageReport(
        "web", "demo/\x1b[2Jweb:1", "sha256:w", 9_000_000, audited=True, layers=3, findings=(bad,),
        states=(("vulnerabilities", "not scanned"),),
    )  # fmt: skip
    assert report.table_lines([clean, other, API]) == [
        "IMAGE         SIZE     CHANGE  LAYERS  FINDINGS     VULNERABILITIES",
        "demo/api       150 MB  first   12      none         passed",
        "demo/?[2Jweb  9.00 MB  first   3       1 failed     not scanned",
        "demo/api       150 MB  first   -       not audited  not scanned",
        "3 images, 309 MB, 1 finding that fails, 2 not scanned in full",
    ]


def test_no_images_are_no_error() -> None:
    assert report.table_lines([]) == ["no images"]
