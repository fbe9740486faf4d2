# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WAV files as the numbers that are analysed."""

from __future__ import annotations

import io
import typing as t
import wave

import numpy as np

from .errors import SampleError
from .features import RATE, Samples

MAX_BYTES = 5 * 1024 * 1024
MAX_SECONDS = 60
_RATES = (8_000, 96_000)
_WIDTHS = {1: (np.uint8, 128.0, 128.0), 2: (np.int16, 0.0, 32768.0), 4: (np.int32, 0.0, 2147483648.0)}


def read_wav(body: bytes) -> Samples:
    """Mono samples at RATE, from -1 to 1. Raises SampleError."""
    try:
        with wave.open(io.BytesIO(body)) as file:
            channels, width, rate, count = file.getparams()[:4]
            if width not in _WIDTHS or not 1 <= channels <= 8 or not _RATES[0] <= rate <= _RATES[1]:
                raise SampleError(
                    f"the file has {channels} channels of {width * 8} bits at {rate} Hz; send PCM of 8, 16 or"
                    " 32 bits at 8 to 96 kHz"
                )
            if not 0 < count <= MAX_SECONDS * rate:
                raise SampleError(f"the file has {count / rate:.1f} s; allowed are up to {MAX_SECONDS} s")
            kind, middle, top = _WIDTHS[width]
            raw = np.frombuffer(file.readframes(count), dtype=kind)
    except (wave.Error, EOFError, ValueError) as error:
        raise SampleError(f"the body is no WAV file{f': {error}' if str(error) else ''}") from error
    mono = ((raw[: len(raw) // channels * channels].reshape(-1, channels) - middle) / top).mean(axis=1)
    if not len(mono):
        raise SampleError("the file has no sound in it")
    return _resampled(mono, rate)


def _resampled(samples: Samples, rate: int) -> Samples:
    """By linear interpolation, after a mean over what would fold back into what is heard."""
    if rate == RATE:
        return samples
    if rate > RATE:
        width = round(rate / RATE)
        samples = np.convolve(samples, np.ones(width) / width, mode="same")
    places = np.arange(0, len(samples), rate / RATE)
    return t.cast(Samples, np.interp(places, np.arange(len(samples)), samples))
