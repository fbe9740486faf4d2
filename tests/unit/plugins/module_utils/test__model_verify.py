# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import chains, new_hash
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import Range
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Content, Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_CHUNK,
    noise,
    sha256,
    shrink,
)

CONTENT = noise(5 * SMALL_CHUNK + 5000)
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


class Shelf:
    """A store with files in it, some of which have their chain values on record."""

    def __init__(self, root: Path) -> None:
        self.store = Store(str(root))
        self.told: list[int] = []
        self.reader = Reader(self.store, self.told.append)

    def put(self, found: bytes, pinned: bytes = CONTENT, states: bool = True) -> Content:
        digest = sha256(pinned)
        Path(self.store.blob(digest)).write_bytes(found)
        if states:
            self.store.write_states(digest, len(pinned), states_of(pinned))
        return Content(self.store.blob(digest), digest, len(pinned))


def states_of(content: bytes) -> list[str]:
    states = []
    for stop in range(SMALL_CHUNK, len(content), SMALL_CHUNK):
        hasher = new_hash()
        hasher.update(content[:stop])
        states.append(hasher.state())
    return states


@pytest.fixture(name="shelf")
def shelf_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Shelf]:
    shrink(monkeypatch)
    shelf = Shelf(tmp_path / "root")
    with shelf.store.locked(0):
        descriptors = set(os.listdir("/proc/self/fd"))
        yield shelf
        assert set(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"


def changed(content: bytes, *chunks: int) -> bytes:
    """Return content with one bit changed in each of some chunks."""
    result = bytearray(content)
    for index in chunks:
        result[min((index + 1) * SMALL_CHUNK, len(content)) - 1] ^= 1
    return bytes(result)


def span(first: int, last: int) -> Range:
    return Range(first * SMALL_CHUNK, min((last + 1) * SMALL_CHUNK, len(CONTENT)))


DAMAGES: list[t.Any] = [
    # what is found, the chunks that are right, the ranges that are wrong
    pytest.param(CONTENT, [0, 1, 2, 3, 4, 5], [], id="whole"),
    pytest.param(changed(CONTENT, 0), [1, 2, 3, 4, 5], [span(0, 0)], id="first"),
    pytest.param(changed(CONTENT, 3), [0, 1, 2, 4, 5], [span(3, 3)], id="middle"),
    pytest.param(changed(CONTENT, 5), [0, 1, 2, 3, 4], [span(5, 5)], id="last"),
    pytest.param(changed(CONTENT, 1, 4), [0, 2, 3, 5], [span(1, 1), span(4, 4)], id="two"),
    pytest.param(changed(CONTENT, 2, 3), [0, 1, 4, 5], [span(2, 3)], id="neighbours"),
    pytest.param(changed(CONTENT, 4, 5), [0, 1, 2, 3], [span(4, 5)], id="the last two"),
    pytest.param(changed(CONTENT, *range(6)), [], [span(0, 5)], id="all"),
    pytest.param(CONTENT[: 3 * SMALL_CHUNK + 9], [0, 1, 2], [span(3, 5)], id="truncated"),
    pytest.param(changed(CONTENT, 1)[:-1], [0, 2, 3, 4], [span(1, 1), span(5, 5)], id="truncated and changed"),
    pytest.param(b"", [], [span(0, 5)], id="emptied"),
]


@needs_chains
@pytest.mark.parametrize(("found", "good", "corrupt"), DAMAGES)
def test_each_chunk_is_proven_alone(shelf: Shelf, found: bytes, good: list[int], corrupt: list[Range]) -> None:
    content = shelf.put(found)
    verdict = shelf.reader.verdict(content)
    states = [*states_of(CONTENT), ""]
    assert verdict.right is (found == CONTENT)
    assert dict(verdict.good) == {index: states[index] for index in good}
    assert list(verdict.corrupt(len(CONTENT))) == corrupt


@pytest.mark.parametrize(
    ("found", "right"),
    [(CONTENT, True), (changed(CONTENT, 2), False), (CONTENT[:-1], False), (CONTENT + b"x", False), (b"", False)],
)
def test_without_chain_values_on_record_a_file_is_right_or_wrong_as_a_whole(
    shelf: Shelf, found: bytes, right: bool
) -> None:
    verdict = shelf.reader.verdict(shelf.put(found, states=False))
    assert (verdict.right, dict(verdict.good), verdict.corrupt(len(CONTENT))) == (right, {}, ())
    # What has another size is not worth being read.
    assert shelf.reader.bytes_read == (len(CONTENT) if len(found) == len(CONTENT) else 0)


@needs_chains
def test_a_file_that_is_longer_is_wrong_though_all_of_its_chunks_are_right(shelf: Shelf) -> None:
    verdict = shelf.reader.verdict(shelf.put(CONTENT + b"x"))
    assert not verdict.right
    assert sorted(verdict.good) == [0, 1, 2, 3, 4, 5]
    assert verdict.corrupt(len(CONTENT)) == ()


def test_without_access_to_chain_values_files_are_read_as_a_whole(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in (CONTENT, changed(CONTENT, 1)):
        content = shelf.put(found)
        with monkeypatch.context() as patch:
            patch.setattr(_model_verify, "chains", lambda: False)
            verdict = Reader(shelf.store).verdict(content)
        assert (verdict.right, dict(verdict.good)) == (found == CONTENT, {})


@pytest.mark.parametrize("size", [0, 1, SMALL_CHUNK, SMALL_CHUNK + 1])
@pytest.mark.parametrize("damaged", [False, True])
def test_files_of_few_chunks_are_read_as_well(shelf: Shelf, size: int, damaged: bool) -> None:
    pinned = noise(size)
    content = shelf.put((changed(pinned, 0) if pinned else b"x") if damaged else pinned, pinned)
    assert shelf.reader.verdict(content).right is not damaged


TAMPERED: list[t.Any] = [
    pytest.param({0: "0" * 64}, id="the first"),
    pytest.param({2: "0" * 64}, id="one"),
    pytest.param({4: "0" * 64}, id="the last"),
    pytest.param({1: "0" * 64, 2: "1" * 64}, id="neighbours"),
    pytest.param(dict.fromkeys(range(5), "0" * 64), id="all"),
]


@needs_chains
@pytest.mark.parametrize("states", TAMPERED)
def test_right_content_is_right_whatever_its_record_says(shelf: Shelf, states: dict[int, str]) -> None:
    content = shelf.put(CONTENT)
    true = states_of(CONTENT)
    shelf.store.write_states(content.sha256, content.size, [states.get(index, true[index]) for index in range(5)])
    assert shelf.reader.verdict(content).right


@needs_chains
@pytest.mark.parametrize("states", TAMPERED)
def test_wrong_content_is_wrong_whatever_its_record_says(shelf: Shelf, states: dict[int, str]) -> None:
    for chunks in ([0], [2], [5], [1, 2], range(6)):
        found = changed(CONTENT, *chunks)
        content = shelf.put(found)
        for true in (states_of(CONTENT), states_of(found)):
            record = [states.get(index, true[index]) for index in range(5)]
            shelf.store.write_states(content.sha256, content.size, record)
            assert not Reader(shelf.store).verdict(content).right


@needs_chains
def test_a_record_that_agrees_with_wrong_content_leaves_the_pinned_digest_to_decide(shelf: Shelf) -> None:
    other = noise(len(CONTENT), 2)
    content = shelf.put(other)
    shelf.store.write_states(content.sha256, content.size, states_of(other))
    assert not shelf.reader.verdict(content).right


def test_several_files_are_read_at_once_and_each_inode_once(shelf: Shelf) -> None:
    contents = []
    for seed in range(6):
        pinned = noise(3 * SMALL_CHUNK + seed, seed)
        content = shelf.put(pinned if seed % 2 else changed(pinned, 1), pinned)
        twin = content.path + ".twin"
        os.link(content.path, twin)
        contents += [content, content._replace(path=twin)]
    size = sum(content.size for content in contents) // 2
    shelf.reader.read(contents)
    verdicts = [shelf.reader.verdict(content).right for content in contents]
    assert verdicts == [False, False, True, True] * 3
    assert shelf.reader.bytes_read == sum(shelf.told) == size
    shelf.reader.read(contents)
    assert shelf.reader.bytes_read == size


def test_one_content_that_is_pinned_with_two_digests_is_read_for_each(shelf: Shelf) -> None:
    content = shelf.put(CONTENT)
    assert shelf.reader.verdict(content).right
    assert not shelf.reader.verdict(content._replace(sha256="e" * 64)).right


def test_a_file_that_was_written_to_is_read_again(shelf: Shelf) -> None:
    content = shelf.put(CONTENT)
    assert shelf.reader.verdict(content).right
    with open(content.path, "r+b") as file:
        file.write(b"\x00")
    os.utime(content.path, ns=(1, 1))  # whatever the clock's resolution
    assert not shelf.reader.verdict(content).right


def test_a_file_that_is_touched_at_this_very_moment_is_read_all_the_same(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = shelf.put(CONTENT)
    lstat, times = os.lstat, iter(range(1, 9))

    def touching(path: str) -> os.stat_result:
        status = lstat(path)
        os.utime(path, ns=(0, next(times)))  # as another task does that links the content
        return status

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", touching)
        assert shelf.reader.verdict(content).right


def test_a_disk_that_cannot_be_read_is_told_with_the_file(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: t.Any) -> t.NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    content = shelf.put(CONTENT)
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(ModelError, match="Input/output error") as caught:
        shelf.reader.verdict(content)
    assert caught.value.reason == "io_error"
    assert caught.value.details == {"path": content.path}


def test_a_link_in_the_place_of_a_file_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    content = shelf.put(CONTENT)
    os.unlink(content.path)
    os.symlink(tmp_path / "elsewhere", content.path)
    assert stat.S_ISLNK(os.lstat(content.path).st_mode)
    with pytest.raises(ModelError, match="cannot be read"):
        Reader(shelf.store).read([content._replace(size=os.lstat(content.path).st_size)])


@pytest.mark.parametrize("at", ["open", "preadv"])
def test_where_the_page_cache_cannot_be_passed_by_it_is_read_through_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    content = shelf.put(CONTENT)
    direct: set[int] = set()
    refused = []
    os_open, preadv = os.open, os.preadv

    def opening(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT and at == "open":
            refused.append(at)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fd = os_open(path, flags, mode)
        (direct.add if flags & os.O_DIRECT else direct.discard)(fd)
        return fd

    def reading(fd: int, *args: t.Any) -> int:
        if fd in direct:
            direct.discard(fd)
            refused.append(at)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return preadv(fd, *args)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "preadv", reading)
    assert Reader(shelf.store).verdict(content).right
    assert refused
