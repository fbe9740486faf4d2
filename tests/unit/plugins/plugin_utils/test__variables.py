# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import (
    VariableError,
    escape,
    filled,
    variables,
)

FOUND = [
    pytest.param("plain", [], id="none"),
    pytest.param("$$HOME $${HOME}", [], id="escaped"),
    pytest.param("$A/${B}", [("A", False), ("B", False)], id="both forms"),
    pytest.param("${A:-x}${B-}", [("A", True), ("B", True)], id="defaults"),
    pytest.param("${A:?no A}${B?}", [("A", False), ("B", False)], id="required"),
    pytest.param("${A:+x}${B+y}", [("A", True), ("B", True)], id="replacements"),
    pytest.param("${A:-${B:-${C}}}", [("A", True), ("B", True), ("C", False)], id="nested defaults"),
    pytest.param("${A:-$$B}c", [("A", True)], id="escaped in a default"),
    pytest.param("$A_1-${b2}", [("A_1", False), ("b2", False)], id="digits and lower case"),
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_variables_are_found_and_those_that_need_a_value_told_apart(
    text: str, expected: list[tuple[str, bool]]
) -> None:
    assert [(variable.name, variable.optional) for variable in variables(text)] == expected


FAULTS = [
    pytest.param("costs 5$", "begins no variable; write $$", id="alone"),
    pytest.param("$5", "begins no variable", id="digit"),
    pytest.param("${A", "not closed", id="open"),
    pytest.param("${A:-${B}", "not closed", id="open around another"),
    pytest.param("${}", "names no variable", id="empty"),
    pytest.param("${A!x}", "Compose cannot read", id="unknown operator"),
    pytest.param("${A-${}}", "names no variable", id="fault in a default"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_dollar_sign_that_begins_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(VariableError) as caught:
        variables(text)
    assert message in str(caught.value)


def test_escaped_text_has_no_variables() -> None:
    assert variables(escape("${A} $B $$ $")) == []


FILLED = [
    ("plain", "plain"),
    ("$$HOME $${HOME}", "$HOME ${HOME}"),
    ("$A/${A}/$E", "a/a/"),
    ("$NO/${NO}", "${NO}/${NO}"),
    ("${NO:-x}${NO-y}", "xy"),
    ("${E:-x}${E-y}", "x"),
    ("${A:-x}${A-y}", "aa"),
    ("${A:?said}${NO?said}", "a${NO?said}"),
    ("${A:+x}${E:+y}${E+z}${NO+n}", "xz"),
    ("${NO:-${A}}${NO:-${NO:-$$}}", "a$"),
    ("${BIND:-127.0.0.1}:${PORT:-80}:80", "127.0.0.1:80:80"),
]


@pytest.mark.parametrize(("text", "expected"), FILLED)
def test_variables_are_filled_in_as_compose_would(text: str, expected: str) -> None:
    assert filled(text, {"A": "a", "E": ""}) == expected


@pytest.mark.parametrize("text", ["costs 5$", "${A", "${NO:-${A}"])
def test_text_that_cannot_be_filled_in_is_refused(text: str) -> None:
    with pytest.raises(VariableError):
        filled(text, {})
