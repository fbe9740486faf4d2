# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP interface."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import typing as t
from collections.abc import AsyncIterator, Callable

import fastapi
import prometheus_client
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from .cache import WINDOW_SECONDS, Remembers
from .emotions import Face, read_picture
from .errors import ModelError, PictureError, StoreError
from .faces import Grey
from .sessions import Session, TokenError, Tokens
from .store import Results

MAX_BODY = 5 * 1024 * 1024  # bytes
MAX_HISTORY = 100
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
_log = logging.getLogger(__name__)


class Looks(t.Protocol):
    """What is needed of the classifier."""

    def look(self, picture: Grey) -> list[Face]: ...


class LimitError(Exception):
    """Somebody asks too often. Answered with 429."""


class SizeError(Exception):
    """The body is too large. Answered with 413."""


class StartingError(Exception):
    """The model is not loaded. Answered with 503."""


STATUS: dict[type[Exception], int] = {
    PictureError: 400,
    TokenError: 401,
    SizeError: 413,
    LimitError: 429,
    StartingError: 503,
    StoreError: 503,
}


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.predictions = prometheus_client.Counter(
            "emotion_predictions", "Faces classified.", ["emotion", "stress_level"], registry=self.registry
        )
        self.inference = prometheus_client.Histogram(
            "emotion_inference_seconds", "Time to look at a picture.", buckets=BUCKETS, registry=self.registry
        )
        self.requests = prometheus_client.Histogram(
            "http_request_seconds", "Time to answer.", ["route", "status"], buckets=BUCKETS, registry=self.registry
        )
        self.cached = prometheus_client.Counter(
            "emotion_cache", "Pictures looked up in the cache.", ["result"], registry=self.registry
        )


class Service:
    """The parts, and the model once it is loaded."""

    def __init__(self, load: Callable[[], Looks], results: Results, cache: Remembers, rate_limit: int) -> None:
        self._load = load
        self._rate_limit = rate_limit
        self.results = results
        self.cache = cache
        self.metrics = Metrics()
        self.classifier: Looks | None = None
        self.problem: str | None = "loading"

    async def open(self) -> None:
        """Load the model. A damaged one stays a problem until the service is started again: it does not mend."""
        try:
            self.classifier = await asyncio.to_thread(self._load)
            self.problem = None
        except ModelError as error:
            self.problem = str(error)
            _log.error("%s", error)

    def limit(self, address: str | None) -> None:
        """Raises LimitError. Without an address the request comes from the host's own networks, such as a gate."""
        if address is not None and self.cache.asked(address) > self._rate_limit:
            raise LimitError(
                f"at most {self._rate_limit} pictures in {WINDOW_SECONDS // 60} minutes; wait and try again"
            )

    def look(self, body: bytes, session: Session | None) -> list[dict[str, t.Any]]:
        """The faces of a picture, kept for the session if there is one."""
        known = None if session else self.cache.prediction(body)
        self.metrics.cached.labels("hit" if known is not None else "miss").inc()
        if known is not None:
            return known
        if self.classifier is None:
            raise StartingError(f"the model is not ready: {self.problem}")
        picture = read_picture(body)
        with self.metrics.inference.time():
            faces = self.classifier.look(picture)
        for face in faces:
            self.metrics.predictions.labels(face.emotion, face.stress_level).inc()
        if session and faces:
            self.results.add(session.user, session.session, faces)
        answer = [face.as_answer() for face in faces]
        self.cache.remember(body, answer)
        return answer

    def parts(self) -> dict[str, str]:
        """The state of each part. Without the cache the service is ready: it is slower, and limits nobody."""
        try:
            self.results.check()
            database = "ready"
        except StoreError as error:
            database = str(error)
        return {"model": self.problem or "ready", "database": database, "cache": self.cache.problem() or "ready"}


def create_app(service: Service, tokens: Tokens, allowed_origins: t.Sequence[str] = ()) -> fastapi.FastAPI:
    """The HTTP service around the parts."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(service.open())
        yield
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    app = fastapi.FastAPI(title="Emotion", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(allowed_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization"],
    )
    app.middleware("http")(_observed(service.metrics))
    for error in STATUS:
        app.add_exception_handler(error, _failed)
    _add_state(app, service)
    _add_looking(app, service, tokens)
    return app


def _observed(metrics: Metrics) -> t.Any:
    async def observe(request: fastapi.Request, call_next: t.Any) -> fastapi.Response:
        started, status = time.perf_counter(), 500
        try:
            response: fastapi.Response = await call_next(request)
            status = response.status_code
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response
        finally:
            route = getattr(
                request.scope.get("route"), "path", "unknown"
            )  # never the raw path: it has no end of values
            metrics.requests.labels(route, status).observe(time.perf_counter() - started)

    return observe


def _add_state(app: fastapi.FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """The model is loaded and the database answers; 503 says what does not, and why."""
        parts = service.parts()
        is_ready = parts["model"] == parts["database"] == "ready"
        return JSONResponse({"ready": is_ready, "parts": parts}, 200 if is_ready else 503)

    @app.get("/metrics")
    def show_metrics() -> fastapi.Response:
        text = prometheus_client.generate_latest(service.metrics.registry)
        return fastapi.Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)


def _add_looking(app: fastapi.FastAPI, service: Service, tokens: Tokens) -> None:
    @app.post("/sessions", status_code=201)
    async def begin() -> dict[str, str]:
        """Begin a session: with its token, what is seen is kept for its history."""
        return {"token": tokens.issue()}

    @app.post("/detect")
    async def detect(
        request: fastapi.Request,
        authorization: t.Annotated[str | None, fastapi.Header()] = None,
        x_forwarded_for: t.Annotated[str | None, fastapi.Header()] = None,
    ) -> dict[str, t.Any]:
        """The faces in the picture that is the body, with emotions and stress, the largest first."""
        session = tokens.read(authorization) if authorization else None
        await asyncio.to_thread(service.limit, x_forwarded_for)
        faces = await asyncio.to_thread(service.look, await _body(request), session)
        return {"faces": faces}

    @app.get("/history")
    def history(
        authorization: t.Annotated[str, fastapi.Header()] = "",
        limit: t.Annotated[int, fastapi.Query(ge=1, le=MAX_HISTORY)] = 20,
    ) -> dict[str, t.Any]:
        """What was kept for the token's user, the newest first."""
        return {"results": service.results.history(tokens.read(authorization).user, limit)}


async def _body(request: fastapi.Request) -> bytes:
    """The body, read no further than it may be long. Raises SizeError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise SizeError(f"the picture is larger than {MAX_BODY} bytes; send a smaller one")
    return bytes(body)


async def _failed(_request: fastapi.Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)
