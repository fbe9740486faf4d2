# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from emorobcare_api.errors import QueryError
from emorobcare_api.sparql import MAX_QUERY, check_query, query_words


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * WHERE { ?s ?p ?o }",
        "select*{?s ?p ?o}",
        "ASK { }",
        "# a comment that says INSERT\nASK {}",
        "BASE <http://e/#service> PREFIX : <http://e#> SELECT ?s { ?s :p 'x' }",
        'PREFIX service: <http://e/> SELECT ?service { ?service service:SERVICE \'SERVICE\', "a \\" SERVICE" }',
        "SELECT ?s { ?s ?p '''SERVICE 'quoted' ''' , 'x'@en }",
        "PREFIX insert: <http://e/> SELECT ?delete { ?delete a insert:x }",
    ],
)
def test_what_only_reads_is_let_through(query: str) -> None:
    check_query(query)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "empty"),
        ("  # nothing but a comment", "empty"),
        ("PREFIX : <http://e/>", "empty"),
        ("INSERT DATA { <a:a> <a:b> 1 }", "INSERT is not answered"),
        ("delete where { ?s ?p ?o }", "DELETE is not answered"),
        ("PREFIX : <http://e/#SELECT> DROP ALL", "DROP is not answered"),
        ("# SELECT\nCLEAR ALL", "CLEAR is not answered"),
        ("CONSTRUCT { ?s ?p ?o } WHERE { ?s ?p ?o }", "CONSTRUCT is not answered"),
        ("DESCRIBE <a:a>", "DESCRIBE is not answered"),
        ("SELECT * { SERVICE <http://10.0.0.1/> { ?s ?p ?o } }", "SERVICE is not answered"),
        ("ASK { service silent ?s { } }", "SERVICE is not answered"),
        ("SELECT * { }" + " " * MAX_QUERY, "characters"),
    ],
)
def test_everything_else_is_refused_with_what_is_allowed(query: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        check_query(query)


def test_words_are_found_outside_iris_strings_names_and_comments() -> None:
    query = "PREFIX a: <b> # c\nSELECT ?d $e { _:f a:g 'h'@i ; <j> \"k\" . FILTER(1 < 2 && 3 > 2) } LIMIT 5"
    assert query_words(query) == ["PREFIX", "SELECT", "FILTER", "LIMIT"]
