# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import (
    Wanted,
    WantedFile,
    parse_size,
    parse_wanted,
    size_in_bytes,
)

A, B = "a" * 64, "b" * 64


def a_file(
    path: str = "m.bin", sha256: str = A, size: t.Any = 1, source: str | None = "https://h/m", **more: t.Any
) -> dict[str, t.Any]:
    return {"path": path, "sha256": sha256, "size": size, "source": source, **more}


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
    pytest.param([a_file(sha256=f"sha512:{A}")], "64 lower-case hex digits", id="digest with another prefix"),
    pytest.param([a_file(size=-1)], "0 or more", id="negative size"),
    pytest.param([a_file(path="../m")], "climbs out", id="path climbs out"),
    pytest.param([a_file(path="")], "is empty", id="empty path"),
    pytest.param([a_file("m"), a_file("m")], "same path", id="path twice"),
    pytest.param([a_file("a/M"), a_file("A/m")], "same path", id="paths that differ in case"),
    pytest.param([a_file("\u00e9"), a_file("e\u0301")], "same path", id="paths that differ in Unicode form"),
    pytest.param([a_file("a"), a_file("a/b")], "is a file and", id="file and folder"),
    pytest.param([a_file("a/b/c"), a_file("A/B")], "is a file and", id="file and folder that differ in case"),
    pytest.param([a_file("a", size=1), a_file("b", size=2)], "sizes 1 and 2", id="one digest, two sizes"),
    pytest.param([a_file(size="14 gigs")], "size must be exact bytes (90868376), or a rough figure", id="no unit"),
    pytest.param([a_file(size="1.5")], "size must be exact bytes", id="half a byte"),
    pytest.param([a_file(size=True)], "size must be exact bytes", id="a boolean size"),
    pytest.param([a_file(size="-1")], "0 or more", id="negative digits"),
    pytest.param([a_file(source=None)], "exactly one of source and sources must be given, got neither", id="no source"),
    pytest.param(
        [a_file(sources=["https://h/m"])],
        "exactly one of source and sources must be given, got both",
        id="source twice",
    ),
    pytest.param([a_file(source=None, sources=[])], "sources is empty", id="no sources"),
    pytest.param(
        [a_file(source=None, sources=["https://h/m", "x"])], "no scheme that is known", id="the second source"
    ),
    pytest.param([a_file(source="ftp://h/m")], "no scheme that is known", id="unknown scheme"),
]


@pytest.mark.parametrize(("files", "says"), REFUSED)
def test_pins_that_contradict_the_rules_are_refused(files: list[dict[str, t.Any]], says: str) -> None:
    with pytest.raises(ModelError, match=r"^files: ") as caught:
        wanted(*files)
    assert says in str(caught.value)
    assert caught.value.reason == "invalid"


SIZES = [
    pytest.param(0, (0, False), id="nothing in it"),
    pytest.param(90868376, (90868376, False), id="bytes"),
    pytest.param("90868376", (90868376, False), id="bytes as digits"),
    pytest.param(" 7 ", (7, False), id="digits and spaces"),
    pytest.param("7B", (7, True), id="a unit makes it an estimate"),
    pytest.param("14GB", (14_000_000_000, True), id="decimal"),
    pytest.param("1.5 GiB", (1_610_612_736, True), id="binary"),
    pytest.param("0.7KB", (700, True), id="a big K"),
    pytest.param(None, (0, True), id="unknown"),
]


@pytest.mark.parametrize(("value", "size"), SIZES)
def test_digits_are_an_exact_size_and_all_else_an_estimate(value: t.Any, size: tuple[int, bool]) -> None:
    assert parse_size(value, "files: m") == size
    (file,) = wanted(a_file(size=value)).files
    assert (file.size, file.estimated) == size


@pytest.mark.parametrize("text", ["", "14", "GB", "14 gb", "14,5GB", "-1GB", "1e3B", "1GB/s", "\u0661GB"])
def test_what_is_no_size_with_a_unit_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"^bandwidth_limit: size must be "):
        size_in_bytes(text, "bandwidth_limit")


def test_a_file_has_its_sources_in_the_order_to_try_each_once() -> None:
    (file,) = wanted(a_file(source=None, sources=["file:///m", "https://h/m", "file:///m"])).files
    assert [source.shown for source in file.sources] == ["file:///m", "https://h/m"]
    assert file.source == file.sources[0]


@pytest.mark.parametrize(("more", "required"), [({}, True), ({"required": None}, True), ({"required": False}, False)])
def test_a_file_is_required_unless_it_says_otherwise(more: dict[str, t.Any], required: bool) -> None:
    assert wanted(a_file(**more)).files[0].required is required


def test_a_digest_may_say_what_it_is() -> None:
    assert wanted(a_file(sha256=f"sha256:{A}")).pins == {"m.bin": A}


def test_one_exact_size_serves_every_file_with_the_digest() -> None:
    files = wanted(a_file("a", size="1GB"), a_file("b", size=7), a_file("c", size=None)).files
    assert [(file.size, file.estimated) for file in files] == [(7, False)] * 3


def test_two_estimates_of_one_digest_need_not_agree() -> None:
    files = wanted(a_file("a", size="1GB"), a_file("b", size="2GB")).files
    assert [file.size for file in files] == [10**9, 2 * 10**9]


def test_a_size_that_became_known_replaces_estimates_and_no_pins() -> None:
    asked = wanted(a_file("a", A, size="1GB"), a_file("b", B, size=7))
    assert [(file.size, file.estimated) for file in asked.sized({A: 5, B: 6}).files] == [(5, False), (7, False)]


def test_verification_needs_to_know_the_files() -> None:
    with pytest.raises(ModelError, match="has no files"):
        wanted(state="verified")


def test_a_file_without_sources_cannot_be() -> None:
    with pytest.raises(ModelError, match="has no source"):
        WantedFile("m", A, 1, ())
