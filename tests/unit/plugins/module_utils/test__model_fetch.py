# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import itertools
import os
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_fetch, _model_growth, _model_transfer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import WholeHash, chains
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry, Stopped
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Fetch, Fetched, Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_growth import Growth
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origins
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import CHUNK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import BLOCK, Transfer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial, read_log
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_BLOCK,
    SMALL_CHUNK,
    MemoryOrigin,
    Served,
    final,
    noise,
    passing,
    sha256,
    shrink,
    wanted,
)

LARGE = noise(16 * SMALL_CHUNK + 5000)
LONG = 60  # seconds until a test that hangs says so
TICK = _model_fetch._TICK
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


class Yard:
    """A store, and what fetches into it. After each fetch no thread, descriptor or connection may be left."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(str(root))
        self.fetch: Fetch | None = None
        self._monkeypatch = monkeypatch

    def begin(self, origin: MemoryOrigin, *files: WantedFile, workers: int = 0, **more: t.Any) -> Fetch:
        if workers:
            self._monkeypatch.setattr(Growth, "start", lambda *_args: workers)
        retry = Retry(more.pop("retries", 2), more.pop("delay", 0.0))
        self.fetch = Fetch(self.store, files, Settings(retry=retry, **more), Origins(origin.make))
        return self.fetch

    def run(self, origin: MemoryOrigin, *files: WantedFile, **more: t.Any) -> dict[str, Fetched]:
        threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
        try:
            fetched = {one.file.path: one for one in self.begin(origin, *files, **more).run()}
        finally:
            for thread in set(threading.enumerate()) - threads:
                thread.join(TICK)  # what it gets anyway, unless a test has made the tick shorter
            assert set(threading.enumerate()) <= threads, "a thread was left behind"
            assert set(os.listdir("/proc/self/fd")) <= descriptors, "a descriptor was left open"
            assert origin.now == 0, "a connection was left open"
        return fetched

    def content(self, file: WantedFile) -> bytes:
        blob = Path(self.store.blob(file.sha256))
        assert blob.stat().st_mode & 0o777 == 0o444
        return blob.read_bytes()

    def log(self, file: WantedFile) -> dict[int, str]:
        return dict(read_log(self.store.log(file.sha256), file.size).chunks)

    def interrupt(self, content: bytes, after: int, name: str = "m") -> WantedFile:
        """Leave what a run leaves that ended when its source broke down after so many bytes."""
        file = wanted(content, name)

        def broken(start: int, _stop: int | None) -> None:
            if start:
                wait_for(lambda: len(self.log(file)) == after // SMALL_CHUNK)
                raise final()

        with pytest.raises(ModelError, match="there is none"):
            self.run(MemoryOrigin(**{name: Served(content, cut=[after], opening=broken)}), file, workers=1)
        return file


def wait_for(condition: t.Callable[[], bool]) -> None:
    pause = threading.Event()
    for _number in range(LONG * 100):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture(name="yard")
def yard_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Yard]:
    shrink(monkeypatch)
    monkeypatch.setattr(_model_fetch, "_TICK", 0.02)
    yard = Yard(tmp_path / "root", monkeypatch)
    with yard.store.locked(0):
        yield yard


SIZES = [0, 1, SMALL_BLOCK - 1, SMALL_BLOCK, SMALL_BLOCK + 1, SMALL_CHUNK, SMALL_CHUNK + 1, 5 * SMALL_CHUNK + 4096]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_files_of_every_kind_of_size_arrive(yard: Yard, size: int, ranges: bool, workers: int) -> None:
    content = noise(size)
    file = wanted(content)
    fetched = yard.run(MemoryOrigin(m=Served(content, ranges=ranges, piece=5000)), file, workers=workers)["m.bin"]
    assert yard.content(file) == content
    assert (fetched.served_by, fetched.received, fetched.resumed) == ("http://h/m", size, 0)
    assert fetched.stamp.same_content(Stamp.of(os.stat(yard.store.blob(file.sha256))))
    assert os.listdir(yard.store.partial) == []
    if chains():
        assert len(fetched.states) == (-(-size // SMALL_CHUNK) if size > SMALL_BLOCK else 0)


@pytest.mark.parametrize("size", [BLOCK, BLOCK + 1, CHUNK, CHUNK + 1])
def test_files_at_the_true_bounds_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    yard = Yard(tmp_path / "root", monkeypatch)
    content = noise(size)
    with yard.store.locked(0):
        fetched = yard.run(MemoryOrigin(m=Served(content)), wanted(content))["m.bin"]
    assert sha256(yard.content(fetched.file)) == sha256(content)
    assert fetched.received == size


def test_many_small_files_share_connections_within_the_limit_and_each_is_told_once(yard: Yard) -> None:
    contents = {f"f{number}": noise(number * 37, number) for number in range(60)}
    origin = MemoryOrigin(**{name: Served(content) for name, content in contents.items()})
    files = [wanted(content, name, path=name) for name, content in contents.items()]
    fetched = yard.run(origin, *files, concurrency=3)
    assert {name: yard.content(one.file) for name, one in fetched.items()} == contents
    assert origin.most <= 3
    assert origin.closed == 1


class Meeting:
    """Holds up a file's first connection, some way into it, until a second one is opened."""

    def __init__(self, content: bytes, at: int = SMALL_BLOCK, **more: t.Any) -> None:
        self._at = at
        self._second = threading.Event()
        self._seen = 0
        # What happens to the second connection, and later ones.
        self.second: t.Callable[[int, int | None], object] = lambda _start, _stop: None
        self.served = Served(content, opening=self._opening, reading=self._reading, piece=5000, **more)

    def _opening(self, start: int, stop: int | None) -> None:
        self._seen += 1
        if self._seen > 1:
            self._second.set()
            self.second(start, stop)

    def _reading(self, position: int) -> None:
        if self._at <= position < self._at + 5000:
            assert self._second.wait(LONG), "nobody came"


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_several_connections_share_one_file_and_nothing_is_fetched_twice(yard: Yard, workers: int) -> None:
    served = Meeting(LARGE).served
    file = wanted(LARGE)
    fetched = yard.run(MemoryOrigin(m=served), file, workers=workers)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.received == len(LARGE)
    assert 2 <= served.most <= workers
    assert served.opens[0] == (0, None, "")
    starts = [start for start, _stop, _validator in served.opens]
    assert len(set(starts)) == len(starts)
    assert all(start % SMALL_CHUNK == 0 for start in starts)


@pytest.mark.parametrize("workers", [1, 4])
def test_what_was_received_is_read_back_at_most_once(yard: Yard, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    offsets: list[int] = []
    read = Partial.read

    def counting(self: Partial, buffer: memoryview, offset: int) -> int:
        offsets.append(offset)
        return read(self, buffer, offset)

    monkeypatch.setattr(Partial, "read", counting)
    served = Served(LARGE) if workers == 1 else Meeting(LARGE).served
    yard.run(MemoryOrigin(m=served), wanted(LARGE), workers=workers)
    assert len(set(offsets)) == len(offsets)
    assert workers > 1 or offsets == []


def watch_idle_workers(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set when a worker finds nothing to do."""
    idle = threading.Event()
    pick = Fetch._pick

    def picking(self: Fetch) -> t.Any:
        task = pick(self)
        if task is None:
            idle.set()
        return task

    monkeypatch.setattr(Fetch, "_pick", picking)
    return idle


@pytest.mark.parametrize("resumed", [False, True])
def test_a_source_without_ranges_is_never_asked_by_two_connections(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    if resumed:
        yard.interrupt(LARGE, 5 * SMALL_CHUNK)
    idle = watch_idle_workers(monkeypatch)
    served = Served(LARGE, ranges=False, piece=9000)

    def opening(_start: int, _stop: int | None) -> None:
        if served.now > 1:
            idle.set()
        assert idle.wait(LONG)

    served.opening = opening
    small = [wanted(b"%d" % number, f"s{number}", path=f"s{number}") for number in range(3)]
    others = {f"s{number}": Served(b"%d" % number) for number in range(3)}
    yard.run(MemoryOrigin(m=served, **others), wanted(LARGE), *small, workers=4)
    assert (served.most, len(served.opens)) == (1, 1)
    assert yard.content(wanted(LARGE)) == LARGE


def test_where_ranges_are_ignored_the_first_connection_goes_on_to_the_end(yard: Yard) -> None:
    served = Meeting(LARGE, silent=True).served
    file = wanted(LARGE)
    fetched = yard.run(MemoryOrigin(m=served), file, workers=3)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.received == served.sent == len(LARGE)
    assert len(served.opens) <= 3


@pytest.mark.parametrize("error", [passing("429 Too Many Requests"), final("403 Forbidden")])
def test_a_connection_that_is_refused_while_another_one_serves_is_no_failure(yard: Yard, error: ModelError) -> None:
    meeting = Meeting(LARGE)

    def refuse(_start: int, _stop: int | None) -> None:
        if meeting.served.now > 1:
            raise error

    meeting.second = refuse
    file = wanted(LARGE, "m", "other")
    fetched = yard.run(MemoryOrigin(m=meeting.served, other=Served(LARGE)), file, workers=3, retries=0)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.served_by == "http://h/m"


# What goes wrong with a source.


def test_the_next_source_goes_on_where_one_broke_down(yard: Yard) -> None:
    first = Served(LARGE, cut=[5 * SMALL_CHUNK + 100], opening=lambda start, _stop: refuse_if(bool(start)))
    second = Served(LARGE, validator='"2"')
    file = wanted(LARGE, "a", "b")
    fetched = yard.run(MemoryOrigin(a=first, b=second), file, workers=1)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.served_by == "http://h/b"
    ((start, _stop, validator),) = second.opens
    assert 5 * SMALL_CHUNK <= start <= 5 * SMALL_CHUNK + 100
    assert validator == ""
    assert fetched.received <= len(LARGE) + SMALL_BLOCK


def refuse_if(refuse: bool) -> None:
    if refuse:
        raise final("it broke down")


@pytest.mark.parametrize("size", [100, SMALL_BLOCK, 5 * SMALL_CHUNK])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"opening": lambda *_args: refuse_if(True)}, "unavailable"),
        ({"told_size": 3}, "size_mismatch"),
        ({"content": noise(1 << 20, 9), "told_size": None}, "size_mismatch"),
        ({"content": b"short", "told_size": None}, "truncated"),
        ({"wrong": True}, "digest_mismatch"),
    ],
    ids=["refused", "other size", "more than pinned", "ends early", "other content"],
)
def test_a_source_that_fails_is_left_for_the_next_and_named_if_there_is_none(
    yard: Yard, size: int, fault: dict[str, t.Any], reason: str
) -> None:
    content = noise(size)
    options = dict(fault)
    bad = Served(options.pop("content", noise(size, 2) if options.pop("wrong", False) else content), **options)
    file = wanted(content, "bad", "good")
    fetched = yard.run(MemoryOrigin(bad=bad, good=Served(content)), file, workers=1)["m.bin"]
    assert (yard.content(file), fetched.served_by) == (content, "http://h/good")
    assert os.listdir(yard.store.partial) == []

    other = wanted(content[::-1], "bad", size=size)
    with pytest.raises(ModelError) as caught:
        yard.run(MemoryOrigin(bad=bad), other, workers=1)
    assert caught.value.reason == reason
    assert os.listdir(yard.store.blobs) == [file.sha256]


def test_when_all_sources_fail_each_is_named_with_what_it_said(yard: Yard) -> None:
    content = noise(5 * SMALL_CHUNK)
    origin = MemoryOrigin(
        a=Served(content, opening=lambda *_args: refuse_if(True)),
        b=Served(content[::-1]),
        c=Served(content, told_size=7),
    )
    with pytest.raises(ModelError) as caught:
        yard.run(origin, wanted(content, "a", "b", "c"))
    for says in ("none of its 3 sources", "(1) it broke down", "(2) m.bin: the 327680 bytes", "(3) m.bin", "7 bytes"):
        assert says in str(caught.value)
    assert caught.value.reason == "size_mismatch"
    assert [one["reason"] for one in caught.value.details["errors"]] == [
        "unavailable",
        "digest_mismatch",
        "size_mismatch",
    ]


@pytest.mark.parametrize("size", [100, 5 * SMALL_CHUNK])
def test_a_file_that_is_not_required_is_told_to_be_unavailable_and_the_others_arrive(yard: Yard, size: int) -> None:
    lost = wanted(noise(size, 1), "lost", path="lost", required=False)
    files = [wanted(noise(size, number), f"f{number}", path=f"f{number}") for number in range(2, 5)]
    served = {f"f{number}": Served(noise(size, number)) for number in range(2, 5)}
    origin = MemoryOrigin(lost=Served(b"", opening=lambda *_args: refuse_if(True)), **served)
    assert sorted(yard.run(origin, lost, *files)) == ["f2", "f3", "f4"]
    assert yard.fetch is not None
    assert list(yard.fetch.unavailable) == [lost.sha256]
    assert str(yard.fetch.unavailable[lost.sha256]) == "it broke down"


def test_bytes_of_several_sources_that_are_wrong_together_are_fetched_anew_from_one(yard: Yard) -> None:
    bad = bytearray(LARGE)
    bad[100] ^= 1
    first = Served(bytes(bad), cut=[6 * SMALL_CHUNK], opening=lambda start, _stop: refuse_if(bool(start)))
    second = Served(LARGE)
    file = wanted(LARGE, "a", "b")
    fetched = yard.run(MemoryOrigin(a=first, b=second), file, workers=1)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.served_by == "http://h/b"
    assert [start for start, _stop, _validator in second.opens] == [6 * SMALL_CHUNK, 0]


def test_a_source_that_is_wrong_alone_as_well_is_called_so_after_one_clean_try(yard: Yard) -> None:
    bad = bytearray(LARGE)
    bad[-1] ^= 1
    first = Served(LARGE, cut=[6 * SMALL_CHUNK], opening=lambda start, _stop: refuse_if(bool(start)))
    second, third = Served(bytes(bad)), Served(LARGE)
    file = wanted(LARGE, "a", "b", "c")
    fetched = yard.run(MemoryOrigin(a=first, b=second, c=third), file, workers=1)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.served_by == "http://h/c"
    assert [start for start, _stop, _validator in second.opens] == [6 * SMALL_CHUNK, 0]
    assert [start for start, _stop, _validator in third.opens] == [0]


@pytest.mark.parametrize("size", [SMALL_BLOCK, 5 * SMALL_CHUNK])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("retries", [0, 3])
def test_a_source_whose_version_changes_for_ever_is_given_up(yard: Yard, size: int, workers: int, retries: int) -> None:
    content = noise(size)
    versions = (f'"{number}"' for number in itertools.count())
    served = Served(content, validator=lambda: next(versions), cut=[1000] * 1000, piece=3000)
    with pytest.raises(ModelError) as caught:
        yard.run(MemoryOrigin(m=served), wanted(content), workers=workers, retries=retries)
    assert retries == 0 or "another version of the file" in str(caught.value)
    assert len(served.opens) < 40
    fetched = yard.run(MemoryOrigin(m=served, n=Served(content)), wanted(content, "m", "n"), workers=workers)
    assert fetched["m.bin"].served_by == "http://h/n"


@pytest.mark.parametrize("retries", [0, 2])
def test_a_file_that_was_replaced_since_an_interrupted_run_is_fetched_anew(yard: Yard, retries: int) -> None:
    file = yard.interrupt(LARGE, 5 * SMALL_CHUNK)
    served = Served(LARGE, validator='"2"')
    fetched = yard.run(MemoryOrigin(m=served), file, workers=2, retries=retries)["m.bin"]
    assert yard.content(file) == LARGE
    assert fetched.resumed == 0
    assert [start for start, _stop, _validator in served.opens][:2] == [5 * SMALL_CHUNK, 0]


def test_a_digest_that_a_source_announces_is_compared_before_a_byte_is_asked_for(yard: Yard) -> None:
    for size in (100, 5 * SMALL_CHUNK):
        content = noise(size)
        served, other = Served(content), Served(content)
        origin = MemoryOrigin({"http://h/a": "e" * 64, "http://h/b": sha256(content)}, a=served, b=other)
        assert yard.run(origin, wanted(content, "a", "b"))["m.bin"].served_by == "http://h/b"
        assert served.opens == []
        with pytest.raises(ModelError, match="nothing was fetched") as caught:
            yard.run(origin, wanted(content, "a"))
        assert caught.value.reason == "digest_mismatch"


# Interrupted runs.


@pytest.mark.parametrize("after", [1, SMALL_CHUNK - 1, SMALL_CHUNK, 7 * SMALL_CHUNK + 9, len(LARGE) - 1])
@pytest.mark.parametrize("workers", [1, 4])
def test_an_interrupted_file_is_gone_on_with(yard: Yard, after: int, workers: int) -> None:
    file = yard.interrupt(LARGE, after)
    kept = sum(min(SMALL_CHUNK, len(LARGE) - index * SMALL_CHUNK) for index in yard.log(file))
    assert kept == after // SMALL_CHUNK * SMALL_CHUNK
    served = Served(LARGE, piece=5000)
    fetched = yard.run(MemoryOrigin(m=served), file, workers=workers)["m.bin"]
    assert yard.content(file) == LARGE
    assert (fetched.resumed, fetched.received, served.sent) == (kept, len(LARGE) - kept, len(LARGE) - kept)
    # Where no chunk was whole, nothing was left, and any version of the file will do.
    assert {validator for _start, _stop, validator in served.opens[:1]} == {'"1"' if kept else ""}


def fill(yard: Yard, content: bytes, lost: t.Iterable[int] = (), states: t.Sequence[str] = ()) -> WantedFile:
    """Leave a partial file of which the log says that all is there, but of which the disk has lost some chunks."""
    file = wanted(content)
    partial = Partial(yard.store.part(file.sha256), yard.store.log(file.sha256), file.size)
    partial.start()
    partial.note_source("http://h/m", '"1"')
    for index in range(-(-file.size // SMALL_CHUNK)):
        partial.note_chunk(index, states[index] if states else "")
    partial.close()
    damaged = bytearray(content)
    for index in lost:
        stop = min((index + 1) * SMALL_CHUNK, file.size)
        damaged[index * SMALL_CHUNK : stop] = bytes(stop - index * SMALL_CHUNK)
    Path(yard.store.part(file.sha256)).write_bytes(damaged)
    return file


def states_of(yard: Yard, content: bytes) -> tuple[str, ...]:
    fetched = yard.run(MemoryOrigin(m=Served(content)), wanted(content))["m.bin"]
    yard.store.forget(fetched.file.sha256)
    return fetched.states


def test_a_file_of_which_all_is_there_asks_no_source(yard: Yard) -> None:
    for states in (states_of(yard, LARGE), ()):
        file = fill(yard, LARGE, states=states)
        served = Served(LARGE)
        fetched = yard.run(MemoryOrigin(m=served), file, workers=2)["m.bin"]
        assert yard.content(file) == LARGE
        assert (served.opens, fetched.served_by, fetched.received, fetched.resumed) == ([], "", 0, len(LARGE))
        yard.store.forget(file.sha256)


@needs_chains
@pytest.mark.parametrize("lost", [[0], [3], [16], [2, 3, 9], range(17)])
@pytest.mark.parametrize("workers", [1, 3])
def test_chunks_that_the_disk_has_lost_are_fetched_again_and_no_others(
    yard: Yard, lost: t.Sequence[int], workers: int
) -> None:
    file = fill(yard, LARGE, lost, states_of(yard, LARGE))
    served = Served(LARGE)
    fetched = yard.run(MemoryOrigin(m=served), file, workers=workers)["m.bin"]
    assert yard.content(file) == LARGE
    size = sum(min(SMALL_CHUNK, len(LARGE) - index * SMALL_CHUNK) for index in lost)
    assert (fetched.received, fetched.resumed) == (size, len(LARGE) - size)
    assert sorted({start // SMALL_CHUNK for start, _stop, _validator in served.opens}) == sorted(lost)
    assert yard.fetch is not None
    assert yard.fetch.resumed + yard.fetch.meter.received == yard.fetch.total


def test_without_chain_values_a_lost_chunk_costs_the_whole_file(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_model_transfer, "new_hash", lambda *_args: WholeHash())
    file = fill(yard, LARGE, [3])
    served = Served(LARGE)
    fetched = yard.run(MemoryOrigin(m=served), file, workers=2)["m.bin"]
    assert yard.content(file) == LARGE
    assert (fetched.received, fetched.resumed, served.opens[0]) == (len(LARGE), 0, (0, None, ""))


@needs_chains
def test_a_log_with_made_up_chain_values_never_makes_wrong_content_right(yard: Yard) -> None:
    other = noise(len(LARGE), 2)
    states = states_of(yard, other)
    file = fill(yard, LARGE, states=states)
    Path(yard.store.part(file.sha256)).write_bytes(other)  # all of it agrees with its log, and is not what is pinned
    fetched = yard.run(MemoryOrigin(m=Served(LARGE)), file, workers=2)["m.bin"]
    assert yard.content(file) == LARGE
    assert (fetched.received, fetched.resumed) == (len(LARGE), 0)


# Errors of this host, and early ends.


@pytest.mark.parametrize("fails", ["write", "note_chunk", "finish", "start", "note_source"])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_disk_comes_out_and_leaves_nothing_running(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, fails: str, workers: int
) -> None:
    def full(*_args: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Partial, fails, full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        yard.run(MemoryOrigin(m=Served(LARGE)), wanted(LARGE), workers=workers)


def test_an_error_of_the_disk_with_a_small_file_comes_out(yard: Yard) -> None:
    os.rmdir(yard.store.blobs)
    with pytest.raises(FileNotFoundError):
        yard.run(MemoryOrigin(m=Served(b"abc")), wanted(b"abc"), workers=2)
    os.mkdir(yard.store.blobs)


def test_an_error_that_nobody_expects_comes_out_of_a_thread(yard: Yard) -> None:
    def surprise(*_args: t.Any) -> t.NoReturn:
        raise ZeroDivisionError

    for content in (b"abc", LARGE):
        with pytest.raises(ZeroDivisionError):
            yard.run(MemoryOrigin(m=Served(content, opening=surprise)), wanted(content), workers=3)


def test_a_failed_file_leaves_the_ones_before_it_and_what_it_had(yard: Yard) -> None:
    good = wanted(b"good", "good", path="good")
    bad = Served(LARGE, cut=[6 * SMALL_CHUNK])

    def opening(start: int, _stop: int | None) -> None:
        if start:
            wait_for(lambda: len(yard.log(wanted(LARGE))) == 6)
            raise final()

    bad.opening = opening
    with pytest.raises(ModelError, match="there is none"):
        yard.run(MemoryOrigin(good=Served(b"good"), m=bad), good, wanted(LARGE), workers=1)
    assert os.listdir(yard.store.blobs) == [good.sha256]
    assert sorted(yard.log(wanted(LARGE))) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("content", [b"good", LARGE], ids=["small", "large"])
def test_what_becomes_whole_while_another_file_fails_is_told_as_well(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    good, bad = wanted(content, "good", path="good"), wanted(b"bad", "bad", path="bad")
    whole = threading.Event()

    def fails(_start: int, _stop: int | None) -> None:
        assert whole.wait(LONG)
        raise final()

    def through(fetch: Fetch, job: t.Any, result: t.Any) -> None:
        if job.file is good:
            whole.set()
            assert fetch.meter.stopped.wait(LONG)
        end(fetch, job, result)

    end = Fetch._end
    monkeypatch.setattr(Fetch, "_end", through)
    monkeypatch.setattr(_model_fetch, "_TICK", LONG)
    origin = MemoryOrigin(good=Served(content), bad=Served(b"bad", opening=fails))
    told: list[Fetched] = []
    with pytest.raises(ModelError, match="there is none"):
        told.extend(yard.begin(origin, bad, good, workers=2).run())
    assert [one.file for one in told] == [good]
    assert os.listdir(yard.store.blobs) == [good.sha256]


@pytest.mark.parametrize("workers", [1, 4])
def test_one_that_stops_to_listen_stops_all_and_keeps_what_is_there(yard: Yard, workers: int) -> None:
    threads = set(threading.enumerate())
    held = threading.Event()

    def reading(position: int) -> None:
        if position >= 8 * SMALL_CHUNK:
            held.wait(LONG)

    served = Served(LARGE, reading=reading, piece=5000)
    small = wanted(b"small", "small", path="small")
    origin = MemoryOrigin(small=Served(b"small"), m=served)
    fetch = yard.begin(origin, small, wanted(LARGE), workers=workers)
    running = t.cast("t.Generator[Fetched, None, None]", fetch.run())
    assert next(running).file is small
    threading.Timer(0, held.set).start()
    running.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join(LONG)
    assert set(threading.enumerate()) == threads
    fetched = yard.run(MemoryOrigin(m=Served(LARGE)), wanted(LARGE))["m.bin"]
    assert yard.content(fetched.file) == LARGE


def test_a_large_file_that_begins_while_all_is_given_up_leaves_nothing_running(yard: Yard) -> None:
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    fetch = yard.begin(MemoryOrigin(m=Served(LARGE)), wanted(LARGE), workers=1)
    with fetch._changed:
        task = fetch._pick()
    assert task is not None
    fetch._close()  # as another thread does right now
    with pytest.raises(Stopped):
        fetch._start(task[0])
    assert set(threading.enumerate()) == threads
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_that_is_about_to_begin_anew_is_given_to_nobody(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[t.Any] = []
    close = Transfer.close

    def closing(self: Transfer) -> None:
        if yard.fetch and not yard.fetch.meter.stopped.is_set():
            with yard.fetch._changed:
                given.append(yard.fetch._pick())
        close(self)

    monkeypatch.setattr(Transfer, "close", closing)
    file = yard.interrupt(LARGE, 5 * SMALL_CHUNK)
    given.clear()
    yard.run(MemoryOrigin(m=Served(LARGE, validator='"2"')), file, workers=1)
    assert yard.content(file) == LARGE
    assert set(given) == {None}


def test_the_bytes_that_several_connections_receive_are_counted(yard: Yard) -> None:
    for _number in range(3):
        served = Meeting(LARGE).served
        fetched = yard.run(MemoryOrigin(m=served), wanted(LARGE), workers=8)["m.bin"]
        assert fetched.received == served.sent == len(LARGE)
        yard.store.forget(fetched.file.sha256)


def test_who_waits_is_told_how_it_goes(yard: Yard) -> None:
    told: list[int] = []
    ticked = threading.Event()
    served = Served(LARGE, reading=lambda position: ticked.wait(LONG) if position > SMALL_CHUNK else None, piece=5000)
    fetch = yard.begin(MemoryOrigin(m=served), wanted(LARGE), workers=1)

    def tick() -> None:
        told.append(fetch.meter.received)
        ticked.set()

    assert [fetched.received for fetched in fetch.run(tick)] == [len(LARGE)]
    assert told == sorted(told)
    assert fetch.meter.received == fetch.total == len(LARGE)


def test_workers_are_added_while_they_bring_something_and_never_above_the_limit(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model_growth, "_TRIAL", 1e-6)
    monkeypatch.setattr(_model_fetch, "_TICK", 1e-3)
    monkeypatch.setattr(_model_growth, "_GAIN", 0.0)  # whatever they bring is enough
    full = threading.Event()
    served = Served(LARGE, piece=5000)

    def reading(position: int) -> None:
        if served.most >= 3:
            full.set()
        if position >= SMALL_CHUNK:
            assert full.wait(LONG)

    served.reading = reading
    origin = MemoryOrigin(m=served)
    yard.run(origin, wanted(LARGE), concurrency=3)
    assert yard.content(wanted(LARGE)) == LARGE
    assert origin.most == 3


# When one more worker is worth it.


def test_nothing_to_fetch_is_done_at_once(yard: Yard) -> None:
    assert yard.run(MemoryOrigin()) == {}
