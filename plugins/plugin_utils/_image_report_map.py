# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The treemap of an image as HTML: nested lists, so that it can be read without seeing it. Pure."""

from __future__ import annotations

import html
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import readable
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_tree_view import (
    WORDS,
    Part,
    kind_of,
    shown_tree,
    sizes_by_kind,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._treemap import Box, squarify

# The sides of what a folder's parts are laid out in: of any unit, in the shape that the map has on a wide screen.
_WIDE, _HIGH = 200.0, 100.0
_LEAST = 1 / 300  # of the image: what is smaller is no tile of its own


@dataclass
class _Map:
    """A map that is being written: what tells its tiles from those of others, the image's bytes, tiles so far."""

    prefix: str
    whole: int
    count: int = field(default=0)


def treemap(tree: Part, prefix: str) -> str:
    """Return the map of an image, with its legend; ids of tiles begin with C(prefix)."""
    shown = shown_tree(tree, max(int(tree.size * _LEAST), 1))
    map_ = _Map(prefix, max(tree.size, 1))
    tiles = _tiles(map_, shown.parts or (shown,), Box(0, 0, _WIDE, _HIGH))
    legend = "".join(
        f'<li><i class="{kind}"></i>{WORDS[kind]} <span class="soft">{readable(size)}</span></li>'
        for kind, size in sizes_by_kind(tree).items()
    )
    hint = "Enter or a click opens a folder and closes it, arrow keys move, Escape goes back."
    return (
        f'<ul class="legend" aria-label="What takes the space, by kind">{legend}</ul>'
        f'<ul class="map" aria-label="What takes the space, by folder">{tiles}</ul>'
        f'<p class="soft readout">{hint}</p>'
    )


def kinds_bar(tree: Part, share: float) -> str:
    """Return a bar of an image's kinds of content, as long as C(share) (0 to 1) of what there is room for."""
    sizes = sizes_by_kind(tree)
    whole = max(sum(sizes.values()), 1)
    words = ", ".join(f"{WORDS[kind]} {readable(size)}" for kind, size in sizes.items())
    parts = "".join(
        f'<span class="{kind}" style="width:{100 * size / whole:.2f}%"></span>' for kind, size in sizes.items()
    )
    width = f"width:{100 * share:.2f}%"
    return f'<div class="bar" role="img" aria-label="{words}" title="{words}" style="{width}">{parts}</div>'


def _tiles(map_: _Map, parts: t.Sequence[Part], within: Box) -> str:
    boxes = squarify([part.size for part in parts], within)
    return "\n".join(_tile(map_, part, box, within) for part, box in zip(parts, boxes, strict=True))


def _tile(map_: _Map, part: Part, box: Box, within: Box) -> str:
    map_.count += 1
    id_ = f"{map_.prefix}-{map_.count}"
    told = f"{part.path}: {readable(part.size)}, {100 * part.size / map_.whole:.1f} % of the image"
    place = (
        f"left:{100 * box.left / within.width:.3f}%;top:{100 * box.top / within.height:.3f}%;"
        f"width:{100 * box.width / within.width:.3f}%;height:{100 * box.height / within.height:.3f}%"
    )
    name = f"{_text(part.name)} <small>{readable(part.size)}</small>"
    inner = f'<a href="#{id_}">{name}</a>' if part.parts else f"<span>{name}</span>"
    if part.parts:
        inner += f"<ul>{_tiles(map_, part.parts, Box(0, 0, box.width, box.height))}</ul>"
    said = _text(told)
    of = f'class="tile {kind_of(part.path)}" id="{id_}" style="{place}" data-told="{said}" title="{said}"'
    return f"<li {of}>{inner}</li>"


def _text(value: str) -> str:
    """Return what may stand between tags and in attributes; what cannot be shown is a question mark."""
    return html.escape("".join(char if char.isprintable() else "?" for char in value))
