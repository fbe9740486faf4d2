# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP interface."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
import typing as t

import fastapi
import prometheus_client
import pydantic
from fastapi.responses import JSONResponse

from . import graph
from .cache import Cache
from .errors import ScopeError, StoreError, TokenError, UnknownError
from .graph import Entity, Relation, Store
from .trust import READ, WRITE, Caller, DevelopmentIssuer, Guard

ID = r"^[a-z0-9][a-z0-9._-]{0,63}$"
STATUS: dict[type[Exception], int] = {TokenError: 401, ScopeError: 403, UnknownError: 404, StoreError: 503}
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_audit = logging.getLogger("audit")

Id = t.Annotated[str, fastapi.Path(pattern=ID)]
Place = t.Annotated[str, fastapi.Query(pattern=ID)]
Name = t.Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


class NewEntity(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    label: Name
    kind: t.Annotated[str, pydantic.StringConstraints(pattern=ID)]


class NewRelation(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    source: t.Annotated[str, pydantic.StringConstraints(pattern=ID)]
    type: t.Annotated[str, pydantic.StringConstraints(pattern=ID)]
    target: t.Annotated[str, pydantic.StringConstraints(pattern=ID)]


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.requests = prometheus_client.Histogram(
            "http_request_seconds", "Time to answer.", ["route", "status"], buckets=BUCKETS, registry=self.registry
        )
        self.refused = prometheus_client.Counter(
            "vitalyst_refused", "Requests without a right.", ["reason"], registry=self.registry
        )


class Service:
    """The graph behind a guard; the store is opened again until it answers."""

    def __init__(
        self, open_store: t.Callable[[], Store], cache: Cache, guard: Guard, issuer: DevelopmentIssuer | None = None
    ) -> None:
        self._open = open_store
        self._store: Store | None = None
        self._opening = threading.Lock()  # a folder can be opened once
        self.cache = cache
        self.guard = guard
        self.issuer = issuer
        self.metrics = Metrics()

    @property
    def store(self) -> Store:
        """The graph. Raises StoreError while it does not answer."""
        with self._opening:
            if self._store is None:
                self._store = self._open()
            return self._store

    def states(self) -> dict[str, str]:
        try:
            self.store.check()
            state = "ready"
        except StoreError as error:
            state = str(error)
        return {"graph": state, "cache": self.cache.check()}


def create_app(service: Service) -> fastapi.FastAPI:
    """The HTTP service."""
    app = fastapi.FastAPI(title="Vitalyst", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_observed(service.metrics))
    for error in STATUS:
        app.add_exception_handler(error, _failed)
    _add_state(app, service)
    _add_reading(app, service)
    _add_writing(app, service)
    return app


def _observed(metrics: Metrics) -> t.Any:
    """Time every request, count what was refused, and write down who asked for what."""

    async def observe(request: fastapi.Request, call_next: t.Any) -> fastapi.Response:
        started, status = time.perf_counter(), 500
        try:
            response: fastapi.Response = await call_next(request)
            status = response.status_code
            return response
        finally:
            route = getattr(
                request.scope.get("route"), "path", "unknown"
            )  # never the raw path: it has no end of values
            metrics.requests.labels(route, status).observe(time.perf_counter() - started)
            if status in (401, 403):
                metrics.refused.labels("token" if status == 401 else "scope").inc()
            if route not in ("/health", "/ready", "/metrics"):
                who = getattr(request.state, "subject", None)
                entry = {"who": who, "method": request.method, "path": request.url.path, "status": status}
                _audit.info(json.dumps(entry))

    return observe


def _add_state(app: fastapi.FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """The graph answers; 503 says what does not, and why. Without the cache the service is slower, and ready."""
        states = service.states()
        is_ready = states["graph"] == "ready"
        return JSONResponse({"ready": is_ready, "parts": states}, 200 if is_ready else 503)

    @app.get("/metrics")
    def show_metrics() -> fastapi.Response:
        text = prometheus_client.generate_latest(service.metrics.registry)
        return fastapi.Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    issuer = service.issuer
    if issuer is not None:

        @app.post("/dev/token", status_code=201)
        def issue() -> dict[str, str]:
            """A token for everything, where this is somebody's own machine."""
            return {"token": issuer.issue()}


def _caller(service: Service, scope: str) -> t.Any:
    def check(request: fastapi.Request, authorization: t.Annotated[str | None, fastapi.Header()] = None) -> Caller:
        caller = service.guard.caller(authorization)
        request.state.subject = caller.subject
        caller.may(scope)
        return caller

    return fastapi.Depends(check)


def _add_reading(app: fastapi.FastAPI, service: Service) -> None:
    reader = [_caller(service, READ)]

    @app.get("/entities", dependencies=reader)
    def search(
        q: t.Annotated[str, fastapi.Query(max_length=120)] = "",
        limit: t.Annotated[int, fastapi.Query(ge=1, le=100)] = 20,
    ) -> dict[str, t.Any]:
        """Entities whose label holds the text."""
        return {"entities": [dataclasses.asdict(entity) for entity in service.store.search(q, limit)]}

    @app.get("/entities/{entity_id}", dependencies=reader)
    def neighbourhood(entity_id: Id) -> t.Any:
        """An entity and what it is related to."""
        return service.cache.answer(f"near:{entity_id}", lambda: graph.neighbours(service.store, entity_id))

    @app.get("/path", dependencies=reader)
    def path(source: Place, target: Place) -> dict[str, t.Any]:
        """The shortest way from one entity to another."""

        def find() -> t.Any:
            found = graph.shortest_path(service.store, source, target)
            return None if found is None else [dataclasses.asdict(relation) for relation in found]

        found = service.cache.answer(f"path:{source}:{target}", find)
        return {"source": source, "target": target, "hops": None if found is None else len(found), "path": found}


def _add_writing(app: fastapi.FastAPI, service: Service) -> None:
    writer = [_caller(service, WRITE)]

    @app.put("/entities/{entity_id}", dependencies=writer)
    def put_entity(entity_id: Id, new: NewEntity) -> dict[str, t.Any]:
        """Add an entity, or change its label and kind."""
        entity = Entity(entity_id, new.label, new.kind)
        service.store.put_entity(entity)
        service.cache.changed()
        return dataclasses.asdict(entity)

    @app.put("/relations", dependencies=writer)
    def put_relation(new: NewRelation) -> dict[str, t.Any]:
        """Relate two entities."""
        relation = Relation(new.source, new.type, new.target)
        graph.relate(service.store, relation)
        service.cache.changed()
        return dataclasses.asdict(relation)


async def _failed(_request: fastapi.Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"detail": str(error)}, status, headers=headers)
