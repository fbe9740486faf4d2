# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import sys
import threading
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import (
    CHUNK,
    Lease,
    Leases,
    Range,
    bytes_of,
    chunk_count,
    chunk_range,
    missing_ranges,
)


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (CHUNK - 1, 1), (CHUNK, 1), (CHUNK + 1, 2), (3 * CHUNK, 3)]
)
def test_a_file_falls_into_chunks_of_which_the_last_is_the_rest(size: int, count: int) -> None:
    assert chunk_count(size) == count
    pieces = [chunk_range(index, size) for index in range(count)]
    assert sum(piece.size for piece in pieces) == size == bytes_of(range(count), size)
    assert [piece.start for piece in pieces] == [index * CHUNK for index in range(count)]
    assert all(piece.size == CHUNK for piece in pieces[:-1])


MISSING: list[t.Any] = [
    # bytes, chunks that are there, ranges that are not
    (0, (), ()),
    (1, (), (Range(0, 1),)),
    (1, (0,), ()),
    (3 * CHUNK, (), (Range(0, 3 * CHUNK),)),
    (3 * CHUNK, (0,), (Range(CHUNK, 3 * CHUNK),)),
    (3 * CHUNK, (1,), (Range(0, CHUNK), Range(2 * CHUNK, 3 * CHUNK))),
    (3 * CHUNK, (2,), (Range(0, 2 * CHUNK),)),
    (3 * CHUNK, (0, 1, 2), ()),
    (2 * CHUNK + 5, (0, 1), (Range(2 * CHUNK, 2 * CHUNK + 5),)),
    (2 * CHUNK + 5, (2,), (Range(0, 2 * CHUNK),)),
]


@pytest.mark.parametrize(("size", "have", "missing"), MISSING)
def test_what_is_missing_is_told_in_as_few_ranges_as_there_are_gaps(
    size: int, have: tuple[int, ...], missing: tuple[Range, ...]
) -> None:
    assert missing_ranges(size, have) == missing
    assert sum(gap.size for gap in missing) + bytes_of(have, size) == size


def taken(lease: Lease | None) -> tuple[int, int] | None:
    return None if lease is None else (lease.position // CHUNK, lease.stop // CHUNK)


def chunks(start: int, stop: int) -> Range:
    return Range(start * CHUNK, stop * CHUNK)


def test_gaps_are_given_whole_and_in_order_before_any_is_split() -> None:
    leases = Leases([chunks(9, 10), chunks(0, 8)])
    assert [taken(leases.take()) for _number in range(3)] == [(0, 8), (9, 10), (4, 8)]


@pytest.mark.parametrize(
    ("size", "moved", "kept", "given"),
    [
        (3 * CHUNK, 0, (0, 3), None),  # what is left is on its way before another connection stands
        (4 * CHUNK - 1, 0, (0, 3), None),
        (4 * CHUNK, 0, (0, 2), (2, 4)),
        (9 * CHUNK, 0, (0, 4), (4, 9)),
        (9 * CHUNK, 4 * CHUNK, (4, 6), (6, 9)),
        (9 * CHUNK, 6 * CHUNK, (6, 9), None),
        (8 * CHUNK + 1, CHUNK // 4, (0, 4), (4, 8)),
    ],
)
def test_one_that_comes_late_takes_the_later_half_of_the_longest_lease_from_a_chunks_start(
    size: int, moved: int, kept: tuple[int, int], given: tuple[int, int] | None
) -> None:
    leases = Leases([Range(0, size)])
    first = leases.take()
    assert first is not None
    first.position += moved
    assert leases.splittable is (given is not None)
    second = leases.take()
    assert (taken(first), taken(second)) == (kept, given)
    assert second is None or (first.stop, second.stop) == (second.position, size)


def test_who_does_not_want_a_part_of_anothers_lease_gets_gaps_only() -> None:
    leases = Leases([chunks(0, 8)])
    assert taken(leases.take(split=False)) == (0, 8)
    assert leases.take(split=False) is None
    leases.add(chunks(9, 10))
    assert taken(leases.take(split=False)) == (9, 10)


def test_what_a_lease_did_not_fetch_is_a_gap_again_and_a_fetched_one_leaves_none() -> None:
    leases = Leases([chunks(0, 3), chunks(5, 6)])
    first, second = leases.take(), leases.take()
    assert first is not None
    assert second is not None
    assert leases.active == 2
    first.position += CHUNK
    leases.end(first)
    second.position = second.stop
    leases.end(second)
    assert (leases.active, leases.idle, leases.splittable) == (0, False, True)
    again = leases.take()
    assert again is not None
    assert taken(again) == (1, 3)
    again.position = again.stop
    leases.end(again)
    assert (leases.idle, leases.splittable, leases.take()) == (True, False, None)


def test_a_range_that_has_to_be_fetched_again_comes_first_if_it_is_the_first() -> None:
    leases = Leases([chunks(5, 6)])
    leases.add(chunks(2, 3))
    assert not leases.idle
    assert [taken(leases.take()) for _number in range(3)] == [(2, 3), (5, 6), None]


def test_a_tail_that_was_taken_and_is_given_back_untouched_is_its_neighbours_again() -> None:
    leases = Leases([chunks(0, 8)])
    first, second = leases.take(), leases.take()
    assert first is not None
    assert second is not None
    leases.end(second)
    assert (taken(first), leases.take(split=False)) == ((0, 8), None)
    third = leases.take()
    assert third is not None
    leases.advance(third, CHUNK)  # what it has fetched lies between the two now
    leases.end(third)
    assert (taken(first), taken(leases.take(split=False))) == ((0, 4), (5, 8))


def test_a_tail_that_comes_back_after_its_neighbour_is_through_is_a_gap() -> None:
    leases = Leases([chunks(0, 8)])
    first, second = leases.take(), leases.take()
    assert first is not None
    assert second is not None
    leases.advance(first, first.rest.size)
    leases.end(second)
    leases.end(first)
    assert taken(leases.take(split=False)) == (4, 8)


def test_gaps_side_by_side_are_one() -> None:
    leases = Leases([chunks(0, 1), chunks(2, 3)])
    leases.add(chunks(1, 2))
    assert taken(leases.take()) == (0, 3)


def test_threads_that_share_a_file_share_out_each_byte_once() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for seed in range(10):
            leases = Leases([chunks(0, 200)])
            done: list[tuple[int, int]] = []
            threads = [
                threading.Thread(target=work, args=(leases, random.Random(seed * 8 + n), done)) for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert leases.idle
            done.sort()
            assert [start for start, _stop in done] == [0, *(stop for _start, stop in done[:-1])]
    finally:
        sys.setswitchinterval(interval)


def work(leases: Leases, rng: random.Random, done: list[tuple[int, int]]) -> None:
    """Fetch as a connection does, and break down now and then."""
    while not leases.idle:
        lease = leases.take()
        while lease is not None and lease.position < lease.stop and rng.random() > 0.1:
            done.append((lease.position, lease.position + CHUNK // 4))
            leases.advance(lease, CHUNK // 4)
        if lease is not None:
            leases.end(lease)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_byte_is_fetched_once_and_never_leased_to_two(seed: int) -> None:
    rng = random.Random(seed)
    size = rng.randrange(1, 40 * CHUNK)
    have = {index for index in range(chunk_count(size)) if rng.random() < 0.2}
    leases = Leases(missing_ranges(size, have))
    active: list[Lease] = []
    fetched = [chunk_range(index, size) for index in have]
    while not leases.idle:
        action = rng.random()
        if action < 0.3 or not active:
            lease = leases.take(split=rng.random() < 0.8)
            active += [lease] if lease else []
        lease = rng.choice(active)
        if action < 0.9:
            room = min(CHUNK // 4, lease.stop - lease.position)
            fetched.append(Range(lease.position, lease.position + room))
            leases.advance(lease, room)
        if action > 0.85 or not lease.rest.size:
            active.remove(lease)
            leases.end(lease)
        spans = sorted((each.position, each.stop) for each in active)
        assert all(start <= stop for start, stop in spans)
        assert all(one[1] <= other[0] for one, other in zip(spans, spans[1:]))
    fetched.sort(key=lambda piece: (piece.start, piece.stop))
    assert fetched[0].start == 0
    assert fetched[-1].stop == size
    assert all(one.stop == other.start for one, other in zip(fetched, fetched[1:]))
