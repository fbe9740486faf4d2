# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pin import (
    HubRequest,
    Pin,
    PinRequest,
    as_model,
    as_stack,
    as_yaml,
    check_pins,
    parse_pin_request,
    path_of,
    select,
    together,
    unshown,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import Source, parse_source

DIGEST = "a" * 64
THERE = [".gitattributes", "README.md", "config.json", "model.safetensors", "onnx/model.onnx", "onnx/q/model.onnx"]


def source(text: str) -> Source:
    return parse_source(text, "test")


def params(**change: t.Any) -> dict[str, t.Any]:
    none: dict[str, t.Any] = {"hub": None, "include": None, "exclude": None, "sources": None, "files": None}
    return {"name": "speech", "version": "1", "revision": "main", **none, **change}


@pytest.mark.parametrize(
    ("include", "exclude", "paths"),
    [
        ([], [], THERE),
        ([], [".gitattributes", "onnx/"], ["README.md", "config.json", "model.safetensors"]),
        (["*.json", "*.safetensors"], [], ["config.json", "model.safetensors"]),
        (["*.onnx"], [], ["onnx/model.onnx", "onnx/q/model.onnx"]),
        (["onnx/"], ["*/q/*"], ["onnx/model.onnx"]),
        (["?onfig.json", "[A-Z]*"], [], ["README.md", "config.json"]),
    ],
)
def test_files_are_chosen_by_patterns(include: list[str], exclude: list[str], paths: list[str]) -> None:
    assert select(reversed(THERE), include, exclude) == paths


@pytest.mark.parametrize(
    ("there", "include", "exclude", "says"),
    [
        (THERE, ["*.json", "*.gguf"], [], r"include: '\*\.gguf' matches no file; there is \.gitattributes, README"),
        (THERE, ["*.json"], ["config.*"], "exclude: leaves no file of config.json"),
        ([], [], [], "leaves no file of no file"),
        ([f"{number:02}.bin" for number in range(12)], ["x"], [], "09.bin and 2 more"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(
    there: list[str], include: list[str], exclude: list[str], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        select(there, include, exclude)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("https://h/a/my%20model.onnx?download=1", "my model.onnx"),
        ("hf://org/model@main/onnx/model.onnx", "onnx/model.onnx"),
        ("file:///media/stick/m.bin", "m.bin"),
        ("pip://a==1!/a/model/m.bin", "m.bin"),
        (f"oci://h/r@sha256:{DIGEST}!/a/m.bin", "a/m.bin"),
        ("depot:///media/depot!/v1!/a/m.bin", "a/m.bin"),
    ],
)
def test_a_file_goes_by_the_name_that_its_source_has(text: str, path: str) -> None:
    assert path_of(source(text)) == path


@pytest.mark.parametrize("text", ["https://h/", "https://h/a/", f"oci://h/r@sha256:{DIGEST}", "depot:///d!/v1"])
def test_a_source_without_a_name_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ModelError, match="list it in files, with a path"):
        path_of(source(text))


@pytest.mark.parametrize("text", ["https://h/%2e%2e", "https://h/a%5Cb", "https://h/a%0Ab"])
def test_a_name_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="sources: https://h"):
        path_of(source(text))


def test_sources_of_one_path_are_one_files() -> None:
    first, second, third = source("https://h/a"), source("file:///a"), source("https://h/b")
    assert together([("a", first), ("b", third), ("a", second), ("a", first)]) == {"a": (first, second), "b": (third,)}


def test_options_become_a_request() -> None:
    files = [
        {"path": "a", "source": "https://h/x", "sources": None},
        {"path": "b", "source": None, "sources": ["https://h/y", "file:///y"]},
    ]
    given = params(hub="org/model", revision="refs/pr/1", include=["*.json"], files=files, sources=["https://h/z"])
    assert parse_pin_request(given) == PinRequest(
        name="speech",
        version="1",
        named=(("a", (source("https://h/x"),)), ("b", (source("https://h/y"), source("file:///y")))),
        sources=(source("https://h/z"),),
        hub=HubRequest("org/model", "refs/pr/1", ("*.json",), ()),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hub": "org/model/file"}, "hub 'org/model/file'"),
        ({"hub": "org/model@main"}, "hub 'org/model@main'"),
        ({"hub": "org/model", "revision": "../x"}, "revision '../x'"),
        ({"sources": ["s3://bucket/m"]}, "no scheme that is known"),
        ({"files": [{"path": "../m", "source": "https://h/m", "sources": None}]}, "climbs out"),
        ({"files": [{"path": "m", "source": None, "sources": []}]}, "files: m: exactly one of"),
    ],
)
def test_options_that_break_a_rule_are_named(change: dict[str, t.Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        parse_pin_request(params(**change))


def pins(*named: tuple[str, str, list[str]]) -> list[Pin]:
    return [Pin(path, sha256, 3, tuple(map(source, sources)), "computed") for path, sha256, sources in named]


REQUEST = PinRequest("speech", "1.0")


def test_the_text_says_what_the_model_says() -> None:
    model = as_model(
        REQUEST,
        pins(
            ("model.safetensors", DIGEST, ["hf://org/model@" + "b" * 40 + "/model.safetensors"]),
            ("a b: #ü'\".json", "1" * 64, ["https://h/a", "file:///media/stick/a b"]),
            ("yes", "1" * 31 + "e" + "2" * 32, ["pip://a==1!/m"]),
        ),
    )
    assert yaml.safe_load(as_yaml(model)) == [model]
    assert yaml.safe_load(as_stack(as_yaml(model))) == {"models": [model]}


def test_the_text_reads_as_people_write_it() -> None:
    model = as_model(
        REQUEST, pins(("sub/config.json", DIGEST, ["https://h/c"]), ("m", DIGEST, ["https://h/m", "file:///m"]))
    )
    assert as_stack(as_yaml(model)).splitlines() == [
        "models:",
        "  - name: speech",
        '    version: "1.0"',
        "    files:",
        "      - path: sub/config.json",
        f"        sha256: {DIGEST}",
        "        size: 3",
        '        source: "https://h/c"',
        "      - path: m",
        f"        sha256: {DIGEST}",
        "        size: 3",
        "        sources:",
        '          - "https://h/m"',
        '          - "file:///m"',
    ]


@pytest.mark.parametrize(
    ("request_", "found", "says"),
    [
        (PinRequest("../speech", "1"), [("m", DIGEST, ["https://h/m"])], "name '../speech'"),
        (PinRequest("speech", ""), [("m", DIGEST, ["https://h/m"])], "version ''"),
        (REQUEST, [("m", DIGEST, ["https://h/m"]), ("M", DIGEST, ["https://h/M"])], "'M' and 'm' are the same path"),
        (REQUEST, [], "has no files"),
    ],
)
def test_what_model_pull_would_refuse_is_not_pinned(
    request_: PinRequest, found: list[tuple[str, str, list[str]]], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        check_pins(request_, pins(*found))


def test_sources_that_are_not_shown_whole_are_named() -> None:
    found = pins(("m", DIGEST, ["https://me:hunter2@h/m", "https://h/m?t=s3cret", "https://h/m"]))
    assert unshown(found) == ["https://***@h/m", "https://h/m?t=***"]
