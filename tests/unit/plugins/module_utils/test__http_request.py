# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_request import (
    AGENT,
    Place,
    Proxies,
    Proxy,
    connect_head,
    parse_proxy,
    request_head,
    split_url,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError

NO_PROXY = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_PROXY:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "place", "authority", "short"),
    [
        ("https://H/a", Place("https", "h", 443), "h:443", "h"),
        ("http://h:80", Place("http", "h", 80), "h:80", "h"),
        ("http://h:443/a?b", Place("http", "h", 443), "h:443", "h:443"),
        ("https://[::1]/a", Place("https", "::1", 443), "[::1]:443", "[::1]"),
        ("https://[::1]:8/a", Place("https", "::1", 8), "[::1]:8", "[::1]:8"),
    ],
)
def test_a_url_leads_to_a_place(url: str, place: Place, authority: str, short: str) -> None:
    assert split_url(url, "x")[0] == place
    assert (place.authority, place.short) == (authority, short)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "h/a",
        "https:///a",
        "https://me:hunter2@h/",
        "https://h/a b",
        "https://h/\xe9",
        "https://h:x/",
        "http://[h/",
    ],
)
def test_a_url_that_cannot_be_asked_for_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(ModelError, match="percent-encoded") as caught:
        split_url(url, "x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://p:3128", Proxy("p", 3128, "", None)),
        ("p:3128/", Proxy("p", 3128, "", None)),
        ("http://p", Proxy("p", 80, "", None)),
        ("http://me:hunter%202@p:3128", Proxy("p", 3128, "", "Basic bWU6aHVudGVyIDI=")),
    ],
)
def test_a_proxy_is_understood_and_shown_without_its_credentials(text: str, proxy: Proxy) -> None:
    parsed = parse_proxy(text, "proxy")
    assert parsed == proxy
    assert not [secret for secret in ("hunter", "bWU6") if secret in repr(parsed)]


@pytest.mark.parametrize("text", ["socks5://me:hunter2@p:1", "https://p:1", "http://", "http://p:x", "http://p/path"])
def test_what_is_no_proxy_is_refused_without_its_credentials(text: str) -> None:
    with pytest.raises(ModelError, match=r"allowed: http://\[user:password@\]host\[:port\]") as caught:
        Proxies(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "url", "host"),
    [
        ({}, "http://h/", None),
        ({"http_proxy": "http://p:1"}, "http://h/", "p"),
        ({"http_proxy": "http://p:1"}, "https://h/", None),
        ({"https_proxy": "p:1"}, "https://h/", "p"),
        ({"https_proxy": "p:1", "no_proxy": "h"}, "https://h/", None),
        ({"https_proxy": "p:1", "no_proxy": ".example"}, "https://a.example/", None),
        ({"https_proxy": "p:1", "no_proxy": "*"}, "https://h/", None),
        ({"https_proxy": "p:1", "no_proxy": "h:444"}, "https://h:443/", "p"),
    ],
)
def test_the_environment_names_proxies_and_exceptions(
    environment: dict[str, str], url: str, host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxies = Proxies(None)
    for _again in range(2):
        proxy = proxies.to(split_url(url, "x")[0])
        assert (proxy.host if proxy else None) == host


def test_a_proxy_that_is_set_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://other:1")
    monkeypatch.setenv("no_proxy", "*")
    proxy = Proxies("http://p:1").to(Place("http", "h", 80))
    assert proxy is not None
    assert proxy.host == "p"


def test_a_bad_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://p:1")
    with pytest.raises(ModelError, match="https_proxy 'socks5://p:1' cannot be used"):
        Proxies(None).to(Place("https", "h", 443))


PROXY = Proxy("p", 1, "http://p:1", "Basic eA==")


@pytest.mark.parametrize(
    ("url", "proxy", "target", "host", "proxy_authorization"),
    [
        ("https://h/a?b=c", None, "/a?b=c", "h", False),
        ("http://h:80", None, "/", "h", False),
        ("http://h:8/a", PROXY, "http://h:8/a", "h:8", True),
        ("https://h:8/a", PROXY, "/a", "h:8", False),
    ],
)
def test_a_request_goes_straight_or_by_a_proxy(
    url: str, proxy: Proxy | None, target: str, host: str, proxy_authorization: bool
) -> None:
    place, parts = split_url(url, "x")
    head = request_head("GET", place, parts, proxy, {"Range": "bytes=0-"}).decode()
    lines = head.split("\r\n")
    assert lines[:4] == [f"GET {target} HTTP/1.1", f"Host: {host}", f"User-Agent: {AGENT}", "Accept-Encoding: identity"]
    assert ("Proxy-Authorization: Basic eA==" in lines) == proxy_authorization
    assert lines[-3:] == ["Range: bytes=0-", "", ""]


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\x00", "\u20ac"])
def test_a_header_cannot_smuggle_another_one(value: str) -> None:
    place, parts = split_url("https://h/", "x")
    with pytest.raises(ModelError, match="'Authorization' header for h has a character") as caught:
        request_head("GET", place, parts, None, {"Authorization": value})
    assert value not in str(caught.value)


def test_a_tunnel_is_asked_for_with_the_proxys_credentials() -> None:
    lines = connect_head(Place("https", "::1", 443), PROXY).decode().split("\r\n")
    assert lines == [
        "CONNECT [::1]:443 HTTP/1.1",
        "Host: [::1]:443",
        f"User-Agent: {AGENT}",
        "Proxy-Authorization: Basic eA==",
        "",
        "",
    ]
