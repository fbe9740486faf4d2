# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import typing as t
import uuid

import numpy as np
import pytest
import redis
from emotion_app.app import MAX_BODY, Service, create_app
from emotion_app.cache import RedisCache
from emotion_app.emotions import EMOTIONS, Face
from emotion_app.errors import ModelError, StoreError
from emotion_app.faces import Box, Grey
from emotion_app.sessions import LIFETIME_SECONDS, TokenError, Tokens
from emotion_app.settings import Server
from fastapi.testclient import TestClient
from PIL import Image

SECRET = "s" * 32
HAPPY = Face(Box(1, 2, 30), {name: float(name == "happy") for name in EMOTIONS})


class Looks:
    def __init__(self) -> None:
        self.seen = 0

    def look(self, picture: Grey) -> list[Face]:
        assert picture.dtype == np.uint8
        self.seen += 1
        return [HAPPY]


class Results:
    def __init__(self) -> None:
        self.rows: list[tuple[uuid.UUID, str]] = []
        self.fault: StoreError | None = None

    def add(self, user: uuid.UUID, session: uuid.UUID, faces: t.Sequence[Face]) -> None:
        self.check()
        self.rows += [(user, face.emotion) for face in faces]

    def history(self, user: uuid.UUID, limit: int) -> list[dict[str, t.Any]]:
        return [{"emotion": emotion} for owner, emotion in self.rows if owner == user][:limit]

    def check(self) -> None:
        if self.fault:
            raise self.fault


class Cache:
    def __init__(self) -> None:
        self.kept: dict[bytes, list[dict[str, t.Any]]] = {}
        self.counts: dict[str, int] = {}

    def prediction(self, picture: bytes) -> list[dict[str, t.Any]] | None:
        return self.kept.get(picture)

    def remember(self, picture: bytes, faces: list[dict[str, t.Any]]) -> None:
        self.kept[picture] = faces

    def asked(self, address: str) -> int:
        self.counts[address] = self.counts.get(address, 0) + 1
        return self.counts[address]

    def problem(self) -> str | None:
        return None


class Bench:
    """The service on fakes, and a client of it."""

    def __init__(self, load: t.Callable[[], Looks] | None = None) -> None:
        self.looks, self.results, self.cache = Looks(), Results(), Cache()
        service = Service(load or (lambda: self.looks), self.results, self.cache, rate_limit=2)
        self.client = TestClient(create_app(service, Tokens(SECRET), ["https://friend.example"]))


@pytest.fixture(name="bench")
def bench_fixture() -> t.Iterator[Bench]:
    bench = Bench()
    with bench.client:
        while "loading" in bench.client.get("/ready").text:
            pass
        yield bench


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (40, 40), shade).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_answered_with_its_faces(bench: Bench) -> None:
    answer = bench.client.post("/detect", content=png())
    assert answer.status_code == 200
    face = answer.json()["faces"][0]
    assert (face["emotion"], face["stress_level"]) == ("happy", "low")
    assert face["box"] == {"left": 1, "top": 2, "size": 30}


def test_the_same_picture_is_looked_at_once(bench: Bench) -> None:
    first, second = (bench.client.post("/detect", content=png()).json() for _time in range(2))
    assert first == second
    assert bench.looks.seen == 1


def test_a_session_has_a_history_of_its_own(bench: Bench) -> None:
    one, other = ({"Authorization": f"Bearer {bench.client.post('/sessions').json()['token']}"} for _time in range(2))
    bench.client.post("/detect", content=png(), headers=one)
    assert bench.client.get("/history", headers=one).json() == {"results": [{"emotion": "happy"}]}
    assert bench.client.get("/history", headers=other).json() == {"results": []}


@pytest.mark.parametrize("header", ["", "Basic x", "Bearer x", "Bearer"])
def test_a_history_needs_a_token_of_this_service(bench: Bench, header: str) -> None:
    assert bench.client.get("/history", headers={"Authorization": header}).status_code == 401


def test_an_address_is_limited_and_the_hosts_own_networks_are_not(bench: Bench) -> None:
    asked = [
        bench.client.post("/detect", content=png(), headers={"X-Forwarded-For": "192.0.2.1"}) for _time in range(3)
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 429]
    assert "at most 2 pictures in 15 minutes" in asked[2].json()["detail"]
    assert bench.client.post("/detect", content=png()).status_code == 200


def test_a_body_that_is_no_picture_or_too_large_is_refused(bench: Bench) -> None:
    assert bench.client.post("/detect", content=b"hello").status_code == 400
    assert bench.client.post("/detect", content=bytes(MAX_BODY + 1)).status_code == 413


def test_without_the_database_the_service_is_not_ready_and_says_why(bench: Bench) -> None:
    bench.results.fault = StoreError("the database at db: gone")
    answer = bench.client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "the database at db: gone"
    token = bench.client.post("/sessions").json()["token"]
    kept = bench.client.post("/detect", content=png(), headers={"Authorization": f"Bearer {token}"})
    assert (kept.status_code, kept.json()["detail"]) == (503, "the database at db: gone")


def test_a_damaged_model_is_told_by_ready() -> None:
    def load() -> Looks:
        raise ModelError("x.tflite is no model")

    with Bench(load).client as client:
        while "loading" in client.get("/ready").text:
            pass
        assert client.get("/ready").json()["parts"]["model"] == "x.tflite is no model"
        assert client.post("/detect", content=png()).status_code == 503
        assert client.get("/health").status_code == 200


def test_only_the_named_origins_may_ask(bench: Bench) -> None:
    for origin, allowed in (("https://friend.example", True), ("https://other.example", False)):
        answer = bench.client.post("/detect", content=png(), headers={"Origin": origin})
        assert ("access-control-allow-origin" in answer.headers) is allowed


def test_metrics_count_predictions(bench: Bench) -> None:
    bench.client.post("/detect", content=png())
    text = bench.client.get("/metrics").text
    assert 'emotion_predictions_total{emotion="happy",stress_level="low"} 1.0' in text
    assert 'http_request_seconds_count{route="/detect",status="200"} 1.0' in text


def test_a_token_ends() -> None:
    now = [1_000_000.0]
    tokens = Tokens(SECRET, lambda: now[0])
    header = f"Bearer {tokens.issue()}"
    assert tokens.read(header).user
    now[0] += LIFETIME_SECONDS
    with pytest.raises(TokenError, match="the session has ended"):
        tokens.read(header)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(TokenError, match="not one of this service"):
        Tokens(SECRET).read(f"Bearer {Tokens('t' * 32).issue()}")


def test_without_redis_nothing_is_remembered_and_nobody_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: t.Any, **_more: t.Any) -> t.NoReturn:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(redis.Redis, "execute_command", away)
    monkeypatch.setattr("redis.client.Pipeline.execute", away)
    cache = RedisCache(Server("127.0.0.1", 1))
    cache.remember(b"picture", [])
    assert cache.prediction(b"picture") is None
    assert cache.asked("192.0.2.1") == 0
    assert "nobody is limited" in (cache.problem() or "")
