# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a face says, and the pictures that faces are in."""

from __future__ import annotations

import io
import typing as t
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from .errors import PictureError
from .faces import Box, Grey

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# How much of each emotion is stress: the weights of a mean, from 0 to 1. A convention of this service, no medicine.
STRESS = {"angry": 1.0, "disgust": 0.7, "fear": 1.0, "happy": 0.0, "sad": 0.7, "surprise": 0.3, "neutral": 0.1}
STRESS_LEVELS = ((0.66, "high"), (0.33, "medium"), (0.0, "low"))

MAX_PIXELS = 12_000_000
FORMATS = ("JPEG", "PNG", "WEBP")


@dataclass(frozen=True)
class Face:
    """A face, the probability of each emotion, and stress from 0 to 1."""

    box: Box
    emotions: t.Mapping[str, float]

    @property
    def emotion(self) -> str:
        return max(self.emotions, key=lambda name: self.emotions[name])

    @property
    def stress(self) -> float:
        return round(sum(STRESS[name] * share for name, share in self.emotions.items()), 4)

    @property
    def stress_level(self) -> str:
        return next(level for least, level in STRESS_LEVELS if self.stress >= least)

    def as_answer(self) -> dict[str, t.Any]:
        return {
            "box": self.box._asdict(),
            "emotion": self.emotion,
            "emotions": dict(self.emotions),
            "stress": self.stress,
            "stress_level": self.stress_level,
        }


def read_picture(body: bytes) -> Grey:
    """Return a picture as grey pixels, turned upright. Raises PictureError."""
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise PictureError(f"the picture has {width} x {height} pixels; allowed are {MAX_PIXELS} in all")
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("L"))
    except PictureError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they like
        raise PictureError(f"the body is no picture in one of {', '.join(FORMATS)}") from error
