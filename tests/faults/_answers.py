# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the fault server answers one request: status, headers and which bytes, worked out without any socket."""

from __future__ import annotations

import email.utils
import functools
import hashlib
import mmap
import re
import typing as t
from dataclasses import dataclass, field, replace
from pathlib import Path

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Content:
    """What a path serves: bytes, or a file that is mapped instead of read, so that it may be of any size."""

    data: bytes | Path
    modified: int = 1_700_000_000  # seconds since the epoch

    @functools.cached_property
    def view(self) -> memoryview:
        if isinstance(self.data, bytes):
            return memoryview(self.data)
        with self.data.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    @functools.cached_property
    def etag(self) -> str:
        return f'"{hashlib.blake2b(self.view, digest_size=8).hexdigest()}"'

    @property
    def last_modified(self) -> str:
        return email.utils.formatdate(self.modified, usegmt=True)


@dataclass(frozen=True)
class Answer:
    """How one request is answered; without arguments, as it should be.

    A fault in the body waits for a request whose body gets that far: a HEAD, or a range that ends before it, is
    answered as if it were not there and leaves it for a later request.
    """

    status: int = 200  # any other one goes without a body
    headers: t.Mapping[str, str] = field(default_factory=dict)  # besides the usual ones, or for them; "" takes one away
    content: Content | None = None  # what is there in place of the path's content
    # Faults in the body. `after` counts the bytes of the body, `at` is an offset in the file.
    cut_after: int | None = None  # close the connection there
    cut_at: int | None = None
    stall_after: int | None = None  # send no more from there on until `FaultServer.release`
    corrupt_at: int | None = None  # flip the bits of that byte
    # Faults around it.
    ranges: bool = True  # False: Range is ignored
    head: bool = True  # False: HEAD is refused
    more: int = 0  # claim this many bytes more in the file than there are
    shift: int = 0  # claim that a range starts this many bytes further on than asked
    no_length: bool = False  # claim none: the body ends where the connection does
    chunked: bool = False  # send the body in chunked transfer coding
    drops: bool = False  # close the connection behind the body without having said so
    insert: bytes = b""  # put this among the header lines
    raw: bytes | None = None  # send this in place of an answer, and close the connection
    # What is no fault.
    rate: int | None = None  # bytes a second, for this answer alone
    together: int = 0  # after the first byte, wait until this many requests are being answered at once
    when: t.Callable[[], bool] | None = None  # hold the answer back until this is true

    @property
    def without_body_faults(self) -> Answer:
        return replace(self, cut_after=None, cut_at=None, stall_after=None, corrupt_at=None)


HANG_UP = Answer(raw=b"")


@dataclass(frozen=True)
class Reply:
    """An answer to a certain request: the bytes from `start` up to `stop` of the content."""

    answer: Answer
    content: Content
    status: int
    headers: dict[str, str]
    start: int
    stop: int

    @property
    def end(self) -> int:
        """Where in the file the last byte that is sent is followed by nothing: `stop`, or where the body is cut."""
        answer = self.answer
        cuts = [self.start + answer.cut_after] if answer.cut_after is not None else []
        return min([self.stop, *cuts, *([answer.cut_at] if answer.cut_at is not None else [])])

    @property
    def closes(self) -> bool:
        """Whether the connection cannot be used for a further request."""
        answer = self.answer
        return bool(answer.no_length or answer.more or answer.drops or answer.raw is not None or self.end < self.stop)

    def stalls(self, sent: int) -> bool:
        """Whether the answer stalls after this many bytes of the body."""
        return sent == self.answer.stall_after

    def blocks(self, length: int) -> t.Iterator[tuple[memoryview, bool]]:
        """Yield what is sent in blocks of up to `length` bytes, and whether nothing follows.

        Where the answer is to wait, a block ends.
        """
        waits = [self.start + 1] if self.answer.together else []
        waits += [self.start + self.answer.stall_after] if self.answer.stall_after else []
        here = self.start
        while here < self.end:
            stop = min([here + length, self.end, *(place for place in waits if place > here)])
            yield self._damaged(here, stop), stop == self.end
            here = stop

    def _damaged(self, start: int, stop: int) -> memoryview:
        place = self.answer.corrupt_at
        if place is None or not start <= place < stop:
            return self.content.view[start:stop]
        block = bytearray(self.content.view[start:stop])
        block[place - start] ^= 0xFF
        return memoryview(block)

    @property
    def reached(self) -> bool:
        """Whether the answer's fault in the body, if it has one, happens to this request."""
        answer, length = self.answer, self.stop - self.start
        after = [place for place in (answer.cut_after, answer.stall_after) if place is not None]
        at = [place for place in (answer.cut_at, answer.corrupt_at) if place is not None]
        return all(place < length for place in after) and all(self.start <= place < self.stop for place in at)

    def without_body_faults(self) -> Reply:
        return replace(self, answer=self.answer.without_body_faults)


def reply(answer: Answer, served: Content, method: str, headers: t.Mapping[str, str]) -> Reply:
    """Work out the answer to a request as RFC 9110 has it, but for what `answer` has otherwise."""
    content = answer.content or served
    size = len(content.view)
    usual = {"ETag": content.etag, "Last-Modified": content.last_modified}
    if answer.ranges:
        usual["Accept-Ranges"] = "bytes"
    status, start, stop = answer.status, 0, size
    asked = _asked_range(headers, {**usual, **answer.headers}, size) if answer.ranges and status == 200 else None
    if method == "HEAD" and not answer.head:
        status = 405
    elif asked is not None and asked[0] >= size:
        status = 416
        usual["Content-Range"] = f"bytes */{size + answer.more}"
    elif asked is not None:
        status, (start, stop) = 206, asked
        usual["Content-Range"] = f"bytes {start + answer.shift}-{stop - 1 + answer.shift}/{size + answer.more}"
    if status not in (200, 206):
        start = stop = 0
    length = stop - start + (answer.more if status == 200 else 0)
    usual |= {"Transfer-Encoding": "chunked"} if answer.chunked else {}
    usual |= {} if answer.chunked or answer.no_length else {"Content-Length": str(length)}
    told = {name: value for name, value in {**usual, **answer.headers}.items() if value}
    if method == "HEAD":
        start = stop = 0
    return Reply(answer, content, status, told, start, stop)


def _asked_range(headers: t.Mapping[str, str], own: t.Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return start and stop of the range that is asked for; None without one, or when it is for another version."""
    match = _RANGE.fullmatch(headers.get("Range", ""))
    if not match or headers.get("If-Range", own["ETag"]) not in (own["ETag"], own["Last-Modified"]):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size
