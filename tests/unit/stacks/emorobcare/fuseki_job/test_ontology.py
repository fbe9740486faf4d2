# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
from pathlib import Path

import pyoxigraph
import pytest
from emorobcare_ontology.__main__ import ONTOLOGY
from emorobcare_ontology.ontology import OntologyError, read_ontology, stamp

PREFIX = "PREFIX : <https://w3id.org/emorobcare/ontology#> "


@pytest.fixture
def store() -> pyoxigraph.Store:
    store = pyoxigraph.Store()
    store.load(read_ontology(ONTOLOGY).triples, format=pyoxigraph.RdfFormat.N_TRIPLES)
    return store


def test_the_ontology_is_counted_and_stamped_with_its_files_digest(tmp_path: Path) -> None:
    file = tmp_path / "o.ttl"
    file.write_text("<http://e/a> <http://e/b> 1, 2, 2 .")
    ontology = read_ontology(file)
    assert ontology.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert ontology.count == 3
    assert str(stamp(ontology.digest)).encode() in ontology.triples


def test_the_same_file_always_gives_the_same_bytes() -> None:
    assert read_ontology(ONTOLOGY) == read_ontology(ONTOLOGY)


@pytest.mark.parametrize(("content", "said"), [("<a> <b> .", "not valid Turtle"), ("# nothing", "no triples")])
def test_a_bad_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "o.ttl").write_text(content)
    with pytest.raises(OntologyError, match=said):
        read_ontology(tmp_path / "o.ttl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OntologyError, match="none"):
        read_ontology(tmp_path / "none")


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("the eight emotions are four pairs", "ASK { { SELECT (COUNT(?e) AS ?n) { ?e a :Emotion } } FILTER(?n = 8) }"),
        (
            "opposites agree",
            "ASK { FILTER NOT EXISTS { ?a :oppositeOf ?b FILTER NOT EXISTS { ?b :oppositeOf ?a } } }",
        ),
        (
            "every thing that is eased or fostered is an emotion",
            "ASK { FILTER NOT EXISTS { ?a :eases|:fosters ?e FILTER NOT EXISTS { ?e a :Emotion } } }",
        ),
        (
            "every activity needs capabilities that exist",
            "ASK { FILTER NOT EXISTS { ?a :needs ?c FILTER NOT EXISTS { ?c a :Capability } } }",
        ),
        (
            "valence and arousal are between -1 and 1",
            "ASK { FILTER NOT EXISTS { ?e :valence|:arousal ?n FILTER(?n < -1 || ?n > 1) } }",
        ),
    ],
)
def test_the_ontology_says(store: pyoxigraph.Store, what: str, query: str) -> None:
    assert bool(store.query(PREFIX + query)), what
