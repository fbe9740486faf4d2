# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of SPARQL this service answers, judged from a query's text alone.

Grammar: SPARQL 1.1 Query Language, sections 4.1 (prologue) and 19.8 (terminals).
"""

from __future__ import annotations

import re

from .errors import QueryError

MAX_QUERY = 8_000  # characters
ANSWERED = ("SELECT", "ASK")

_TOKEN = re.compile(
    r"""
      (?P<skip> \s+ | \#[^\r\n]* )
    | (?P<iri> <[^<>"{}|^`\\\x00-\x20]*> )
    | (?P<text> \"\"\"(?:[^\"\\]|\\.|\"(?!\"\"))*\"\"\" | '''(?:[^'\\]|\\.|'(?!''))*'''
              | "(?:[^"\\\r\n]|\\.)*" | '(?:[^'\\\r\n]|\\.)*' )
    | (?P<name> [\w.\-%\\]*:[\w.\-%:\\]* | [?$]\w+ | @[\w\-]+ | _:\w+ )
    | (?P<word> [A-Za-z]\w* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def query_words(query: str) -> list[str]:
    """The bare words of a query, in upper case: no IRIs, names, variables, literals or comments."""
    return [match["word"].upper() for match in _TOKEN.finditer(query) if match["word"]]


def check_query(query: str) -> None:
    """Let pass what may be asked of the store. Raises QueryError saying what is wrong and what is allowed."""
    if len(query) > MAX_QUERY:
        raise QueryError(f"the query has {len(query)} characters; at most {MAX_QUERY} are allowed")
    words = query_words(query)
    form = next((word for word in words if word not in ("BASE", "PREFIX")), None)
    if form is None:
        raise QueryError(f"the query is empty; allowed are {' and '.join(ANSWERED)} queries")
    if form not in ANSWERED:
        raise QueryError(
            f"{form} is not answered here; allowed are {' and '.join(ANSWERED)} queries. A job loads the ontology"
        )
    if "SERVICE" in words:
        raise QueryError("SERVICE is not answered here: no query leaves this machine")
