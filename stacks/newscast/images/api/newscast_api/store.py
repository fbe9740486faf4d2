# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""News and subscriptions in PostgreSQL. The tables are made by migrations/."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator, Sequence

import prometheus_client
import psycopg
import psycopg.rows
import psycopg_pool

from .errors import StoreError
from .feeds import Entry
from .fetching import Fetched
from .news import Item, Page, Subscription

CONNECTIONS = 6
KEPT_ITEMS = 500  # of each feed
OPTIONS = "-c statement_timeout=5000 -c lock_timeout=3000 -c timezone=UTC"
_WAIT_SECONDS = 3
_FEED = "id, url, title, problem, failures, etag, modified"
_ITEM = "items.id, feeds.title AS feed, items.title, summary, link, published"
_FROM = "FROM items JOIN feeds ON feeds.id = feed_id"


class PostgresStore:
    """A pool that looks at a connection before it gives it away, so that a restart of the server costs no request."""

    def __init__(self, url: str, password: str, registry: prometheus_client.CollectorRegistry) -> None:
        settings = {"password": password or None, "connect_timeout": _WAIT_SECONDS, "options": OPTIONS}
        self._pool = psycopg_pool.ConnectionPool(
            url,
            kwargs=settings,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=_WAIT_SECONDS,
            reconnect_timeout=10,
            check=psycopg_pool.ConnectionPool.check_connection,
            open=False,
        )
        self._seconds = prometheus_client.Histogram(
            "newscast_query_seconds", "Time that a use of the database took.", ["use"], registry=registry
        )
        used = prometheus_client.Gauge("newscast_connections", "Connections to the database.", registry=registry)
        used.set_function(lambda: float(self._pool.get_stats().get("pool_size", 0)))

    def open(self) -> None:
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close()

    def subscribe(self, url: str, limit: int) -> tuple[Subscription, bool] | None:
        with self._connection("subscribe") as connection:
            # One at a time: two that count at once would both find room.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('newscast.feeds'))")
            found = self._feeds(connection, "WHERE url = %s", url)
            if found:
                return found[0], False
            count = connection.execute("SELECT count(*) FROM feeds").fetchone()
            if count is None or count[0] >= limit:
                return None
            connection.execute("INSERT INTO feeds (url) VALUES (%s)", (url,))
            return self._feeds(connection, "WHERE url = %s", url)[0], True

    def unsubscribe(self, feed: int) -> bool:
        with self._connection("unsubscribe") as connection:
            return connection.execute("DELETE FROM feeds WHERE id = %s", (feed,)).rowcount == 1

    def feeds(self) -> list[Subscription]:
        with self._connection("feeds") as connection:
            return self._feeds(connection, "ORDER BY id")

    def claim(self) -> Subscription | None:
        with self._connection("claim") as connection, connection.cursor(row_factory=_row(Subscription)) as cursor:
            turn = "SELECT id FROM feeds WHERE next_turn <= now() ORDER BY next_turn LIMIT 1 FOR UPDATE SKIP LOCKED"
            kept = "UPDATE feeds SET next_turn = now() + interval '1 minute'"
            return cursor.execute(f"{kept} WHERE id = ({turn}) RETURNING {_FEED}").fetchone()

    def keep(self, feed: int, title: str, entries: Sequence[Entry], fetched: Fetched, wait: int) -> int:
        rows = [(feed, entry.guid, entry.title, entry.summary, entry.link, entry.published) for entry in entries]
        insert = (
            "INSERT INTO items (feed_id, guid, title, summary, link, published)"
            " VALUES (%s, %s, %s, %s, %s, LEAST(%s, now())) ON CONFLICT DO NOTHING"
        )
        update = (
            "UPDATE feeds SET title = %s, etag = %s, modified = %s, problem = '', failures = 0,"
            " next_turn = now() + make_interval(secs => %s) WHERE id = %s"
        )
        prune = (
            "DELETE FROM items WHERE feed_id = %s AND id NOT IN"
            " (SELECT id FROM items WHERE feed_id = %s ORDER BY published DESC, id DESC LIMIT %s)"
        )
        with self._connection("keep") as connection, connection.cursor() as cursor:
            cursor.execute(update, (title, fetched.etag, fetched.modified, wait, feed))
            if cursor.rowcount == 0:  # unsubscribed meanwhile
                return 0
            cursor.executemany(insert, rows)
            added = max(cursor.rowcount, 0)
            cursor.execute(prune, (feed, feed, KEPT_ITEMS))
            return added

    def note(self, feed: int, problem: str, wait: int) -> None:
        update = (
            "UPDATE feeds SET problem = %s, failures = CASE WHEN %s = '' THEN 0 ELSE failures + 1 END,"
            " next_turn = now() + make_interval(secs => %s) WHERE id = %s"
        )
        with self._connection("note") as connection:
            connection.execute(update, (problem, problem, wait, feed))

    def page(self, limit: int, offset: int) -> Page:
        query = f"SELECT {_ITEM} {_FROM} ORDER BY published DESC, items.id DESC LIMIT %s OFFSET %s"
        with self._connection("page") as connection, connection.cursor(row_factory=_row(Item)) as cursor:
            count = connection.execute("SELECT count(*) FROM items").fetchone()
            return Page(count[0] if count else 0, cursor.execute(query, (limit, offset)).fetchall())

    def item(self, item: int) -> Item | None:
        with self._connection("item") as connection, connection.cursor(row_factory=_row(Item)) as cursor:
            return cursor.execute(f"SELECT {_ITEM} {_FROM} WHERE items.id = %s", (item,)).fetchone()

    def check(self) -> None:
        with self._connection("check") as connection:
            connection.execute("SELECT FROM feeds, items LIMIT 1")

    @staticmethod
    def _feeds(connection: psycopg.Connection[t.Any], rest: t.LiteralString, *values: str) -> list[Subscription]:
        with connection.cursor(row_factory=_row(Subscription)) as cursor:
            return cursor.execute(f"SELECT {_FEED} FROM feeds {rest}", values).fetchall()

    @contextlib.contextmanager
    def _connection(self, use: str) -> Iterator[psycopg.Connection[t.Any]]:
        """A connection and one transaction on it."""
        try:
            with self._seconds.labels(use).time(), self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed) as error:
            raise StoreError(f"the database cannot be used: {str(error).splitlines()[0][:300]}") from error


T = t.TypeVar("T")


def _row(kind: type[T]) -> psycopg.rows.BaseRowFactory[T]:
    return psycopg.rows.class_row(kind)
