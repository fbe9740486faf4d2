# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest
from emorobcare_asr.recogniser import STEP, ModelError, Recogniser, load_recogniser


class FakeDecoder:
    """Writes down what it is told, as PocketSphinx would understand it."""

    def __init__(self, words: str | None = "hello") -> None:
        self.said: list[str] = []
        self.sizes: list[int] = []
        self._words = words

    def get_cmn(self, update: bool = False) -> str:
        return "40,3,-1"

    def set_cmn(self, cmn: str) -> None:
        self.said.append(f"cmn {cmn}")

    def start_utt(self) -> None:
        self.said.append("start")

    def process_raw(self, data: bytes) -> None:
        self.sizes.append(len(data))

    def end_utt(self) -> None:
        self.said.append("end")

    def hyp(self) -> t.Any:
        return types.SimpleNamespace(hypstr=self._words) if self._words is not None else None


def test_every_utterance_starts_from_the_same_means_and_goes_in_step_by_step() -> None:
    decoder = FakeDecoder()
    recogniser = Recogniser(decoder)
    for _round in range(2):
        assert recogniser.recognise(b"\0" * (2 * STEP + 10)) == "hello"
    assert decoder.said == ["cmn 40,3,-1", "start", "end"] * 2
    assert decoder.sizes == [STEP, STEP, 10] * 2


def test_silence_is_an_empty_text() -> None:
    assert Recogniser(FakeDecoder(words=None)).recognise(b"\0" * STEP) == ""


def test_a_failing_utterance_is_ended_so_that_the_next_one_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = FakeDecoder()
    recogniser = Recogniser(decoder)

    def break_down(_data: bytes) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "process_raw", break_down)
        with pytest.raises(RuntimeError):
            recogniser.recognise(b"\0" * STEP)
    assert decoder.said[-1] == "end"
    assert recogniser.recognise(b"\0" * STEP) == "hello"


def test_nothing_more_is_decoded_once_the_service_ends() -> None:
    decoder = FakeDecoder()
    recogniser = Recogniser(decoder)
    recogniser.stop()
    recogniser.recognise(b"\0" * STEP * 100)
    assert decoder.sizes == []


def test_the_files_that_a_model_lacks_are_named(tmp_path: Path) -> None:
    (tmp_path / "en-us").mkdir()
    (tmp_path / "en-us" / "mdef").touch()
    with pytest.raises(ModelError, match=r"lacks en-us/means.*cmudict-en-us\.dict"):
        load_recogniser(tmp_path)
