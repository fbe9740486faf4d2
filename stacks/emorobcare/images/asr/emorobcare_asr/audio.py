# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an uploaded WAV file to the samples that the recogniser takes."""

from __future__ import annotations

import io
import wave

RATE = 16_000  # samples a second
WIDTH = 2  # bytes a sample
MAX_SECONDS = 30
MAX_BYTES = MAX_SECONDS * RATE * WIDTH + 4096  # with room for the headers
WANTED = f"16 kHz mono 16-bit PCM WAV, at most {MAX_SECONDS} s"
CONVERT = "for example: sox input.mp3 -r 16000 -c 1 -b 16 output.wav"


class AudioError(Exception):
    """The file is not what the recogniser takes; the message says what it is and what it has to be."""


def read_wav(data: bytes) -> bytes:
    """The samples of a WAV file: signed 16-bit little endian, mono, 16 kHz. Raises AudioError."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            _check(file.getnchannels(), file.getsampwidth(), file.getframerate())
            declared = file.getnframes()
            samples = bytes(file.readframes(declared))
    except (wave.Error, EOFError) as error:
        reason = str(error) or "it ends too early"
        raise AudioError(f"the body cannot be read as a WAV file ({reason}); wanted is {WANTED}; {CONVERT}") from error
    held = len(samples) // WIDTH
    if held < declared:
        raise AudioError(f"the WAV file is cut off: it declares {declared} samples and holds {held}; send it again")
    if held == 0:
        raise AudioError("the WAV file holds no samples; record something")
    if held > MAX_SECONDS * RATE:
        raise AudioError(f"the WAV file is {held / RATE:.1f} s long; at most {MAX_SECONDS} s are taken")
    return samples


def _check(channels: int, width: int, rate: int) -> None:
    wrong = [
        said
        for said, is_wrong in (
            (f"{channels} channels", channels != 1),
            (f"{width * 8} bits a sample", width != WIDTH),
            (f"{rate} samples a second", rate != RATE),
        )
        if is_wrong
    ]
    if wrong:
        raise AudioError(f"the WAV file has {', '.join(wrong)}; wanted is {WANTED}; {CONVERT}")


def duration(samples: bytes) -> float:
    """Seconds."""
    return len(samples) / (RATE * WIDTH)
