# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import (
    Settings,
    check_local,
    delay,
    fetch_all,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> t.Iterator[Store]:
    store = Store(str(tmp_path / "root"))
    with store.locked(0):
        yield store


def a_file(path: Path, content: bytes, size: int | None = None) -> WantedFile:
    digest = hashlib.sha256(content).hexdigest()
    return WantedFile("m.bin", digest, len(content) if size is None else size, parse_source(f"file://{path}", "m"))


def no_commands(command: t.Sequence[str], _folder: str) -> Ended:
    raise AssertionError(f"nothing here needs {command}")


def fetch(store: Store, *files: WantedFile) -> list[tuple[WantedFile, Stamp]]:
    return list(fetch_all(store, files, Settings(retries=0), HostPip(no_commands)))


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one byte", "several blocks"])
def test_content_arrives_whole_and_read_only_with_its_stamp(store: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    file = a_file(tmp_path / "m", content)
    ((fetched, stamp),) = fetch(store, file)
    blob = Path(store.blob(file.sha256))
    assert fetched is file
    assert blob.read_bytes() == content
    assert blob.stat().st_mode & 0o777 == 0o444
    assert stamp.same_content(Stamp.of(blob.stat()))


def test_content_that_is_not_what_was_pinned_is_deleted_and_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"evil")
    file = a_file(tmp_path / "m", b"good")
    with pytest.raises(ModelError) as caught:
        fetch(store, file)
    got = hashlib.sha256(b"evil").hexdigest()
    assert caught.value.reason == "digest_mismatch"
    assert caught.value.details == {
        "path": "m.bin",
        "source": f"file://{tmp_path}/m",
        "expected": file.sha256,
        "got": got,
        "received": 4,
    }
    assert not [fact for fact in ("m.bin", f"file://{tmp_path}/m", file.sha256, got) if fact not in str(caught.value)]
    assert os.listdir(store.blobs) == os.listdir(store.partial) == []


def test_a_failed_file_leaves_the_ones_before_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"good")
    good, bad = a_file(tmp_path / "m", b"good"), a_file(tmp_path / "gone", b"gone")
    with pytest.raises(ModelError, match="cannot be read"):
        fetch(store, good, bad)
    assert os.listdir(store.blobs) == [good.sha256]


@pytest.mark.parametrize("size", [3, 5])
def test_a_local_file_of_another_size_is_refused_unread(tmp_path: Path, size: int) -> None:
    (tmp_path / "m").write_bytes(b"good")
    with pytest.raises(ModelError, match=f"size {size} is pinned, but the source has 4 bytes") as caught:
        check_local([a_file(tmp_path / "m", b"good", size)])
    assert caught.value.reason == "size_mismatch"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
    ],
    ids=["missing", "folder", "pipe"],
)
def test_a_local_source_that_is_no_file_is_refused(tmp_path: Path, make: t.Callable[[Path], None], says: str) -> None:
    make(tmp_path / "m")
    with pytest.raises(ModelError, match=says) as caught:
        check_local([a_file(tmp_path / "m", b"good")])
    assert caught.value.reason == "unavailable"


def test_delays_double_stay_within_their_jitter_and_end_at_a_minute() -> None:
    bounds = [(delay(tries, 1.0, 0), 2.0 ** (tries - 1)) for tries in range(1, 12)]
    assert all(min(most / 2, 60) <= waited <= min(most, 60) for waited, most in bounds)


@pytest.mark.parametrize(("retry_after", "waited"), [(30, 30), (3600, 60)])
def test_a_server_is_given_the_time_it_asks_for_within_bounds(retry_after: float, waited: float) -> None:
    assert delay(1, 0.001, retry_after) == waited
