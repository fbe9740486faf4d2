# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Neo4j itself is in no package that these tests could install: a fake driver stands at its border."""

from __future__ import annotations

import typing as t

import neo4j.exceptions
import pytest
from vitalyst_backend.errors import StoreError
from vitalyst_backend.graph import Entity, Relation
from vitalyst_backend.server import Neo4jStore
from vitalyst_backend.settings import Settings

SETTINGS = Settings("bolt://neo4j", "redis://redis", "d", "a", "neo4j", "p", "p", False, "info")


class Answer(t.NamedTuple):
    records: list[dict[str, t.Any]]


class Driver:
    """Answers each query by its first words, and keeps what it was given."""

    def __init__(self, **answers: list[dict[str, t.Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, t.Any]]] = []
        self.fault: Exception | None = None

    def execute_query(self, query: str, values: dict[str, t.Any]) -> Answer:
        if self.fault:
            raise self.fault
        self.asked.append((query, values))
        return Answer(next((rows for word, rows in self.answers.items() if word in query), []))


def test_ids_are_unique_before_anything_is_asked() -> None:
    driver = Driver()
    Neo4jStore(SETTINGS, driver)
    assert "CREATE CONSTRAINT" in driver.asked[0][0]


def test_values_are_parameters_and_never_part_of_a_query() -> None:
    driver = Driver()
    store = Neo4jStore(SETTINGS, driver)
    hostile = "x'}) DETACH DELETE e //"
    store.put_entity(Entity(hostile, hostile, hostile))
    store.put_relation(Relation(hostile, hostile, hostile))
    store.search(hostile, 3)
    store.relations([hostile])
    for query, values in driver.asked[1:]:
        assert hostile not in query
        assert hostile in str(values)


def test_rows_become_entities_and_relations() -> None:
    driver = Driver(
        RELATED=[{"source": "a", "type": "helps", "target": "b"}],
        Entity=[{"id": "a", "label": "A", "kind": "thing"}],
    )
    store = Neo4jStore(SETTINGS, driver)
    assert store.entity("a") == Entity("a", "A", "thing")
    assert store.relations(["a"]) == [Relation("a", "helps", "b")]


def test_a_server_that_is_away_is_a_store_error() -> None:
    driver = Driver()
    store = Neo4jStore(SETTINGS, driver)
    driver.fault = neo4j.exceptions.ServiceUnavailable("refused")
    with pytest.raises(StoreError, match="Neo4j does not answer: refused"):
        store.check()
