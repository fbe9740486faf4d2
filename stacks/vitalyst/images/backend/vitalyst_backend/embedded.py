# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The graph in a folder, by Oxigraph: for development, where no server runs."""

from __future__ import annotations

import typing as t
from pathlib import Path
from urllib.parse import quote, unquote

import pyoxigraph as ox

from .errors import StoreError
from .graph import Entity, Relation

BASE = "https://w3id.org/vitalyst/"
_LABEL = ox.NamedNode("http://www.w3.org/2000/01/rdf-schema#label")
_KIND = ox.NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")


class EmbeddedStore:
    """Entities are nodes below BASE, relations are triples between them."""

    def __init__(self, folder: Path | None) -> None:
        """Open the store in a folder, or in memory. Raises StoreError."""
        try:
            self._store = ox.Store() if folder is None else ox.Store(str(folder))
        except (OSError, ValueError) as error:
            raise StoreError(f"the graph in {folder} cannot be opened: {error}") from error

    def put_entity(self, entity: Entity) -> None:
        node = _node("entity", entity.id)
        for predicate in (_LABEL, _KIND):
            for quad in list(self._store.quads_for_pattern(node, predicate, None, None)):
                self._store.remove(quad)
        self._store.add(ox.Quad(node, _LABEL, ox.Literal(entity.label)))
        self._store.add(ox.Quad(node, _KIND, _node("kind", entity.kind)))
        self._store.flush()

    def put_relation(self, relation: Relation) -> None:
        source, target = _node("entity", relation.source), _node("entity", relation.target)
        self._store.add(ox.Quad(source, _node("relation", relation.type), target))
        self._store.flush()

    def entity(self, entity_id: str) -> Entity | None:
        node = _node("entity", entity_id)
        label = next(self._store.quads_for_pattern(node, _LABEL, None, None), None)
        kind = next(self._store.quads_for_pattern(node, _KIND, None, None), None)
        if label is None or kind is None:
            return None
        return Entity(entity_id, t.cast(ox.Literal, label.object).value, _name(kind.object))

    def search(self, text: str, limit: int) -> list[Entity]:
        wanted = text.casefold()
        found = [
            _name(quad.subject)
            for quad in self._store.quads_for_pattern(None, _LABEL, None, None)
            if wanted in t.cast(ox.Literal, quad.object).value.casefold()
        ]
        entities = [entity for name in found if (entity := self.entity(name)) is not None]
        return sorted(entities, key=lambda entity: (entity.label.casefold(), entity.id))[:limit]

    def relations(self, entity_ids: t.Collection[str]) -> list[Relation]:
        found: set[Relation] = set()
        for name in entity_ids:
            node = _node("entity", name)
            for quads in ((node, None, None, None), (None, None, node, None)):
                found |= {
                    Relation(_name(quad.subject), _name(quad.predicate), _name(quad.object))
                    for quad in self._store.quads_for_pattern(*quads)
                    if quad.predicate not in (_LABEL, _KIND)
                }
        return list(found)

    def check(self) -> None:
        next(self._store.quads_for_pattern(None, None, None, None), None)


def _node(room: str, name: str) -> ox.NamedNode:
    return ox.NamedNode(f"{BASE}{room}/{quote(name, safe='')}")


def _name(node: t.Any) -> str:
    return unquote(str(node.value).rpartition("/")[2])
