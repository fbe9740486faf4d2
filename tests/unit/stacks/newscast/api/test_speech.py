# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import wave

import prometheus_client
import pytest
from newscast_api import speech
from newscast_api.errors import SpeechError
from newscast_api.speech import Sound, Studio, digest, listen


class Memory(dict[str, bytes]):
    def put(self, key: str, speech: bytes) -> None:
        self[key] = speech


def studio(memory: Memory, spoken: list[str]) -> Studio:
    def speak(text: str, _voice: str) -> bytes:
        spoken.append(text)
        return text.encode()

    return Studio(memory, prometheus_client.CollectorRegistry(), speak)


def test_a_text_is_spoken_once_while_the_cache_remembers() -> None:
    spoken: list[str] = []
    ours = studio(Memory(), spoken)
    assert ours.say("Good  evening", "en") == ours.say("Good evening", "en") == b"Good evening"
    assert spoken == ["Good evening"]


def test_control_characters_are_not_spoken_because_they_are_commands() -> None:
    spoken: list[str] = []
    studio(Memory(), spoken).say("a\x01100sb\x00", "en")
    assert spoken == ["a 100sb"]


def test_another_voice_is_another_speech() -> None:
    assert digest("a", "en") != digest("a", "es")


def test_a_stream_without_length_becomes_a_complete_file() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((1, 2, 22050, 0, "NONE", "not compressed"))
        target.writeframes(b"\x00\x10" * 22050)
    stream = bytearray(file.getvalue())
    stream[4:8] = stream[40:44] = (0x7FFFF000).to_bytes(4, "little")
    assert listen(speech._complete(bytes(stream))) == Sound(22050, 1, 16, 1.0, 4096)


def test_without_a_program_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpeechError, match="espeak-ng"):
        speech.speak("a", "en")
