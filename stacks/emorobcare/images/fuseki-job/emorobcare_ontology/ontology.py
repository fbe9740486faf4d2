# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ontology as it is loaded: its own triples, and one that says which version of it this is."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t
from pathlib import Path

import pyoxigraph

NAME = "https://w3id.org/emorobcare/ontology"
IDENTIFIER = "http://purl.org/dc/terms/identifier"


class OntologyError(Exception):
    """The ontology's file is missing or is not Turtle: this image is at fault, and trying again will not help."""


@dataclasses.dataclass(frozen=True)
class Ontology:
    """An ontology with its stamp, as N-Triples."""

    digest: str  # SHA-256 of the file, 64 hex digits
    triples: bytes
    count: int

    @property
    def identifier(self) -> str:
        """The stamp's value."""
        return f"sha256:{self.digest}"


def read_ontology(file: Path) -> Ontology:
    """Read and check a Turtle file. Raises OntologyError."""
    try:
        data = file.read_bytes()
        triples = {quad.triple for quad in pyoxigraph.parse(data, format=pyoxigraph.RdfFormat.TURTLE, base_iri=NAME)}
    except OSError as error:
        raise OntologyError(f"{file} cannot be read: {error}") from error
    except SyntaxError as error:
        raise OntologyError(f"{file} is not valid Turtle: {error}") from error
    if not triples:
        raise OntologyError(f"{file} holds no triples")
    digest = hashlib.sha256(data).hexdigest()
    triples.add(stamp(digest))
    lines = t.cast(bytes, pyoxigraph.serialize(triples, format=pyoxigraph.RdfFormat.N_TRIPLES))
    return Ontology(digest, b"".join(sorted(lines.splitlines(keepends=True))), len(triples))


def stamp(digest: str) -> pyoxigraph.Triple:
    """The triple that says which file was loaded."""
    return pyoxigraph.Triple(
        pyoxigraph.NamedNode(NAME), pyoxigraph.NamedNode(IDENTIFIER), pyoxigraph.Literal(f"sha256:{digest}")
    )
