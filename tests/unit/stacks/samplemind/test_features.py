# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import typing as t
import wave

import numpy as np
import pytest
from samplemind.audio import MAX_SECONDS, read_wav
from samplemind.errors import SampleError
from samplemind.features import RATE, Samples, analyse


def sine(frequency: float, seconds: float = 2.0) -> Samples:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(RATE * seconds)) / RATE)


def clicks(per_minute: float, seconds: float = 6.0) -> Samples:
    samples = np.zeros(int(RATE * seconds))
    for start in np.arange(0, len(samples) - 200, RATE * 60 / per_minute).astype(int):
        samples[start : start + 200] = 0.8 * np.hanning(200)
    return samples


def wav(samples: Samples, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    raw = {1: samples * 127 + 128, 2: samples * 32767, 4: samples * 2147483647, 3: samples}[width]
    kind = {1: np.uint8, 2: np.int16, 4: np.int32, 3: np.uint8}[width]
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(np.repeat(raw.astype(kind), channels).tobytes())
    return file.getvalue()


@pytest.mark.parametrize("frequency", [220, 440, 1000, 4000])
def test_a_tone_is_as_bright_as_it_is_high(frequency: float) -> None:
    features = analyse(sine(frequency))
    assert features.centroid == pytest.approx(frequency, rel=0.01)
    assert features.zero_crossing_rate * RATE / 2 == pytest.approx(frequency, rel=0.01)
    assert features.rms == pytest.approx(0.5 / 2**0.5, rel=0.001)
    assert features.tempo == 0


@pytest.mark.parametrize("per_minute", [70, 90, 120, 150])
def test_the_beat_of_clicks_is_found(per_minute: float) -> None:
    assert analyse(clicks(per_minute)).tempo == pytest.approx(per_minute, abs=1)


def test_noise_is_brighter_than_a_tone_and_has_no_beat() -> None:
    features = analyse(np.random.default_rng(1).uniform(-1, 1, RATE))
    assert features.centroid == pytest.approx(RATE / 4, rel=0.05)
    assert features.rolloff == pytest.approx(0.85 * RATE / 2, rel=0.05)
    assert features.tempo == 0


def test_alike_sounds_have_alike_vectors() -> None:
    tone, near, noise = (np.array(analyse(one).vector) for one in (sine(440), sine(450), clicks(90)))
    assert np.linalg.norm(tone) == pytest.approx(1, abs=1e-4)
    assert tone @ near > 0.98 > tone @ noise


@pytest.mark.parametrize("samples", [np.zeros(100), np.zeros(RATE)])
def test_silence_and_the_shortest_sounds_have_features_too(samples: Samples) -> None:
    features = analyse(samples)
    assert (features.centroid, features.rms, features.tempo) == (0, 0, 0)
    assert np.isfinite(features.vector).all()


FORMS: list[t.Any] = [(22_050, 1, 2), (44_100, 2, 2), (11_025, 1, 1), (48_000, 1, 4)]


@pytest.mark.parametrize(("rate", "channels", "width"), FORMS)
def test_every_form_of_pcm_becomes_the_same_sound(rate: int, channels: int, width: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    features = analyse(read_wav(wav(tone, rate, channels, width)))
    assert features.centroid == pytest.approx(440, rel=0.02)
    assert features.duration == pytest.approx(1, abs=0.001)
    assert features.peak == pytest.approx(0.5, abs=0.02)


BAD = [
    pytest.param(b"", "no WAV file", id="nothing"),
    pytest.param(b"hello" * 20, "no WAV file", id="something else"),
    pytest.param(wav(sine(440, 0.1), width=3), "24 bits", id="a width that is not read"),
    pytest.param(wav(sine(440, 0.1), rate=4000), "at 4000 Hz", id="too low a rate"),
    pytest.param(wav(np.zeros(0)), "allowed are up to", id="no sound"),
    pytest.param(wav(np.zeros(8000 * (MAX_SECONDS + 1)), rate=8000), "allowed are up to 60 s", id="too long"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_what_cannot_be_analysed_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        read_wav(body)
