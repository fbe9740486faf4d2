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
from fastapi.responses import JSONResponse

from .audio import MAX_BYTES, MAX_SECONDS, WANTED, AudioError, duration, read_wav
from .recogniser import ModelError

TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
MAX_WAITING = 4  # utterances, the one that is being decoded included
_log = logging.getLogger(__name__)


class Recognises(t.Protocol):
    """What is needed of the recogniser."""

    def recognise(self, samples: bytes) -> str: ...
    def stop(self) -> None: ...


class RefusedError(Exception):
    """A request that is not answered with words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.requests = prometheus_client.Counter(
            "asr_requests", "Transcriptions asked for.", ["status"], registry=self.registry
        )
        self.audio = prometheus_client.Counter("asr_audio_seconds", "Speech decoded.", registry=self.registry)
        self.decoding = prometheus_client.Counter("asr_decoding_seconds", "Time spent on it.", registry=self.registry)
        self.waiting = prometheus_client.Gauge("asr_waiting", "Utterances in hand.", registry=self.registry)
        self.ready = prometheus_client.Gauge("part_ready", "1 if the part is ready.", ["part"], registry=self.registry)
        self.ready.labels("model").set(0)


class Ear:
    """The recogniser, once it is loaded, and the line in front of it."""

    def __init__(self, load: Callable[[], Recognises], metrics: Metrics) -> None:
        self._load = load
        self._metrics = metrics
        self._recogniser: Recognises | None = None
        self._waiting = 0
        self.problem: str | None = "loading"

    async def open(self) -> None:
        """Load the model. A damaged one stays a problem until the service is started again: it does not mend."""
        try:
            self._recogniser = await asyncio.to_thread(self._load)
        except ModelError as error:
            self.problem = str(error)
            _log.error("%s", error)
            return
        except Exception as error:  # nobody else would see what a background task raises
            self.problem = f"unexpected {error!r}; the log has more"
            _log.exception("the model cannot be loaded")
            return
        self.problem = None
        self._metrics.ready.labels("model").set(1)
        _log.info("the model is ready")

    def close(self) -> None:
        """Stop decoding, so that the process can end."""
        if self._recogniser is not None:
            self._recogniser.stop()

    async def transcribe(self, samples: bytes) -> dict[str, t.Any]:
        """The words of one utterance. Raises RefusedError if it cannot be taken now."""
        if self._recogniser is None:
            raise RefusedError(503, f"the model is not ready: {self.problem}")
        if self._waiting >= MAX_WAITING:
            raise RefusedError(503, f"{self._waiting} utterances are waiting already; ask again in a few seconds")
        with self._in_hand():
            started = time.perf_counter()
            text = await asyncio.to_thread(self._recogniser.recognise, samples)
        seconds = time.perf_counter() - started
        self._metrics.audio.inc(duration(samples))
        self._metrics.decoding.inc(seconds)
        return {"text": text, "audio_seconds": round(duration(samples), 3), "seconds": round(seconds, 3)}

    @contextlib.contextmanager
    def _in_hand(self) -> t.Iterator[None]:
        self._waiting += 1
        self._metrics.waiting.set(self._waiting)
        try:
            yield
        finally:
            self._waiting -= 1
            self._metrics.waiting.set(self._waiting)


def create_app(load: Callable[[], Recognises]) -> fastapi.FastAPI:
    """The service around the recogniser that ``load`` makes when the service starts."""
    metrics = Metrics()
    ear = Ear(load, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(ear.open())
        yield
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        ear.close()

    app = fastapi.FastAPI(title="EmoRobCare ASR", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """The model is loaded."""
        is_ready = ear.problem is None
        return JSONResponse({"ready": is_ready, "parts": {"model": ear.problem or "ready"}}, 200 if is_ready else 503)

    @app.get("/metrics")
    def show_metrics() -> fastapi.Response:
        text = prometheus_client.generate_latest(metrics.registry)
        return fastapi.Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.post("/transcribe")
    async def transcribe(request: fastapi.Request) -> JSONResponse:
        """Recognise the US English speech in the body."""
        status, answer = 500, {}
        try:
            check_type(request.headers.get("content-type", ""))
            samples = read_wav(await read_body(request))
            status, answer = 200, await ear.transcribe(samples)
        except RefusedError as error:
            status, answer = error.status, {"detail": str(error)}
        except AudioError as error:
            status, answer = 400, {"detail": str(error)}
        finally:
            metrics.requests.labels(status).inc()
        return JSONResponse(answer, status)

    return app


def check_type(content_type: str) -> None:
    """Raises RefusedError if the body is said to be anything but a WAV file."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise RefusedError(415, f"Content-Type is {kind or 'missing'!r}; allowed is {', '.join(TYPES)} ({WANTED})")


async def read_body(request: fastapi.Request) -> bytes:
    """The body, read no further than a file of the longest duration can be. Raises RefusedError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise RefusedError(413, f"the body is larger than {MAX_BYTES} bytes, which is {MAX_SECONDS} s of {WANTED}")
    return bytes(body)
