# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _store_partial
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import aligned_buffer
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Log, Partial, read_log
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_BLOCK,
    SMALL_CHUNK,
    noise,
    shrink,
)

SIZE = 2 * SMALL_CHUNK + 5000  # three chunks, the last one's end is that of no block of a disk
CONTENT = noise(SIZE)
STATE = "ab" * 32


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


class Place:
    def __init__(self, folder: Path) -> None:
        self.part, self.log, self.blob = folder / "x.part", folder / "x.log", folder / "blob"
        self.opened: list[Partial] = []

    def open(self, size: int = SIZE) -> Partial:
        partial = Partial(str(self.part), str(self.log), size)
        self.opened.append(partial)
        return partial

    def lines(self) -> list[t.Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(name="place")
def place_fixture(tmp_path: Path) -> t.Iterator[Place]:
    place = Place(tmp_path)
    descriptors = set(os.listdir("/proc/self/fd"))
    yield place
    for partial in place.opened:
        partial.close()
    assert set(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"


def write(partial: Partial, content: bytes = CONTENT, start: int = 0, stop: int | None = None) -> None:
    """Write a part of a file in blocks, as a transfer does."""
    buffer = aligned_buffer(SMALL_BLOCK)
    buffer[:] = b"\xee" * SMALL_BLOCK  # what was in it before must not matter
    for offset in range(start, len(content) if stop is None else stop, SMALL_BLOCK):
        data = content[offset : offset + SMALL_BLOCK]
        buffer[: len(data)] = data
        partial.write(buffer, len(data), offset)


def read(partial: Partial) -> bytes:
    buffer = aligned_buffer(SMALL_BLOCK)
    found = b""
    for offset in range(0, partial.size, SMALL_BLOCK):
        count = partial.read(buffer, offset)
        found += bytes(buffer[: min(count, partial.size - offset)])
    return found


def test_a_new_file_has_its_size_its_space_and_an_empty_log(place: Place) -> None:
    partial = place.open()
    assert partial.start() == Log()
    assert place.part.stat().st_size == SIZE
    assert place.part.stat().st_mode & 0o777 == 0o600
    assert place.lines() == [["file", 1, SIZE, SMALL_CHUNK]]


def test_what_was_noted_is_there_when_it_is_gone_on_with(place: Place) -> None:
    partial = place.open()
    partial.start()
    write(partial)
    partial.note_source("https://h/m", '"1"')
    partial.note_chunk(2, "")
    partial.note_chunk(0, STATE)
    partial.note_chunk(2, STATE)  # what is known later counts
    partial.close()
    again = place.open()
    assert again.start() == Log({0: STATE, 2: STATE}, {"https://h/m": '"1"'})
    assert read(again) == CONTENT
    again.note_chunk(1, "")
    assert read_log(str(place.log), SIZE) == Log({0: STATE, 1: "", 2: STATE}, {"https://h/m": '"1"'})


def test_beginning_anew_forgets_bytes_and_log(place: Place) -> None:
    partial = place.open()
    partial.start()
    write(partial)
    partial.note_chunk(0, STATE)
    partial.restart()
    assert read(partial) == bytes(SIZE)
    assert read_log(str(place.log), SIZE) == Log()
    partial.note_chunk(1, "")
    assert read_log(str(place.log), SIZE) == Log({1: ""})


FILE = f'["file",1,{SIZE},{SMALL_CHUNK}]\n'
LOGS: list[t.Any] = [
    # the log, what it tells
    ("", Log()),
    (FILE, Log()),
    (FILE + '["chunk",0,"a"]\n["chunk",1,"b"]\n', Log({0: "a", 1: "b"})),
    (FILE + '["chunk",0,"a"]\n["chunk",1,"b"]', Log({0: "a"})),  # torn at its very end
    (FILE + '["chunk",0,"a"]\n["chu\n["chunk",1,"b"]\n', Log({0: "a"})),  # torn, and written on by another run
    (FILE + '["chunk",0,"a"]\n\n["chunk",1,"b"]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n\x00\x00\x00\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n["chunk",true,"b"]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n["chunk",1]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n["chunk","1","b"]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n{"chunk":1}\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n[]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n[[],0,"a"]\n', Log({0: "a"})),
    (FILE + '["chunk",0,"a"]\n["later",0,"a"]\n', Log({0: "a"})),
    (FILE + '["chunk",2,"a"]\n["chunk",3,"b"]\n["chunk",-1,"b"]\n', Log({2: "a"})),  # beyond the file
    (FILE + '["from","s","v"]\n["from","s","w"]\n', Log({}, {"s": "w"})),
    (f'["file",1,{SIZE + 1},{SMALL_CHUNK}]\n["chunk",0,"a"]\n', Log()),
    (f'["file",1,{SIZE},{SMALL_CHUNK * 2}]\n["chunk",0,"a"]\n', Log()),
    (f'["file",2,{SIZE},{SMALL_CHUNK}]\n["chunk",0,"a"]\n', Log()),
    ('["chunk",0,"a"]\n', Log()),
    ("garbage\n", Log()),
]


@pytest.mark.parametrize(("text", "log"), LOGS)
def test_a_log_is_believed_up_to_the_first_line_that_makes_no_sense(place: Place, text: str, log: Log) -> None:
    place.log.write_text(text)
    assert read_log(str(place.log), SIZE) == log


def test_a_log_that_is_no_text_or_is_not_there_tells_nothing(place: Place) -> None:
    assert read_log(str(place.log), SIZE) == Log()
    place.log.write_bytes(b"\xff\xfe\x00" * 100)
    assert read_log(str(place.log), SIZE) == Log()
    assert read_log(str(place.log / "x"), SIZE) == Log()


@pytest.mark.parametrize("size", [None, 0, SIZE - 1])
def test_a_log_whose_file_is_gone_or_too_short_is_not_gone_on_with(place: Place, size: int | None) -> None:
    place.log.write_text(FILE + '["chunk",0,"a"]\n')
    if size is not None:
        place.part.write_bytes(bytes(size))
    assert place.open().start() == Log()
    assert place.part.stat().st_size == SIZE
    assert place.lines() == [["file", 1, SIZE, SMALL_CHUNK]]


def test_a_file_of_no_bytes_can_be_finished(place: Place) -> None:
    partial = place.open(0)
    partial.start()
    assert partial.finish(str(place.blob)).st_size == 0


class Refusal:
    """A file system that does not do O_DIRECT, or only says so when it is used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
        self.refused = 0
        self._direct: set[int] = set()
        self._open = os.open
        self._at = at
        monkeypatch.setattr(os, "open", self.open)
        for name in ("pwrite", "preadv"):
            monkeypatch.setattr(os, name, self._refusing(name, getattr(os, name)))

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT and self._at == "open":
            self.refused += 1
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        fd = self._open(path, flags, mode)
        (self._direct.add if flags & os.O_DIRECT else self._direct.discard)(fd)
        return fd

    def _refusing(self, name: str, call: t.Callable[..., int]) -> t.Callable[..., int]:
        def refusing(fd: int, *args: t.Any) -> int:
            if fd in self._direct and self._at in (name, "use"):
                self.refused += 1
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return call(fd, *args)

        return refusing


@pytest.mark.parametrize("window", [SMALL_CHUNK, 32 << 20])
@pytest.mark.parametrize("at", ["", "open", "pwrite", "preadv", "use"])
def test_the_bytes_are_the_same_where_the_page_cache_cannot_be_passed_by(
    place: Place, monkeypatch: pytest.MonkeyPatch, at: str, window: int
) -> None:
    refusal = Refusal(monkeypatch, at)
    monkeypatch.setattr(_store_partial, "_WINDOW", window)
    partial = place.open()
    partial.start()
    write(partial)
    assert read(partial) == CONTENT
    partial.finish(str(place.blob))
    assert place.blob.read_bytes() == CONTENT
    assert refusal.refused == bool(at)


def test_where_reading_past_the_page_cache_fails_first_it_is_read_through_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = place.open()
    partial.start()
    write(partial)
    partial.close()
    Refusal(monkeypatch, "use")
    again = place.open()
    assert read(again) == CONTENT  # as a run does that goes on with what another one has brought


def test_another_error_of_the_disk_is_not_taken_for_a_lack_of_support(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = place.open()
    partial.start()

    def broken(*_args: t.Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write(partial)
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        read(partial)


def test_a_write_that_takes_a_part_only_is_gone_on_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:4096], offset))
    partial = place.open()
    partial.start()
    write(partial)
    assert read(partial) == CONTENT


def test_finished_content_is_read_only_as_long_as_it_should_be_and_leaves_no_log(place: Place) -> None:
    partial = place.open()
    partial.start()
    write(partial)
    partial.note_chunk(0, STATE)
    assert place.part.stat().st_size >= SIZE
    status = partial.finish(str(place.blob))
    assert (stat.S_IMODE(status.st_mode), status.st_size, status.st_ino) == (0o444, SIZE, place.blob.stat().st_ino)
    assert place.blob.read_bytes() == CONTENT
    assert sorted(path.name for path in place.blob.parent.iterdir()) == ["blob"]


def test_what_is_discarded_is_gone_and_to_close_twice_is_no_harm(place: Place) -> None:
    partial = place.open()
    partial.start()
    write(partial)
    partial.close()
    partial.discard()
    partial.close()
    assert list(place.blob.parent.iterdir()) == []


@pytest.mark.parametrize("window", [4096, 3 * 4096, 32 << 20])
def test_ranges_of_another_file_come_to_the_same_places(
    place: Place, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(_store_partial, "_WINDOW", window)
    place.blob.write_bytes(CONTENT)
    partial = place.open()
    partial.start()
    with open(place.blob, "rb") as file:
        partial.copy_from(file.fileno(), SMALL_CHUNK, SMALL_CHUNK)
        assert read(partial) == bytes(SMALL_CHUNK) + CONTENT[SMALL_CHUNK : 2 * SMALL_CHUNK] + bytes(5000)
        partial.copy_from(file.fileno(), 2 * SMALL_CHUNK, 5000)
    assert read(partial) == bytes(SMALL_CHUNK) + CONTENT[SMALL_CHUNK:]


def test_a_file_that_ends_before_the_range_that_is_copied_is_an_error(place: Place) -> None:
    place.blob.write_bytes(CONTENT[:100])
    partial = place.open()
    partial.start()
    with open(place.blob, "rb") as file, pytest.raises(OSError, match="ends early"):
        partial.copy_from(file.fileno(), 0, 5000)


@pytest.mark.parametrize("name", ["part", "log"])
def test_a_link_is_not_written_through(place: Place, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    getattr(place, name).symlink_to(tmp_path / "elsewhere")
    if name == "part":
        with pytest.raises(OSError, match="symbolic links"):
            place.open()
    else:
        place.open().start()  # what is not ours goes
        assert not place.log.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_claim_is_on_the_disk_only_after_its_bytes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    partial = place.open()
    partial.start()
    names = {partial._fd: "bytes", partial._log: "log"}
    monkeypatch.setattr(os, "fdatasync", lambda fd: done.append(f"sync {names[fd]}"))
    monkeypatch.setattr(_store_partial, "_SYNC_EVERY", 0.0)
    monkeypatch.setattr(partial, "_append", lambda entry: done.append(str(entry)))
    partial.note_chunk(1, "")
    assert done == ["sync bytes", "['chunk', 1, '']", "sync log"]
