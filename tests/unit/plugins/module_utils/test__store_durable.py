# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ctypes
import errno
import os
import threading
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import (
    locked,
    make_dirs,
    read_json,
    remove,
    sync_dir,
    sync_file_system,
    write_json,
)


def test_folders_get_their_mode_whatever_the_umask_and_what_exists_keeps_its_own(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        (tmp_path / "a").mkdir(mode=0o700)
        make_dirs(str(tmp_path / "a" / "b" / "c"))
    finally:
        os.umask(old)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c")] == [
        0o700,
        0o755,
        0o755,
    ]


def test_json_is_replaced_and_readable_by_all(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    for document in ({"a": 1}, {"b": [2]}):
        write_json(path, document)
        assert read_json(path) == document
    assert os.listdir(tmp_path) == ["x.json"]
    assert os.stat(path).st_mode & 0o777 == 0o644


@pytest.mark.parametrize("content", [None, b"", b'{"a":', b"\xff\xfe"])
def test_a_missing_or_torn_json_file_reads_as_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    assert read_json(str(tmp_path / "x.json")) is None


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("gone", "link", "never there"):
        remove(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_held_lock_is_refused_with_its_holder_and_free_again_after(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with locked(path, 0), pytest.raises(ModelError, match=f"process {os.getpid()}") as caught, locked(path, 0):
        pass
    assert caught.value.reason == "locked"
    with locked(path, 0):
        pass


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with locked(path, 60):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(path, 0):
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), locked(str(tmp_path / "lock"), 0):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_is_synced_and_a_failure_of_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_file_system(str(tmp_path))
    sync_dir(str(tmp_path))

    class Library:
        def __init__(self, *_args: object, **_options: object) -> None:
            pass

        def syncfs(self, _fd: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    descriptors = os.listdir("/proc/self/fd")
    monkeypatch.setattr(ctypes, "CDLL", Library)
    with pytest.raises(OSError, match="Input/output error") as caught:
        sync_file_system(str(tmp_path))
    assert caught.value.filename == str(tmp_path)
    assert os.listdir("/proc/self/fd") == descriptors
