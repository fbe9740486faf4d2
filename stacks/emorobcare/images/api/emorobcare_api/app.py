# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP interface."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import typing as t
import uuid
from collections.abc import AsyncIterator

import fastapi
import pydantic
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from .documents import Document, DocumentStore
from .embedding import DIMENSIONS
from .errors import QueryError, StoreError
from .library import Embeds, Library, TakenError
from .parts import NotReadyError, Part, problems
from .sparql import check_query
from .telemetry import Metrics, Observe, metrics_type
from .triples import TripleStore
from .vectors import VectorStore

MAX_TEXT = 2_000  # characters; the model reads the first 256 tokens
MAX_BODY = 64 * 1024  # bytes
MAX_RESULTS = 100
ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
STATUS: dict[type[Exception], int] = {QueryError: 400, TakenError: 409, NotReadyError: 503, StoreError: 503}

Text = t.Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Limit = t.Annotated[int, fastapi.Query(ge=1, le=MAX_RESULTS)]


class Sentence(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    text: Text


class NewDocument(Sentence):
    id: t.Annotated[str, pydantic.StringConstraints(pattern=f"^{ID}$")] | None = None


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the service is made of."""

    model: Part[Embeds]
    documents: Part[DocumentStore]
    vectors: Part[VectorStore]
    library: Part[Library]
    triples: Part[TripleStore]

    def all(self) -> list[Part[t.Any]]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def close(self) -> None:
        for part in (self.documents, self.vectors, self.triples):
            if part.value is not None:
                with contextlib.suppress(StoreError):
                    part.value.close()


def create_app(parts: Parts) -> fastapi.FastAPI:
    """The service around ``parts``, which it opens when it starts and closes when it stops."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
        opening = [asyncio.create_task(part.open()) for part in parts.all()]
        yield
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await asyncio.to_thread(parts.close)

    # No interactive documentation: its page loads scripts from outside, and these robots have no outside.
    app = fastapi.FastAPI(title="EmoRobCare API", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Observe, metrics=metrics, max_body=MAX_BODY)
    app.add_exception_handler(RequestValidationError, _invalid)
    for error in STATUS:
        app.add_exception_handler(error, _failed)
    _add_state(app, parts, metrics)
    _add_sentences(app, parts)
    _add_ontology(app, parts)
    return app


def _add_state(app: fastapi.FastAPI, parts: Parts, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """Every part is loaded and answers; 503 says which does not, and why."""
        found = problems(parts.all())
        for name, problem in found.items():
            metrics.ready.labels(name).set(problem is None)
        is_ready = not any(found.values())
        states = {name: problem or "ready" for name, problem in found.items()}
        return JSONResponse({"ready": is_ready, "parts": states}, 200 if is_ready else 503)

    @app.get("/metrics")
    def show_metrics() -> fastapi.Response:
        return fastapi.Response(metrics.text(), media_type=metrics_type())


def _add_sentences(app: fastapi.FastAPI, parts: Parts) -> None:
    @app.post("/embed")
    def embed(sentence: Sentence) -> dict[str, t.Any]:
        """The sentence's vector, of length one."""
        vector = parts.model.get().embed([sentence.text])[0].tolist()
        return {"vector": vector, "dimensions": DIMENSIONS}

    @app.post("/documents", status_code=201)
    def add_document(new: NewDocument, response: fastapi.Response) -> dict[str, str]:
        """Keep a sentence. Sending the same id and text again is answered 200 and changes nothing."""
        document = Document(id=new.id or uuid.uuid4().hex, text=new.text)
        if not parts.library.get().add(document):
            response.status_code = 200
        return dataclasses.asdict(document)

    @app.get("/documents")
    def list_documents(limit: Limit = 20, offset: t.Annotated[int, fastapi.Query(ge=0)] = 0) -> dict[str, t.Any]:
        """The kept sentences, newest first."""
        library = parts.library.get()
        page = [dataclasses.asdict(document) for document in library.page(limit, offset)]
        return {"total": library.count(), "documents": page}

    @app.get("/search")
    def search(q: Text, limit: Limit = 5) -> dict[str, t.Any]:
        """The kept sentences that are nearest in meaning; the score is the cosine similarity."""
        hits = parts.library.get().search(q, limit)
        return {"query": q, "results": [dataclasses.asdict(hit) for hit in hits]}


def _add_ontology(app: fastapi.FastAPI, parts: Parts) -> None:
    @app.get("/sparql")
    def sparql(query: str) -> fastapi.Response:
        """Ask the ontology: SELECT and ASK, answered in the SPARQL 1.1 Query Results JSON format."""
        check_query(query)
        return fastapi.Response(parts.triples.get().query(query), media_type="application/sparql-results+json")


async def _failed(_request: fastapi.Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)


async def _invalid(_request: fastapi.Request, error: Exception) -> JSONResponse:
    """One sentence a fault, in the place of pydantic's list."""
    faults = t.cast(RequestValidationError, error).errors()
    said = [f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in faults]
    return JSONResponse({"detail": "; ".join(said)}, 422)
