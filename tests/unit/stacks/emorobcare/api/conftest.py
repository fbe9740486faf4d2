# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores in memory, with what a test needs to break them."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from emorobcare_api.documents import Document
from emorobcare_api.errors import StoreError
from emorobcare_api.vectors import Neighbour


class Letters:
    """A model whose vector of a text counts its letters, so that like texts are near each other."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> t.Any:
        self.texts += texts
        counts = np.array([[text.lower().count(chr(code)) for code in range(97, 123)] for text in texts], dtype=float)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


class FakeStore:
    def __init__(self) -> None:
        self.problem: str | None = None
        self.is_closed = False

    def check(self) -> None:
        if self.problem:
            raise StoreError(self.problem)

    def close(self) -> None:
        self.is_closed = True


class FakeDocuments(FakeStore):
    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Document] = {}

    def add(self, document: Document) -> bool:
        self.check()
        return self.rows.setdefault(document.id, document) is document

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        self.check()
        return {name: self.rows[name] for name in ids if name in self.rows}

    def page(self, limit: int, offset: int) -> list[Document]:
        self.check()
        return list(reversed(self.rows.values()))[offset : offset + limit]

    def count(self) -> int:
        self.check()
        return len(self.rows)


class FakeVectors(FakeStore):
    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Sequence[float]] = {}

    def put(self, vectors: Mapping[str, Sequence[float]]) -> None:
        self.check()
        self.rows.update(vectors)

    def nearest(self, vector: Sequence[float], limit: int) -> list[Neighbour]:
        self.check()
        found = [Neighbour(name, float(np.dot(row, vector))) for name, row in self.rows.items()]
        return sorted(found, key=lambda neighbour: -neighbour.score)[:limit]

    def missing(self, ids: Sequence[str]) -> list[str]:
        self.check()
        return [name for name in ids if name not in self.rows]

    def count(self) -> int:
        self.check()
        return len(self.rows)


class FakeTriples(FakeStore):
    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def query(self, query: str) -> bytes:
        self.check()
        self.queries.append(query)
        return b'{"head": {}, "boolean": true}'


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def documents() -> FakeDocuments:
    return FakeDocuments()


@pytest.fixture
def vectors() -> FakeVectors:
    return FakeVectors()


@pytest.fixture
def triples() -> FakeTriples:
    return FakeTriples()
