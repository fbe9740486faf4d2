# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Files behind http and https: over connections that are kept, in ranges if wanted, through redirects and proxies.

Credentials are sent to the place (scheme, host and port) that they are for and to no other.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import string
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import broken, refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_pool import Pool
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_range import (
    Asked,
    Part,
    range_headers,
    read_part,
    told_by_head,
    told_by_refusal,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_request import (
    PORTS,
    Place,
    Proxy,
    request_head,
    split_url,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import BadAnswer, Body, CutShort, Head, Wire
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HttpSource, redact_url

Headers = t.Mapping[str, str]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_REMEMBERED = 600.0  # seconds for which the end of a chain of redirects is used again; signed URLs live longer
_SMALL = 1 << 16  # bytes of a body nobody wants that are read away so that its connection can be kept
# Servers that do not do HEAD, or whose signed URLs are for GET only.
_NO_HEAD = frozenset({400, 403, 405, 501})
_PLAIN = ("", "identity")


class Answer(t.NamedTuple):
    """A small answer, read whole. Names of headers in lower case, repeated ones joined by ", "."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class HttpStream:
    """The body of an answer, as it arrives. See `Stream` of _model_origin.py."""

    def __init__(self, body: Body, part: Part, failed: t.Callable[[Exception], ModelError]) -> None:
        self.told = part.told
        self.offset = part.offset
        self._body = body
        self._left = part.length
        self._failed = failed

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`; return the bytes read, 0 at the end of the body or where the connection was closed.

        Raises:
            ModelError: transient; nothing came within the stall timeout, or the connection broke. Bytes that came
                before were returned by an earlier call.
        """
        try:
            count = self._body.readinto(buffer if self._left is None else buffer[: self._left])
        except CutShort:
            return 0  # as where a length was told: whoever reads it counts
        except (OSError, BadAnswer) as exc:
            raise self._failed(exc) from exc
        if self._left is not None:
            self._left -= count
        return count


class HttpOrigin:
    """Opens sources over http(s), with a transport of its own or one that it shares."""

    def __init__(self, network: Network, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(network)
        self._owned = transport is None

    def probe(self, source: HttpSource) -> Told:
        """Ask for size and version of a file.

        Raises:
            ModelError: with reason `unavailable`; the server cannot be reached, or does not give the file.
        """
        return self._transport.probe(source.url, _credentials(source), shown=source.shown)

    def open(
        self, source: HttpSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.ContextManager[HttpStream]:
        """Request a file, or the bytes start..stop-1 of it.

        Raises:
            ModelError: as `probe`.
        """
        return self._transport.open(source.url, _credentials(source), start, stop, validator, shown=source.shown)

    def close(self) -> None:
        if self._owned:
            self._transport.close()


def _credentials(source: HttpSource) -> dict[str, str]:
    return {"Authorization": source.authorization} if source.authorization else {}


@dataclass(frozen=True)
class _Ask:
    """What is asked for, but for its range. Hashable, to remember where it leads."""

    url: str = field(repr=False)  # it may be signed
    headers: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass
class _Exchange:
    """A request that was answered: the connection is busy until `body` is read."""

    place: Place
    proxy: Proxy | None
    wire: Wire
    head: Head
    body: Body


class Transport:
    """GET and HEAD with headers of the caller's, for several threads at once; connections are kept and shared.

    URLs hold no credentials and are percent-encoded; `shown` is what messages call them. Of the caller's headers only
    Accept follows a redirect to another place.
    """

    def __init__(self, network: Network) -> None:
        self._pool = Pool(network)
        self._stall_timeout = network.stall_timeout
        self._ends: dict[_Ask, tuple[_Ask, float]] = {}  # where redirects led, and until when to believe it

    def close(self) -> None:
        """Close all connections; streams that are still read end."""
        self._pool.close()

    def get_small(
        self,
        url: str,
        headers: Headers | None = None,
        *,
        shown: str = "",
        limit: int = 1 << 20,
        method: str = "GET",
        follow: bool = True,
    ) -> Answer:
        """Return an answer, whatever its status, with its body of at most `limit` bytes.

        Redirects are followed, unless not to `follow`: then the first answer is returned.

        Raises:
            ModelError: with reason `unavailable`; there is no answer, it is too long, or a redirect is not followed.
        """
        shown = shown or redact_url(url)
        ask = _ask_for(url, headers)
        exchange = self._follow(method, ask, {}, shown)[0] if follow else self._once(method, ask, {}, shown)
        with self._ending(exchange):
            head, body = exchange.head, exchange.body
            if head.status == 200:
                _check_encoding(head, shown)
            buffer = memoryview(bytearray(min(limit, limit if body.length is None else body.length) + 1))
            count = self._read_whole(body, buffer, shown)
        if count > limit or (body.length or 0) > limit:
            raise ModelError(
                f"{shown}: the answer has more than the {limit} bytes that such a document may have; is the URL right?",
                reason="unavailable",
                source=shown,
            )
        return Answer(head.status, head.reason, head.headers, bytes(buffer[:count]))

    def probe(self, url: str, headers: Headers | None = None, *, shown: str = "") -> Told:
        """Ask for size and version of a file, without its bytes.

        Raises:
            ModelError: with reason `unavailable`; `details["status"]` has the status if that is why.
        """
        shown = shown or redact_url(url)
        ask = _ask_for(url, headers)
        with self._ending(self._follow("HEAD", ask, {}, shown)[0]) as exchange:
            head = exchange.head
            told = told_by_head(head)
        if head.status == 200 and head.headers.get("content-encoding", "") in _PLAIN and told.size is not None:
            return told
        if head.status != 200 and head.status not in _NO_HEAD:
            raise refused(shown, head.status, head.reason, head.headers)
        with self._ending(self._get(ask, range_headers(Asked(0, 1), ""), shown)) as exchange:
            told_anyway = told_by_refusal(exchange.head) if exchange.head.status == 416 else None
            return told_anyway or _part_of(exchange, Asked(0, 1), shown).told

    @contextlib.contextmanager
    def open(
        self,
        url: str,
        headers: Headers | None = None,
        start: int = 0,
        stop: int | None = None,
        validator: str = "",
        *,
        shown: str = "",
    ) -> t.Iterator[HttpStream]:
        """Request a file, or the bytes start..stop-1 of it: see `Origin.open` of _model_origin.py.

        Raises:
            ModelError: as `probe`.
        """
        shown = shown or redact_url(url)
        asked = Asked(start, stop)
        with self._ending(self._get(_ask_for(url, headers), range_headers(asked, validator), shown)) as exchange:
            part = _part_of(exchange, asked, shown)
            yield HttpStream(exchange.body, part, functools.partial(self._broken, shown))

    @contextlib.contextmanager
    def _ending(self, exchange: _Exchange) -> t.Iterator[_Exchange]:
        try:
            yield exchange
        finally:
            self._end(exchange)

    def _end(self, exchange: _Exchange) -> None:
        exchange.body.drain(_SMALL)
        self._pool.give(exchange.place, exchange.proxy, exchange.wire, exchange.body.reusable)

    def _get(self, ask: _Ask, ranges: Headers, shown: str) -> _Exchange:
        """Return what a chain of redirects ends with, by the short cut of an earlier time if it still leads there."""
        end, until = self._ends.get(ask, (ask, 0.0))
        if time.monotonic() < until:
            with contextlib.suppress(ModelError):  # the long way will tell what is wrong
                exchange = self._once("GET", end, ranges, shown)
                if exchange.head.status in (200, 206):
                    return exchange
                self._end(exchange)
            self._ends.pop(ask, None)
        exchange, end = self._follow("GET", ask, ranges, shown)
        if end != ask and exchange.head.status in (200, 206):
            self._ends[ask] = (end, time.monotonic() + _REMEMBERED)
        return exchange

    def _follow(self, method: str, ask: _Ask, ranges: Headers, shown: str) -> tuple[_Exchange, _Ask]:
        seen = {ask.url}
        while True:
            exchange = self._once(method, ask, ranges, shown)
            location = exchange.head.headers.get("location")
            if exchange.head.status not in _REDIRECTS or not location:
                return exchange, ask
            self._end(exchange)
            ask = redirected(ask, location, shown)
            if ask.url in seen or len(seen) > _MOST_REDIRECTS:
                how = "in a circle" if ask.url in seen else f"more than {_MOST_REDIRECTS} times"
                raise _not_followed(shown, ask.url, f"redirects {how}")
            seen.add(ask.url)

    def _once(self, method: str, ask: _Ask, ranges: Headers, shown: str) -> _Exchange:
        """Send one request and return its answer, on a connection of before if there is one that still lives."""
        place, parts = split_url(ask.url, shown)
        proxy = self._pool.proxy_to(place)
        request = request_head(method, place, parts, proxy, {**dict(ask.headers), **ranges})
        wire = self._pool.take(place, proxy)
        while True:
            fresh = wire is None
            wire = wire or self._pool.connect(place, proxy, shown)
            try:
                wire.send(request)
                head = wire.head()
                return _Exchange(place, proxy, wire, head, Body(wire, head, method))
            except (OSError, BadAnswer) as exc:
                self._pool.give(place, proxy, wire, False)
                if fresh or wire.heard or isinstance(exc, socket.timeout):
                    raise self._broken(shown, exc) from exc
                wire = None  # the server had closed it, as it may

    def _read_whole(self, body: Body, buffer: memoryview, shown: str) -> int:
        """Fill `buffer` from a body that may have less; return the bytes read."""
        count = more = 0
        try:
            while count < len(buffer):
                more = body.readinto(buffer[count:])
                count += more
                if not more:
                    break
        except (OSError, BadAnswer) as exc:
            raise self._broken(shown, exc) from exc
        if not more and body.length is not None and not body.ended:
            raise self._broken(shown, BadAnswer("the connection was closed in the middle of the answer"))
        return count

    def _broken(self, shown: str, exc: Exception) -> ModelError:
        return broken(shown, exc, f"stall_timeout: {self._stall_timeout:g} s", late="stalled")


def _ask_for(url: str, headers: Headers | None) -> _Ask:
    return _Ask(url, tuple((headers or {}).items()))


def _part_of(exchange: _Exchange, asked: Asked, shown: str) -> Part:
    """Return which bytes an answer brings.

    Raises:
        ModelError: none, or not those of the file.
    """
    head = exchange.head
    if head.status >= 300:
        raise refused(shown, head.status, head.reason, head.headers)
    _check_encoding(head, shown)
    return read_part(head, exchange.body.length, asked, shown)


def _check_encoding(head: Head, shown: str) -> None:
    encoding = head.headers.get("content-encoding", "")
    if encoding.lower() not in _PLAIN or (200 <= head.status < 300 and head.status not in (200, 206)):
        raise ModelError(
            f"{shown}: the server answers with status {head.status} and encoding {encoding or 'identity'!r} where 200 "
            "and the plain file are needed; use a URL that serves the file itself",
            reason="unavailable",
            source=shown,
        )


def redirected(ask: _Ask, location: str, shown: str) -> _Ask:
    """Return what to ask for after a redirect. What was for one place only is not passed on, nor comes back later.

    Raises:
        ModelError: with reason `unavailable`; the redirect must not be followed.
    """
    # Some servers do not percent-encode; what they mean is what browsers make of it.
    location = quote(location, safe=string.punctuation, encoding="latin-1")
    old = urlsplit(ask.url)
    try:
        new = urlsplit(urljoin(ask.url, location))
    except ValueError:  # a bracket that does not close
        new = urlsplit("")
    if new.scheme not in PORTS or (old.scheme, new.scheme) == ("https", "http") or "@" in new.netloc:
        raise _not_followed(shown, new.geturl() or location, "redirects")
    url = urlunsplit((new.scheme, new.netloc, new.path or "/", new.query, ""))
    headers = ask.headers
    if split_url(url, shown)[0] != split_url(ask.url, shown)[0]:
        headers = tuple((name, value) for name, value in headers if name.lower() == "accept")
    return _Ask(url, headers)


def _not_followed(shown: str, url: str, what: str) -> ModelError:
    return ModelError(
        f"{shown} {what} to {redact_url(url)}, which is not followed: not allowed are other schemes than http(s), a "
        "step from https down to http, credentials in the URL, circles, and more than "
        f"{_MOST_REDIRECTS} steps. Use the final URL as source",
        reason="unavailable",
        source=shown,
    )
