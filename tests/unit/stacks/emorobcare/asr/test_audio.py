# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import wave

import pytest
from emorobcare_asr.audio import MAX_BYTES, MAX_SECONDS, RATE, AudioError, duration, read_wav


def wav(samples: bytes = b"\1\0" * 160, channels: int = 1, width: int = 2, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(samples)
    return file.getvalue()


def test_the_samples_come_out_as_they_went_in() -> None:
    samples = bytes(range(256)) * 10
    assert read_wav(wav(samples)) == samples
    assert duration(samples) == pytest.approx(0.08)


def test_the_longest_recording_is_taken_and_fits_into_the_longest_body() -> None:
    longest = wav(b"\0\0" * MAX_SECONDS * RATE)
    assert len(longest) <= MAX_BYTES
    assert duration(read_wav(longest)) == MAX_SECONDS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends too early"),
        (b"RIFF", "ends too early"),
        (b"ID3\x04 this is an mp3, or so it says", "RIFF"),
        (b"RIFF\x24\0\0\0AVI LIST", "WAVE"),
        (wav()[:20], "cannot be read"),
        (wav(channels=2, samples=b"\0" * 640), "2 channels"),
        (wav(width=1), "8 bits"),
        (wav(width=3, samples=b"\0" * 300), "24 bits"),
        (wav(rate=44_100), "44100 samples a second"),
        (wav(channels=2, width=4, rate=8_000, samples=b"\0" * 800), "2 channels, 32 bits a sample, 8000 samples"),
        (wav(b""), "no samples"),
        (wav()[:-10], "cut off"),
        (wav(b"\0\0" * (MAX_SECONDS * RATE + 1)), f"at most {MAX_SECONDS} s"),
    ],
)
def test_what_the_recogniser_cannot_take_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        read_wav(data)


def test_a_wrong_format_says_what_is_wanted_and_how_to_make_it() -> None:
    with pytest.raises(AudioError, match=r"16 kHz mono 16-bit PCM WAV.*sox"):
        read_wav(wav(rate=48_000))
