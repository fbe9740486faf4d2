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
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import (
    PLATFORMS,
    Target,
    platform_input,
)

A, B = "a" * 64, "b" * 64
API = Wanted("stack/api:a", A, 1000)
AMD64, ARM64 = PLATFORMS[:2]
OWN, FOREIGN = Target(AMD64), Target(ARM64, foreign=True)


def image(
    *references: str, size: int = 10, made_from: str | None = A, tagged: float = 1.0, platform: str = "linux/amd64"
) -> Image:
    labels = {} if made_from is None else {INPUT_LABEL: made_from}
    return Image(f"sha256:{references[0] if references else ''}", size, references, labels, tagged, platform)


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


def test_versions_of_each_platform_count_for_themselves() -> None:
    foreign = [image(f"stack/api:{number}-arm64", tagged=number + 0.5) for number in (1, 2, 3)]
    versions = [*VERSIONS, *foreign]
    assert prune("stack/api", versions, 4, [], []) == ("stack/api:1",)
    assert prune("stack/api", versions, 1, [], [], "-arm64") == ("stack/api:2-arm64", "stack/api:1-arm64")
    assert prune("stack/api", versions, 1, [], [], "-arm-v7") == ()


def test_an_image_on_a_foreign_platform_has_a_reference_and_an_input_of_its_own() -> None:
    foreign = API.on(FOREIGN)
    assert (foreign.reference, foreign.input) == ("stack/api:a-arm64", platform_input(A, ARM64))
    assert (foreign.name, foreign.suffix, foreign.max_size) == ("stack/api", "-arm64", 1000)
    own = API.on(OWN)
    assert (own.reference, own.input, own.suffix) == ("stack/api:a", A, "")


ARM_A = platform_input(A, ARM64)
FOREIGN_PLANS = [
    pytest.param(OWN, image("stack/api:a"), "", id="the engine's own is left alone"),
    pytest.param(OWN, image("stack/api:a", platform="linux/arm64"), "made for another platform", id="own, for another"),
    pytest.param(
        FOREIGN, image("stack/api:a-arm64", made_from=ARM_A, platform="linux/arm64"), "", id="the foreign one too"
    ),
    pytest.param(
        FOREIGN,
        image("stack/api:a-arm64", made_from=ARM_A),
        "made for another platform",
        id="a foreign one that is not",
    ),
    pytest.param(
        FOREIGN,
        image("stack/api:a-arm64", platform="linux/arm64"),
        "made by something else",
        id="a foreign one with the own input",
    ),
    pytest.param(Target(), image("stack/api:a", platform="linux/arm64"), "", id="none was asked for: any is right"),
]


@pytest.mark.parametrize(("target", "found", "reason"), FOREIGN_PLANS)
def test_only_an_image_for_the_wanted_platform_is_right(target: Target, found: Image, reason: str) -> None:
    wanted = API.on(target)
    (step,) = make_plan([wanted], {wanted.reference: found}, {}).steps
    assert step.reason == reason
    assert step.right == (None if reason else found)


def test_the_previous_version_is_one_for_the_same_platform() -> None:
    versions = [image("stack/api:old", tagged=1), image("stack/api:old-arm64", tagged=2), image("stack/api:x-arm-v7")]
    plan = make_plan([API.on(OWN), API.on(FOREIGN)], {}, {"stack/api": versions})
    assert [step.previous for step in plan.steps] == ["stack/api:old", "stack/api:old-arm64"]
    assert plan.diff["before"] == {"stack/api": "stack/api:old", "stack/api-arm64": "stack/api:old-arm64"}
    assert plan.diff["after"] == {"stack/api": "stack/api:a", "stack/api-arm64": "stack/api:a-arm64"}


def test_what_cannot_be_made_here_is_skipped_and_the_rest_is_made() -> None:
    plan = make_plan([API.on(OWN), API.on(FOREIGN)], {}, {})
    assert plan.foreign == (ARM64,)
    skipping = plan.without({"linux/arm64": "no emulator"})
    assert [(step.make, step.skipped, step.reason) for step in skipping.steps] == [
        (True, "", "missing"),
        (False, "no emulator", "missing"),
    ]
    assert (skipping.foreign, skipping.faults, skipping.changed) == ((), ("no emulator",), True)
    assert skipping.diff["after"] == {"stack/api": "stack/api:a"}


def test_where_only_skipped_images_are_missing_nothing_changes() -> None:
    plan = make_plan([API.on(FOREIGN)], {}, {}).without({"linux/arm64": "no emulator"})
    assert (plan.changed, plan.to_make) == (False, ())


def test_an_image_that_is_there_is_not_skipped() -> None:
    wanted = API.on(FOREIGN)
    found = image(wanted.reference, made_from=wanted.input, platform="linux/arm64")
    plan = make_plan([wanted], {wanted.reference: found}, {})
    assert plan.foreign == ()
    assert plan.without({"linux/arm64": "no emulator"}).faults == ()
