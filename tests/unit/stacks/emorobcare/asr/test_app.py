# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import threading
import typing as t
import wave
from concurrent.futures import ThreadPoolExecutor

import pytest
from emorobcare_asr.app import MAX_WAITING, create_app
from emorobcare_asr.audio import MAX_BYTES, RATE
from emorobcare_asr.recogniser import ModelError
from fastapi.testclient import TestClient

WAV = {"Content-Type": "audio/wav"}


def recording(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(b"\0\0" * int(RATE * seconds))
    return file.getvalue()


class FakeRecogniser:
    """Answers with the number of samples that it heard; waits for ``go`` if it has one."""

    def __init__(self, go: threading.Event | None = None) -> None:
        self.is_stopped = False
        self.heard = threading.Semaphore(0)
        self._go = go

    def recognise(self, samples: bytes) -> str:
        self.heard.release()
        if self._go:
            assert self._go.wait(timeout=30)
        return f"{len(samples) // 2} samples"

    def stop(self) -> None:
        self.is_stopped = True


def until_loaded(client: TestClient) -> None:
    """The model is loaded in the background; every request lets the loop go on."""
    for _round in range(10_000):
        if client.get("/ready").json()["parts"]["model"] != "loading":
            return
    raise AssertionError("the model never stopped loading")


@pytest.fixture
def client() -> t.Iterator[TestClient]:
    with TestClient(create_app(FakeRecogniser)) as client:
        until_loaded(client)
        yield client


def test_a_recording_is_answered_with_its_words_and_its_length(client: TestClient) -> None:
    answer = client.post("/transcribe", content=recording(0.5), headers=WAV)
    assert answer.status_code == 200
    assert answer.json()["text"] == "8000 samples"
    assert answer.json()["audio_seconds"] == 0.5


@pytest.mark.parametrize("kind", ["audio/wav", "audio/x-wav", "Audio/WAVE; codecs=1", "audio/vnd.wave"])
def test_every_name_of_the_type_is_taken(client: TestClient, kind: str) -> None:
    assert client.post("/transcribe", content=recording(), headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        (recording(), {"Content-Type": "audio/mpeg"}, 415, "audio/wav"),
        (recording(), {}, 415, "missing"),
        (b"not a wav", WAV, 400, "RIFF"),
        (b"", WAV, 400, "ends too early"),
        (b"\0" * (MAX_BYTES + 1), WAV, 413, str(MAX_BYTES)),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client.post("/transcribe", content=content, headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_body_without_end_is_not_read_to_its_end(client: TestClient) -> None:
    taken = 0

    def endless() -> t.Iterator[bytes]:
        nonlocal taken
        while taken < MAX_BYTES * 50:
            taken += 65536
            yield b"\0" * 65536

    assert client.post("/transcribe", content=endless(), headers=WAV).status_code == 413


def test_more_than_a_few_at_a_time_are_told_to_come_back() -> None:
    go, recogniser = threading.Event(), FakeRecogniser()
    recogniser = FakeRecogniser(go)
    with TestClient(create_app(lambda: recogniser)) as client, ThreadPoolExecutor(MAX_WAITING) as pool:
        until_loaded(client)
        first = [
            pool.submit(client.post, "/transcribe", content=recording(), headers=WAV) for _round in range(MAX_WAITING)
        ]
        for _round in range(MAX_WAITING):
            assert recogniser.heard.acquire(timeout=30)
        refused = client.post("/transcribe", content=recording(), headers=WAV)
        assert client.get("/health").status_code == 200
        go.set()
        assert [answer.result().status_code for answer in first] == [200] * MAX_WAITING
        assert client.post("/transcribe", content=recording(), headers=WAV).status_code == 200
    assert (refused.status_code, "waiting already" in refused.json()["detail"]) == (503, True)


@pytest.mark.parametrize(
    ("error", "said"), [(ModelError("the model lacks en-us/mdef"), "en-us/mdef"), (KeyError("bug"), "KeyError('bug')")]
)
def test_a_model_that_cannot_be_loaded_is_said_and_not_hidden(error: Exception, said: str) -> None:
    def load() -> t.Any:
        raise error

    with TestClient(create_app(load)) as client:
        until_loaded(client)
        ready, asked = client.get("/ready"), client.post("/transcribe", content=recording(), headers=WAV)
        assert client.get("/health").status_code == 200
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert said in ready.json()["parts"]["model"]
    assert (asked.status_code, said in asked.json()["detail"]) == (503, True)


def test_the_metrics_count_requests_and_speech(client: TestClient) -> None:
    client.post("/transcribe", content=recording(2), headers=WAV)
    client.post("/transcribe", content=b"", headers=WAV)
    text = client.get("/metrics").text
    assert 'asr_requests_total{status="200"} 1.0' in text
    assert 'asr_requests_total{status="400"} 1.0' in text
    assert "asr_audio_seconds_total 2.0" in text
    assert 'part_ready{part="model"} 1.0' in text


def test_decoding_is_stopped_when_the_service_stops() -> None:
    recogniser = FakeRecogniser()
    with TestClient(create_app(lambda: recogniser)) as client:
        until_loaded(client)
    assert recogniser.is_stopped
