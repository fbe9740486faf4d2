# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that answers SPARQL queries from a store folder; ``triples`` starts it and ends it.

Each request is the query's text. Each answer is one byte (``+`` the result, ``-`` the query is at fault, ``!`` the
store is at fault) and then the result or a message. It ends when its parent does.
"""

from __future__ import annotations

import io
import resource
import sys
import typing as t
from multiprocessing.connection import Connection

MAX_ANSWER = 4 * 1024 * 1024  # bytes
MAX_MESSAGE = 200  # characters of a syntax error, which may list half of the grammar
MAX_MEMORY = 256 * 1024 * 1024  # bytes of data; an allocation beyond it ends this process


class _TooLarge(Exception):
    """The result has more than MAX_ANSWER bytes."""


class _Limited(io.BytesIO):
    def write(self, data: t.Any, /) -> int:
        if self.tell() + len(data) > MAX_ANSWER:
            raise _TooLarge
        return super().write(data)


def answer(store: t.Any, query: str) -> bytes:
    """One answer, first byte included."""
    import pyoxigraph

    output = _Limited()
    try:
        result = store.query(query)
        if isinstance(result, pyoxigraph.QueryTriples):
            return b"-only SELECT and ASK queries are answered here"
        result.serialize(output, format=pyoxigraph.QueryResultsFormat.JSON)
    except SyntaxError as error:
        return b"-" + f"the query is not valid SPARQL: {str(error)[:MAX_MESSAGE]}".encode()
    except _TooLarge:
        return b"-" + f"the answer is larger than {MAX_ANSWER} bytes; add a LIMIT to the query".encode()
    except (ValueError, RuntimeError) as error:
        return b"-" + f"the query cannot be answered: {error}".encode()
    except OSError as error:
        return b"!" + f"the ontology's store cannot be read: {error}".encode()
    return b"+" + output.getvalue()


def serve(folder: str, pipe: Connection) -> None:
    """Answer until the other end is closed."""
    import pyoxigraph

    try:
        store = pyoxigraph.Store.read_only(folder)
    except OSError as error:
        pipe.send_bytes(b"!" + f"the ontology's store {folder} cannot be opened: {error}".encode())
        return
    while True:
        try:
            query = pipe.recv_bytes().decode()
        except EOFError:
            return
        pipe.send_bytes(answer(store, query))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.argv[1], Connection(int(sys.argv[2])))


if __name__ == "__main__":
    main()
