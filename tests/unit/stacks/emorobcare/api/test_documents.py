# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from emorobcare_api.documents import Document, SqliteDocuments, open_documents
from emorobcare_api.errors import StoreError
from emorobcare_api.settings import Place

ONE, TWO, THREE = (Document(name, f"text of {name}") for name in ("one", "two", "three"))


def open_at(file: Path) -> SqliteDocuments:
    store = open_documents(Place("sqlite", f"sqlite://{file}", file), None)
    assert isinstance(store, SqliteDocuments)
    return store


def test_documents_are_kept_newest_first_and_found_by_id(tmp_path: Path) -> None:
    store = open_at(tmp_path / "documents.db")
    assert [store.add(document) for document in (ONE, TWO, THREE)] == [True, True, True]
    assert store.count() == 3
    assert store.page(2, 0) == [THREE, TWO]
    assert store.page(2, 2) == [ONE]
    assert store.get(["one", "three", "none"]) == {"one": ONE, "three": THREE}
    assert store.get([]) == {}
    store.close()


def test_a_taken_id_is_left_as_it_is(tmp_path: Path) -> None:
    store = open_at(tmp_path / "documents.db")
    store.add(ONE)
    assert store.add(Document("one", "another text")) is False
    assert store.get(["one"]) == {"one": ONE}
    store.close()


def test_documents_are_there_again_when_the_file_is_opened_again(tmp_path: Path) -> None:
    store = open_at(tmp_path / "documents.db")
    store.add(ONE)
    store.close()
    again = open_at(tmp_path / "documents.db")
    again.check()
    assert again.page(10, 0) == [ONE]
    again.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "documents.db"
    file.write_bytes(b"this is no database, and never was one" * 100)
    with pytest.raises(StoreError, match=r"documents\.db"):
        open_at(file)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"):
        open_at(tmp_path / "missing" / "documents.db")
