# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The graph in Neo4j 5, by its own driver."""

from __future__ import annotations

import typing as t

import neo4j
import neo4j.exceptions

from .errors import StoreError
from .graph import Entity, Relation
from .settings import Settings

_TIMEOUT = 5.0  # seconds
_SETUP = "CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (e:Entity) REQUIRE e.id IS UNIQUE"
_PUT_ENTITY = "MERGE (e:Entity {id: $id}) SET e.label = $label, e.kind = $kind"
# Relations have one type of Neo4j's and a name of ours, because Cypher takes no parameter for a type.
_PUT_RELATION = "MATCH (s:Entity {id: $source}), (t:Entity {id: $target}) MERGE (s)-[:RELATED {type: $type}]->(t)"
_ENTITY = "MATCH (e:Entity {id: $id}) RETURN e.id AS id, e.label AS label, e.kind AS kind"
_SEARCH = (
    "MATCH (e:Entity) WHERE toLower(e.label) CONTAINS toLower($text)"
    " RETURN e.id AS id, e.label AS label, e.kind AS kind ORDER BY toLower(e.label), e.id LIMIT $limit"
)
_RELATIONS = (
    "MATCH (s:Entity)-[r:RELATED]->(t:Entity) WHERE s.id IN $ids OR t.id IN $ids"
    " RETURN s.id AS source, r.type AS type, t.id AS target"
)


class Neo4jStore:
    """Talks Cypher; every value is a parameter."""

    def __init__(self, settings: Settings, driver: t.Any = None) -> None:
        """Connect, and make the constraint that ids are unique. Raises StoreError."""
        self._driver = driver or neo4j.GraphDatabase.driver(
            settings.database_url,
            auth=(settings.neo4j_user, settings.neo4j_password),
            connection_timeout=_TIMEOUT,
            connection_acquisition_timeout=_TIMEOUT,
            max_transaction_retry_time=_TIMEOUT,
        )
        self._ask(_SETUP)

    def put_entity(self, entity: Entity) -> None:
        self._ask(_PUT_ENTITY, id=entity.id, label=entity.label, kind=entity.kind)

    def put_relation(self, relation: Relation) -> None:
        self._ask(_PUT_RELATION, source=relation.source, type=relation.type, target=relation.target)

    def entity(self, entity_id: str) -> Entity | None:
        found = self._ask(_ENTITY, id=entity_id)
        return Entity(**found[0]) if found else None

    def search(self, text: str, limit: int) -> list[Entity]:
        return [Entity(**row) for row in self._ask(_SEARCH, text=text, limit=limit)]

    def relations(self, entity_ids: t.Collection[str]) -> list[Relation]:
        return [Relation(**row) for row in self._ask(_RELATIONS, ids=sorted(entity_ids))]

    def check(self) -> None:
        self._ask("RETURN 1 AS one")

    def _ask(self, query: str, **values: t.Any) -> list[dict[str, t.Any]]:
        try:
            answer = self._driver.execute_query(query, values)
            return [dict(record) for record in answer.records]
        except (neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError) as error:
            raise StoreError(f"Neo4j does not answer: {error}") from error
