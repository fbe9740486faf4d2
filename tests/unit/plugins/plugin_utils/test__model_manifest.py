# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import parse_wanted
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._model_manifest import model_list, parse_manifest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError

A = "a1b2c3d4e5f6" + "0" * 52
CHECKSUM = f"sha256:{A}"
OCI = "oci://r.org/a@sha256:" + "b" * 64


def models(data: t.Any, **options: t.Any) -> list[dict[str, t.Any]]:
    return model_list(parse_manifest("models.json", json.dumps(data).encode(), **options).data)


def problems(content: str, file: str = "models.yml", **options: t.Any) -> list[str]:
    with pytest.raises(StackFileError) as caught:
        parse_manifest(file, content.encode(), **options)
    return [str(problem) for problem in caught.value.problems]


def plain(**settings: t.Any) -> dict[str, t.Any]:
    """The one model of a manifest that says this of it."""
    (model,) = models({"silero": {"checksum": CHECKSUM, **settings}})
    return model


def test_a_plain_model_is_one_file_with_a_version_from_its_checksum() -> None:
    assert plain(url="https://h/v5/silero.onnx?download=1", size="14GB", required=False) == {
        "name": "silero",
        "version": "sha256-a1b2c3d4e5f6",
        "files": [
            {
                "path": "silero.onnx",
                "sha256": A,
                "size": "14GB",
                "sources": ["https://h/v5/silero.onnx?download=1"],
                "required": False,
            }
        ],
    }


def test_a_plain_model_may_say_version_path_and_several_urls() -> None:
    urls = ["file:///media/stick/s", "https://h/s"]
    assert plain(urls=urls, version="5", path="onnx/model.onnx") == {
        "name": "silero",
        "version": "5",
        "files": [{"path": "onnx/model.onnx", "sha256": A, "sources": urls}],
    }


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://h/a%20b.bin#part", "a b.bin"),
        ("hf://org/repo@main/onnx/model.onnx", "model.onnx"),
        ("depot:///media/stick!/speech!/d/m.bin", "m.bin"),
        (f"{OCI}!/d/m.bin", "m.bin"),
        ("file:///srv/m.bin", "m.bin"),
        ("pip://x==1!/x/model/m.bin", "m.bin"),
    ],
)
def test_a_file_is_called_as_its_first_url_ends(url: str, path: str) -> None:
    model = plain(urls=[url, "https://h/other"])
    assert model["files"][0]["path"] == path
    assert parse_wanted({**model, "state": "present"}).pins == {path: A}


def test_the_list_form_stays_what_it_is() -> None:
    listed = [{"name": "m", "version": "1", "files": [{"path": "a", "sha256": A, "source": "https://h/a"}]}]
    assert models(listed) == listed


@pytest.mark.parametrize("data", [[], {}])
def test_there_may_be_no_models(data: t.Any) -> None:
    assert models(data) == []


def test_json_may_be_indented_with_tabs() -> None:
    content = json.dumps({"m": {"url": "https://h/a", "checksum": CHECKSUM}}, indent="\t").replace("/a", r"\/a")
    document = parse_manifest("models.json", content.encode())
    assert model_list(document.data)[0]["files"][0]["sources"] == ["https://h/a"]
    assert document.line(("m", "checksum")) == 4


FAULTS = [
    pytest.param(
        f"m: {{checksum: '{CHECKSUM}'}}",
        ["models.yml:1: m: exactly one of url and urls must be given, got neither"],
        id="no url",
    ),
    pytest.param(
        f"m: {{checksum: '{CHECKSUM}', url: 'https://h/a', urls: ['https://h/b']}}",
        ["models.yml:1: m: exactly one of url and urls must be given, got both"],
        id="url and urls",
    ),
    pytest.param(
        f"m:\n  checksum: '{CHECKSUM}'\n  urls:\n    - https://h/a\n    - hf://org/repo/a\n",
        [
            "models.yml:5: m.urls[1]: model m: source 'hf://org/repo/a' names no revision; it must be"
            " hf://organisation/repository@revision/path (a '/' in the revision is written %2F)"
        ],
        id="a second url that is none",
    ),
    pytest.param(
        f"m: {{checksum: '{CHECKSUM}', url: 'https://h/'}}",
        ['models.yml:1: m.url: "https://h/" does not end in a file\'s name; give path'],
        id="no name in the url",
    ),
    pytest.param(
        f"m: {{checksum: '{CHECKSUM}', url: '{OCI}'}}",
        [f"models.yml:1: m.url: \"{OCI[:58]}… does not end in a file's name; give path"],
        id="no name in a digest",
    ),
    pytest.param(
        f"m: {{checksum: '{CHECKSUM}', url: 'https://h/a%2F..%2F..%2Fb'}}",
        ["models.yml:1: m: files: path 'a/../../b' climbs out with '..'"],
        id="a name that climbs",
    ),
    pytest.param(
        "m: {url: 'https://h/a', checksum: 'md5:1', sise: 1}",
        [
            "models.yml:1: m.checksum: \"md5:1\" is not allowed; allowed: 'sha256:' and 64 lower-case hex digits",
            "models.yml:1: m.sise: unknown key 'sise'; did you mean 'size'? Allowed: checksum, path, required, size,"
            " url, urls, version",
        ],
        id="two faults at once",
    ),
    pytest.param(
        "models.yml", ['models.yml:1: "models.yml" is neither a list of model versions nor a mapping'], id="a string"
    ),
    pytest.param("- m", ['models.yml:1: [0]: "m" is a string; must be a mapping'], id="a list of strings"),
]


@pytest.mark.parametrize(("content", "messages"), FAULTS)
def test_a_fault_is_told_with_entry_and_key(content: str, messages: list[str]) -> None:
    found = problems(content)
    assert len(found) == len(messages)
    for message, problem in zip(messages, found, strict=True):
        assert problem.startswith(message)


def test_json_that_is_none_is_told_as_such() -> None:
    (problem,) = problems('{\n"m": [1, 2, ]}', "models.json")
    assert problem.startswith("models.json:2: not JSON: ")


def two(*versions: str) -> str:
    files = [{"path": "a", "sha256": A, "source": "https://h/a"}]
    return json.dumps([{"name": "m", "version": version, "files": files} for version in versions])


def test_a_manifest_may_have_several_versions_of_a_model_and_a_stack_one() -> None:
    assert len(model_list(parse_manifest("models.json", two("1", "2").encode()).data)) == 2
    assert problems(two("1", "1")) == ["models.yml:1: [1].name: model 'm' is already there in version '1'"]
    assert problems(two("1", "2"), one_version=True) == [
        "models.yml:1: [1].name: model 'm' is already there; a stack pins one version of a model"
    ]


def test_a_refusal_shows_no_credentials() -> None:
    (problem,) = problems(f"m: {{checksum: '{CHECKSUM}', url: 'https://me:hunter2@h:port/a'}}")
    assert "hunter2" not in problem
