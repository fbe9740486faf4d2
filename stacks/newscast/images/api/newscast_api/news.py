# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newsroom: subscriptions and their news."""

from __future__ import annotations

import datetime
import logging
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

import prometheus_client

from .errors import FeedError, FullError, MissingError
from .feeds import Entry, Feed, parse_feed
from .fetching import Fetched, check_url

MAX_FEEDS = 100
REFRESH_SECONDS = 900
FIRST_RETRY_SECONDS = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subscription:
    """A feed, and how it was when it was fetched last. ``problem`` is empty if that went well."""

    id: int
    url: str
    title: str = ""
    problem: str = ""
    failures: int = 0  # in a row
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Item:
    id: int
    feed: str
    title: str
    summary: str
    link: str
    published: datetime.datetime


@dataclass(frozen=True)
class Page:
    total: int
    items: list[Item]


class Store(t.Protocol):
    """What is needed of the database. Every method may raise StoreError."""

    def subscribe(self, url: str, limit: int) -> tuple[Subscription, bool] | None:
        """The subscription of an address, and whether it is new. None if there are ``limit`` others."""

    def unsubscribe(self, feed: int) -> bool:
        """Forget a feed and its news. False if there is none of that id."""

    def feeds(self) -> list[Subscription]: ...

    def claim(self) -> Subscription | None:
        """A feed whose turn it is, kept from other replicas for a minute."""

    def keep(self, feed: int, title: str, entries: Sequence[Entry], fetched: Fetched, wait: int) -> int:
        """Keep the news that are new, and say how many; the feed's next turn is in ``wait`` seconds."""

    def note(self, feed: int, problem: str, wait: int) -> None:
        """Note that nothing was fetched: nothing has changed, or ``problem`` says why."""

    def page(self, limit: int, offset: int) -> Page:
        """Newest first."""

    def item(self, item: int) -> Item | None: ...

    def check(self) -> None:
        """Return if the database answers and has its tables."""


class Fetches(t.Protocol):
    """What is needed of the fetcher."""

    def fetch(self, url: str, etag: str = "", modified: str = "") -> Fetched: ...


class Newsroom:
    def __init__(self, store: Store, fetcher: Fetches, registry: prometheus_client.CollectorRegistry) -> None:
        self.store = store
        self._fetcher = fetcher
        self._fetches = prometheus_client.Counter(
            "newscast_fetches", "Feeds fetched: new, unchanged or failed.", ["result"], registry=registry
        )
        for result in ("new", "unchanged", "failed"):
            self._fetches.labels(result)  # a share can be computed from the beginning

    def preview(self, url: str) -> Feed:
        """A feed as it is now; nothing is kept. Raises FeedError."""
        return self._read(self._fetch(Subscription(0, check_url(url))))

    def subscribe(self, url: str) -> tuple[Subscription, bool]:
        """Subscribe to a feed that can be fetched and read, and keep its news.

        Again is no error: then the answer's second half is False. Raises FeedError, FullError.
        """
        url = check_url(url)
        known = next((feed for feed in self.store.feeds() if feed.url == url), None)
        if known:
            return known, False
        fetched = self._fetch(Subscription(0, url))
        feed = self._read(fetched)
        made = self.store.subscribe(url, MAX_FEEDS)
        if made is None:
            raise FullError(f"there are {MAX_FEEDS} feeds, which is as many as may be; remove one first")
        self.store.keep(made[0].id, feed.title, feed.entries, fetched, REFRESH_SECONDS)
        return Subscription(made[0].id, url, feed.title), made[1]

    def unsubscribe(self, feed: int) -> None:
        if not self.store.unsubscribe(feed):
            raise MissingError(f"there is no feed {feed}")

    def begin(self, urls: Sequence[str]) -> None:
        """Subscribe a new installation to its first feeds, without waiting for them."""
        if not self.store.feeds():
            for url in urls:
                self.store.subscribe(url, MAX_FEEDS)

    def refresh_next(self) -> bool:
        """Fetch the feed whose turn it is. False if it is nobody's."""
        feed = self.store.claim()
        if feed is None:
            return False
        try:
            fetched = self._fetch(feed)
            if fetched.content is None:
                self.store.note(feed.id, "", REFRESH_SECONDS)
                return True
            read = self._read(fetched)
        except FeedError as error:
            _log.info("%s: %s", feed.url, error)
            self.store.note(feed.id, str(error)[:500], retry_seconds(feed.failures))
            return True
        self.store.keep(feed.id, read.title, read.entries, fetched, REFRESH_SECONDS)
        return True

    def item(self, item: int) -> Item:
        found = self.store.item(item)
        if found is None:
            raise MissingError(f"there is no item {item}")
        return found

    def _fetch(self, feed: Subscription) -> Fetched:
        try:
            fetched = self._fetcher.fetch(feed.url, feed.etag, feed.modified)
        except FeedError:
            self._fetches.labels("failed").inc()
            raise
        self._fetches.labels("unchanged" if fetched.content is None else "new").inc()
        return fetched

    @staticmethod
    def _read(fetched: Fetched) -> Feed:
        if fetched.content is None:
            raise FeedError("the feed says that it has not changed, to somebody who has none of it")
        return parse_feed(fetched.content)


def retry_seconds(failures: int) -> int:
    """How long to wait after so many failures before this one: at first not long, it may be a restart."""
    return int(min(REFRESH_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures, 10)))


def bulletin(items: Sequence[Item]) -> str:
    """What a newsreader says."""
    if not items:
        return "There is no news."
    return " ".join(["Here is the news.", *(sentence(item.title) for item in items), "That was the news."])


def sentence(text: str) -> str:
    """The text with a full stop, so that it is spoken with a pause after it."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
