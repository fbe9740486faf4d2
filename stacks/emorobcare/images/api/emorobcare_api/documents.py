# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the sentences are kept: SQLite in the embedded form, MongoDB in the real system."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import sqlite3
import threading
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import StoreError
from .settings import Place

if t.TYPE_CHECKING:
    from pymongo import MongoClient

TIMEOUT_MS = 2_000


@dataclasses.dataclass(frozen=True)
class Document:
    id: str
    text: str


class DocumentStore(t.Protocol):
    """What is needed of a store. Every method may raise StoreError."""

    def add(self, document: Document) -> bool:
        """Keep ``document``, durably. False, and nothing is changed, if its id is taken."""

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those of ``ids`` that exist."""

    def page(self, limit: int, offset: int) -> list[Document]:
        """Newest first."""

    def count(self) -> int: ...

    def check(self) -> None:
        """Return if the store answers."""

    def close(self) -> None: ...


class SqliteDocuments:
    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        with self._errors(f"the documents in {file} cannot be opened"):
            self._database = sqlite3.connect(file, timeout=TIMEOUT_MS / 1000, check_same_thread=False)
            try:
                self._prepare()
            except sqlite3.Error:
                self._database.close()
                raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # what was answered 201 survives a power cut
        self._database.execute("CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, text TEXT NOT NULL)")

    def add(self, document: Document) -> bool:
        with self._errors("the document cannot be kept"), self._lock, self._database:
            cursor = self._database.execute(
                "INSERT INTO documents (id, text) VALUES (?, ?) ON CONFLICT DO NOTHING", (document.id, document.text)
            )
            return cursor.rowcount == 1

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        marks = ", ".join("?" * len(ids))
        return {row.id: row for row in self._read(f"SELECT id, text FROM documents WHERE id IN ({marks})", ids)}

    def page(self, limit: int, offset: int) -> list[Document]:
        return self._read("SELECT id, text FROM documents ORDER BY rowid DESC LIMIT ? OFFSET ?", (limit, offset))

    def count(self) -> int:
        with self._errors("the documents cannot be counted"), self._lock:
            return int(self._database.execute("SELECT count(*) FROM documents").fetchone()[0])

    def check(self) -> None:
        self.page(1, 0)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _read(self, statement: str, values: Sequence[str | int]) -> list[Document]:
        with self._errors("the documents cannot be read"), self._lock:
            return [Document(*row) for row in self._database.execute(statement, values)]

    @staticmethod
    @contextlib.contextmanager
    def _errors(what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{what}: {error}") from error


class MongoDocuments:
    def __init__(self, client: MongoClient[dict[str, t.Any]], database: str) -> None:
        self._client = client
        self._collection = client[database]["documents"]
        with self._errors("MongoDB cannot be prepared"):
            self._collection.create_index([("added", -1), ("_id", -1)])

    def add(self, document: Document) -> bool:
        from pymongo.errors import DuplicateKeyError

        row = {"_id": document.id, "text": document.text, "added": datetime.datetime.now(datetime.UTC)}
        with self._errors("the document cannot be kept"):
            try:
                self._collection.insert_one(row)
            except DuplicateKeyError:
                return False
        return True

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        with self._errors("the documents cannot be read"):
            return {row["_id"]: self._document(row) for row in self._collection.find({"_id": {"$in": list(ids)}})}

    def page(self, limit: int, offset: int) -> list[Document]:
        with self._errors("the documents cannot be read"):
            rows = self._collection.find().sort([("added", -1), ("_id", -1)]).skip(offset).limit(limit)
            return [self._document(row) for row in rows]

    def count(self) -> int:
        with self._errors("the documents cannot be counted"):
            return self._collection.count_documents({})

    def check(self) -> None:
        with self._errors("MongoDB does not answer"):
            self._client.admin.command("ping")

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def _document(row: t.Mapping[str, t.Any]) -> Document:
        return Document(id=row["_id"], text=row["text"])

    @staticmethod
    @contextlib.contextmanager
    def _errors(what: str) -> Iterator[None]:
        from pymongo.errors import PyMongoError

        try:
            yield
        except PyMongoError as error:
            reason = str(error).partition(" (configured timeouts")[0]  # what follows lists the topology
            raise StoreError(f"{what}: {reason[:300]}") from error


def open_documents(place: Place, password: str | None) -> DocumentStore:
    """Open the store. Raises StoreError."""
    if not place.is_remote:
        return SqliteDocuments(place.path)
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        client: MongoClient[dict[str, t.Any]] = MongoClient(
            place.url,
            password=password,
            appname="emorobcare-api",
            serverSelectionTimeoutMS=TIMEOUT_MS,
            connectTimeoutMS=TIMEOUT_MS,
            socketTimeoutMS=TIMEOUT_MS * 2,
        )
    except PyMongoError as error:
        raise StoreError(f"MongoDB at {place.url} cannot be used: {error}") from error
    try:
        return MongoDocuments(client, client.get_default_database("emorobcare").name)
    except StoreError:
        client.close()  # it has threads of its own, and the next try makes new ones
        raise
