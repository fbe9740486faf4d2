# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import (
    Condition,
    Found,
    FoundFile,
    Plan,
    Space,
    bytes_needed,
    check_space,
    human,
    inodes_needed,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile

A, B, C = "a" * 64, "b" * 64, "c" * 64


def a_file(path: str, sha256: str, size: int = 10, source: str = "https://h/m") -> WantedFile:
    return WantedFile(path, sha256, size, parse_source(source, path))


FILES = (a_file("a", A, 100), a_file("d/b", B, 20))
WANTED = Wanted("speech", "1", "present", FILES)
ABSENT = Wanted("speech", "1", "absent")
PINS = WANTED.pins


def published(a: Condition = "whole", b: Condition = "whole", **more: t.Any) -> Found:
    files = {"a": FoundFile(a), "d/b": FoundFile(b)}
    return Found(**{"published": True, "pins": PINS, "files": files, **more})


PLANS = [
    # id, found, action, paths fetched, paths linked
    pytest.param(Found(), "publish", ["a", "d/b"], ["a", "d/b"], id="nothing there"),
    pytest.param(Found(blobs=frozenset({B})), "publish", ["a"], ["a", "d/b"], id="half in the store"),
    pytest.param(Found(blobs=frozenset({A, B})), "publish", [], ["a", "d/b"], id="all in the store"),
    pytest.param(Found(pins={"a": C}), "publish", ["a", "d/b"], ["a", "d/b"], id="a record without its version"),
    pytest.param(published(), "none", [], [], id="whole"),
    pytest.param(published(unstamped=True), "stamp", [], [], id="whole, stamps lost"),
    pytest.param(published(pins=None), "stamp", [], [], id="whole, record lost"),
    pytest.param(published("stray", pins=None, blobs=frozenset({A})), "repair", [], ["a"], id="a copy, record lost"),
    pytest.param(published("wrong"), "repair", ["a"], ["a"], id="damaged"),
    pytest.param(published("wrong", blobs=frozenset({A})), "repair", [], ["a"], id="damaged, good in the store"),
    pytest.param(published("missing", "missing"), "repair", ["a", "d/b"], ["a", "d/b"], id="emptied"),
    pytest.param(published("stray", blobs=frozenset({A})), "repair", [], ["a"], id="a copy beside the store's"),
    pytest.param(published("orphan"), "repair", [], [], id="lost by the store"),
    pytest.param(published("orphan", pins=None), "repair", [], [], id="lost by the store, record lost"),
    pytest.param(published(extras=("x",)), "repair", [], [], id="a stranger"),
]


@pytest.mark.parametrize(("found", "action", "fetched", "linked"), PLANS)
def test_plan(found: Found, action: str, fetched: list[str], linked: list[str]) -> None:
    plan = make_plan(WANTED, found)
    assert plan.action == action
    assert [file.path for file in plan.fetches] == fetched
    assert [file.path for file in plan.links] == linked
    assert plan.changed == (action in ("publish", "repair")) == (plan.before != plan.after)
    assert plan.bytes_to_fetch == sum({"a": 100, "d/b": 20}[path] for path in fetched)
    assert plan.before["bytes_to_fetch"] == plan.bytes_to_fetch
    assert plan.extras == found.extras


def test_the_diff_says_for_each_file_what_was_wrong_and_what_it_costs() -> None:
    plan = make_plan(WANTED, published("wrong", "missing", blobs=frozenset({B}), extras=("x",)))
    assert plan.before["files"] == {
        "a": "content had changed; 100 bytes to fetch",
        "d/b": "was missing",
        "x": "did not belong there",
    }
    assert plan.after["files"] == {"a": f"100 bytes, sha256:{A}", "d/b": f"20 bytes, sha256:{B}"}
    assert plan.repairs == (("a", "content had changed"), ("d/b", "was missing"), ("x", "did not belong there"))


def test_the_diff_of_a_publication_says_per_file_what_is_fetched() -> None:
    plan = make_plan(WANTED, Found(blobs=frozenset({B})))
    assert plan.before == {
        "published": False,
        "files": {"a": "absent; 100 bytes to fetch", "d/b": "absent"},
        "bytes_to_fetch": 100,
    }


def test_a_file_that_became_writable_is_put_right() -> None:
    files = {"a": FoundFile("whole", 0o644), "d/b": FoundFile("whole")}
    plan = make_plan(WANTED, published(files=files))
    assert (plan.action, [file.path for file in plan.chmods], plan.links) == ("repair", ["a"], ())
    assert plan.repairs == (("a", "mode was 0644"),)


def test_content_that_two_paths_share_is_fetched_once() -> None:
    wanted = Wanted("speech", "1", "present", (a_file("a", A), a_file("b", A)))
    plan = make_plan(wanted, Found())
    assert ([file.path for file in plan.fetches], len(plan.links)) == (["a"], 2)


def test_files_of_one_wheel_are_fetched_next_to_each_other() -> None:
    files = (
        a_file("1", A, source="pip://x==1!/1"),
        a_file("2", B, source="https://h/2"),
        a_file("3", C, source="pip://X==1!/3"),
    )
    plan = make_plan(Wanted("speech", "1", "present", files), Found())
    assert [file.path for file in plan.fetches] == ["1", "3", "2"]


IMMUTABLE = [
    pytest.param({"a": A, "d/b": C}, f"d/b: published sha256 {C}, wanted {B}", id="other digest"),
    pytest.param({"a": A}, "d/b: wanted, not published", id="one more file"),
    pytest.param({**PINS, "c": C}, "c: published, not wanted", id="one file less"),
]


@pytest.mark.parametrize(("pins", "says"), IMMUTABLE)
def test_a_published_version_with_other_pins_is_refused_with_the_way_out(pins: dict[str, str], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        make_plan(WANTED, published("wrong", pins=pins))
    assert caught.value.reason == "immutable"
    assert says in str(caught.value)
    assert "state: absent" in str(caught.value)


@pytest.mark.parametrize("found", [published("wrong", pins=None), published(pins=None, extras=("x",))])
def test_a_folder_that_is_not_ours_is_refused(found: Found) -> None:
    with pytest.raises(ModelError) as caught:
        make_plan(WANTED, found)
    assert caught.value.reason == "foreign"


ABSENCE = [
    pytest.param(Found(), False, 0, id="not there"),
    pytest.param(Found(published=True), True, 0, id="there, all shared"),
    pytest.param(Found(published=True, garbage={A: 7, B: 2}), True, 9, id="there, not shared"),
    pytest.param(Found(garbage={A: 7}), True, 7, id="left over by an interrupted removal"),
]


@pytest.mark.parametrize(("found", "changed", "freed"), ABSENCE)
def test_plan_of_absence(found: Found, changed: bool, freed: int) -> None:
    plan = make_plan(ABSENT, found)
    assert (plan.changed, plan.bytes_freed, plan.sweep) == (changed, freed, tuple(found.garbage))
    assert plan.changed == (plan.before != plan.after)


def test_files_take_whole_blocks_and_folders_one_each() -> None:
    plan = make_plan(WANTED, Found())  # 100 and 20 bytes; the version's folder and d
    assert bytes_needed(plan, block=4096) == 4 * 4096
    assert inodes_needed(plan) >= 4


def test_the_biggest_wheel_is_counted_beside_the_content() -> None:
    sources = ("pip://x==1!/1", "pip://x==1!/2", "pip://y==1!/1", "https://h/1")
    files = tuple(
        a_file(str(number), digit * 64, 1000 * (number + 1), source)
        for number, (digit, source) in enumerate(zip("1234", sources))
    )
    plan = make_plan(Wanted("speech", "1", "present", files), Found())
    assert bytes_needed(plan, block=1) == 10_000 + 3000 + 1  # content, the wheels of x or y, the folder


def test_a_plan_that_fits_exactly_passes_and_one_byte_less_does_not() -> None:
    plan = make_plan(WANTED, Found())
    check_space(plan, Space("/", bytes_needed(plan, 1), inodes_needed(plan), 1))
    with pytest.raises(ModelError, match=r"not enough space on /srv: 122 bytes .* needed, 121 bytes") as caught:
        check_space(plan, Space("/srv", bytes_needed(plan, 1) - 1, None, 1))
    assert caught.value.reason == "no_space"
    assert caught.value.details == {"needed": 122, "available": 121, "mount": "/srv"}


def test_too_few_inodes_are_refused() -> None:
    plan = make_plan(WANTED, Found())
    with pytest.raises(ModelError, match="not enough inodes on /srv"):
        check_space(plan, Space("/srv", 1 << 40, inodes_needed(plan) - 1, 4096))


def test_without_anything_to_fetch_a_full_disk_is_fine() -> None:
    check_space(Plan("publish", links=FILES), Space("/", 0, 0, 4096))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (90_868_376, "90.9 MB"), (14_000_000_000, "14.0 GB")],
)
def test_sizes_are_shown_in_decimal_units(size: int, text: str) -> None:
    assert human(size) == text
