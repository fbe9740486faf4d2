# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences that an empty store starts with."""

from __future__ import annotations

from pathlib import Path

from .documents import Document

SEEDS = Path(__file__).with_name("seeds.txt")


def read_seeds(file: Path) -> list[Document]:
    """One document a line, named by its line's number."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Document(id=f"seed-{number:02}", text=line) for number, line in enumerate(lines, start=1) if line]
