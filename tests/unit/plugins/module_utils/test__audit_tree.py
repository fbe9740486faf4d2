# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Entry, LayerFacts
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_tree import merge, space


def layer(*entries: Entry) -> LayerFacts:
    return LayerFacts("sha256:x", entries)


def test_a_later_layer_hides_deletes_and_empties() -> None:
    tree = merge(
        [
            layer(
                Entry("/a", "d"), Entry("/a/x", size=1), Entry("/b", "d"), Entry("/b/x", size=1), Entry("/c", size=1)
            ),
            layer(Entry("/a", "w"), Entry("/b", "o"), Entry("/b/y", size=2), Entry("/c", size=3)),
        ]
    )
    assert {path: entry.size for path, entry in tree.items()} == {"/b": 0, "/b/y": 2, "/c": 3}


def test_a_file_in_a_directory_s_place_takes_what_was_in_it() -> None:
    assert list(merge([layer(Entry("/a", "d"), Entry("/a/x", size=1)), layer(Entry("/a", size=2))])) == ["/a"]


def test_a_deleted_file_that_comes_back_is_there() -> None:
    assert list(merge([layer(Entry("/a")), layer(Entry("/a", "w")), layer(Entry("/a", size=1))])) == ["/a"]


def count(node: dict[str, t.Any]) -> int:
    return 1 + sum(map(count, node["children"]))


def test_space_is_nested_the_largest_first_and_adds_up() -> None:
    tree = merge([layer(Entry("/opt/small", size=100), Entry("/opt/large", size=900), Entry("/opt/tiny", size=1))])
    assert space(tree) == {
        "path": "/",
        "size": 1001,
        "children": [
            {
                "path": "/opt",
                "size": 1001,
                "children": [
                    {"path": "/opt/large", "size": 900, "children": []},
                    {"path": "/opt/small", "size": 100, "children": []},
                ],
            }
        ],
    }


def test_space_has_few_nodes_however_many_files_there_are() -> None:
    files = [Entry(f"/d{number}/sub/file{other}", size=100) for number in range(90) for other in range(90)]
    assert 90 < count(space(merge([layer(*files)]))) < 200


def test_space_of_nothing_is_nothing() -> None:
    assert space({}) == {"path": "/", "size": 0, "children": []}
