# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP interface."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import typing as t
from collections.abc import AsyncIterator, Sequence

import fastapi
import pydantic
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from .errors import FeedError, FullError, MissingError, SpeechError, StoreError
from .news import Newsroom, Subscription, bulletin, sentence
from .speech import MAX_TEXT, Studio, Voice, listen
from .telemetry import Metrics, Observe, metrics_type

MAX_BODY = 64 * 1024  # bytes
MAX_ITEMS = 100
MAX_BULLETIN = 20
POLL_SECONDS = 1.0
STATUS: dict[type[Exception], int] = {
    FeedError: 400,
    MissingError: 404,
    FullError: 409,
    SpeechError: 503,
    StoreError: 503,
}
_log = logging.getLogger(__name__)

Text = t.Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Id = t.Annotated[int, fastapi.Path(ge=1, le=2**63 - 1)]


class Address(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    url: t.Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class Words(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    text: Text
    voice: Voice = "en"


class Cache(t.Protocol):
    """What the state of the service needs of the cache."""

    def problem(self) -> str | None: ...


@dataclasses.dataclass(frozen=True)
class Service:
    """What the service is made of."""

    newsroom: Newsroom
    studio: Studio
    cache: Cache
    metrics: Metrics
    feeds: Sequence[str] = ()  # to begin with

    def parts(self) -> dict[str, str]:
        """The state of each part."""
        try:
            self.newsroom.store.check()
            database = "ready"
        except StoreError as error:
            database = str(error)
        states = {"database": database, "cache": self.cache.problem() or "ready"}
        for name, state in states.items():
            self.metrics.ready.labels(name).set(state == "ready")
        return states


def create_app(service: Service) -> fastapi.FastAPI:
    """The HTTP service around its parts. While it runs, it fetches the feeds whose turn it is."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
        polling = asyncio.create_task(_poll(service.newsroom, service.feeds))
        yield
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)

    # No interactive documentation: its page loads scripts from outside.
    app = fastapi.FastAPI(title="Newscast", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Observe, metrics=service.metrics, max_body=MAX_BODY)
    app.add_exception_handler(RequestValidationError, _invalid)
    for error in STATUS:
        app.add_exception_handler(error, _failed)
    _add_state(app, service)
    _add_news(app, service.newsroom)
    _add_speech(app, service)
    return app


async def _poll(newsroom: Newsroom, feeds: Sequence[str]) -> None:
    """Fetch feeds, one after the other, for as long as the service runs."""
    has_begun = False
    while True:
        try:
            if not has_begun:
                await asyncio.to_thread(newsroom.begin, feeds)
                has_begun = True
            if await asyncio.to_thread(newsroom.refresh_next):
                continue
        except StoreError as error:
            _log.debug("%s", error)  # /ready says so, more than once
        except Exception:  # nobody else would see it, and the other feeds' turns must come
            _log.exception("a feed could not be refreshed")
        await asyncio.sleep(POLL_SECONDS)


def _add_state(app: fastapi.FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """The database answers; 503 says why not. Without the cache the service is slower, and ready."""
        parts = service.parts()
        is_ready = parts["database"] == "ready"
        return JSONResponse({"ready": is_ready, "parts": parts}, 200 if is_ready else 503)

    @app.get("/metrics")
    def show_metrics() -> fastapi.Response:
        return fastapi.Response(service.metrics.text(), media_type=metrics_type())


def _add_news(app: fastapi.FastAPI, newsroom: Newsroom) -> None:
    @app.get("/feeds")
    def list_feeds() -> dict[str, t.Any]:
        return {"feeds": [_shown(feed) for feed in newsroom.store.feeds()]}

    @app.post("/feeds", status_code=201)
    def subscribe(address: Address, response: fastapi.Response) -> dict[str, t.Any]:
        """Subscribe to a feed. Doing so again is answered 200 and changes nothing."""
        feed, is_new = newsroom.subscribe(address.url)
        if not is_new:
            response.status_code = 200
        return _shown(feed)

    @app.delete("/feeds/{feed}", status_code=204)
    def unsubscribe(feed: Id) -> None:
        """Forget a feed and its news."""
        newsroom.unsubscribe(feed)

    @app.post("/preview")
    def preview(address: Address) -> dict[str, t.Any]:
        """A feed as it is now; nothing is kept."""
        feed = newsroom.preview(address.url)
        return {"title": feed.title, "items": [dataclasses.asdict(entry) for entry in feed.entries]}

    @app.get("/items")
    def list_items(
        limit: t.Annotated[int, fastapi.Query(ge=1, le=MAX_ITEMS)] = 20,
        offset: t.Annotated[int, fastapi.Query(ge=0, le=1_000_000)] = 0,
    ) -> dict[str, t.Any]:
        """The news, newest first."""
        page = newsroom.store.page(limit, offset)
        return {"total": page.total, "items": [dataclasses.asdict(item) for item in page.items]}


def _add_speech(app: fastapi.FastAPI, service: Service) -> None:
    @app.get("/items/{item}/speech")
    def speak_item(item: Id, voice: Voice = "en") -> fastapi.Response:
        """An item, spoken: WAV."""
        found = service.newsroom.item(item)
        return _wav(service.studio.say(f"{sentence(found.title)} {found.summary}", voice))

    @app.get("/bulletin")
    def speak_bulletin(
        voice: Voice = "en", limit: t.Annotated[int, fastapi.Query(ge=1, le=MAX_BULLETIN)] = 5
    ) -> fastapi.Response:
        """The newest titles, spoken: WAV."""
        return _wav(service.studio.say(bulletin(service.newsroom.store.page(limit, 0).items), voice))

    @app.post("/speech")
    def speak_text(words: Words) -> fastapi.Response:
        """A text, spoken: WAV."""
        return _wav(service.studio.say(words.text, words.voice))

    @app.post("/speech/sound")
    def describe_speech(words: Words) -> dict[str, t.Any]:
        """What the speech of a text is like: for gates, which cannot listen."""
        return dataclasses.asdict(listen(service.studio.say(words.text, words.voice)))


def _wav(speech: bytes) -> fastapi.Response:
    return fastapi.Response(speech, media_type="audio/wav")


def _shown(feed: Subscription) -> dict[str, t.Any]:
    return {"id": feed.id, "url": feed.url, "title": feed.title, "problem": feed.problem}


async def _failed(_request: fastapi.Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status)


async def _invalid(_request: fastapi.Request, error: Exception) -> JSONResponse:
    """One sentence a fault, in the place of pydantic's list."""
    faults = t.cast(RequestValidationError, error).errors()
    said = [f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in faults]
    return JSONResponse({"detail": "; ".join(said)}, 422)
