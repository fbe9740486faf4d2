# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and small documents of a depot."""

from __future__ import annotations

import json

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_layout as layout
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize("name", ["", "A" * 64, "a" * 63, f"../{A}", f"{A}/..", f"{A}\n", "sha256:" + A])
def test_a_blob_has_no_name_but_its_digest(name: str) -> None:
    with pytest.raises(DepotError) as refusal:
        layout.blob_name(name)
    assert refusal.value.reason == "unsafe_path"


def test_parts_are_numbered_and_sorted_as_they_follow() -> None:
    names = [layout.part_name(A, number) for number in (0, 9, 10, 1234)]
    assert names[0] == f"blobs/sha256/{A}.p0000"
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("size", "parts"), [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (25, [10, 10, 5])]
)
def test_parts_are_full_but_for_the_last(size: int, parts: list[int]) -> None:
    assert layout.part_sizes(size, 10) == parts


def test_no_part_is_too_large_for_fat() -> None:
    assert max(layout.part_sizes(14 << 30)) <= 2 << 30


@pytest.mark.parametrize("deep", [b"[" * 50 + b"]" * 50, b'{"a":' * 49 + b"{}" + b"}" * 49], ids=["lists", "objects"])
def test_what_is_nested_more_deeply_than_any_document_of_ours_is_none(deep: bytes) -> None:
    layout.read_document(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        layout.read_document(b"[1," + deep + b"]")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"Infinity", b"NaN"])
def test_what_is_no_finite_number_is_none(number: bytes) -> None:
    assert layout.read_document(b'[0, -1.5, 1e3, "NaN"]') == [0, -1.5, 1000.0, "NaN"]
    with pytest.raises(ValueError, match="no finite number"):
        layout.read_document(b'{"a": ' + number + b"}")


def test_what_a_medium_holds_is_read_as_it_was_written() -> None:
    volume = layout.Volume(2, 3, frozenset({A, B}))
    assert layout.parse_volume(volume.encode()) == volume


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema":2,"volume":1,"volumes":1,"blobs":[]}',
        b'{"schema":1,"volume":0,"volumes":1,"blobs":[]}',
        b'{"schema":1,"volume":2,"volumes":1,"blobs":[]}',
        b'{"schema":1,"volume":1,"volumes":1,"blobs":["../etc/passwd"]}',
        b'{"schema":1,"volume":1,"volumes":1,"blobs":null}',
        b'{"schema":1,"volume":1,"volumes":1e999,"blobs":[]}',
        b"[" * 100_000,
    ],
)
def test_a_medium_that_says_something_else_is_no_depot(data: bytes) -> None:
    with pytest.raises(DepotError) as refusal:
        layout.parse_volume(data)
    assert refusal.value.reason == "not_a_depot"


def test_manifests_are_the_same_to_the_byte_for_the_same_content() -> None:
    files = {"b.bin": (B, 2), "a.bin": (A, 1)}
    assert layout.model_manifest(A, files) == layout.model_manifest(A, dict(reversed(files.items())))
    document = json.loads(layout.model_manifest(A, files))
    assert [layer["annotations"]["org.cncf.model.filepath"] for layer in document["layers"]] == ["a.bin", "b.bin"]


def test_an_image_says_where_its_configuration_and_layers_are() -> None:
    document = json.loads(layout.image_manifest((A, 7), [(B, 9)]))
    assert document["config"] == {"mediaType": layout.CONFIG_TYPE, "digest": f"sha256:{A}", "size": 7}
    assert document["layers"] == [{"mediaType": layout.LAYER_TYPE, "digest": f"sha256:{B}", "size": 9}]


def test_an_index_names_what_it_lists() -> None:
    named = {"stack/api:1": (A, 5), "models/words:2": (B, 6)}
    assert layout.parse_index(layout.encode_index(named)) == named
    assert layout.parse_index(b"no index") == {}
    assert layout.parse_index(b'{"manifests": [{"digest": "sha256:a", "size": 1}, 3]}') == {}
