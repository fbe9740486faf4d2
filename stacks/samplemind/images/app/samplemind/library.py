# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where samples and what is known of them are kept: SQLite in a folder, or MongoDB."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import typing as t
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreError
from .settings import Settings

WAITING, DONE, FAILED = "waiting", "done", "failed"
_BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Sample:
    """A sample without its sound; features once it is done, a problem if that failed; added in s since 1970."""

    id: str
    name: str
    state: str
    added: float
    features: dict[str, t.Any] | None = None
    problem: str = ""


class Library(t.Protocol):
    """What is needed of a library. Every method raises StoreError if it does not answer."""

    def add(self, sample_id: str, name: str, sound: bytes) -> bool:
        """Keep a sample; False if it is kept already."""

    def sample(self, sample_id: str) -> Sample | None: ...
    def sound(self, sample_id: str) -> bytes | None: ...
    def page(self, limit: int, offset: int) -> list[Sample]: ...
    def settle(self, sample_id: str, features: dict[str, t.Any] | None, problem: str = "") -> None: ...
    def unfinished(self, before: float) -> list[str]: ...
    def check(self) -> None: ...


def open_library(settings: Settings) -> Library:
    """The library that the settings name. Raises StoreError."""
    parts = urllib.parse.urlsplit(settings.library_url)
    if parts.scheme == "sqlite":
        return SqliteLibrary(Path(parts.path))
    from .mongo import MongoLibrary  # only where there is one

    return MongoLibrary(settings)


class SqliteLibrary:
    """One file that the backend and the worker share."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS samples (id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL,"
                " added REAL NOT NULL, features TEXT, problem TEXT NOT NULL DEFAULT '', sound BLOB NOT NULL)"
            )

    def add(self, sample_id: str, name: str, sound: bytes) -> bool:
        with self._connection() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO samples (id, name, state, added, sound) VALUES (?, ?, ?, ?, ?)",
                (sample_id, name, WAITING, time.time(), sound),
            )
            return added.rowcount == 1

    def sample(self, sample_id: str) -> Sample | None:
        return next(iter(self._samples("WHERE id = ?", sample_id)), None)

    def sound(self, sample_id: str) -> bytes | None:
        with self._connection() as connection:
            found = connection.execute("SELECT sound FROM samples WHERE id = ?", (sample_id,)).fetchone()
            return bytes(found[0]) if found else None

    def page(self, limit: int, offset: int) -> list[Sample]:
        return self._samples("ORDER BY added DESC, id LIMIT ? OFFSET ?", limit, offset)

    def settle(self, sample_id: str, features: dict[str, t.Any] | None, problem: str = "") -> None:
        state = FAILED if features is None else DONE
        with self._connection() as connection:
            connection.execute(
                "UPDATE samples SET state = ?, features = ?, problem = ? WHERE id = ?",
                (state, json.dumps(features) if features else None, problem, sample_id),
            )

    def unfinished(self, before: float) -> list[str]:
        return [sample.id for sample in self._samples("WHERE state = ? AND added < ? ORDER BY added", WAITING, before)]

    def check(self) -> None:
        self._samples("LIMIT 1")

    def _samples(self, clause: str, *values: t.Any) -> list[Sample]:
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT id, name, state, added, features, problem FROM samples {clause}", values
            ).fetchall()
        return [
            Sample(sample_id, name, state, added, json.loads(features) if features else None, problem)
            for sample_id, name, state, added, features, problem in rows
        ]

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each thread's each question: a file is opened in less than a millisecond."""
        try:
            with contextlib.closing(sqlite3.connect(self._file, timeout=_BUSY_SECONDS)) as connection:
                yield connection
                connection.commit()
        except sqlite3.Error as error:
            raise StoreError(f"the library {self._file} does not answer: {error}") from error
