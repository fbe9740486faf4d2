# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from samplemind.analysis import finish
from samplemind.app import Parts, create_app
from samplemind.errors import StoreError
from samplemind.features import RATE
from samplemind.library import DONE, FAILED, WAITING, SqliteLibrary

from .test_features import sine, wav

TONE, NEAR, FAR = wav(sine(440, 0.5)), wav(sine(450, 0.5)), wav(np.random.default_rng(1).uniform(-1, 1, RATE))


class Index:
    """Compares by cosine, in memory."""

    def __init__(self) -> None:
        self.vectors: dict[str, t.Any] = {}
        self.fault: StoreError | None = None

    def put(self, sample_id: str, vector: t.Sequence[float]) -> None:
        self.check()
        self.vectors[sample_id] = np.array(vector)

    def near(self, vector: t.Sequence[float], limit: int) -> list[tuple[str, float]]:
        found = [(one, float((1 + other @ np.array(vector)) / 2)) for one, other in self.vectors.items()]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def check(self) -> None:
        if self.fault:
            raise self.fault


class Bench:
    """The service, and a queue that works at once, or not at all."""

    def __init__(self, folder: Path) -> None:
        self.library = SqliteLibrary(folder / "library.db")
        self.index: t.Any = Index()
        self.works = True
        self.client = TestClient(create_app(lambda: Parts(self.library, self.index, self)))

    def ask(self, sample_id: str) -> None:
        if self.works:
            finish(self.library, self.index, sample_id)

    def check(self) -> None:
        return

    def add(self, sound: bytes, name: str = "sample", wait: float = 0) -> dict[str, t.Any]:
        answer = self.client.post(f"/samples?name={name}&wait={wait}", content=sound)
        assert answer.status_code == 200, answer.text
        return t.cast("dict[str, t.Any]", answer.json())


@pytest.fixture(name="bench")
def bench_fixture(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_sample_is_analysed_and_found_again(bench: Bench) -> None:
    added = bench.add(TONE, "tone")
    assert (added["state"], added["name"]) == (DONE, "tone")
    assert added["features"]["centroid"] == pytest.approx(440, rel=0.01)
    assert "vector" not in added["features"]
    assert bench.client.get(f"/samples/{added['id']}/sound").content == TONE
    assert [one["id"] for one in bench.client.get("/samples").json()["samples"]] == [added["id"]]


def test_the_nearest_sound_comes_first_and_never_the_sample_itself(bench: Bench) -> None:
    tone, near, far = (bench.add(sound) for sound in (TONE, NEAR, FAR))
    similar = bench.client.get(f"/samples/{tone['id']}/similar").json()["similar"]
    assert [one["id"] for one in similar] == [near["id"], far["id"]]
    assert similar[0]["alike"] > similar[1]["alike"]


def test_the_same_sound_is_kept_once(bench: Bench) -> None:
    assert bench.add(TONE, "one") == bench.add(TONE, "other")


def test_a_sample_that_waits_says_so(bench: Bench) -> None:
    bench.works = False
    added = bench.add(TONE, wait=0.15)
    assert added["state"] == WAITING
    similar = bench.client.get(f"/samples/{added['id']}/similar")
    assert (similar.status_code, similar.json()["detail"]) == (503, "the sample is waiting: ask again when it is done")


def test_what_nobody_finished_is_known_and_can_be_finished(bench: Bench) -> None:
    bench.works = False
    added = bench.add(TONE)
    assert bench.library.unfinished(time.time() - 60) == []
    assert bench.library.unfinished(time.time() + 60) == [added["id"]]
    assert finish(bench.library, bench.index, added["id"])
    assert finish(bench.library, bench.index, added["id"])
    assert bench.library.unfinished(time.time() + 60) == []


def test_a_sample_is_done_only_when_it_can_be_found(bench: Bench) -> None:
    bench.works = False
    added = bench.add(TONE)
    bench.index.fault = StoreError("the index does not answer: refused")
    with pytest.raises(StoreError):
        finish(bench.library, bench.index, added["id"])
    assert bench.client.get(f"/samples/{added['id']}").json()["state"] == WAITING


def test_a_sample_that_cannot_be_analysed_fails_for_good(bench: Bench) -> None:
    bench.library.add("f" * 64, "damaged", b"no sound")
    assert finish(bench.library, bench.index, "f" * 64)
    found = bench.client.get(f"/samples/{'f' * 64}").json()
    assert found["state"] == FAILED
    assert "no WAV file" in found["problem"]


def test_what_is_no_sample_is_refused_and_not_kept(bench: Bench) -> None:
    assert bench.client.post("/samples", content=b"hello").status_code == 400
    assert bench.client.get("/samples").json() == {"samples": []}
    assert bench.client.get(f"/samples/{'0' * 64}").status_code == 404
    assert bench.client.get("/samples/..").status_code == 404


def test_a_part_that_does_not_answer_is_told(bench: Bench) -> None:
    assert bench.client.get("/ready").json()["ready"]
    bench.index.fault = StoreError("the index does not answer: refused")
    answer = bench.client.get("/ready")
    assert (answer.status_code, answer.json()["parts"]["index"]) == (503, "the index does not answer: refused")


def test_metrics_time_requests_by_route(bench: Bench) -> None:
    bench.client.get(f"/samples/{'0' * 64}")
    text = bench.client.get("/metrics").text
    assert 'http_request_seconds_count{route="/samples/{sample_id}",status="404"} 1.0' in text
