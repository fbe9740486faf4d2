# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences and their vectors, kept in step."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from .documents import Document, DocumentStore
from .vectors import VectorStore

PAGE = 256


class TakenError(Exception):
    """The id is that of another sentence."""


class Embeds(t.Protocol):
    """What is needed of the model: one vector for each text, in order."""

    def embed(self, texts: Sequence[str]) -> t.Any: ...


@dataclasses.dataclass(frozen=True)
class Hit:
    id: str
    text: str
    score: float


class Library:
    """The document store is the truth; the vector store is an index of it that can be made again."""

    def __init__(self, embedder: Embeds, documents: DocumentStore, vectors: VectorStore) -> None:
        self._embedder = embedder
        self._documents = documents
        self._vectors = vectors

    def add(self, document: Document) -> bool:
        """Keep a document. False if the very same one was there already; raises TakenError if another one was.

        The document is written before its vector: a crash in between leaves one that ``settle`` indexes.
        """
        vector = self._vectors_of([document])
        is_new = self._documents.add(document)
        if not is_new and self._documents.get([document.id])[document.id] != document:
            raise TakenError(f"the id {document.id!r} belongs to another sentence; choose another one, or leave it out")
        self._vectors.put(vector)
        return is_new

    def search(self, text: str, limit: int) -> list[Hit]:
        """The nearest sentences, best first."""
        neighbours = self._vectors.nearest(self._embedder.embed([text])[0].tolist(), limit)
        documents = self._documents.get([neighbour.id for neighbour in neighbours])
        return [
            Hit(id=neighbour.id, text=documents[neighbour.id].text, score=neighbour.score)
            for neighbour in neighbours
            if neighbour.id in documents
        ]

    def page(self, limit: int, offset: int) -> list[Document]:
        return self._documents.page(limit, offset)

    def count(self) -> int:
        return self._documents.count()

    def settle(self, seeds: Sequence[Document]) -> int:
        """Put ``seeds`` into an empty store, and index what has no vector. Returns how many were indexed."""
        if self._documents.count() == 0:
            for document in reversed(seeds):  # pages show the newest first
                self._documents.add(document)
        if self._vectors.count() >= self._documents.count():
            return 0
        indexed = 0
        for page in self._pages():
            missing = set(self._vectors.missing([document.id for document in page]))
            lacking = [document for document in page if document.id in missing]
            if lacking:
                self._vectors.put(self._vectors_of(lacking))
                indexed += len(lacking)
        return indexed

    def _pages(self) -> Iterator[list[Document]]:
        offset = 0
        while page := self._documents.page(PAGE, offset):
            yield page
            offset += len(page)

    def _vectors_of(self, documents: Sequence[Document]) -> Mapping[str, Sequence[float]]:
        rows = self._embedder.embed([document.text for document in documents])
        return {document.id: row.tolist() for document, row in zip(documents, rows, strict=True)}
