# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from vitalyst_backend.embedded import EmbeddedStore
from vitalyst_backend.errors import StoreError, UnknownError
from vitalyst_backend.graph import Entity, Relation, neighbours, relate, shortest_path
from vitalyst_backend.seeds import entity_id, plant


@pytest.fixture(name="store")
def store_fixture() -> EmbeddedStore:
    store = EmbeddedStore(None)
    plant(store)
    return store


def hops(store: EmbeddedStore, source: str, target: str) -> list[tuple[str, str, str]] | None:
    found = shortest_path(store, source, target)
    return None if found is None else [(one.source, one.type, one.target) for one in found]


PATHS: list[t.Any] = [
    pytest.param(
        "carrot", "eyes", [("carrot", "contains", "vitamin-a"), ("vitamin-a", "serves", "eyes")], id="forward"
    ),
    pytest.param("eyes", "carrot", [("vitamin-a", "serves", "eyes"), ("carrot", "contains", "vitamin-a")], id="back"),
    pytest.param("iron", "iron", [], id="to itself"),
    pytest.param(
        "carrot",
        "bones",
        [
            ("carrot", "contains", "vitamin-a"),
            ("liver", "contains", "vitamin-a"),
            ("liver", "contains", "vitamin-b12"),
            ("milk", "contains", "vitamin-b12"),
            ("milk", "contains", "calcium"),
            ("calcium", "serves", "bones"),
        ],
        id="six steps",
    ),
    pytest.param("carrot", "seaweed", None, id="no way"),
]


@pytest.mark.parametrize(("source", "target", "path"), PATHS)
def test_the_shortest_path_is_found_whichever_way_relations_point(
    store: EmbeddedStore, source: str, target: str, path: list[tuple[str, str, str]] | None
) -> None:
    assert hops(store, source, target) == path


def test_a_path_further_than_the_limit_is_none() -> None:
    store = EmbeddedStore(None)
    for number in range(9):
        store.put_entity(Entity(f"n{number}", f"N{number}", "thing"))
    for number in range(8):
        store.put_relation(Relation(f"n{number}", "leads", f"n{number + 1}"))
    assert len(hops(store, "n0", "n6") or []) == 6
    assert hops(store, "n0", "n7") is None


def test_an_entity_is_shown_with_what_is_near(store: EmbeddedStore) -> None:
    near = neighbours(store, "vitamin-d")
    assert near["entity"] == {"id": "vitamin-d", "label": "Vitamin D", "kind": "vitamin"}
    assert [(one["source"], one["type"], one["target"]) for one in near["relations"]] == [
        ("salmon", "contains", "vitamin-d"),
        ("vitamin-d", "helps", "calcium"),
        ("vitamin-d", "serves", "bones"),
    ]
    assert {one["id"] for one in near["entities"]} == {"salmon", "calcium", "bones"}


def test_search_is_by_a_part_of_the_label_and_ordered(store: EmbeddedStore) -> None:
    assert [entity.label for entity in store.search("VITAMIN", 3)] == ["Vitamin A", "Vitamin B12", "Vitamin C"]
    assert store.search("nothing like it", 3) == []


def test_an_entity_can_be_renamed_and_keeps_its_relations(store: EmbeddedStore) -> None:
    store.put_entity(Entity("iron", "Iron (Fe)", "metal"))
    assert store.entity("iron") == Entity("iron", "Iron (Fe)", "metal")
    assert hops(store, "iron", "blood") == [("iron", "serves", "blood")]


@pytest.mark.parametrize("missing", [("nope", "iron"), ("iron", "nope")])
def test_what_is_unknown_is_refused(store: EmbeddedStore, missing: tuple[str, str]) -> None:
    with pytest.raises(UnknownError, match="there is no entity 'nope'"):
        shortest_path(store, *missing)
    with pytest.raises(UnknownError, match="there is no entity 'nope'"):
        relate(store, Relation(missing[0], "helps", missing[1]))


def test_the_facts_may_be_planted_again(store: EmbeddedStore) -> None:
    before = sorted(store.relations([entity_id("Blood")]), key=str)
    plant(store)
    assert sorted(store.relations(["blood"]), key=str) == before


def test_a_folder_keeps_the_graph(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    store.put_entity(Entity("kale", "Kale", "food"))
    del store
    assert EmbeddedStore(tmp_path / "graph").entity("kale") == Entity("kale", "Kale", "food")


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        EmbeddedStore(tmp_path / "file")
