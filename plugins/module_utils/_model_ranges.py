# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Which bytes of a file are fetched by which connection. Nothing here does I/O."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass

CHUNK = 16 << 20  # bytes; what is kept, proven, and fetched again as one


@dataclass(frozen=True)
class Range:
    """Bytes `start` to `stop` - 1 of a file."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def chunk_count(size: int) -> int:
    """Return into how many chunks a file of `size` bytes falls. An empty file has none."""
    return -(-size // CHUNK)


def chunk_range(index: int, size: int) -> Range:
    """Return the bytes of one chunk of a file of `size` bytes."""
    return Range(index * CHUNK, min((index + 1) * CHUNK, size))


def bytes_of(chunks: t.Iterable[int], size: int) -> int:
    """Return how many bytes some chunks of a file of `size` bytes have."""
    return sum(chunk_range(index, size).size for index in chunks)


def missing_ranges(size: int, have: t.Collection[int]) -> tuple[Range, ...]:
    """Return what is to be fetched of a file whose chunks `have` are there: neighbours as one range, in order."""
    ranges: list[Range] = []
    for index in range(chunk_count(size)):
        if index in have:
            continue
        piece = chunk_range(index, size)
        if ranges and ranges[-1].stop == piece.start:
            ranges[-1] = Range(ranges[-1].start, piece.stop)
        else:
            ranges.append(piece)
    return tuple(ranges)


class Lease:
    """A range that one connection fetches.

    `position` moves on with every block that was handed over whole; `stop` comes down when another one takes the tail.
    """

    def __init__(self, wanted: Range) -> None:
        self.position = wanted.start
        self.stop = wanted.stop
        self.asked = wanted.stop  # up to where its connection was asked to send

    @property
    def rest(self) -> Range:
        return Range(self.position, self.stop)

    def __repr__(self) -> str:
        return f"Lease({self.position}, {self.stop})"


class Leases:
    """Shares what is missing of one file among connections. Each byte is leased to one of them at a time.

    The first gets all of a gap: one long answer costs least. One that comes when no gap is left takes the later half
    of the longest lease, from a chunk's start. Several threads may call.
    """

    def __init__(self, gaps: t.Iterable[Range]) -> None:
        self._gaps = sorted(gaps, key=lambda gap: gap.start)
        self._active: list[Lease] = []
        self._lock = threading.Lock()

    def take(self, split: bool = True) -> Lease | None:
        """Return a lease; None when there is nothing left that would be worth a connection, but perhaps to `split`."""
        with self._lock:
            wanted = self._gaps.pop(0) if self._gaps else self._split() if split else None
            if wanted is None:
                return None
            lease = Lease(wanted)
            self._active.append(lease)
            return lease

    def advance(self, lease: Lease, count: int) -> None:
        """Note that so many bytes more of a lease were handed over."""
        with self._lock:  # or who splits it at this moment might do so behind it
            lease.position += count

    def end(self, lease: Lease) -> None:
        """Take a lease back; what it did not fetch goes back to whom it was taken from, or is a gap again."""
        with self._lock:
            self._active.remove(lease)
            rest = lease.rest
            if not rest.size:
                return
            before = next((one for one in self._active if one.stop == rest.start and one.asked >= rest.stop), None)
            if before is not None and before.position < before.stop:
                before.stop = rest.stop
            else:
                self._add(rest)

    def add(self, gap: Range) -> None:
        """Have a range fetched (again)."""
        with self._lock:
            self._add(gap)

    def _add(self, gap: Range) -> None:
        gaps: list[Range] = []
        for each in sorted([*self._gaps, gap], key=lambda one: one.start):
            if gaps and gaps[-1].stop == each.start:
                gaps[-1] = Range(gaps[-1].start, each.stop)
            else:
                gaps.append(each)
        self._gaps = gaps

    @property
    def splittable(self) -> bool:
        """Whether one more connection would get something."""
        with self._lock:
            return bool(self._gaps) or self._longest() is not None

    @property
    def idle(self) -> bool:
        """Whether all is fetched."""
        with self._lock:
            return not self._gaps and not self._active

    @property
    def active(self) -> int:
        """How many connections are at work."""
        return len(self._active)

    def _longest(self) -> Lease | None:
        longest = max(self._active, key=lambda lease: lease.rest.size, default=None)
        # Its own chunk and the next one are on their way by the time that another connection is there.
        return longest if longest is not None and longest.rest.size >= 4 * CHUNK else None

    def _split(self) -> Range | None:
        longest = self._longest()
        if longest is None:
            return None
        middle = (longest.position + longest.rest.size // 2) // CHUNK * CHUNK
        tail = Range(middle, longest.stop)
        longest.stop = middle
        return tail
