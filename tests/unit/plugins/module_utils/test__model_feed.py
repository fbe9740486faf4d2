# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import random
import threading
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_feed
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import (
    Changed,
    Feed,
    Meter,
    RangeIgnored,
    Retry,
    Stopped,
    Versions,
    delay,
    wrong_digest,
    wrong_size,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    MemoryOrigin,
    Served,
    final,
    noise,
    passing,
    sha256,
    source,
    wanted,
)

CONTENT = noise(100_000)
SHOWN = "http://h/m"


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(name="clock")
def clock_fixture() -> Clock:
    return Clock()


class Case:
    """A feed of one source."""

    def __init__(self, served: Served, clock: Clock, retry: Retry | None = None, alone: bool = True, **more: t.Any):
        self.served = served
        self.origin = MemoryOrigin(m=served)
        self.file = wanted(more.pop("content", CONTENT), "m")
        self.noted: list[tuple[str, str]] = []
        self.versions = Versions(more.pop("known", {}), lambda name, version: self.noted.append((name, version)))
        self.meter = Meter(more.pop("limit", 0), clock, clock.sleep)
        self.feed = Feed(
            self.origin, source("m"), self.file, self.versions, self.meter, retry or Retry(), lambda: alone
        )

    def read(self, start: int = 0, stop: int | None = None, block: int = 4096) -> bytes:
        stop = len(self.served.content) if stop is None else stop
        buffer = memoryview(bytearray(block))
        found = b""
        with self.feed:
            while start < stop:
                count = self.feed.read(buffer[: min(block, stop - start)], start, stop)
                found += bytes(buffer[:count])
                start += count
            if stop == len(self.served.content):
                self.feed.check_end()
        assert self.served.now == 0, "the connection was left open"
        return found


def failing(*errors: ModelError | None) -> t.Callable[..., None]:
    """Return what raises these errors, one a call, and then nothing."""
    left = iter(errors)

    def fail(*_args: t.Any) -> None:
        error = next(left, None)
        if error:
            raise error

    return fail


@pytest.mark.parametrize(
    ("start", "stop", "asked"),
    [(0, 100_000, (0, None, "")), (0, 50_000, (0, 50_000, "")), (50_000, 100_000, (50_000, 100_000, ""))],
)
def test_a_whole_file_is_asked_for_without_a_range_and_a_part_with_one(
    clock: Clock, start: int, stop: int, asked: tuple[int, int | None, str]
) -> None:
    case = Case(Served(CONTENT), clock)
    assert case.read(start, stop) == CONTENT[start:stop]
    assert case.served.opens == [asked]
    assert case.meter.received == stop - start
    assert case.noted == [(SHOWN, '"1"')]
    assert clock.slept == []


def test_a_connection_that_breaks_is_gone_on_with_where_it_was_at_the_same_version(clock: Clock) -> None:
    case = Case(Served(CONTENT, cut=[10_000, 30_001]), clock)
    assert case.read() == CONTENT
    assert case.served.opens == [(0, None, ""), (10_000, 100_000, '"1"'), (30_001, 100_000, '"1"')]
    assert case.meter.received == len(CONTENT)
    assert case.noted == [(SHOWN, '"1"')]


def test_delays_double_stay_within_their_jitter_and_end_at_a_minute() -> None:
    bounds = [(delay(tries, 1.0, 0), 2.0 ** (tries - 1)) for tries in range(1, 12)]
    assert all(min(most / 2, 60) <= waited <= min(most, 60) for waited, most in bounds)


@pytest.mark.parametrize(("retry_after", "waited"), [(30, 30), (3600, 60)])
def test_a_server_is_given_the_time_it_asks_for_within_bounds(retry_after: float, waited: float, clock: Clock) -> None:
    assert delay(1, 0.001, retry_after) == waited
    case = Case(Served(CONTENT, opening=failing(passing(retry_after=retry_after))), clock)
    assert case.read() == CONTENT
    assert clock.slept == [waited]


def test_tries_are_counted_and_waited_between_longer_each_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    case = Case(Served(CONTENT, opening=failing(*[passing()] * 9)), clock, Retry(3, 0.5))
    with pytest.raises(ModelError, match=r"it broke \(4 tries\)") as caught:
        case.read()
    assert clock.slept == [0.5, 1.0, 2.0]
    assert caught.value.details["tries"] == 4
    assert (caught.value.reason, caught.value.transient) == ("unavailable", False)


def test_without_retries_one_try_is_all_and_nobody_waits(clock: Clock) -> None:
    with pytest.raises(ModelError, match=r"\(1 try\)"):
        Case(Served(CONTENT, opening=failing(passing())), clock, Retry(0)).read()
    assert clock.slept == []


def test_an_error_that_will_not_pass_is_not_tried_again(clock: Clock) -> None:
    case = Case(Served(CONTENT, opening=failing(final())), clock)
    with pytest.raises(ModelError, match="there is none"):
        case.read()
    assert (len(case.served.opens), clock.slept) == (1, [])


@pytest.mark.parametrize(("progress", "enough"), [(10_000, True), (10_001, False)])
def test_the_tries_begin_anew_once_a_connection_has_brought_enough(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, progress: int, enough: bool
) -> None:
    monkeypatch.setattr(_model_feed, "_PROGRESS", progress)
    case = Case(Served(CONTENT, cut=list(range(10_000, 100_000, 10_000))), clock, Retry(1))
    if enough:
        assert case.read(block=10_000) == CONTENT
        assert len(case.served.opens) == 10
    else:
        with pytest.raises(ModelError, match=r"\(2 tries\)") as caught:
            case.read(block=10_000)
        assert caught.value.reason == "truncated"
        assert caught.value.details["received"] == 20_000


def test_a_source_that_ends_early_is_named_with_what_it_gave(clock: Clock) -> None:
    case = Case(Served(CONTENT[:60_000], told_size=None), clock, Retry(2))
    case.file = wanted(CONTENT)
    case.feed._file = case.file
    with pytest.raises(ModelError, match=f"{SHOWN} ended after 60000 of 100000 bytes") as caught:
        case.read(0, 100_000)
    assert caught.value.reason == "truncated"
    assert len(case.served.opens) == 3


@pytest.mark.parametrize("size", [99_999, 100_001, 0])
def test_a_source_that_says_another_size_is_refused_unread_and_not_tried_again(clock: Clock, size: int) -> None:
    case = Case(Served(CONTENT, told_size=size), clock)
    with pytest.raises(ModelError, match=f"size 100000 is pinned, but the source has {size} bytes") as caught:
        case.read()
    assert caught.value.reason == "size_mismatch"
    assert (case.served.sent, len(case.served.opens)) == (0, 1)


def test_a_source_that_says_no_size_and_sends_more_is_refused(clock: Clock) -> None:
    case = Case(Served(CONTENT + b"x", told_size=None), clock)
    case.feed._file = wanted(CONTENT)
    buffer = memoryview(bytearray(100_000))
    with case.feed as feed:
        assert feed.read(buffer, 0, 100_000) == 100_000
        with pytest.raises(ModelError, match="sends more: stopped after 100000 bytes") as caught:
            feed.check_end()
    assert caught.value.reason == "size_mismatch"


def test_a_connection_that_breaks_where_the_file_ends_is_no_failure(clock: Clock) -> None:
    def reading(position: int) -> None:
        if position == len(CONTENT):
            raise passing()

    assert Case(Served(CONTENT, told_size=None, reading=reading), clock).read() == CONTENT


def test_a_source_that_has_another_version_than_before_is_told_apart(clock: Clock) -> None:
    case = Case(Served(CONTENT), clock, known={SHOWN: '"0"'})
    with pytest.raises(Changed):
        case.read(50_000)
    assert case.served.opens == [(50_000, 100_000, '"0"')]
    assert case.served.sent == 0


def test_a_version_that_changes_between_two_connections_is_noticed(clock: Clock) -> None:
    versions = (f'"{number}"' for number in itertools.count())
    with pytest.raises(Changed):
        Case(Served(CONTENT, cut=[10_000], validator=lambda: next(versions)), clock).read()


def test_each_source_has_a_version_of_its_own_and_the_number_of_them_is_known() -> None:
    noted: list[str] = []
    versions = Versions({"http://h/a": '"1"'}, lambda name, _version: noted.append(name))
    told = MemoryOrigin(b=Served(b"")).probe(source("b"))
    versions.check(source("b"), told._replace(validator='"2"'))
    versions.check(source("b"), told._replace(validator='"2"'))
    assert (versions.used(), noted, versions.of(source("a")), versions.of(source("c"))) == (
        2,
        ["http://h/b"],
        '"1"',
        "",
    )


def test_one_that_is_alone_reads_over_what_it_has_where_ranges_are_ignored(clock: Clock) -> None:
    case = Case(Served(CONTENT, ranges=False, piece=7000), clock)
    assert case.read(50_000) == CONTENT[50_000:]
    assert case.served.sent == len(CONTENT)
    assert not case.feed.ranges


def test_reading_over_what_is_there_is_tried_again_as_well(clock: Clock) -> None:
    case = Case(Served(CONTENT, ranges=False, cut=[20_000, 40_000]), clock)
    assert case.read(50_000) == CONTENT[50_000:]
    assert [asked[0] for asked in case.served.opens] == [50_000, 50_000, 50_000]


def test_one_of_several_leaves_where_ranges_are_ignored(clock: Clock) -> None:
    case = Case(Served(CONTENT, ranges=False), clock, alone=False)
    with pytest.raises(RangeIgnored):
        case.read(50_000)
    assert case.served.sent == 0
    assert Case(Served(CONTENT, ranges=False), clock, alone=False).read() == CONTENT  # its first byte is the files


@pytest.mark.parametrize("ranges", [True, False])
def test_a_range_that_has_grown_since_it_was_asked_for_is_no_failure(clock: Clock, ranges: bool) -> None:
    case = Case(Served(CONTENT, ranges=ranges), clock, Retry(0))
    buffer = memoryview(bytearray(100_000))
    with case.feed as feed:
        assert feed.read(buffer[:50_000], 0, 50_000) == 50_000
        assert feed.read(buffer[50_000:], 50_000, 100_000) == 50_000
    assert bytes(buffer) == CONTENT
    assert case.served.sent == len(CONTENT)
    assert len(case.served.opens) == (2 if ranges else 1)


def test_a_wait_for_the_next_try_ends_when_the_task_is_given_up() -> None:
    meter = Meter()
    refused = threading.Event()

    def refuse(*_args: t.Any) -> None:
        refused.set()
        raise passing(retry_after=3600)

    served = Served(CONTENT, opening=refuse)
    ended: list[BaseException] = []

    def read() -> None:
        feed = Feed(MemoryOrigin(m=served), source("m"), wanted(CONTENT), Versions({}, print), meter, Retry())
        with feed, pytest.raises(Stopped) as caught:
            feed.read(memoryview(bytearray(10)), 0, len(CONTENT))
        ended.append(caught.value)

    thread = threading.Thread(target=read)
    thread.start()
    assert refused.wait(60)
    meter.stopped.set()
    thread.join(30)
    assert ended
    assert len(served.opens) == 1


def test_a_task_that_is_given_up_opens_nothing_and_stops_what_is_read(clock: Clock) -> None:
    case = Case(Served(CONTENT), clock)
    buffer = memoryview(bytearray(10))
    with case.feed as feed:
        feed.read(buffer, 0, 100_000)
        case.meter.stopped.set()
        with pytest.raises(Stopped):
            feed.read(buffer, 10, 100_000)
    other = Case(Served(CONTENT), clock)
    other.meter.stopped.set()
    with pytest.raises(Stopped):
        other.read()
    assert other.served.opens == []


@pytest.mark.parametrize("limit", [1000, 10_000, 1_000_000])
def test_the_bytes_over_time_are_never_above_the_limit(clock: Clock, limit: int) -> None:
    case = Case(Served(CONTENT, piece=7001), clock, limit=limit)
    begin = clock()
    buffer = memoryview(bytearray(65_536))
    position = 0
    with case.feed as feed:
        while position < len(CONTENT):
            position += feed.read(buffer[: len(CONTENT) - position], position, len(CONTENT))
            assert position <= limit * (clock() - begin) * 1.0001
    assert clock() - begin == pytest.approx(len(CONTENT) / limit)
    assert max(clock.slept) <= max(0.125, 4096 / limit) * 1.001, "it should flow"


def test_connections_share_the_limit(clock: Clock) -> None:
    meter = Meter(1000, clock, clock.sleep)
    begin = clock()
    for _number in range(5):
        for received in (100, 300):
            meter.count(received)
    assert clock() - begin == pytest.approx(2.0)
    assert meter.received == 2000


def test_time_without_a_byte_is_made_up_for_by_no_more_than_a_second(clock: Clock) -> None:
    meter = Meter(1000, clock, clock.sleep)
    clock.now += 3600
    meter.count(1000)
    assert clock.slept == []
    meter.count(500)
    assert clock.slept == [pytest.approx(0.5)]


def test_without_a_limit_nobody_sleeps_and_all_is_received_at_once(clock: Clock) -> None:
    case = Case(Served(CONTENT), clock)
    assert case.read(block=65_536) == CONTENT
    assert (clock.slept, case.meter.portion(1 << 30)) == ([], 1 << 30)


def test_a_wrong_digest_is_told_with_both_and_whether_anything_was_fetched() -> None:
    file = wanted(CONTENT)
    for announced, says in ((False, "they were deleted"), (True, "nothing was fetched")):
        error = wrong_digest(file, source("m"), "e" * 64, announced)
        assert not [fact for fact in (says, "m.bin", SHOWN, sha256(CONTENT), "e" * 64) if fact not in str(error)]
        assert error.details == {"path": "m.bin", "source": SHOWN, "expected": sha256(CONTENT), "got": "e" * 64}
        assert error.reason == "digest_mismatch"
    assert wrong_size(file, source("m"), "x").details == {"path": "m.bin", "source": SHOWN, "expected": 100_000}
