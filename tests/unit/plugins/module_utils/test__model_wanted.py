# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, parse_wanted

A, B = "a" * 64, "b" * 64


def a_file(path: str = "m.bin", sha256: str = A, size: int = 1, source: str = "https://h/m") -> dict[str, t.Any]:
    return {"path": path, "sha256": sha256, "size": size, "source": source}


def wanted(*files: dict[str, t.Any], name: str = "speech", version: str = "1", state: str = "present") -> Wanted:
    return parse_wanted({"name": name, "version": version, "state": state, "files": list(files) or None})


def test_the_pins_of_a_version_are_its_paths_and_digests() -> None:
    assert wanted(a_file("a", A), a_file("b/c", B)).pins == {"a": A, "b/c": B}


def test_one_digest_may_have_several_paths() -> None:
    assert wanted(a_file("a", A), a_file("b", A)).pins == {"a": A, "b": A}


def test_absence_needs_no_files() -> None:
    assert wanted(state="absent").files == ()


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "Qwen2-7B-Instruct", "1", "1.0.0+build_5", "x" * 128])
def test_a_name_that_is_a_plain_folder_name_is_accepted(name: str) -> None:
    assert wanted(a_file(), name=name, version=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "-a", "a@1", "ñ", "a\n", "x" * 129])
@pytest.mark.parametrize("option", ["name", "version"])
def test_a_name_or_version_that_is_no_plain_folder_name_is_refused(option: str, name: str) -> None:
    params = {"name": "speech", "version": "1", "state": "present", "files": [a_file()], option: name}
    with pytest.raises(ModelError, match=f"^{option} "):
        parse_wanted(params)


REFUSED = [
    pytest.param([], "has no files", id="no files"),
    pytest.param([a_file(sha256="abc")], "64 lower-case hex digits", id="short digest"),
    pytest.param([a_file(sha256="A" * 64)], "64 lower-case hex digits", id="digest in capitals"),
    pytest.param([a_file(sha256=f"{A}\n")], "64 lower-case hex digits", id="digest and newline"),
    pytest.param([a_file(sha256=f"sha256:{A}")], "64 lower-case hex digits", id="digest with prefix"),
    pytest.param([a_file(size=-1)], "0 or more", id="negative size"),
    pytest.param([a_file(path="../m")], "climbs out", id="path climbs out"),
    pytest.param([a_file(path="")], "is empty", id="empty path"),
    pytest.param([a_file("m"), a_file("m")], "same path", id="path twice"),
    pytest.param([a_file("a/M"), a_file("A/m")], "same path", id="paths that differ in case"),
    pytest.param([a_file("\u00e9"), a_file("e\u0301")], "same path", id="paths that differ in Unicode form"),
    pytest.param([a_file("a"), a_file("a/b")], "is a file and", id="file and folder"),
    pytest.param([a_file("a/b/c"), a_file("A/B")], "is a file and", id="file and folder that differ in case"),
    pytest.param([a_file("a", size=1), a_file("b", size=2)], "sizes 1 and 2", id="one digest, two sizes"),
    pytest.param([a_file(source="ftp://h/m")], "no scheme that is known", id="unknown scheme"),
]


@pytest.mark.parametrize(("files", "says"), REFUSED)
def test_pins_that_contradict_the_rules_are_refused(files: list[dict[str, t.Any]], says: str) -> None:
    with pytest.raises(ModelError, match=r"^files: ") as caught:
        wanted(*files)
    assert says in str(caught.value)
    assert caught.value.reason == "invalid"
