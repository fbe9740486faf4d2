# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import random
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_chain, _model_transfer
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import WholeHash, chains, new_hash
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Stopped
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import Range
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import (
    Block,
    Buffers,
    Result,
    Transfer,
    Writer,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial, read_log
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_BLOCK,
    SMALL_CHUNK,
    noise,
    sha256,
    shrink,
)

CONTENT = noise(4 * SMALL_CHUNK + SMALL_BLOCK + 77)
OFFSETS = list(range(0, len(CONTENT), SMALL_BLOCK))
LONG = 60  # seconds until a test that hangs says so
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def states_of(content: bytes) -> list[str]:
    """Return the chain value after each chunk, had by hashing from the beginning."""
    states = []
    for stop in range(SMALL_CHUNK, len(content) + SMALL_CHUNK, SMALL_CHUNK):
        hasher = new_hash()
        hasher.update(content[:stop])
        states.append(hasher.state())
    return states


class Desk:
    """What transfers share, and one transfer at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buffers = Buffers(4)
        self.writer = Writer()
        self.stopped = threading.Event()
        self.results: list[Result] = []
        self.wanted = threading.Event()
        self.read_back: list[int] = []
        self._transfers: list[Transfer] = []
        self._done = threading.Event()

    @property
    def blob(self) -> Path:
        return self.folder / "blob"

    def begin(self, content: bytes = CONTENT, digest: str = "") -> Transfer:
        partial = Partial(str(self.folder / "x.part"), str(self.folder / "x.log"), len(content))
        read = partial.read

        def reading(buffer: memoryview, offset: int) -> int:
            self.read_back.append(offset)
            return read(buffer, offset)

        partial.read = reading  # type: ignore[method-assign]
        transfer = Transfer(
            partial,
            digest or sha256(content),
            str(self.blob),
            self.buffers,
            self.writer,
            self._finished,
            self.wanted.set,
        )
        self._transfers.append(transfer)
        transfer.start()
        return transfer

    def _finished(self, result: Result) -> None:
        self.results.append(result)
        self._done.set()

    def result(self) -> Result:
        assert self._done.wait(LONG), "it hangs"
        (result,) = self.results
        return result

    def put(self, transfer: Transfer, offsets: t.Iterable[int], content: bytes = CONTENT) -> None:
        for offset in offsets:
            buffer = self.buffers.get(self.stopped)
            data = content[offset : offset + SMALL_BLOCK]
            buffer[: len(data)] = data
            transfer.put(Block(buffer, len(data), offset))

    def log(self, content: bytes = CONTENT) -> dict[int, str]:
        return dict(read_log(str(self.folder / "x.log"), len(content)).chunks)

    def close(self) -> None:
        for transfer in self._transfers:
            transfer.close()
        self.writer.close()
        assert self.buffers._free.qsize() == self.buffers._made, "a buffer is missing, or was given back twice"
        free = [self.buffers._free.get() for _number in range(self.buffers._made)]
        assert len({id(buffer) for buffer in free}) == len(free), "a buffer was given back twice"


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> t.Iterator[Desk]:
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    desk = Desk(tmp_path)
    yield desk
    desk.close()
    assert set(threading.enumerate()) == threads, "a thread was left behind"
    assert set(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"


def test_a_file_that_comes_in_order_is_hashed_as_it_comes_and_not_read_again(desk: Desk) -> None:
    transfer = desk.begin()
    desk.put(transfer, OFFSETS)
    status = desk.result()
    assert isinstance(status, os.stat_result)
    assert (status.st_ino, status.st_mode & 0o777) == (desk.blob.stat().st_ino, 0o444)
    assert desk.blob.read_bytes() == CONTENT
    assert desk.read_back == []
    assert os.listdir(desk.folder) == ["blob"]


@needs_chains
def test_the_chain_value_after_each_chunk_is_known_in_the_end(desk: Desk) -> None:
    transfer = desk.begin()
    desk.put(transfer, OFFSETS)
    desk.result()
    assert transfer.states == states_of(CONTENT)


ORDERS: list[t.Any] = [
    pytest.param(OFFSETS[::-1], id="last one first"),
    pytest.param(OFFSETS[9:] + OFFSETS[:9], id="later half first"),
    pytest.param(OFFSETS[1::2] + OFFSETS[::2], id="every other one"),
    *(pytest.param(random.Random(seed).sample(OFFSETS, len(OFFSETS)), id=f"seed {seed}") for seed in range(12)),
]


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_the_order_the_content_is_right_and_no_block_is_read_back_twice(desk: Desk, order: list[int]) -> None:
    transfer = desk.begin()
    desk.put(transfer, order)
    assert isinstance(desk.result(), os.stat_result)
    assert desk.blob.read_bytes() == CONTENT
    assert len(set(desk.read_back)) == len(desk.read_back)


@pytest.mark.parametrize("seed", range(8))
def test_several_threads_may_bring_ranges_of_one_file(desk: Desk, seed: int) -> None:
    transfer = desk.begin()
    cuts = sorted(random.Random(seed).sample(range(1, len(OFFSETS)), 3))
    parts = [OFFSETS[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(OFFSETS)])]
    threads = [threading.Thread(target=desk.put, args=(transfer, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert isinstance(desk.result(), os.stat_result)
    assert desk.blob.read_bytes() == CONTENT
    assert len(set(desk.read_back)) == len(desk.read_back)


def interrupted(desk: Desk, offsets: t.Iterable[int], kept: list[int]) -> None:
    """Leave what a run leaves that had these blocks, and with them these chunks."""
    transfer = desk.begin()
    desk.put(transfer, offsets)
    desk.writer.flush()
    wait_for(lambda: sorted(desk.log()) == kept)
    transfer.close()
    assert sorted(desk.log()) == kept
    assert desk.results == []


def wait_for(condition: t.Callable[[], bool]) -> None:
    pause = threading.Event()
    for _number in range(LONG * 100):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (OFFSETS[:3], []),
        (OFFSETS[:4], [0]),
        (OFFSETS[:11], [0, 1]),
        (OFFSETS[8:12], [2]),
        (OFFSETS[16:], [4]),
        (OFFSETS[4:8] + OFFSETS[12:16], [1, 3]),
        (OFFSETS[1:], [1, 2, 3, 4]),
    ],
)
def test_whole_chunks_survive_an_interruption_and_only_the_others_are_fetched(
    desk: Desk, before: list[int], kept: list[int]
) -> None:
    interrupted(desk, before, kept)
    transfer = desk.begin()
    lacking = [offset for offset in OFFSETS if offset // SMALL_CHUNK not in kept]
    leases = [lease for _number in range(9) if (lease := transfer.leases.take(split=False))]
    assert [offset for lease in leases for offset in range(lease.position, lease.stop, SMALL_BLOCK)] == lacking
    assert transfer.resumed == len(CONTENT) - sum(lease.rest.size for lease in leases)
    desk.put(transfer, lacking)
    assert isinstance(desk.result(), os.stat_result)
    assert desk.blob.read_bytes() == CONTENT
    assert len(set(desk.read_back)) == len(desk.read_back)
    assert not chains() or transfer.states == states_of(CONTENT)


@needs_chains
def test_the_log_has_the_chain_values_of_what_was_hashed(desk: Desk) -> None:
    transfer = desk.begin()
    desk.put(transfer, OFFSETS[8:12] + OFFSETS[:5])
    desk.writer.flush()
    states = states_of(CONTENT)
    wait_for(lambda: desk.log() == {0: states[0], 2: ""})
    transfer.close()
    assert desk.log() == {0: states[0], 2: ""}


@needs_chains
@pytest.mark.parametrize("chunk", [0, 1, 3, 4])
def test_a_chunk_that_the_disk_has_lost_is_fetched_again_alone(desk: Desk, chunk: int) -> None:
    transfer = desk.begin()
    desk.put(transfer, OFFSETS[:-1])  # so it does not end
    wait_for(lambda: sorted(desk.log()) == [0, 1, 2, 3])
    desk.put(transfer, OFFSETS[-1:])
    desk.result()
    # As a power cut right before its end leaves it:
    content, states = bytearray(CONTENT), states_of(CONTENT)
    start, stop = chunk * SMALL_CHUNK, min((chunk + 1) * SMALL_CHUNK, len(CONTENT))
    content[start:stop] = bytes(stop - start)
    partial = Partial(str(desk.folder / "x.part"), str(desk.folder / "x.log"), len(CONTENT))
    partial.start()
    for index, state in enumerate(states):
        partial.note_chunk(index, state)
    partial.close()
    (desk.folder / "x.part").write_bytes(content)
    desk.results.clear()
    desk._done.clear()

    again = desk.begin()
    assert desk.wanted.wait(LONG)
    lease = again.leases.take()
    assert lease is not None
    assert lease.rest == Range(start, stop)
    assert again.leases.take() is None
    assert again.resumed == len(CONTENT) - (stop - start)
    desk.put(again, range(start, stop, SMALL_BLOCK))
    assert isinstance(desk.result(), os.stat_result)
    assert desk.blob.read_bytes() == CONTENT
    assert again.states == states


@pytest.mark.parametrize("order", [OFFSETS, OFFSETS[::-1]], ids=["in order", "backwards"])
def test_without_chain_values_a_lost_chunk_is_found_by_the_digest_of_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, order: list[int]
) -> None:
    monkeypatch.setattr(_model_transfer, "new_hash", lambda *_args: WholeHash())
    interrupted(desk, [offset for offset in order if offset < 2 * SMALL_CHUNK], [0, 1])
    assert desk.log() == {0: "", 1: ""}
    with open(desk.folder / "x.part", "r+b") as part:
        part.write(bytes(SMALL_CHUNK))
    transfer = desk.begin()
    desk.put(transfer, [offset for offset in order if offset >= 2 * SMALL_CHUNK])
    assert desk.result() == sha256(bytes(SMALL_CHUNK) + CONTENT[SMALL_CHUNK:])
    assert not desk.blob.exists()
    assert transfer.states == []
    transfer.discard()
    assert os.listdir(desk.folder) == []


def test_content_that_is_not_what_was_pinned_is_told_by_its_digest_and_not_published(desk: Desk) -> None:
    transfer = desk.begin(digest="e" * 64)
    desk.put(transfer, OFFSETS)
    assert desk.result() == sha256(CONTENT)
    assert not desk.blob.exists()
    transfer.discard()
    assert os.listdir(desk.folder) == []


def full(*_args: t.Any) -> t.NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fails", ["write", "note_chunk", "finish", "read"])
def test_an_error_of_the_disk_comes_out_and_nothing_hangs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(Partial, fails, full)
    transfer = desk.begin()
    order = OFFSETS if fails != "read" else OFFSETS[::-1]
    with contextlib.suppress(Stopped):  # as whoever receives is told
        desk.put(transfer, order)
    error = desk.result()
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    desk.writer.flush()  # it lives on, for other transfers


def test_after_an_error_of_the_disk_no_more_blocks_are_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Partial, "write", full)
    transfer = desk.begin()
    desk.put(transfer, OFFSETS[:1])
    desk.result()
    with pytest.raises(Stopped):
        desk.put(transfer, OFFSETS[1:])


def test_a_transfer_that_is_closed_takes_no_more_and_keeps_what_is_there(desk: Desk) -> None:
    transfer = desk.begin()
    desk.put(transfer, OFFSETS[4:8])
    desk.writer.flush()
    transfer.close()
    transfer.close()
    with pytest.raises(Stopped):
        desk.put(transfer, OFFSETS[:1])
    assert desk.results == []
    assert (desk.folder / "x.part").exists()
    assert sorted(desk.log()) == [1]


def test_a_slow_disk_holds_nobody_up_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    write = Partial.write

    def waiting(self: Partial, *args: t.Any) -> None:
        assert gate.wait(LONG)
        write(self, *args)

    monkeypatch.setattr(Partial, "write", waiting)
    transfer = desk.begin()
    thread = threading.Thread(target=desk.put, args=(transfer, OFFSETS))
    thread.start()
    gate.set()
    thread.join(LONG)
    assert isinstance(desk.result(), os.stat_result)


@pytest.mark.parametrize(
    "size", [SMALL_BLOCK + 1, SMALL_CHUNK - 1, SMALL_CHUNK, SMALL_CHUNK + 1, 2 * SMALL_CHUNK, SMALL_BLOCK * 5 + 4096]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_files_of_every_kind_of_size_arrive(desk: Desk, size: int, backwards: bool) -> None:
    content = noise(size)
    transfer = desk.begin(content)
    offsets = list(range(0, size, SMALL_BLOCK))
    desk.put(transfer, offsets[::-1] if backwards else offsets, content)
    assert isinstance(desk.result(), os.stat_result)
    assert desk.blob.read_bytes() == content
    assert not chains() or len(transfer.states) == -(-size // SMALL_CHUNK)


def test_a_buffer_is_waited_for_and_the_wait_ends_with_the_task() -> None:
    buffers, stopped = Buffers(1), threading.Event()
    first = buffers.get(stopped)
    got: list[t.Any] = []
    waiting = threading.Thread(target=lambda: got.append(buffers.get(stopped)))
    waiting.start()
    buffers.put(first)
    waiting.join(LONG)
    assert got == [first]

    def refused() -> None:
        with pytest.raises(Stopped):
            buffers.get(stopped)
        got.append("stopped")

    ending = threading.Thread(target=refused)
    ending.start()
    stopped.set()
    ending.join(LONG)
    assert got == [first, "stopped"]


def test_the_writer_keeps_the_order_and_ends_when_all_is_done() -> None:
    writer, done, gate = Writer(), list[int](), threading.Event()
    writer.put(lambda: gate.wait(LONG))
    for number in range(5):
        writer.put(functools.partial(done.append, number))
    assert done == []
    gate.set()
    writer.flush()
    assert done == [0, 1, 2, 3, 4]
    writer.close()
    assert done == [0, 1, 2, 3, 4]


@needs_chains
def test_hashing_goes_on_from_chain_values_that_a_library_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only one hash per chunk that is gone on from: what was hashed before is not hashed again for the next chunk.
    hashed = hashlib.sha256()
    update = _model_chain.ChainHash.update

    def counting(self: t.Any, data: t.Any) -> None:
        hashed.update(data)
        update(self, data)

    monkeypatch.setattr(_model_chain.ChainHash, "update", counting)
    transfer = desk.begin()
    desk.put(transfer, OFFSETS)
    desk.result()
    assert hashed.hexdigest() == sha256(CONTENT)
