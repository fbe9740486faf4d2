# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speech: espeak-ng makes it, a cache keeps it."""

from __future__ import annotations

import array
import hashlib
import io
import re
import subprocess
import sys
import threading
import typing as t
import wave
from collections.abc import Callable
from dataclasses import dataclass

import prometheus_client

from .errors import SpeechError

MAX_TEXT = 4_000  # characters: five minutes
MAX_SECONDS = 20.0  # to make it
MAX_WAIT = 5.0  # seconds for one's turn
AT_ONCE = 2
WORDS_A_MINUTE = 160
Voice = t.Literal["en", "es", "ca", "fr", "de", "it", "pt"]
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")  # some of them are commands to espeak-ng
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class Remembers(t.Protocol):
    """What is needed of the cache: it may always forget."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, speech: bytes) -> None: ...


@dataclass(frozen=True)
class Sound:
    """What a recording is like: frames a second, channels, bits of a sample, length, and its loudest sample."""

    rate: int
    channels: int
    bits: int
    seconds: float
    peak: int


def speak(text: str, voice: Voice) -> bytes:
    """Speak a text: a WAV file. Raises SpeechError."""
    argv = ["espeak-ng", "-v", voice, "-s", str(WORDS_A_MINUTE), "-b", "1", "--stdin", "--stdout"]
    try:
        done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=MAX_SECONDS, check=True)
        return _complete(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise SpeechError(f"speaking took more than {MAX_SECONDS:.0f} seconds; send a shorter text") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[:300]
        raise SpeechError(f"espeak-ng ended with {error.returncode}: {said}") from error
    except (OSError, EOFError, wave.Error) as error:
        raise SpeechError(f"espeak-ng gave no speech: {error}") from error


def _complete(stream: bytes) -> bytes:
    """The WAV file of a stream, whose header was written before its length was known."""
    with wave.open(io.BytesIO(stream)) as source:
        frames = source.readframes(source.getnframes())
        settings = source.getparams()
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams(settings._replace(nframes=0))
        target.writeframes(frames)
    return file.getvalue()


def listen(speech: bytes) -> Sound:
    """What a recording of 16-bit samples is like."""
    with wave.open(io.BytesIO(speech)) as source:
        samples = array.array("h", source.readframes(source.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        peak = max(map(abs, samples), default=0)
        seconds = round(source.getnframes() / source.getframerate(), 3)
        return Sound(source.getframerate(), source.getnchannels(), source.getsampwidth() * 8, seconds, peak)


class Studio:
    """Speaks each text once while the cache remembers it, and few at a time."""

    def __init__(
        self,
        cache: Remembers,
        registry: prometheus_client.CollectorRegistry,
        speak: Callable[[str, Voice], bytes] = speak,
    ) -> None:
        self._cache = cache
        self._speak = speak
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._seconds = prometheus_client.Histogram(
            "newscast_speech_seconds", "Time to speak a text.", buckets=_BUCKETS, registry=registry
        )
        self._failed = prometheus_client.Counter(
            "newscast_speech_failures", "Texts that could not be spoken.", registry=registry
        )

    def say(self, text: str, voice: Voice) -> bytes:
        """The speech of a text. Raises SpeechError."""
        words = " ".join(_CONTROLS.sub(" ", text).split())[:MAX_TEXT]
        key = digest(words, voice)
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        if not self._turns.acquire(timeout=MAX_WAIT):
            raise SpeechError("too many texts are being spoken; try again in a few seconds")
        try:
            with self._failed.count_exceptions(SpeechError), self._seconds.time():
                speech = self._speak(words, voice)
        finally:
            self._turns.release()
        self._cache.put(key, speech)
        return speech


def digest(text: str, voice: Voice) -> str:
    """What a speech is kept under: everything that it depends on."""
    return hashlib.sha256(f"{voice}\0{WORDS_A_MINUTE}\0{text}".encode()).hexdigest()
