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
    Published,
    Use,
    make_plan,
    superseded,
    without,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_space import bytes_needed
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile

A, B, C = "a" * 64, "b" * 64, "c" * 64


def a_file(path: str, sha256: str, size: int = 10, source: str = "https://h/m", **more: t.Any) -> WantedFile:
    return WantedFile(path, sha256, size, (parse_source(source, path),), **more)


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


RESUMED = [
    pytest.param({A: 60}, {A: 40, B: 20}, {A: 60}, id="one in part"),
    pytest.param({A: 100, B: 20}, {A: 0, B: 0}, {A: 100, B: 20}, id="all there, not yet verified"),
    pytest.param({A: 0, C: 50}, {A: 100, B: 20}, {}, id="nothing of what is wanted"),
]


@pytest.mark.parametrize(("resumable", "transfers", "held"), RESUMED)
def test_what_an_interrupted_run_received_is_not_counted_again(
    resumable: dict[str, int], transfers: dict[str, int], held: dict[str, int]
) -> None:
    plan = make_plan(WANTED, Found(resumable=resumable))
    assert (plan.transfers, plan.held) == (transfers, held)
    assert plan.bytes_to_fetch == plan.before["bytes_to_fetch"] == sum(transfers.values())


def test_the_diff_says_what_is_here_already() -> None:
    plan = make_plan(WANTED, Found(resumable={A: 60}))
    assert plan.before["files"] == {
        "a": "absent; 40 bytes to fetch, 60 are here already",
        "d/b": "absent; 20 bytes to fetch",
    }


@pytest.mark.parametrize(
    ("size", "shown"), [(7, "absent; about 7 bytes to fetch"), (0, "absent; about 0 bytes to fetch")]
)
def test_an_estimate_is_shown_as_one(size: int, shown: str) -> None:
    plan = make_plan(Wanted("speech", "1", "present", (a_file("a", A, size, estimated=True),)), Found())
    assert plan.before["files"]["a"] == shown
    assert plan.after["files"]["a"] == f"{'about 7 bytes' if size else 'size not known'}, sha256:{A}"


DAMAGE = [
    # corrupt ranges, good bytes, resumable, to transfer, what was wrong
    pytest.param(((10, 30),), 80, 0, 20, "bytes 10-29 had changed", id="one range"),
    pytest.param(((0, 5), (90, 100)), 85, 0, 15, "bytes 0-4, 90-99 had changed", id="two ranges"),
    pytest.param(
        tuple((n, n + 1) for n in range(0, 14, 2)),
        93,
        0,
        7,
        "bytes 0-0, 2-2, 4-4, 6-6 and 3 more ranges had changed",
        id="many ranges",
    ),
    pytest.param((), 0, 0, 100, "content had changed", id="nobody knows where"),
    pytest.param(((10, 30),), 80, 90, 10, "bytes 10-29 had changed", id="a repair that was interrupted"),
]


@pytest.mark.parametrize(("corrupt", "good", "resumable", "transfer", "why"), DAMAGE)
def test_only_what_had_changed_of_a_damaged_file_is_fetched(
    corrupt: tuple[tuple[int, int], ...], good: int, resumable: int, transfer: int, why: str
) -> None:
    files = {"a": FoundFile("wrong", corrupt=corrupt, good_bytes=good), "d/b": FoundFile("whole")}
    plan = make_plan(WANTED, published(files=files, resumable={A: resumable}))
    assert plan.bytes_to_fetch == transfer
    assert plan.repairs == (("a", why),)
    assert plan.corrupt == tuple(("a", *span) for span in corrupt)
    assert bytes_needed(plan, 1) == 100 - resumable + 1  # what is good is copied: content and the folder


def test_a_digest_is_fetched_from_the_sources_of_all_its_files_and_required_if_one_of_them_is() -> None:
    files = (a_file("a", A, source="https://h/1", required=False), a_file("b", A, source="https://h/2"))
    (fetch,) = make_plan(Wanted("speech", "1", "present", files), Found()).fetches
    assert ([source.shown for source in fetch.sources], fetch.required) == (["https://h/1", "https://h/2"], True)


OPTIONAL = Wanted("speech", "1", "present", (a_file("a", A, 100), a_file("d/b", B, 20, required=False)))


def test_a_version_is_published_without_an_optional_file_that_no_source_has() -> None:
    plan = without(make_plan(OPTIONAL, Found(resumable={B: 5})), {B})
    assert (plan.action, plan.changed, plan.unavailable) == ("publish", True, ("d/b",))
    assert [file.path for file in plan.fetches] == [file.path for file in plan.links] == ["a"]
    assert (plan.bytes_to_fetch, plan.held) == (100, {})
    assert plan.before["bytes_to_fetch"] == 100
    assert plan.after["files"]["d/b"] == plan.before["files"]["d/b"] == "left out: it is optional, and no source has it"


def test_a_version_of_nothing_but_unavailable_files_is_an_empty_folder() -> None:
    wanted = Wanted("speech", "1", "present", (a_file("a", A, required=False),))
    plan = without(make_plan(wanted, Found()), {A})
    assert (plan.action, plan.links, plan.fetches) == ("publish", (), ())


@pytest.mark.parametrize(("unstamped", "action"), [(False, "none"), (True, "stamp")])
def test_an_optional_file_that_stays_unavailable_is_tried_again_and_changes_nothing(
    unstamped: bool, action: str
) -> None:
    plan = make_plan(OPTIONAL, published(b="missing", unstamped=unstamped))
    assert (plan.action, [file.path for file in plan.fetches]) == ("repair", ["d/b"])
    left = without(plan, {B})
    assert (left.action, left.changed, left.unavailable, left.bytes_to_fetch) == (action, False, ("d/b",), 0)
    assert left.before == left.after


def test_an_optional_file_that_is_damaged_and_unavailable_is_taken_away() -> None:
    plan = without(make_plan(OPTIONAL, published(b="wrong")), {B})
    assert (plan.action, plan.extras, plan.links) == ("repair", ("d/b",), ())
    assert plan.repairs == (("d/b", "content had changed"),)
    assert plan.before != plan.after


def test_other_repairs_go_on_without_an_optional_file() -> None:
    plan = without(make_plan(OPTIONAL, published(a="wrong", b="missing")), {B})
    assert (plan.action, [file.path for file in plan.fetches], plan.repairs) == (
        "repair",
        ["a"],
        (("a", "content had changed"),),
    )


@pytest.mark.parametrize("unavailable", [set(), {A}, {C}])
def test_nothing_that_is_required_is_left_out(unavailable: set[str]) -> None:
    plan = make_plan(OPTIONAL, Found())
    assert without(plan, unavailable) == plan


def test_a_version_that_lacks_an_optional_file_is_ours_without_its_record() -> None:
    assert make_plan(OPTIONAL, published(b="missing", pins=None)).action == "repair"
    with pytest.raises(ModelError, match="no record"):
        make_plan(OPTIONAL, published(a="missing", pins=None))


def test_a_version_that_a_release_uses_is_not_removed() -> None:
    uses = (Use("demo", "0123456789abcdef"), Use("shop", "f" * 64))
    with pytest.raises(ModelError) as caught:
        make_plan(ABSENT, Found(published=True, uses=uses))
    assert caught.value.reason == "in_use"
    assert "stack demo, release 0123456789ab; stack shop, release ffffffffffff" in str(caught.value)
    assert caught.value.details["stacks"] == ["demo", "shop"]
    assert caught.value.details["uses"][0] == {"stack": "demo", "release": "0123456789abcdef"}


def test_what_is_left_of_a_version_that_is_gone_is_removed_though_a_release_names_it() -> None:
    assert make_plan(ABSENT, Found(garbage={A: 7}, uses=(Use("demo", "0" * 64),))).action == "remove"


VERSIONS = (Published("1", 10, False), Published("3", 30, False), Published("2", 20, False))
SUPERSEDED = [
    # published, current, keep, what goes
    pytest.param(VERSIONS, "3", 0, (), id="all stay"),
    pytest.param(VERSIONS, "3", 1, ("1", "2"), id="the current one stays"),
    pytest.param(VERSIONS, "3", 2, ("1",), id="and the one before"),
    pytest.param(VERSIONS, "3", 3, (), id="as many as there are"),
    pytest.param(VERSIONS, "3", 9, (), id="more than there are"),
    pytest.param(VERSIONS, "1", 1, ("2",), id="gone back to the oldest"),
    pytest.param((Published("1", 10, True), *VERSIONS[1:]), "3", 1, ("2",), id="an old one in use"),
    pytest.param((Published("a", 10, False), Published("b", 10, False)), "a", 1, ("b",), id="published at one moment"),
    pytest.param((), "1", 1, (), id="none"),
]


@pytest.mark.parametrize(("versions", "current", "keep", "gone"), SUPERSEDED)
def test_the_newest_versions_stay_and_never_goes_one_that_is_needed(
    versions: tuple[Published, ...], current: str, keep: int, gone: tuple[str, ...]
) -> None:
    assert superseded(versions, current, keep) == gone
