# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The files of an image as its layers leave them, and where the space goes. Pure."""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    DIRECTORY,
    OPAQUE,
    WHITEOUT,
    Entry,
    LayerFacts,
)

Tree = dict[str, Entry]

# What is smaller than this part of the image is not shown by itself, nor is anything below this many levels.
_SMALLEST_SHARE = 0.005
_DEPTH = 8
_NODES = 180


def merge(layers: t.Iterable[LayerFacts]) -> Tree:
    """Return what a container sees, by path: later layers hide what earlier ones have."""
    tree: Tree = {}
    for layer in layers:
        tree = overlay(tree, layer)
    return tree


def overlay(tree: Tree, layer: LayerFacts) -> Tree:
    """Return a tree with one more layer on top."""
    gone = {entry.path for entry in layer.entries if entry.kind == WHITEOUT}
    emptied = {entry.path for entry in layer.entries if entry.kind == OPAQUE}
    for entry in layer.entries:
        below = tree.get(entry.path)
        if below is not None and below.kind == DIRECTORY and entry.kind not in (DIRECTORY, OPAQUE, WHITEOUT):
            emptied.add(entry.path)
    kept = tree
    if gone or emptied:
        kept = {
            path: entry
            for path, entry in tree.items()
            if path not in gone and not any(parent in gone or parent in emptied for parent in parents(path))
        }
    shown = {entry.path: entry for entry in layer.entries if entry.kind not in (WHITEOUT, OPAQUE)}
    return {**kept, **shown}


def parents(path: str) -> t.Iterator[str]:
    """Give the directories above a path, the nearest first and / last."""
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def space(tree: t.Mapping[str, Entry]) -> dict[str, t.Any]:
    """Return where the space goes, as nested nodes of path, size (bytes) and children, the largest first.

    What is too small or too deep to be seen is in its directory's size and in no child, so a node may be larger than
    the sum of its children.
    """
    sizes: dict[str, int] = {"/": 0}
    for path, entry in tree.items():
        if entry.size:
            sizes[path] = sizes.get(path, 0) + entry.size
            for parent in parents(path):
                sizes[parent] = sizes.get(parent, 0) + entry.size
    smallest = max(1, int(sizes["/"] * _SMALLEST_SHARE))
    seen = [path for path, size in sizes.items() if path != "/" and size >= smallest and path.count("/") <= _DEPTH]
    # A directory is never smaller than what is in it: of the largest, none lacks its parent.
    largest = sorted(seen, key=lambda path: (-sizes[path], path))[:_NODES]
    nodes: dict[str, dict[str, t.Any]] = {"/": {"path": "/", "size": sizes["/"], "children": []}}
    for path in largest:
        nodes[path] = {"path": path, "size": sizes[path], "children": []}
    for path in largest:
        nodes[posixpath.dirname(path)]["children"].append(nodes[path])
    return nodes["/"]
