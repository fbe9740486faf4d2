# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Answer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci_auth import (
    Authorizer,
    Challenge,
    parse_challenges,
    registry_host,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import OciSource

SOURCE = OciSource("registry.example.org", "team/model", "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("text", "challenges"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://auth/token", "service": "reg", "scope": "repository:a/b:pull,push"})],
        ),
        (
            'Negotiate, BEARER Realm = "r" , service=reg, Basic realm="x"',
            [("negotiate", {}), ("bearer", {"realm": "r", "service": "reg"}), ("basic", {"realm": "x"})],
        ),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ('Bearer realm="never closed', [("bearer", {})]),
        (", ,", []),
        ("=====", []),
    ],
)
def test_challenges_are_read(text: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert list(parse_challenges(text)) == [Challenge(scheme, parameters) for scheme, parameters in challenges]


@pytest.mark.parametrize(
    ("registry", "host"), [("h", "h"), ("h:5000", "h"), ("[::1]:5000", "::1"), ("127.0.0.1:1", "127.0.0.1")]
)
def test_the_host_of_a_registry_is_told(registry: str, host: str) -> None:
    assert registry_host(registry) == host


class TokenService:
    """Answers requests for tokens, and remembers them."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.asked: list[tuple[str, t.Mapping[str, str]]] = []
        self._answer = Answer(status, "", {}, body)

    def get_small(self, url: str, headers: t.Mapping[str, str], **_rest: object) -> Answer:
        self.asked.append((url, headers))
        return self._answer


def renew(service: TokenService, network: Network, challenge: str) -> str:
    return Authorizer(network, t.cast("t.Any", service)).renew(SOURCE, "", lambda: challenge)


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_is_asked_for_with_what_the_challenge_says(key: str) -> None:
    service = TokenService(json.dumps({key: "t0ken"}).encode())
    network = Network(registry_username="me", registry_password="s3cret")
    assert renew(service, network, 'Bearer realm="https://a/t?x=1",service="reg"') == "Bearer t0ken"
    ((url, headers),) = service.asked
    assert url == "https://a/t?x=1&scope=repository%3Ateam%2Fmodel%3Apull&service=reg"
    assert headers == {"Authorization": "Basic bWU6czNjcmV0"}


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Basic realm="x"'])
def test_what_we_cannot_answer_is_told(challenge: str) -> None:
    with pytest.raises(ModelError, match="wants credentials for repository team/model"):
        renew(TokenService(b""), Network(), challenge)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "t", "expires_in": "soon"}'])
def test_an_answer_without_a_token_is_refused(body: bytes) -> None:
    with pytest.raises(ModelError, match="answers without a token"):
        renew(TokenService(body), Network(), 'Bearer realm="https://a/t"')


def test_a_token_service_that_is_busy_may_be_tried_again() -> None:
    with pytest.raises(ModelError) as caught:
        renew(TokenService(b"", 503), Network(), 'Bearer realm="https://a/t"')
    assert caught.value.transient


def test_an_old_token_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    service = TokenService(b'{"token": "t", "expires_in": 300}')
    authorizer = Authorizer(Network(), t.cast("t.Any", service))
    assert authorizer.header(SOURCE) == ""
    authorizer.renew(SOURCE, "", lambda: 'Bearer realm="https://a/t"')
    assert authorizer.header(SOURCE) == "Bearer t"
    now += 300
    assert authorizer.header(SOURCE) == ""
