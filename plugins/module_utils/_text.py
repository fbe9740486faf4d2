# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Foreign text (answers, logs, messages of tools) made fit to be shown. Pure."""

from __future__ import annotations

import typing as t

MASK = "********"
_SHORTEST_MASKED = 4  # characters; masking shorter ones would shred the text and protect nothing


def printable(text: str, limit: int = 500) -> str:
    """Return the text on one line, without control characters, at most `limit` characters long."""
    flat = "".join(char if char.isprintable() else " " for char in text.strip())
    flat = " ".join(flat.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def last_lines(text: str, count: int = 20, width: int = 300) -> tuple[str, ...]:
    """Return the last lines that say something, each fit to be shown."""
    lines = [line for line in (printable(line, width) for line in text.splitlines()) if line]
    return tuple(lines[-count:])


class Masker:
    """Hides known secrets in text that is about to be shown."""

    def __init__(self, secrets: t.Iterable[str] = ()) -> None:
        parts = {part.strip() for secret in secrets for part in (secret, *secret.splitlines())}
        # The longest first: one secret may be part of another.
        self._hidden = sorted((part for part in parts if len(part) >= _SHORTEST_MASKED), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for part in self._hidden:
            text = text.replace(part, MASK)
        return text


class Lines:
    """Cuts what arrives piece by piece into lines; of a line longer than `limit` bytes only the beginning is kept."""

    def __init__(self, limit: int = 64 * 1024) -> None:
        self._limit = limit
        self._begun = b""

    def feed(self, piece: bytes) -> t.Iterator[str]:
        """Yield each line that this piece completes."""
        *whole, rest = piece.split(b"\n")
        for part in whole:
            yield self._line(part)
            self._begun = b""
        self._begun = (self._begun + rest)[: self._limit]

    def rest(self) -> t.Iterator[str]:
        """Yield the last line, if it has no end."""
        if self._begun:
            yield self._line(b"")

    def _line(self, part: bytes) -> str:
        return (self._begun + part)[: self._limit].decode("utf-8", "replace").rstrip("\r")
