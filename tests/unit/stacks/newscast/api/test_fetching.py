# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetching, from a server on the loopback interface that a setting allows."""

from __future__ import annotations

import gzip
import http.server
import threading
import typing as t

import pytest
from newscast_api.errors import FeedError
from newscast_api.fetching import MAX_BYTES, Fetcher, check_url


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers.get("If-None-Match") == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        bodies = {"/feed": b"<rss/>", "/gzip": gzip.compress(b"<rss/>"), "/bomb": gzip.compress(bytes(MAX_BYTES + 1))}
        self.send_response(302 if self.path == "/away" else 200 if self.path in bodies else 404)
        self.send_header("ETag", '"1"')
        self.send_header("Location", "/feed")
        if self.path in ("/gzip", "/bomb"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(bodies.get(self.path, b""))

    def log_message(self, *_args: t.Any, **_kwargs: t.Any) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> t.Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/feed", "/gzip"])
def test_a_feed_comes_with_what_the_next_question_needs(site: str, path: str) -> None:
    url = site + path
    fetched = Fetcher([url]).fetch(url)
    assert (fetched.content, fetched.etag) == (b"<rss/>", '"1"')
    assert Fetcher([url]).fetch(url, etag=fetched.etag).content is None


@pytest.mark.parametrize(("path", "said"), [("/bomb", "larger"), ("/none", "404"), ("/away", "public web")])
def test_what_is_too_large_or_missing_or_leads_inside_is_refused(site: str, path: str, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        Fetcher([site + path]).fetch(site + path)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "64:ff9b::7f00:1",
        "0.0.0.0",
    ],
)
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(address: str) -> None:
    fetcher = Fetcher(resolve=lambda _host, _port: ["93.184.215.14", address])
    with pytest.raises(FeedError, match="not on the public web"):
        fetcher.fetch("http://news.example/feed")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a/", "feed", "http://", "http://u:p@a/", "http://a/b c", "http://[", "http://a/ä"],
)
def test_an_address_that_is_not_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(FeedError):
        check_url(url)


def test_an_address_is_kept_without_its_fragment() -> None:
    assert check_url(" https://a.example#top ") == "https://a.example/"
