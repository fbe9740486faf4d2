# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_plan import Held, make_sync_plan, names_of
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import Depot, sha256


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


def of(depot: Depot, name: str) -> str:
    """The digest of the blob that is called so."""
    return next(digest for digest, words in names_of(depot.manifest).items() if words == name)


LAYER, CONFIG, MANIFEST = (
    "a layer of image robot/api:1",
    "the configuration of image robot/api:1",
    "the manifest of image robot/api:1",
)
MODEL, PACKAGE, RUNTIME = (
    "model.bin of model speech 1",
    "pool/a.deb of the packages for trixie",
    "wheels/tuf.whl of the controller's runtime",
)


def test_a_host_that_has_nothing_copies_all_but_images_and_lets_the_engine_pull_those(depot: Depot) -> None:
    plan = make_sync_plan(depot.manifest, Held())
    assert set(plan.copies) == set(depot.kept)
    assert set(plan.pulls) == depot.pulled
    assert plan.elsewhere == {}
    assert plan.bytes_to_copy == sum(map(len, depot.kept.values()))
    assert plan.bytes_to_pull == sum(depot.manifest.blobs[one] for one in depot.pulled)


def test_the_manifest_of_a_model_is_for_tools_and_no_host_copies_or_misses_it(depot: Depot, tmp_path: Path) -> None:
    told = depot.manifest.models[0].manifest
    assert told not in make_sync_plan(depot.manifest, Held()).copies
    without = Depot(tmp_path / "delta", assumes={told})
    assert told not in make_sync_plan(without.manifest, Held()).copies


def test_what_is_copied_has_the_order_in_which_volumes_are_filled(depot: Depot) -> None:
    order = [one for one in depot.manifest.named if one in depot.kept]
    assert list(make_sync_plan(depot.manifest, Held()).copies) == order


HOLDS: list[t.Any] = [
    pytest.param([MODEL], [], {MODEL}, set(), id="a file of a model"),
    pytest.param([PACKAGE, RUNTIME], [], {PACKAGE, RUNTIME}, set(), id="packages and the runtime"),
    pytest.param([], [LAYER], set(), {LAYER}, id="a layer, from another image"),
    pytest.param([], [CONFIG], set(), {LAYER, CONFIG, MANIFEST}, id="an image, by its configuration"),
    pytest.param([], [MANIFEST], set(), {LAYER, CONFIG, MANIFEST}, id="an image, by its manifest"),
]


@pytest.mark.parametrize(("stored", "engine", "not_copied", "not_pulled"), HOLDS)
def test_what_the_host_holds_is_neither_copied_nor_pulled(
    depot: Depot, stored: list[str], engine: list[str], not_copied: set[str], not_pulled: set[str]
) -> None:
    held = Held(frozenset(of(depot, one) for one in stored), frozenset(of(depot, one) for one in engine))
    plan = make_sync_plan(depot.manifest, held)
    assert set(plan.copies) == depot.kept.keys() - {of(depot, one) for one in not_copied}
    assert set(plan.pulls) == depot.pulled - {of(depot, one) for one in not_pulled}


def test_only_the_rest_of_what_an_earlier_run_has_received_is_to_copy(depot: Depot) -> None:
    model = of(depot, MODEL)
    plan = make_sync_plan(depot.manifest, Held(resumable={model: 4_000, "0" * 64: 1, of(depot, PACKAGE): 10**9}))
    assert plan.held == {model: 4_000, of(depot, PACKAGE): len(b"a package")}
    assert plan.bytes_to_copy == sum(map(len, depot.kept.values())) - 4_000 - len(b"a package")


MISSED: list[t.Any] = [
    pytest.param(MODEL, "model speech 1 (1 blob)", id="model"),
    pytest.param(LAYER, "image robot/api:1 (1 blob)", id="layer"),
    pytest.param(MANIFEST, "image robot/api:1 (1 blob)", id="manifest of an image"),
    pytest.param(PACKAGE, "packages for trixie (1 blob)", id="package"),
    pytest.param(RUNTIME, "the controller's runtime (1 blob)", id="runtime"),
]


@pytest.mark.parametrize(("name", "said"), MISSED)
def test_what_a_depot_leaves_out_and_the_host_lacks_is_named(
    depot: Depot, name: str, said: str, tmp_path: Path
) -> None:
    left_out = of(depot, name)
    delta = Depot(tmp_path / "delta", assumes={left_out})
    with pytest.raises(DepotError) as caught:
        make_sync_plan(delta.manifest, Held())
    assert caught.value.reason == "base_missing"
    assert said in str(caught.value)
    assert caught.value.details["missing"] == [left_out]


@pytest.mark.parametrize("name", [MODEL, LAYER, MANIFEST, PACKAGE, RUNTIME])
def test_what_a_depot_leaves_out_and_the_host_has_is_not_missed(depot: Depot, name: str, tmp_path: Path) -> None:
    left_out = of(depot, name)
    delta = Depot(tmp_path / "delta", assumes={left_out})
    in_engine = left_out in depot.pulled
    held = Held(engine=frozenset({left_out})) if in_engine else Held(stored=frozenset({left_out}))
    plan = make_sync_plan(delta.manifest, held)
    assert left_out not in {**plan.copies, **plan.pulls}


def test_a_message_about_many_things_that_are_missing_names_some_and_counts_the_rest(tmp_path: Path) -> None:
    from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import Content

    models = {str(number): {"m": str(number).encode()} for number in range(9)}
    assumes = {sha256(files["m"]) for files in models.values()}
    delta = Depot(tmp_path / "delta", Content(models=models), assumes=assumes)
    with pytest.raises(DepotError, match=r"model speech 5 \(1 blob\) and 3 more, 9 bytes"):
        make_sync_plan(delta.manifest, Held())


def test_of_several_volumes_each_gives_what_it_has_and_the_rest_is_waited_for(depot: Depot) -> None:
    order = [one for one in depot.manifest.named if one in depot.kept or one in depot.pulled]
    first, second = Volume(1, 2, frozenset(order[:4])), Volume(2, 2, frozenset(order[4:]))
    plan = make_sync_plan(depot.manifest, Held(), first)
    assert list(plan.copies) == order[:4]
    assert list(plan.elsewhere) == order[4:]
    plan = make_sync_plan(depot.manifest, Held(stored=frozenset(order[:4])), second)
    assert list(plan.copies) == order[4:]
    assert plan.elsewhere == {}
    assert plan.pulls.keys() == depot.pulled


def test_images_that_come_on_several_volumes_are_copied_as_no_single_one_need_have_all_of_one(depot: Depot) -> None:
    plan = make_sync_plan(depot.manifest, Held(), Volume(1, 2, frozenset(depot.blobs)))
    assert plan.copies.keys() == depot.kept.keys() | depot.pulled
    plan = make_sync_plan(
        depot.manifest, Held(engine=frozenset({of(depot, CONFIG)})), Volume(1, 2, frozenset(depot.blobs))
    )
    assert plan.copies.keys() == depot.kept.keys()


def test_the_only_volume_is_taken_to_have_everything_whatever_its_list_says(depot: Depot) -> None:
    assert make_sync_plan(depot.manifest, Held(), Volume()) == make_sync_plan(depot.manifest, Held())
