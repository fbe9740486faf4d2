# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the service: ``python -m emorobcare_api``."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from .app import Parts, create_app
from .documents import open_documents
from .embedding import DIMENSIONS, load_embedder
from .errors import SettingsError
from .library import Embeds, Library
from .parts import Part
from .seeds import SEEDS, read_seeds
from .settings import Settings, read_settings
from .triples import open_triples
from .vectors import open_vectors

PORT = 8000
GRACE_SECONDS = 5  # for requests that run when the service is told to stop


def build_parts(settings: Settings) -> Parts:
    """The parts that the settings ask for, none of them open yet."""
    seeds = read_seeds(SEEDS) if settings.seed else []
    model: Part[Embeds] = Part("model", lambda: load_embedder(settings.model), lambda _: None)
    documents = Part("documents", lambda: open_documents(settings.documents, settings.password), lambda it: it.check())
    vectors = Part("vectors", lambda: open_vectors(settings.vectors, DIMENSIONS), lambda it: it.check())
    triples = Part("triples", lambda: open_triples(settings.triples), lambda it: it.check())

    def open_library() -> Library:
        library = Library(model.get(), documents.get(), vectors.get())
        library.settle(seeds)
        return library

    library = Part("library", open_library, lambda _: None)
    return Parts(model=model, documents=documents, vectors=vectors, library=library, triples=triples)


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"emorobcare_api: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        create_app(build_parts(settings)),
        host="0.0.0.0",
        port=PORT,
        log_config=None,
        access_log=False,  # the health checks alone would fill it; /metrics counts requests
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
