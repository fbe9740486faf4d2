# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import asyncio
import typing as t

import pytest
from emorobcare_api.embedding import ModelError
from emorobcare_api.errors import StoreError
from emorobcare_api.parts import NotReadyError, Part, problems


def fail(error: Exception) -> t.Any:
    raise error


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emorobcare_api.parts.RETRY_SECONDS", 0)


def test_a_part_that_is_not_open_says_so() -> None:
    part = Part("model", lambda: 1, lambda _: None)
    assert part.problem() == "loading"
    with pytest.raises(NotReadyError, match="model is not ready: loading"):
        part.get()


def test_opening_is_tried_again_until_it_works() -> None:
    outcomes: list[Exception | str] = [StoreError("no server"), NotReadyError("wait"), ModelError("no file"), "open"]

    def open_it() -> str:
        outcome = outcomes.pop(0)
        return outcome if isinstance(outcome, str) else fail(outcome)

    part = Part("store", open_it, lambda _: None)
    asyncio.run(part.open())
    assert part.get() == "open"
    assert part.problem() is None


def test_an_unexpected_error_is_shown_instead_of_loading_for_ever() -> None:
    part = Part("store", lambda: fail(KeyError("bug")), lambda _: None)
    asyncio.run(part.open())
    assert "KeyError('bug')" in str(part.problem())


def test_a_part_that_stops_answering_is_not_ready_and_is_again_when_it_answers() -> None:
    state = {"problem": ""}
    part = Part("store", lambda: 1, lambda _: fail(StoreError(state["problem"])) if state["problem"] else None)
    asyncio.run(part.open())
    assert problems([part]) == {"store": None}
    state["problem"] = "gone"
    assert problems([part]) == {"store": "gone"}
    state["problem"] = ""
    assert problems([part]) == {"store": None}
