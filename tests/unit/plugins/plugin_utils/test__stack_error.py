# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    KeyPath,
    Problem,
    StackFileError,
    dotted,
    show,
    shown,
    unknown,
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("services", "api", "gate", 1, "http", "port"), "services.api.gate[1].http.port"),
        ((0,), "[0]"),
    ],
)
def test_paths_are_written_as_people_do(path: KeyPath, text: str) -> None:
    assert dotted(path) == text


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("s.yml", 3, ("a", "b"), "wrong"), "s.yml:3: a.b: wrong"),
        (Problem("s.yml", None, ("a",), "wrong"), "s.yml: a: wrong"),
        (Problem("s.yml", 1, (), "wrong"), "s.yml:1: wrong"),
    ],
)
def test_a_problem_names_what_is_known_of_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_one_problem_is_one_line_and_several_are_counted_sorted_and_each_told_once() -> None:
    first, second = Problem("a.yml", 2, ("x",), "wrong"), Problem("a.yml", 10, ("y",), "wrong too")
    assert str(StackFileError([first])) == "a.yml:2: x: wrong"
    assert str(StackFileError([second, first, first])) == "2 problems:\na.yml:2: x: wrong\na.yml:10: y: wrong too"


def test_something_unknown_comes_with_what_is_near_and_what_is_allowed() -> None:
    assert unknown("key", "prot", ["port", "path"]) == "unknown key 'prot'; did you mean 'port'? Allowed: port, path"
    assert unknown("key", "zzz", ["port", "path"]) == "unknown key 'zzz'. Allowed: port, path"
    assert unknown("model", "x", [], "Models") == "unknown model 'x'. Models: nothing"


def test_long_values_are_shortened() -> None:
    assert show("é") == '"é"'
    assert len(show("x" * 500)) == 60


def test_files_are_shown_relative_to_the_working_directory_when_below_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "stack.yml") == "a/stack.yml"
    assert shown(pathlib.Path("/elsewhere/stack.yml")) == "/elsewhere/stack.yml"
