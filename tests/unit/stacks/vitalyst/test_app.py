# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import logging
import typing as t

import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from vitalyst_backend.app import Service, create_app
from vitalyst_backend.cache import Cache
from vitalyst_backend.embedded import EmbeddedStore
from vitalyst_backend.errors import StoreError
from vitalyst_backend.graph import Store
from vitalyst_backend.seeds import plant
from vitalyst_backend.trust import READ, WRITE, DevelopmentIssuer, Guard

DOMAIN, AUDIENCE = "tenant.example", "vitalyst"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FAR = 4_000_000_000


class FakeRedis:
    """The four commands that the cache needs; away when told so."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.away = False

    def get(self, key: str) -> bytes | None:
        self.ping()
        return self.values.get(key)

    def set(self, key: str, value: str, ex: int) -> None:
        self.ping()
        assert ex > 0
        self.values[key] = value.encode()

    def incr(self, key: str) -> None:
        self.values[key] = str(int(self.values.get(key, b"0")) + 1).encode()

    def ping(self) -> None:
        if self.away:
            raise redis.ConnectionError("refused")


class Bench:
    """The service on a graph in memory, and a client of it."""

    def __init__(
        self, open_store: t.Callable[[], Store] | None = None, issuer: DevelopmentIssuer | None = None
    ) -> None:
        self.store = EmbeddedStore(None)
        plant(self.store)
        self.redis = FakeRedis()
        cache = Cache("redis://127.0.0.1:1", "")
        cache._client = self.redis
        guard = Guard(DOMAIN, AUDIENCE, issuer.find_key if issuer else lambda _token: KEY.public_key())
        self.client = TestClient(create_app(Service(open_store or (lambda: self.store), cache, guard, issuer)))

    def get(self, path: str, **claims: t.Any) -> t.Any:
        return self.client.get(path, headers=bearer(**claims))


def bearer(key: t.Any = KEY, algorithm: str = "RS256", without: str = "", **claims: t.Any) -> dict[str, str]:
    """The header of a token that is right but for what is said."""
    right = {
        "iss": f"https://{DOMAIN}/",
        "aud": AUDIENCE,
        "sub": "auth0|1",
        "iat": 1,
        "exp": FAR,
        "scope": f"{READ} {WRITE}",
    }
    given = {name: value for name, value in {**right, **claims}.items() if name != without}
    return {"Authorization": f"Bearer {jwt.encode(given, key, algorithm=algorithm)}"}


@pytest.fixture(name="bench")
def bench_fixture() -> Bench:
    return Bench()


WRONG: list[t.Any] = [
    pytest.param({}, "send a token", id="none"),
    pytest.param({"Authorization": "Basic eDp5"}, "send a token", id="another kind"),
    pytest.param({"Authorization": "Bearer x.y.z"}, "not valid here", id="no token at all"),
    pytest.param(bearer(exp=2), "expired", id="expired"),
    pytest.param(bearer(aud="another"), "not valid here", id="for another audience"),
    pytest.param(bearer(iss="https://other.example/"), "not valid here", id="from another issuer"),
    pytest.param(bearer(key=OTHER_KEY), "not valid here", id="signed by another key"),
    pytest.param(bearer(key=None, algorithm="none"), "not valid here", id="not signed"),
    pytest.param(bearer(key="k" * 32, algorithm="HS256"), "not valid here", id="signed by a shared secret"),
    *[
        pytest.param(bearer(without=name), "not valid here", id=f"without {name}")
        for name in ("exp", "sub", "aud", "iss")
    ],
]


@pytest.mark.parametrize(("headers", "message"), WRONG)
@pytest.mark.parametrize("path", ["/entities", "/entities/iron", "/path?source=iron&target=blood"])
def test_nobody_gets_in_without_a_right_token(bench: Bench, headers: dict[str, str], message: str, path: str) -> None:
    answer = bench.client.get(path, headers=headers)
    assert answer.status_code == 401
    assert message in answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_may_do_what_its_scopes_say_and_no_more(bench: Bench) -> None:
    new = {"label": "Kale", "kind": "food"}
    refused = bench.client.put("/entities/kale", json=new, headers=bearer(scope=READ))
    assert (refused.status_code, refused.json()["detail"]) == (403, "this token lacks the scope write:graph")
    assert bench.client.put("/entities/kale", json=new, headers=bearer(scope=WRITE)).status_code == 200
    assert bench.get("/entities", scope=WRITE).status_code == 403


def test_a_question_has_its_answer(bench: Bench) -> None:
    answer = bench.get("/path?source=carrot&target=eyes").json()
    assert answer["hops"] == 2
    assert answer["path"][1] == {"source": "vitamin-a", "type": "serves", "target": "eyes"}
    assert bench.get("/entities?q=zinc").json() == {"entities": [{"id": "zinc", "label": "Zinc", "kind": "mineral"}]}
    assert bench.get("/entities/nope").status_code == 404


@pytest.mark.parametrize("path", ["/entities/No Way", "/path?source=a&target=B!", "/entities?limit=0"])
def test_what_cannot_be_an_id_is_refused(bench: Bench, path: str) -> None:
    assert bench.get(path).status_code == 422


def test_an_answer_is_kept_until_the_graph_changes(bench: Bench) -> None:
    assert bench.get("/path?source=seaweed&target=bones").json()["hops"] is None
    kept = len(bench.redis.values)
    assert bench.get("/path?source=seaweed&target=bones").json()["hops"] is None
    assert len(bench.redis.values) == kept
    relation = {"source": "seaweed", "type": "contains", "target": "calcium"}
    assert bench.client.put("/relations", json=relation, headers=bearer()).status_code == 200
    assert bench.get("/path?source=seaweed&target=bones").json()["hops"] == 2


def test_without_redis_everything_is_asked_anew(bench: Bench) -> None:
    bench.redis.away = True
    assert bench.get("/path?source=carrot&target=eyes").json()["hops"] == 2
    state = bench.client.get("/ready").json()
    assert (state["ready"], state["parts"]["cache"]) == (True, "Redis does not answer: everything is asked anew")


def test_a_graph_that_does_not_answer_is_told_and_opened_again() -> None:
    faults = [StoreError("Neo4j does not answer: refused")] * 2
    store = EmbeddedStore(None)

    def open_store() -> Store:
        if faults:
            raise faults.pop()
        return store

    bench = Bench(open_store)
    first = bench.client.get("/ready")
    assert (first.status_code, first.json()["parts"]["graph"]) == (503, "Neo4j does not answer: refused")
    assert bench.get("/entities").status_code == 503
    assert bench.client.get("/ready").status_code == 200


def test_the_audit_log_says_who_asked_for_what(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "audit"):
        bench.get("/entities/iron", sub="auth0|7")
        bench.client.get("/entities/iron")
        bench.client.get("/health")
    entries = [json.loads(record.message) for record in caplog.records if record.name == "audit"]
    assert entries == [
        {"who": "auth0|7", "method": "GET", "path": "/entities/iron", "status": 200},
        {"who": None, "method": "GET", "path": "/entities/iron", "status": 401},
    ]


def test_refusals_are_counted(bench: Bench) -> None:
    bench.client.get("/entities")
    assert 'vitalyst_refused_total{reason="token"} 1.0' in bench.client.get("/metrics").text


def test_only_development_issues_tokens(bench: Bench) -> None:
    assert bench.client.post("/dev/token").status_code == 404
    developer = Bench(issuer=DevelopmentIssuer(DOMAIN, AUDIENCE))
    token = developer.client.post("/dev/token").json()["token"]
    assert developer.client.get("/entities", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert developer.get("/entities").status_code == 401
