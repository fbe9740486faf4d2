# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What of an image's files is worth showing: folders with their sizes, small things together, each of a kind. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

# Kinds of content in the order in which they are asked about and shown, each with what a path of it looks like.
KINDS: t.Mapping[str, re.Pattern[str]] = {
    "packages": re.compile(r"/(site-packages|dist-packages|node_modules)(/|$)|^/opt/venv(/|$)"),
    "application": re.compile(r"^/(opt/app|srv|app|home)(/|$)"),
    "runtime": re.compile(
        r"^/usr/(local/)?lib/(python3|node|postgresql|mysql|mariadb|nginx)|^/usr/(share/)?nodejs(/|$)"
    ),
    "libraries": re.compile(r"^/(usr/)?(local/)?lib(32|64|x32|exec)?(/|$)"),
    "programs": re.compile(r"^/(usr/)?(local/)?s?bin(/|$)"),
    "data": re.compile(r"^/(usr/share|usr/local/share|etc|var|data)(/|$)"),
    "other": re.compile(r""),
}
WORDS: t.Mapping[str, str] = {
    "packages": "packages",
    "application": "application",
    "runtime": "language or server runtime",
    "libraries": "libraries",
    "programs": "programs",
    "data": "data and settings",
    "other": "other",
}
DEPTH = 12  # folders below this are shown as one


@dataclass(frozen=True)
class Part:
    """A folder or file: its path, what it is called in its parent, its size in bytes with all that is in it."""

    path: str
    name: str
    size: int
    parts: tuple[Part, ...] = ()


def kind_of(path: str) -> str:
    """Return what kind of content a path of an image has."""
    return next(kind for kind, looks in KINDS.items() if looks.search(path))


def read_tree(raw: t.Mapping[str, t.Any], depth: int = DEPTH) -> Part:
    """Return a tree of files as the audit gives it, large before small. A folder is at least as large as its parts."""
    path = str(raw.get("path") or "/")
    children = raw.get("children") or [] if depth > 0 else []
    parts = sorted((read_tree(child, depth - 1) for child in children), key=lambda part: (-part.size, part.path))
    size = max(int(raw.get("size") or 0), sum(part.size for part in parts))
    return Part(path, path, size, tuple(part for part in parts if part.size > 0))


def shown_tree(tree: Part, least: int) -> Part:
    """Return the tree as it is shown.

    Names are relative to the parent, a folder whose only part is a folder is shown as one with it, and what is smaller
    than C(least) bytes is put together, by parent, so that sizes still add up.
    """
    kept = [part for part in tree.parts if part.size >= least]
    if len(kept) == 1 and tree.size - kept[0].size < least and kept[0].parts and tree.path != "/":
        inner = shown_tree(kept[0], least)
        return Part(inner.path, tree.name, tree.size, inner.parts)
    parts = [_named(shown_tree(part, least), tree.path) for part in kept]
    rest = tree.size - sum(part.size for part in parts)
    if parts and rest > 0:
        small = len(tree.parts) - len(kept)
        label = f"{small} smaller" if small > 1 else "the rest"
        parts.append(Part(f"{tree.path.rstrip('/')}/…", label, rest))
    return Part(tree.path, tree.name, tree.size, tuple(sorted(parts, key=lambda part: -part.size)))


def sizes_by_kind(tree: Part) -> dict[str, int]:
    """Return how many bytes there are of each kind, in the order of the kinds, without those of which there is none."""
    found: dict[str, int] = dict.fromkeys(KINDS, 0)
    pending = [tree]
    while pending:
        part = pending.pop()
        found[kind_of(part.path)] += part.size - sum(child.size for child in part.parts)
        pending += part.parts
    return {kind: size for kind, size in found.items() if size > 0}


def _named(part: Part, parent: str) -> Part:
    """Name a part by its path below its parent."""
    prefix = parent.rstrip("/") + "/"
    name = part.path[len(prefix) :] if part.path.startswith(prefix) else part.path
    return Part(part.path, name or part.path, part.size, part.parts)
