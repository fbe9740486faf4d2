# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP interface."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
import typing as t

import fastapi
import prometheus_client
from fastapi.responses import JSONResponse

from .audio import MAX_BYTES, read_wav
from .errors import SampleError, StoreError, UnknownError
from .library import DONE, WAITING, Library, Sample

MAX_WAIT = 30.0  # seconds
_POLL = 0.1
BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STATUS: dict[type[Exception], int] = {SampleError: 400, UnknownError: 404, StoreError: 503}

Id = t.Annotated[str, fastapi.Path(pattern="^[0-9a-f]{64}$")]
Limit = t.Annotated[int, fastapi.Query(ge=1, le=100)]


class Finds(t.Protocol):
    """What is needed of the index."""

    def near(self, vector: t.Sequence[float], limit: int) -> list[tuple[str, float]]: ...
    def check(self) -> None: ...


class Asks(t.Protocol):
    """What is needed of the queue."""

    def ask(self, sample_id: str) -> None: ...
    def check(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Parts:
    library: Library
    index: Finds
    queue: Asks

    def states(self) -> dict[str, str]:
        states = {}
        for field in dataclasses.fields(self):
            try:
                getattr(self, field.name).check()
                states[field.name] = "ready"
            except StoreError as error:
                states[field.name] = str(error)
        return states


def create_app(open_parts: t.Callable[[], Parts]) -> fastapi.FastAPI:
    """The service; its parts are opened when they are first needed, and again until that works."""
    app = fastapi.FastAPI(title="SampleMind", docs_url=None, redoc_url=None)
    opened: list[Parts] = []
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    seconds = prometheus_client.Histogram(
        "http_request_seconds", "Time to answer.", ["route", "status"], buckets=BUCKETS, registry=registry
    )

    def parts() -> Parts:
        if not opened:
            opened.append(open_parts())
        return opened[0]

    @app.middleware("http")
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
            seconds.labels(route, status).observe(time.perf_counter() - started)

    @app.get("/metrics")
    def metrics() -> fastapi.Response:
        text = prometheus_client.generate_latest(registry)
        return fastapi.Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    for error in STATUS:
        app.add_exception_handler(error, _failed)
    _add_state(app, parts)
    _add_samples(app, parts)
    return app


def _add_state(app: fastapi.FastAPI, parts: t.Callable[[], Parts]) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """Library, index and queue answer; 503 says which does not, and why."""
        try:
            states = parts().states()
        except StoreError as error:
            states = {"library": str(error)}
        is_ready = set(states.values()) == {"ready"}
        return JSONResponse({"ready": is_ready, "parts": states}, 200 if is_ready else 503)


def _add_samples(app: fastapi.FastAPI, parts: t.Callable[[], Parts]) -> None:
    @app.post("/samples")
    async def add(
        request: fastapi.Request,
        name: t.Annotated[str, fastapi.Query(min_length=1, max_length=120)] = "sample",
        wait: t.Annotated[float, fastapi.Query(ge=0, le=MAX_WAIT)] = 0,
    ) -> dict[str, t.Any]:
        """Keep the WAV file that is the body, and have it analysed; `wait` waits so many seconds for that.

        The same sound has the same id, so that sending it again changes nothing.
        """
        sound = await _body(request)
        sample_id = hashlib.sha256(sound).hexdigest()
        await asyncio.to_thread(_keep, parts(), sample_id, name, sound)
        return _shown(await _settled(parts(), sample_id, wait))

    @app.get("/samples")
    def page(limit: Limit = 20, offset: t.Annotated[int, fastapi.Query(ge=0)] = 0) -> dict[str, t.Any]:
        """The samples, newest first."""
        return {"samples": [_shown(sample) for sample in parts().library.page(limit, offset)]}

    @app.get("/samples/{sample_id}")
    def sample(sample_id: Id) -> dict[str, t.Any]:
        """What is known of a sample."""
        return _shown(_known(parts(), sample_id))

    @app.get("/samples/{sample_id}/sound")
    def sound(sample_id: Id) -> fastapi.Response:
        """The sample itself."""
        _known(parts(), sample_id)
        return fastapi.Response(parts().library.sound(sample_id), media_type="audio/wav")

    @app.get("/samples/{sample_id}/similar")
    def similar(sample_id: Id, limit: Limit = 5) -> dict[str, t.Any]:
        """The samples that sound most alike, the nearest first."""
        wanted = _known(parts(), sample_id)
        if wanted.features is None:
            raise StoreError(f"the sample is {wanted.state}: {wanted.problem or 'ask again when it is done'}")
        near = parts().index.near(wanted.features["vector"], limit + 1)
        found = ((parts().library.sample(one), alike) for one, alike in near if one != sample_id)
        return {"similar": [{**_shown(one), "alike": alike} for one, alike in found if one is not None][:limit]}


def _keep(parts: Parts, sample_id: str, name: str, sound: bytes) -> None:
    """Keep a sample and ask for its analysis, unless it was kept before. Raises SampleError."""
    read_wav(sound)
    if parts.library.add(sample_id, name, sound):
        parts.queue.ask(sample_id)  # if that fails, beat asks again


async def _settled(parts: Parts, sample_id: str, wait: float) -> Sample:
    deadline = time.monotonic() + wait
    while True:
        found = await asyncio.to_thread(_known, parts, sample_id)
        if found.state != WAITING or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(_POLL)


def _known(parts: Parts, sample_id: str) -> Sample:
    found = parts.library.sample(sample_id)
    if found is None:
        raise UnknownError(f"there is no sample {sample_id}")
    return found


def _shown(sample: Sample) -> dict[str, t.Any]:
    shown = dataclasses.asdict(sample)
    if sample.state == DONE and sample.features:
        shown["features"] = {name: value for name, value in sample.features.items() if name != "vector"}
    return shown


async def _body(request: fastapi.Request) -> bytes:
    """The body, read no further than it may be long. Raises SampleError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise SampleError(f"the file is larger than {MAX_BYTES} bytes; send a shorter sample")
    return bytes(body)


async def _failed(_request: fastapi.Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)
