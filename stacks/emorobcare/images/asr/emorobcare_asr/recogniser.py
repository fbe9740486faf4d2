# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speech recognition by PocketSphinx."""

from __future__ import annotations

import os
import threading
import typing as t
from pathlib import Path

STEP = 3200  # bytes at a time: 100 ms
FILES = ("en-us/mdef", "en-us/means", "en-us/variances", "en-us/sendump", "en-us.lm.bin", "cmudict-en-us.dict")


class ModelError(Exception):
    """The model's files are missing or damaged."""


class Decoder(t.Protocol):
    """What is needed of PocketSphinx's decoder."""

    def get_cmn(self, update: bool = False) -> str: ...
    def set_cmn(self, cmn: str) -> None: ...
    def start_utt(self) -> None: ...
    def process_raw(self, data: bytes) -> t.Any: ...
    def end_utt(self) -> None: ...
    def hyp(self) -> t.Any: ...


class Recogniser:
    """One decoder, for one utterance at a time."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._means = decoder.get_cmn(False)

    def recognise(self, samples: bytes) -> str:
        """The words, in lower case, separated by spaces; empty if none were heard.

        The samples go in step by step, not at once: the decoder holds Python's lock for a whole call, and the
        service has to answer its health check meanwhile. The decoder adapts its cepstral means while it listens;
        they are set back first, so that the same file always gives the same words.
        """
        with self._lock:
            self._decoder.set_cmn(self._means)
            self._decoder.start_utt()
            try:
                for start in range(0, len(samples), STEP):
                    if self._stopped.is_set():
                        break
                    self._decoder.process_raw(samples[start : start + STEP])
            finally:
                self._decoder.end_utt()
            found = self._decoder.hyp()
        return str(found.hypstr).strip() if found else ""

    def stop(self) -> None:
        """Let go of an utterance that is being decoded, and of all later ones: the service is ending."""
        self._stopped.set()


def load_recogniser(folder: Path) -> Recogniser:
    """Load the model from ``folder``. Raises ModelError naming what is missing."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"the model in {folder} lacks {', '.join(missing)}")
    import pocketsphinx

    # It looks for a default model even when it is given one, and the image leaves out the one in the package.
    os.environ["POCKETSPHINX_PATH"] = str(folder)
    try:
        decoder = pocketsphinx.Decoder(
            hmm=str(folder / "en-us"),
            lm=str(folder / "en-us.lm.bin"),
            dict=str(folder / "cmudict-en-us.dict"),
            loglevel="FATAL",
        )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"PocketSphinx cannot load the model in {folder}: {error}") from error
    return Recogniser(decoder)
