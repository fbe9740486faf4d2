# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_file import FileOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import FileSource

CONTENT = bytes(range(256)) * 40


@pytest.fixture(name="source")
def source_fixture(tmp_path: Path) -> FileSource:
    (tmp_path / "m").write_bytes(CONTENT)
    return FileSource(str(tmp_path / "m"))


def read(source: FileSource, start: int = 0, stop: int | None = None, validator: str = "") -> tuple[int, bytes]:
    """Return the stream's offset and bytes."""
    with FileOrigin().open(source, start, stop, validator) as stream:
        content = b""
        buffer = memoryview(bytearray(1000))
        while count := stream.readinto(buffer):
            content += bytes(buffer[:count])
        return stream.offset, content


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, None), (0, len(CONTENT)), (1, 2), (5000, 9999), (300, None), (0, 0), (len(CONTENT), None), (9000, 99999)],
)
def test_a_range_is_read_and_no_more(source: FileSource, start: int, stop: int | None) -> None:
    assert read(source, start, stop) == (start, CONTENT[start:stop])


def test_size_and_version_are_told_before_and_while_reading(source: FileSource) -> None:
    told = FileOrigin().probe(source)
    assert told == Told(len(CONTENT), f"{os.stat(source.path).st_mtime_ns}-{len(CONTENT)}", True)
    with FileOrigin().open(source, 5, 6, told.validator) as stream:
        assert stream.told == told


def test_another_version_than_the_one_begun_is_read_from_its_beginning(source: FileSource) -> None:
    told = FileOrigin().probe(source)
    os.utime(source.path, ns=(1, 1))
    with FileOrigin().open(source, 100, 200, told.validator) as stream:
        assert (stream.offset, stream.told.ranges) == (0, False)
        assert stream.told.validator != told.validator
    assert read(source, 100, 200, told.validator) == (0, CONTENT)


def test_threads_read_one_file_at_once(source: FileSource) -> None:
    origin = FileOrigin()

    def part(start: int) -> bytes:
        with origin.open(source, start, start + 512) as stream:
            buffer = bytearray(1000)
            return bytes(buffer[: stream.readinto(memoryview(buffer))])

    with ThreadPoolExecutor(4) as threads:
        assert b"".join(threads.map(part, range(0, len(CONTENT), 512))) == CONTENT


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
    ],
    ids=["missing", "folder", "pipe", "device"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, make: t.Callable[[Path], None], says: str) -> None:
    make(tmp_path / "m")
    source = FileSource(str(tmp_path / "m"))
    for attempt in (FileOrigin().probe, read):
        with pytest.raises(ModelError, match=says) as caught:
            attempt(source)
        assert (caught.value.reason, caught.value.transient) == ("unavailable", False)


def test_a_stick_that_is_pulled_is_reported(source: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def pulled(*_args: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with FileOrigin().open(source) as stream:
        monkeypatch.setattr(os, "preadv", pulled)
        with pytest.raises(ModelError, match="Input/output error; is it mounted") as caught:
            stream.readinto(memoryview(bytearray(9)))
    assert caught.value.reason == "unavailable"
