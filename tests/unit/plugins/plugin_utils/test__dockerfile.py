# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Arg, Stage, parse_dockerfile

GLOBALS = [
    pytest.param("ARG BASE_A=x\nFROM $BASE_A\n", [Arg("BASE_A", "x", 1)], id="with a default"),
    pytest.param("ARG BASE_A\nFROM $BASE_A\n", [Arg("BASE_A", None, 1)], id="without"),
    pytest.param("# hi\n\narg BASE_A=x\nfrom $BASE_A", [Arg("BASE_A", "x", 3)], id="lower case after a comment"),
    pytest.param(
        "ARG BASE_A=x OTHER='b c'\nFROM $BASE_A", [Arg("BASE_A", "x", 1), Arg("OTHER", "b c", 1)], id="two in one"
    ),
    pytest.param('ARG BASE_A="x"\nFROM $BASE_A', [Arg("BASE_A", "x", 1)], id="quoted"),
    pytest.param("ARG BASE_A=\nFROM x", [Arg("BASE_A", "", 1)], id="empty default"),
    pytest.param("FROM x\nARG BASE_A=x\n", [], id="after FROM it is no global"),
    pytest.param("ARG \\\n# between\n  BASE_A=x\nFROM $BASE_A", [Arg("BASE_A", "x", 1)], id="continued"),
    pytest.param(
        "# escape=`\nARG `\n  BASE_A=x\nFROM $BASE_A", [Arg("BASE_A", "x", 2)], id="continued by another character"
    ),
    pytest.param("ARG BASE_A=a:1@sha256:0f\nFROM $BASE_A", [Arg("BASE_A", "a:1@sha256:0f", 1)], id="pinned"),
]


@pytest.mark.parametrize(("text", "expected"), GLOBALS)
def test_args_before_the_first_from_are_found(text: str, expected: list[Arg]) -> None:
    assert list(parse_dockerfile(text).globals) == expected


PULLED = [
    pytest.param("FROM python:3.13", [Stage("python:3.13", None, 1)], id="image"),
    pytest.param("ARG BASE_A\nFROM ${BASE_A} AS b", [Stage("${BASE_A}", "BASE_A", 2)], id="ARG in braces"),
    pytest.param("ARG BASE_A\nFROM $BASE_A", [Stage("$BASE_A", "BASE_A", 2)], id="ARG"),
    pytest.param("FROM --platform=linux/arm64 x", [Stage("x", None, 1)], id="platform"),
    pytest.param("FROM scratch", [], id="scratch"),
    pytest.param("FROM x AS Build\nRUN a\nFROM build", [Stage("x", None, 1)], id="stage of its own"),
    pytest.param("FROM x\nRUN echo \\\n  FROM y", [Stage("x", None, 1)], id="word in a continued line"),
]


@pytest.mark.parametrize(("text", "expected"), PULLED)
def test_what_would_be_pulled_is_found(text: str, expected: list[Stage]) -> None:
    assert list(parse_dockerfile(text).pulled) == expected


def test_bases_are_the_args_called_so() -> None:
    dockerfile = parse_dockerfile("ARG BASE_PYTHON=a\nARG VERSION=1\nFROM $BASE_PYTHON\nARG REVISION\n")
    assert [arg.name for arg in dockerfile.bases] == ["BASE_PYTHON"]
    assert dockerfile.arg_names == {"BASE_PYTHON", "VERSION", "REVISION"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# syntax=docker/dockerfile:1\nFROM x", 1),
        ("# escape=`\n#syntax = x\nFROM x", 2),
        ("# a comment\n# syntax=x\nFROM x", None),
        ("FROM x\n# syntax=x", None),
    ],
)
def test_a_syntax_directive_counts_only_before_everything_else(text: str, line: int | None) -> None:
    assert parse_dockerfile(text).syntax_line == line
