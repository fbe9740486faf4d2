# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Ranges of files over HTTP (RFC 9110, sections 8.8, 13 and 14): ask for one, and judge the answer. No I/O."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import Head
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")


class Asked(t.NamedTuple):
    """The bytes that were asked for, start..stop-1; stop None is the end of the file."""

    start: int = 0
    stop: int | None = None

    @property
    def everything(self) -> bool:
        return self.start == 0 and self.stop is None

    @property
    def shown(self) -> str:
        return f"{self.start}-{'' if self.stop is None else self.stop - 1}"


class Part(t.NamedTuple):
    """What an answer brings: where in the file it begins, how many bytes at most, None when nobody says."""

    told: Told
    offset: int
    length: int | None


def range_headers(asked: Asked, validator: str) -> dict[str, str]:
    """Return the headers that ask for a part of a file, and for the whole file if `validator` has been replaced."""
    if asked.everything:
        return {}
    headers = {"Range": f"bytes={asked.shown}"}
    if validator and not validator.startswith("W/"):  # weak ones must not be sent so
        headers["If-Range"] = validator
    return headers


def validator_of(head: Head) -> str:
    """Return a strong ETag, else the Last-Modified date, else ""."""
    etag = head.headers.get("etag", "")
    return etag if etag.startswith('"') else head.headers.get("last-modified", "")


def told_by_head(head: Head) -> Told:
    """Return what the answer to a HEAD says of the file."""
    length = head.headers.get("content-length", "")
    size = int(length) if _LENGTH.fullmatch(length) else None
    return Told(size, validator_of(head), _offers_ranges(head))


def told_by_refusal(head: Head) -> Told | None:
    """Return what a 416 says of the file, if it says its size: the first byte of an empty file cannot be had."""
    match = _CONTENT_RANGE.fullmatch(head.headers.get("content-range", ""))
    size = int(match[3]) if match and match[3] != "*" else None
    return None if size is None else Told(size, validator_of(head), True)


def read_part(head: Head, length: int | None, asked: Asked, shown: str) -> Part:
    """Judge an answer of status 200 or 206; `length` is its Content-Length.

    Raises:
        ModelError: with reason `unavailable`; it brings other bytes than were asked for, or contradicts itself.
    """
    if head.status == 200:
        ranges = asked.everything and _offers_ranges(head)
        return Part(Told(length, validator_of(head), ranges), 0, length)
    match = _CONTENT_RANGE.fullmatch(head.headers.get("content-range", ""))
    if asked.everything or not match or match[1] is None:
        what = head.headers.get("content-range") or head.headers.get("content-type") or "no Content-Range"
        raise _wrong(shown, asked, f"a part that cannot be placed ({what[:80]!r})")
    first, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    if first != asked.start:
        raise _wrong(shown, asked, f"bytes {first}-{last}")
    if last < first or (total is not None and last >= total) or length not in (None, last - first + 1):
        said = "an unknown length" if length is None else f"{length} bytes"
        raise _wrong(shown, asked, f"Content-Range {match[0]!r} with {said}, which cannot be")
    stop = last + 1 if asked.stop is None else min(last + 1, asked.stop)
    return Part(Told(total, validator_of(head), True), first, stop - first)


def _offers_ranges(head: Head) -> bool:
    return head.headers.get("accept-ranges", "").lower() != "none"


def _wrong(shown: str, asked: Asked, what: str) -> ModelError:
    wanted = "the whole file" if asked.everything else f"bytes {asked.shown}"
    return ModelError(
        f"{shown}: asked for {wanted}, the server answers with {what}; use another source, or one without the cache or "
        "proxy that does this",
        reason="unavailable",
        source=shown,
    )
