# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Where the report on images has its files, and how they refer to each other. Pure."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import ImageReport


def sizes_path(page: pathlib.Path) -> pathlib.Path:
    """Return where the sizes of the last builds are kept: beside the page."""
    return page.with_name(f"{page.stem}.sizes.json")


def sizes_text(known: t.Mapping[str, t.Any]) -> str:
    """Return the sizes as they are kept."""
    return json.dumps(known, indent=2, sort_keys=True) + "\n"


def relative_sboms(images: t.Sequence[ImageReport], folder: pathlib.Path) -> list[ImageReport]:
    """Return the images with the places of their SBOMs as seen from the page's folder, which can then be moved."""
    return [
        dataclasses.replace(image, sbom=os.path.relpath(image.sbom, folder))
        if image.sbom and os.path.isabs(image.sbom)
        else image
        for image in images
    ]
