# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import COMPOSE_TAGS, parse_yaml


def read(text: str) -> t.Any:
    return parse_yaml("x.yml", text.encode()).data


VALUES = [
    pytest.param("a: 1", {"a": 1}, id="whole number"),
    pytest.param("a: 0x10", {"a": 16}, id="hexadecimal number"),
    pytest.param("a: 1.5", {"a": 1.5}, id="number"),
    pytest.param("a: on", {"a": True}, id="boolean of YAML 1.1"),
    pytest.param("on: 1", {"on": 1}, id="a key is never a boolean"),
    pytest.param("200: ok", {"200": "ok"}, id="a key is never a number"),
    pytest.param("a: ~", {"a": None}, id="null"),
    pytest.param("a:", {"a": None}, id="nothing"),
    pytest.param("a: '1'", {"a": "1"}, id="quoted number"),
    pytest.param("a: 2026-01-02", {"a": "2026-01-02"}, id="a date stays text"),
    pytest.param("a: 22:22", {"a": "22:22"}, id="a port mapping is no number in base 60"),
    pytest.param("a: 1:30.5", {"a": "1:30.5"}, id="a time is no number in base 60"),
    pytest.param("a: [x, {b: c}]", {"a": ["x", {"b": "c"}]}, id="nested"),
    pytest.param("a: &x [1]\nb: *x", {"a": [1], "b": [1]}, id="alias"),
    pytest.param(
        "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}",
        {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}},
        id="own keys win in a merge",
    ),
    pytest.param(
        "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc:\n  <<: [*x, *y]",
        {"a": {"k": 1}, "b": {"k": 2, "l": 2}, "c": {"k": 1, "l": 2}},
        id="the first of merged mappings wins",
    ),
]


@pytest.mark.parametrize(("text", "data"), VALUES)
def test_values_are_those_of_json(text: str, data: t.Any) -> None:
    assert read(text) == data


FAULTS = [
    pytest.param(b"a: 1\nb: 2\na: 3\n", "x.yml:3: a: key 'a' is already there, on line 1", id="key twice"),
    pytest.param(
        b"a:\n  - {b: 1,\n     b: 2}\n", "x.yml:3: a[0].b: key 'b' is already there, on line 2", id="key twice, nested"
    ),
    pytest.param(b"a: [1\nb: 2\n", "x.yml:2: not YAML: did not find expected ',' or ']'", id="not closed"),
    pytest.param(b"a: 1\n---\nb: 2\n", "x.yml:2: not YAML: but found another document", id="two documents"),
    pytest.param(b"\xff\xfe", "x.yml: not UTF-8 text (byte 0): invalid start byte", id="not UTF-8"),
    pytest.param(b"# nothing\n", "x.yml: the file is empty", id="empty"),
    pytest.param(b"a:\n  b: !vault x\n", "x.yml:2: a.b: tag '!vault' is not allowed here", id="tag"),
    pytest.param(b"a: &x [*x]\n", "x.yml:1: a[0]: an alias contains itself", id="recursive alias"),
    pytest.param(b"? [a, b]\n: 1\n", "x.yml:1: a key must be a plain word", id="list as key"),
    pytest.param(b"a: .inf\n", "x.yml:1: a: must be a finite number", id="infinite"),
    pytest.param(b"a: {<<: [1]}\n", "x.yml:1: a: only a mapping can be merged with '<<'", id="merge of a number"),
    pytest.param(b"a: !!int x\n", "x.yml:1: a: 'x' is not of the type int", id="forced type"),
]


@pytest.mark.parametrize(("content", "message"), FAULTS)
def test_what_json_could_not_say_is_refused_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(StackFileError) as caught:
        parse_yaml("x.yml", content)
    assert str(caught.value) == message


def test_an_alias_that_multiplies_itself_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(StackFileError, match="more than 100000 values"):
        read("\n".join(lines))


def test_everything_has_a_line_and_what_has_none_takes_that_of_what_is_around_it() -> None:
    document = parse_yaml("x.yml", b"a:\n  - b: 1\n    c:\n      d: 2\n")
    assert document.line(("a", 0, "c", "d")) == 4
    assert document.line(("a", 0)) == 2
    assert document.line(("a", 0, "c", "missing", "deeper")) == 3
    assert str(document.problem(("a", 0, "b"), "wrong")) == "x.yml:2: a[0].b: wrong"


def test_merged_keys_keep_the_line_where_they_are_written() -> None:
    document = parse_yaml("x.yml", b"x: &x\n  k: {l: 1}\ny:\n  <<: *x\n")
    assert document.line(("y", "k", "l")) == 2


def test_compose_tags_are_kept_beside_the_data() -> None:
    text = b"a: !reset null\nb: !override [1]\nc: !reset\nd: !override 5\n"
    document = parse_yaml("x.yml", text, COMPOSE_TAGS)
    assert document.data == {"a": None, "b": [1], "c": None, "d": 5}
    assert document.tags == {("a",): "!reset", ("b",): "!override", ("c",): "!reset", ("d",): "!override"}
