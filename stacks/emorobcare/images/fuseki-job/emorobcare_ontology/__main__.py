# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the job: ``python -m emorobcare_ontology``.

It ends with 0 when the ontology is loaded, whether by this run or by one before; with a code of sysexits.h otherwise.
"""

from __future__ import annotations

import os
import signal
import sys
import typing as t
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from .folder import FolderError, load_into_folder
from .fuseki import Fuseki, FusekiError
from .ontology import Ontology, OntologyError, read_ontology

ONTOLOGY = Path(__file__).with_name("ontology.ttl")
EX_DATAERR, EX_UNAVAILABLE, EX_IOERR, EX_CONFIG = 65, 69, 74, 78
TERMINATED = 128 + signal.SIGTERM


class SettingsError(Exception):
    """TRIPLES_URL is wrong."""


def loader(environment: Mapping[str, str]) -> t.Callable[[Ontology], bool]:
    """What loads an ontology into the store that TRIPLES_URL names. Raises SettingsError."""
    url = environment.get("TRIPLES_URL", "file:///triples")
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"TRIPLES_URL is {url!r}, which is not a URL: {error}") from error
    if parts.scheme in ("http", "https") and parts.netloc:
        return Fuseki(url.rstrip("/")).load
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return lambda ontology: load_into_folder(ontology, Path(parts.path))
    raise SettingsError(
        f"TRIPLES_URL is {url!r}; allowed are a Fuseki dataset, http://host:3030/dataset, and a folder, file:///path"
    )


def run(environment: Mapping[str, str], file: Path) -> int:
    """Load ``file``; returns the exit code, having said what was done."""
    try:
        load = loader(environment)
        ontology = read_ontology(file)
        is_changed = load(ontology)
    except (SettingsError, OntologyError, FolderError, FusekiError) as error:
        print(f"emorobcare_ontology: {error}", file=sys.stderr)
        return {
            SettingsError: EX_CONFIG,
            OntologyError: EX_DATAERR,
            FolderError: EX_IOERR,
            FusekiError: EX_UNAVAILABLE,
        }[type(error)]
    print(f"{ontology.count} triples, {ontology.identifier}: {'loaded' if is_changed else 'were loaded already'}")
    return 0


def main() -> int:
    # As process 1 of a container this would otherwise not be ended by SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    return run(os.environ, ONTOLOGY)


if __name__ == "__main__":
    sys.exit(main())
