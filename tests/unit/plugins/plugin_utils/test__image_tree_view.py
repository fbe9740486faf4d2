# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_tree_view import (
    Part,
    kind_of,
    read_tree,
    shown_tree,
    sizes_by_kind,
)


def tree(path: str, size: int, *children: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"path": path, "size": size, "children": list(children)}


def leaves(part: Part) -> int:
    return sum(map(leaves, part.parts)) if part.parts else part.size


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/venv/lib/python3.13/site-packages/numpy", "packages"),
        ("/usr/lib/python3/dist-packages/apt", "packages"),
        ("/opt/app/emorobcare_api/app.py", "application"),
        ("/srv/site/index.html", "application"),
        ("/usr/lib/python3.13/os.py", "runtime"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "libraries"),
        ("/lib64", "libraries"),
        ("/usr/bin/python3.13", "programs"),
        ("/etc/ssl", "data"),
        ("/usr/share/zoneinfo", "data"),
        ("/", "other"),
        ("/optional", "other"),
    ],
)
def test_a_path_tells_what_kind_of_content_it_is(path: str, kind: str) -> None:
    assert kind_of(path) == kind


def test_parts_go_from_large_to_small_and_a_folder_is_at_least_as_large_as_they_are() -> None:
    read = read_tree(tree("/", 3, tree("/a", 2), tree("/b", 5), tree("/empty", 0)))
    assert (read.size, [part.path for part in read.parts]) == (7, ["/b", "/a"])


def test_what_is_deeper_than_shown_is_one_part_with_all_its_bytes() -> None:
    deep = tree("/a/b/c", 9)
    assert read_tree(tree("/", 9, tree("/a", 9, tree("/a/b", 9, deep))), depth=2).parts[0].parts[0].parts == ()


def test_a_chain_of_folders_is_shown_as_one() -> None:
    inner = tree("/opt/venv/lib", 90, tree("/opt/venv/lib/x", 50), tree("/opt/venv/lib/y", 40))
    shown = shown_tree(read_tree(tree("/", 190, tree("/opt", 90, tree("/opt/venv", 90, inner)), tree("/e", 100))), 5)
    assert [part.name for part in shown.parts] == ["e", "opt/venv/lib"]
    assert [part.name for part in shown.parts[1].parts] == ["x", "y"]


def test_small_things_are_put_together_and_sizes_still_add_up() -> None:
    raw = tree("/", 120, tree("/a", 80, *(tree(f"/a/{n}", 1) for n in range(30)), tree("/a/large", 50)), tree("/b", 30))
    shown = shown_tree(read_tree(raw), 10)
    assert [(part.name, part.size) for part in shown.parts[0].parts] == [("large", 50), ("30 smaller", 30)]
    assert leaves(shown) == 120


def test_kinds_add_up_to_the_whole() -> None:
    raw = tree(
        "/",
        100,
        tree("/opt/venv", 40),
        tree("/usr/lib", 50, tree("/usr/lib/python3.13", 30, tree("/usr/lib/python3.13/site-packages", 10))),
    )
    assert sizes_by_kind(read_tree(raw)) == {"packages": 50, "runtime": 20, "libraries": 20, "other": 10}
