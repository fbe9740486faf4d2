# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The graph: entities and the relations between them, whatever keeps them."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass

from .errors import UnknownError

MAX_HOPS = 6


@dataclass(frozen=True)
class Entity:
    id: str
    label: str
    kind: str


@dataclass(frozen=True)
class Relation:
    source: str
    type: str
    target: str


class Store(t.Protocol):
    """What keeps the graph. Every method raises StoreError if it does not answer."""

    def put_entity(self, entity: Entity) -> None: ...
    def put_relation(self, relation: Relation) -> None: ...
    def entity(self, entity_id: str) -> Entity | None: ...
    def search(self, text: str, limit: int) -> list[Entity]: ...
    def relations(self, entity_ids: t.Collection[str]) -> list[Relation]: ...
    def check(self) -> None: ...


def known(store: Store, entity_id: str) -> Entity:
    """The entity of an id. Raises UnknownError."""
    entity = store.entity(entity_id)
    if entity is None:
        raise UnknownError(f"there is no entity {entity_id!r}; GET /entities?q=… finds what there is")
    return entity


def relate(store: Store, relation: Relation) -> None:
    """Add a relation between two entities that exist. Raises UnknownError."""
    known(store, relation.source)
    known(store, relation.target)
    store.put_relation(relation)


def neighbours(store: Store, entity_id: str) -> dict[str, t.Any]:
    """An entity with everything that is one relation away."""
    centre = known(store, entity_id)
    relations = sorted(store.relations([entity_id]), key=lambda one: (one.type, one.source, one.target))
    others = sorted({end for one in relations for end in (one.source, one.target)} - {entity_id})
    entities = [entity for other in others if (entity := store.entity(other)) is not None]
    return {
        "entity": asdict(centre),
        "relations": [asdict(relation) for relation in relations],
        "entities": [asdict(entity) for entity in entities],
    }


def shortest_path(store: Store, source: str, target: str) -> list[Relation] | None:
    """The fewest relations that lead from one entity to another, whichever way they point; None if too far.

    Breadth first, one question to the store for each hop. Of several paths, the first by name.
    """
    known(store, source)
    known(store, target)
    came_by: dict[str, tuple[str, Relation]] = {}
    edge, seen = {source}, {source}
    for _hop in range(MAX_HOPS):
        if target in seen or not edge:
            break
        found: dict[str, tuple[str, Relation]] = {}
        for relation in sorted(store.relations(edge), key=lambda one: (one.source, one.type, one.target)):
            for here, there in ((relation.source, relation.target), (relation.target, relation.source)):
                if here in edge and there not in seen:
                    found.setdefault(there, (here, relation))
        came_by |= found
        edge = set(found)
        seen |= edge
    if target not in seen:
        return None
    path: list[Relation] = []
    while target != source:
        target, relation = came_by[target]
        path.append(relation)
    return path[::-1]
