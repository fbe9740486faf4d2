# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Lines, Masker, last_lines, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(" a\n\tb\x1b[31m c\0 ", "a b [31m c", id="control characters and line ends become spaces"),
        pytest.param("x" * 20, "xxxxxxxxx…", id="long text is cut"),
        pytest.param("señal", "señal", id="letters of any language stay"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_foreign_text_is_made_fit_to_be_shown(text: str, shown: str) -> None:
    assert printable(text, 10) == shown


def test_only_the_last_lines_that_say_something_are_kept() -> None:
    assert last_lines("one\n\n two\r\n\n  \nthree\n", 2) == ("two", "three")
    assert last_lines("") == ()


@pytest.mark.parametrize(
    ("secrets", "text", "shown"),
    [
        pytest.param(["hunter2"], "pw=hunter2 hunter2", "pw=******** ********", id="everywhere"),
        pytest.param(["abcd", "abcdef"], "abcdef", "********", id="the longer of two that overlap first"),
        pytest.param(["first line\nsecond line\n"], "at second line!", "at ********!", id="each line of a long one"),
        pytest.param(["abc", ""], "abc", "abc", id="too short to be hidden without shredding the text"),
    ],
)
def test_known_secrets_are_hidden(secrets: list[str], text: str, shown: str) -> None:
    assert Masker(secrets)(text) == shown


@pytest.mark.parametrize("piece", [1, 2, 100])
def test_lines_are_the_same_wherever_the_pieces_are_cut(piece: int) -> None:
    text, lines = "señal\n\nlong line\r\nx\nend".encode(), Lines(limit=6)
    cut = [text[at : at + piece] for at in range(0, len(text), piece)]
    assert [line for part in cut for line in lines.feed(part)] == ["señal", "", "long l", "x"]
    assert list(lines.rest()) == ["end"]


def test_a_text_that_ends_with_a_line_has_no_rest() -> None:
    lines = Lines()
    assert list(lines.feed(b"one\n")) == ["one"]
    assert list(lines.rest()) == []
