# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import Gathered
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import Blob, of_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import Target, target_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_write import (
    Share,
    assign,
    everywhere,
    make_plan,
    number,
    share_of,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import manifest, sha256

MB = 1 << 20
FIRST = manifest()
LATER = dataclasses.replace(FIRST, counter=1, created=FIRST.created + 9)
OTHER = manifest((10, 20, 31))
HELD = dataclasses.replace(FIRST, assumes=frozenset({FIRST.images[0].layers[0]}))


def gathered(found: Manifest) -> Gathered:
    return Gathered(found, {one: Blob(one, size, of_bytes(b""), one) for one, size in found.blobs.items()})


@pytest.mark.parametrize(
    ("made", "signed", "before", "counter", "is_new"),
    [
        (FIRST, [], None, 1, True),
        (FIRST, [target_of(FIRST)], FIRST, 1, False),
        (LATER, [target_of(FIRST)], FIRST, 1, False),
        (OTHER, [target_of(FIRST)], FIRST, 2, True),
        (OTHER, [target_of(dataclasses.replace(FIRST, counter=41)), target_of(FIRST)], None, 42, True),
        (FIRST, [Target("releases/other/9.json", "a" * 64, 1)], None, 1, True),
        (FIRST, [target_of(FIRST)], None, 1, False),
        (LATER, [target_of(FIRST)], None, 2, True),
        (HELD, [target_of(FIRST)], FIRST, 1, False),
        (FIRST, [target_of(HELD)], HELD, 2, True),
    ],
    ids=[
        "first",
        "same",
        "same, made later",
        "other content",
        "after the highest",
        "another stack",
        "same on another stick",
        "same on another stick at another time",
        "the depot has more than is asked for",
        "the depot leaves out what is asked for",
    ],
)
def test_a_release_is_new_if_the_newest_one_would_not_do(
    made: Manifest, signed: list[Target], before: Manifest | None, counter: int, is_new: bool
) -> None:
    found, new = number(made, signed, before)
    assert (found.counter, new) == (counter, is_new)
    assert is_new or found.encode() == (before or made).encode()


def test_only_what_is_missing_or_of_another_size_is_written_in_the_order_of_the_manifest() -> None:
    sizes: dict[str, int] = dict(FIRST.blobs)
    layer, weights = FIRST.named[4], FIRST.named[-1]
    del sizes[weights]
    sizes[layer] += 1
    plan = make_plan(gathered(FIRST), [], None, sizes, Share())
    assert [blob.sha256 for blob in plan.writes] == [layer, weights]
    assert plan.last[-1].sha256 == target_of(FIRST).sha256, "the manifest comes when all is there"
    assert plan.target == target_of(FIRST)
    assert plan.bytes == FIRST.blobs[layer] + FIRST.blobs[weights] + sum(blob.size for blob in plan.last)


def test_what_hosts_hold_is_not_written() -> None:
    plan = make_plan(gathered(HELD), [], None, {}, Share())
    assert {blob.sha256 for blob in plan.writes} == set(FIRST.blobs) - HELD.assumes


def test_a_depot_that_has_all_is_left_alone() -> None:
    sizes = {
        **FIRST.blobs,
        **{blob.sha256: blob.size for blob in make_plan(gathered(FIRST), [], None, {}, Share()).last},
    }
    plan = make_plan(gathered(LATER), [target_of(FIRST)], FIRST, sizes, Share())
    assert (plan.changed, plan.target, plan.missing) == (False, None, ())


def test_content_that_is_the_empty_configuration_too_is_written_once() -> None:
    empty = sha256(b"{}")
    found = dataclasses.replace(FIRST, runtime={"x": empty}, blobs={**FIRST.blobs, empty: 2})
    names = [blob.sha256 for blob in make_plan(gathered(found), [], None, {}, Share()).missing]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("sizes", "size", "media"),
    [
        ((1 * MB, 1 * MB, 1 * MB), 9 * MB, [3]),
        ((1 * MB, 1 * MB, 1 * MB), 4 * MB, [2, 1]),
        ((1 * MB, 3 * MB, 1 * MB), 5 * MB, [1, 1, 1]),
        ((2 * MB, 1 * MB, 1 * MB, 1 * MB), 4 * MB, [1, 2, 1]),
    ],
)
def test_media_are_filled_one_after_the_other_in_order(sizes: tuple[int, ...], size: int, media: list[int]) -> None:
    found = manifest(sizes)
    spread = assign(found, size)
    large = [one for one in found.named if found.blobs[one] in sizes]
    content = [[one for one in medium if one in large] for medium in spread]
    assert [len(one) for one in content] == media
    assert [one for medium in content for one in medium] == large
    assert all(sum(found.blobs[one] for one in medium) <= size for medium in spread)


def test_every_medium_has_what_the_others_are_found_by_and_all_together_have_all() -> None:
    found = manifest((1 * MB, 1 * MB, 1 * MB))
    shares = [share_of(found, Share(medium, 3, 4 * MB)) for medium in (1, 2, 3)]
    assert {count for _blobs, count in shares} == {2}
    assert all(everywhere(found) <= blobs for blobs, _count in shares)
    assert {found.release, found.images[0].manifest, found.models[0].manifest} <= everywhere(found)
    assert frozenset().union(*(blobs for blobs, _count in shares)) == set(found.blobs)
    assert shares[2][0] == everywhere(found)


def test_what_hosts_hold_takes_no_medium() -> None:
    found = manifest((1 * MB, 1 * MB, 1 * MB))
    left_out = dataclasses.replace(found, assumes=frozenset(one for one in found.named if found.blobs[one] == MB))
    assert share_of(left_out, Share(1, 2, 4 * MB))[1] == 1


@pytest.mark.parametrize(("size", "said"), [(3 * MB, "set volumes to 3"), (2 * MB, "take larger media")])
def test_too_few_and_too_small_media_are_refused(size: int, said: str) -> None:
    with pytest.raises(DepotError, match=said) as caught:
        share_of(manifest((1 * MB, 1 * MB, 1 * MB)), Share(1, 2, size))
    assert caught.value.reason == "no_space"
