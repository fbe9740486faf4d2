# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import INPUT_LABEL, Image, Layer
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import (
    ImagePlanError,
    Wanted,
    assert_size,
    make_plan,
    prune,
)

A, B = "a" * 64, "b" * 64
API = Wanted("stack/api:a", A, 1000)


def image(*references: str, size: int = 10, made_from: str | None = A, tagged: float = 1.0) -> Image:
    labels = {} if made_from is None else {INPUT_LABEL: made_from}
    return Image(f"sha256:{references[0] if references else ''}", size, references, labels, tagged)


RIGHT = image("stack/api:a")
OLDER = image("stack/api:y", made_from=B, tagged=1.0)
OLD = image("other/name:x", "stack/api:z", made_from=B, tagged=2.0)

PLANS = [
    pytest.param(RIGHT, [], "", None, id="the right image is left alone"),
    pytest.param(None, [], "missing", None, id="a missing image is made"),
    pytest.param(None, [OLDER, OLD], "input changed", "stack/api:z", id="the newest other version is named"),
    pytest.param(
        image("stack/api:a", made_from=B), [], "made by something else", None, id="another input under the tag"
    ),
    pytest.param(image("stack/api:a", made_from=None), [], "made by something else", None, id="no label under the tag"),
]


@pytest.mark.parametrize(("found", "versions", "reason", "previous"), PLANS)
def test_plan(found: Image | None, versions: list[Image], reason: str, previous: str | None) -> None:
    plan = make_plan([API], {} if found is None else {API.reference: found}, {"stack/api": versions})
    assert (plan.steps[0].reason, plan.steps[0].previous) == (reason, previous)
    assert plan.changed is (reason != "")
    assert [step.wanted for step in plan.to_make] == ([API] if reason else [])


def test_the_diff_tells_references_before_and_after() -> None:
    asr = Wanted("stack/asr:b", B)
    plan = make_plan([API, asr], {API.reference: RIGHT}, {"stack/asr": [image("stack/asr:old")]})
    assert plan.diff == {
        "before": {"stack/api": "stack/api:a", "stack/asr": "stack/asr:old"},
        "after": {"stack/api": "stack/api:a", "stack/asr": "stack/asr:b"},
    }


def test_a_diff_without_change_has_none() -> None:
    diff = make_plan([API], {API.reference: RIGHT}, {}).diff
    assert diff["before"] == diff["after"]


def test_the_same_reference_twice_is_refused() -> None:
    with pytest.raises(ImagePlanError, match="stack/api:a is asked for 2 times"):
        make_plan([API, API], {}, {})


def test_an_image_that_has_grown_too_large_for_its_limit_is_refused_though_nothing_is_to_build() -> None:
    with pytest.raises(ImagePlanError, match="stack/api:a is too large"):
        make_plan([API], {API.reference: image("stack/api:a", size=1001)}, {})


@pytest.mark.parametrize(
    "reference", ["stack/api", "stack/api:latest", "Stack/api:a", "stack/api:", ":a", "--x:a", "a b:c"]
)
def test_a_reference_needs_a_name_and_a_tag_of_its_content(reference: str) -> None:
    with pytest.raises(ImagePlanError, match="never latest"):
        Wanted(reference, A)


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64, f"sha256:{A}"])
def test_an_input_is_64_hex_digits(digest: str) -> None:
    with pytest.raises(ImagePlanError, match="64 lower-case hex digits"):
        Wanted("a:b", digest)


def test_a_limit_is_above_nothing() -> None:
    with pytest.raises(ImagePlanError, match="above 0"):
        Wanted("a:b", A, 0)


def test_a_reference_falls_into_name_and_tag() -> None:
    assert (API.name, API.tag) == ("stack/api", "a")


def test_a_size_at_its_limit_passes_and_no_limit_passes_all() -> None:
    assert_size(API, image(size=1000))
    assert_size(Wanted("a:b", A), image(size=10**12))


def test_too_large_names_both_sizes_and_the_largest_steps() -> None:
    layers = [
        Layer(1, "COPY a"),
        Layer(60_000_000, "RUN pip"),
        Layer(0, "USER"),
        Layer(50, "b"),
        Layer(70_000_000, "base"),
    ]
    with pytest.raises(ImagePlanError) as caught:
        assert_size(Wanted("stack/api:a", A, 100_000_000), image(size=130_000_051), layers)
    assert str(caught.value) == (
        "stack/api:a is too large: 130.0 MB, and its max_size is 100.0 MB. "
        "Make it smaller, or raise max_size in stack.yml. Its largest steps:\n"
        "    70.0 MB  base\n    60.0 MB  RUN pip\n       50 B  b"
    )


VERSIONS = [image(f"stack/api:{number}", tagged=number) for number in (3, 1, 5, 2, 4)]

PRUNES: list[t.Any] = [
    pytest.param(3, [], [], ["stack/api:2", "stack/api:1"], id="the newest stay"),
    pytest.param(5, [], [], [], id="no more than are kept"),
    pytest.param(1, ["stack/api:2"], [], ["stack/api:4", "stack/api:3", "stack/api:1"], id="a current one stays"),
    pytest.param(2, [], ["sha256:stack/api:1"], ["stack/api:3", "stack/api:2"], id="one in a container stays"),
]


@pytest.mark.parametrize(("keep", "current", "used", "removed"), PRUNES)
def test_prune(keep: int, current: list[str], used: list[str], removed: list[str]) -> None:
    assert prune("stack/api", VERSIONS, keep, current, used) == tuple(removed)


def test_references_of_another_name_are_left_alone() -> None:
    both = image("mine/tool:1", "stack/api:1")
    assert prune("stack/api", [RIGHT, both], 0, [], []) == ("stack/api:a", "stack/api:1")
