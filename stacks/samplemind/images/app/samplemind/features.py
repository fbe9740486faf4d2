# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sample sounds like, in numbers. NumPy only; the same samples give the same numbers.

Frames of 2048 samples at 22,050 Hz, half overlapping, under a Hann window. Mel bands and cepstra follow the usual
definitions (HTK's mel scale; orthonormal DCT-II of log energies).
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass

import numpy as np

Samples = np.ndarray[t.Any, np.dtype[np.float64]]  # mono, from -1 to 1
Numbers = np.ndarray[t.Any, np.dtype[np.float64]]

RATE = 22_050  # Hz
FRAME = 2048
HOP = 512
BANDS = 40
CEPSTRA = 20
ROLLOFF = 0.85
TEMPO = (60.0, 200.0)  # beats a minute
_SILENCE = 1e-10
_AUDIBLE = 1e-3  # power of a spectrum's bin from which it counts
_ONSET = 0.2  # of the loudest frame: what grows less is no beat


@dataclass(frozen=True)
class Features:
    """Duration in s; rms, zero crossing rate and peak from 0 to 1; centroid and rolloff in Hz; tempo in beats a minute,
    0 where nothing beats; vector: mean and spread of the cepstra, of length one."""

    duration: float
    rms: float
    peak: float
    zero_crossing_rate: float
    centroid: float
    rolloff: float
    tempo: float
    vector: tuple[float, ...]

    def as_answer(self) -> dict[str, t.Any]:
        return {**asdict(self), "vector": list(self.vector)}


def analyse(samples: Samples) -> Features:
    """The features of mono samples at RATE."""
    spectra = _spectra(samples)
    frequencies = np.fft.rfftfreq(FRAME, 1 / RATE)
    energy = spectra.sum(axis=1)
    loud = energy > _SILENCE
    centroid, rolloff = 0.0, 0.0
    if loud.any():
        audible = spectra[loud]
        centroid = float(np.mean(audible @ frequencies / energy[loud]))
        reached = audible.cumsum(axis=1) >= ROLLOFF * energy[loud][:, None]
        rolloff = float(np.mean(frequencies[reached.argmax(axis=1)]))
    return Features(
        duration=round(len(samples) / RATE, 4),
        rms=round(float(np.sqrt(np.mean(samples**2))), 6),
        peak=round(float(np.max(np.abs(samples))), 6),
        zero_crossing_rate=round(float(np.mean(np.signbit(samples[1:]) != np.signbit(samples[:-1]))), 6),
        centroid=round(centroid, 2),
        rolloff=round(rolloff, 2),
        tempo=round(_tempo(spectra), 1),
        vector=tuple(round(float(value), 6) for value in _vector(spectra)),
    )


def _spectra(samples: Samples) -> Numbers:
    """Power spectra of the frames, one a line; a short sample is one frame filled up with silence."""
    padded = np.pad(samples, (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return t.cast(Numbers, np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2)


def _vector(spectra: Numbers) -> Numbers:
    """Timbre: cepstra without the first, which is loudness."""
    bands = np.log(spectra @ _mel_bands().T + _SILENCE)
    order = np.arange(1, CEPSTRA + 1)[:, None]
    cosine = np.sqrt(2 / BANDS) * np.cos(np.pi / BANDS * (np.arange(BANDS) + 0.5) * order)
    cepstra = bands @ cosine.T
    vector = np.concatenate([cepstra.mean(axis=0), cepstra.std(axis=0)])
    length = float(np.linalg.norm(vector))
    return vector / length if length > _SILENCE else vector


def _mel_bands() -> Numbers:
    """Triangular filters, one a line."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(FRAME, 1 / RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return t.cast(Numbers, np.clip(np.minimum(rising, falling), 0, None))


def _tempo(spectra: Numbers) -> float:
    """The beat in which onsets come back most, by autocorrelation of the growth of the spectrum."""
    growth = np.diff(np.log1p(spectra / _AUDIBLE), axis=0).clip(min=0).sum(axis=1)
    per_minute = 60 * RATE / HOP
    shortest, longest = round(per_minute / TEMPO[1]), round(per_minute / TEMPO[0])
    if len(growth) <= longest or growth.max() < _ONSET * np.log1p(spectra / _AUDIBLE).sum(axis=1).max():
        return 0.0
    growth = growth - growth.mean()
    size = 2 ** int(np.ceil(np.log2(2 * len(growth))))
    again = np.fft.irfft(np.abs(np.fft.rfft(growth, size)) ** 2)[: len(growth)]
    lags = np.arange(shortest, longest + 1)
    # Every second beat comes back as well as every beat: people hear the one that is nearer to 120.
    likely = np.exp(-0.5 * np.log2(per_minute / lags / 120) ** 2)
    best = int(lags[np.argmax(again[lags] * likely)])
    if again[best] < 0.1 * again[0]:
        return 0.0
    # Between two frames: the top of the parabola through three values.
    left, middle, right = again[best - 1], again[best], again[best + 1]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend else 0.0
    return float(per_minute / (best + shift))
