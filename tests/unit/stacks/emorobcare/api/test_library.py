# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from emorobcare_api.documents import Document
from emorobcare_api.errors import StoreError
from emorobcare_api.library import PAGE, Library, TakenError

SEEDS = [Document("seed-1", "abab"), Document("seed-2", "cdcd")]


@pytest.fixture
def library(letters: t.Any, documents: t.Any, vectors: t.Any) -> Library:
    return Library(letters, documents, vectors)


def test_the_nearest_sentences_come_first_with_their_score(library: Library) -> None:
    for name, text in (("far", "zzz"), ("near", "aab"), ("same", "ab")):
        assert library.add(Document(name, text)) is True
    hits = library.search("ab", 2)
    assert [(hit.id, hit.text) for hit in hits] == [("same", "ab"), ("near", "aab")]
    assert hits[0].score == pytest.approx(1)
    assert hits[0].score > hits[1].score > 0


def test_the_same_document_again_changes_nothing(library: Library) -> None:
    assert library.add(Document("one", "abc")) is True
    assert library.add(Document("one", "abc")) is False
    assert library.count() == 1


def test_an_id_that_belongs_to_another_sentence_is_refused_and_its_sentence_kept(library: Library) -> None:
    library.add(Document("one", "abc"))
    with pytest.raises(TakenError, match="'one'"):
        library.add(Document("one", "xyz"))
    assert library.page(9, 0) == [Document("one", "abc")]
    assert library.search("abc", 1)[0].score == pytest.approx(1)


def test_an_empty_store_is_seeded_and_shows_the_first_seed_first(library: Library) -> None:
    assert library.settle(SEEDS) == 2
    assert library.page(9, 0) == SEEDS
    assert library.search("cd", 1)[0].id == "seed-2"


def test_a_store_that_holds_something_is_not_seeded(library: Library) -> None:
    library.add(Document("one", "abc"))
    assert library.settle(SEEDS) == 0
    assert library.count() == 1


def test_what_a_crash_left_without_a_vector_is_indexed_at_the_next_start(
    library: Library, documents: t.Any, vectors: t.Any
) -> None:
    library.add(Document("one", "abc"))
    vectors.problem = "the power is gone"
    with pytest.raises(StoreError):
        library.add(Document("two", "xyz"))
    vectors.problem = None
    assert set(documents.rows) == {"one", "two"}
    assert library.settle([]) == 1
    assert library.search("xyz", 1)[0].id == "two"


def test_only_what_lacks_a_vector_is_embedded_again(library: Library, letters: t.Any, documents: t.Any) -> None:
    for number in range(PAGE + 5):
        documents.add(Document(f"d{number}", "abc"))
    library.settle([])
    letters.texts.clear()
    documents.add(Document("late", "xyz"))
    assert library.settle([]) == 1
    assert letters.texts == ["xyz"]


def test_a_vector_whose_document_is_gone_is_not_shown(library: Library, documents: t.Any) -> None:
    library.add(Document("one", "abc"))
    documents.rows.clear()
    assert library.search("abc", 5) == []
