# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a depot's folder: what is there, and never what a link leads to."""

from __future__ import annotations

import errno
import hashlib
import os
import pathlib
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, check_layout, read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import LAYOUT_CONTENT, Volume

CONTENT = bytes(range(256)) * 20
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: pathlib.Path) -> pathlib.Path:
    depot = tmp_path / "depot"
    (depot / "blobs" / "sha256").mkdir(parents=True)
    (depot / "metadata").mkdir()
    (depot / "oci-layout").write_bytes(LAYOUT_CONTENT)
    (depot / "metadata" / "timestamp.json").write_bytes(b"{}")
    (depot / "blobs" / "sha256" / DIGEST).write_bytes(CONTENT)
    return depot


def reason_of(action: t.Callable[[], t.Any]) -> str:
    with pytest.raises(DepotError) as refusal:
        action()
    return refusal.value.reason


def in_parts(depot: pathlib.Path, size: int) -> None:
    blob = depot / "blobs" / "sha256" / DIGEST
    for number, start in enumerate(range(0, len(CONTENT), size)):
        blob.with_name(f"{DIGEST}.p{number:04d}").write_bytes(CONTENT[start : start + size])
    blob.unlink()


def test_a_blob_is_read_from_anywhere(depot: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_folder, "PIECE", 1000)
    folder = Folder(str(depot))
    assert folder.blob_size(DIGEST) == len(CONTENT)
    for start in (0, 1, 999, 1000, len(CONTENT) - 1, len(CONTENT)):
        assert b"".join(folder.pieces(DIGEST, start)) == CONTENT[start:]


@pytest.mark.parametrize("size", [1000, 2560, len(CONTENT), 1024])
def test_a_blob_in_parts_is_the_same_blob(depot: pathlib.Path, size: int) -> None:
    in_parts(depot, size)
    folder = Folder(str(depot))
    assert folder.blob_size(DIGEST) == len(CONTENT)
    assert [b"".join(folder.pieces(DIGEST, start)) for start in (0, size - 1, size, size + 1)] == [
        CONTENT[start:] for start in (0, size - 1, size, size + 1)
    ]
    assert read_blob(folder, DIGEST, len(CONTENT)) == CONTENT


def test_a_blob_that_lacks_a_part_is_not_taken_for_whole(depot: pathlib.Path) -> None:
    in_parts(depot, 1000)
    (depot / "blobs" / "sha256" / f"{DIGEST}.p0002").unlink()
    assert reason_of(lambda: read_blob(Folder(str(depot)), DIGEST, len(CONTENT), len(CONTENT))) == "blob_corrupt"


def test_what_is_not_there_is_nothing_or_said_to_be_missing(depot: pathlib.Path) -> None:
    folder = Folder(str(depot))
    assert folder.read("metadata/1.root.json", 100) is None
    assert folder.blob_size("0" * 64) is None
    assert reason_of(lambda: list(folder.pieces("0" * 64))) == "blob_missing"
    assert reason_of(lambda: read_blob(folder, "0" * 64, 100)) == "blob_missing"
    assert folder.names("receipts") == []
    assert folder.names("metadata") == ["timestamp.json"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CONTENT[:-1], id="too short"),
        pytest.param(CONTENT + b"x", id="too long"),
        pytest.param(b"x" + CONTENT[1:], id="of the same length"),
        pytest.param(b"", id="empty"),
    ],
)
def test_other_content_is_refused(depot: pathlib.Path, content: bytes) -> None:
    (depot / "blobs" / "sha256" / DIGEST).write_bytes(content)
    folder = Folder(str(depot))
    assert reason_of(lambda: read_blob(folder, DIGEST, len(CONTENT), len(CONTENT))) == "blob_corrupt"


def test_a_bomb_is_refused_by_its_size(depot: pathlib.Path) -> None:
    for name in (f"blobs/sha256/{DIGEST}", "metadata/timestamp.json"):
        os.truncate(depot / name, 10 << 30)
    folder = Folder(str(depot))
    assert reason_of(lambda: read_blob(folder, DIGEST, len(CONTENT))) == "blob_corrupt"
    assert reason_of(lambda: folder.read("metadata/timestamp.json", 1 << 20)) == "blob_corrupt"


@pytest.mark.parametrize("name", [f"blobs/sha256/{DIGEST}", "blobs/sha256", "blobs", "oci-layout", "metadata"])
def test_a_link_is_never_followed(depot: pathlib.Path, name: str) -> None:
    elsewhere = depot.parent / "elsewhere"
    (depot / name).rename(elsewhere)
    (depot / name).symlink_to(elsewhere)
    folder = Folder(str(depot))

    def read_all() -> None:
        check_layout(folder)
        read_blob(folder, DIGEST, len(CONTENT))

    assert reason_of(read_all) == "unsafe_path"


def test_a_pipe_is_no_file(depot: pathlib.Path) -> None:
    os.mkfifo(depot / "metadata" / "1.root.json")
    assert reason_of(lambda: Folder(str(depot)).read("metadata/1.root.json", 100)) == "unsafe_path"


def test_the_depot_itself_may_be_reached_by_a_link(depot: pathlib.Path) -> None:
    (depot.parent / "usb").symlink_to(depot)
    assert read_blob(Folder(str(depot.parent / "usb")), DIGEST, len(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda depot: (depot / "oci-layout").unlink(), id="no layout"),
        pytest.param(lambda depot: (depot / "oci-layout").write_bytes(b'{"imageLayoutVersion":"2"}'), id="another one"),
        pytest.param(lambda depot: (depot / "metadata" / "timestamp.json").unlink(), id="not written to its end"),
        pytest.param(lambda depot: (depot / "depot.json").write_bytes(b"{}"), id="a volume of what"),
    ],
)
def test_what_is_no_depot_is_said_to_be_none(depot: pathlib.Path, spoil: t.Callable[[pathlib.Path], None]) -> None:
    spoil(depot)
    assert reason_of(lambda: check_layout(Folder(str(depot)))) == "not_a_depot"


def test_a_folder_that_is_not_there_is_no_depot(tmp_path: pathlib.Path) -> None:
    assert reason_of(lambda: check_layout(Folder(str(tmp_path / "usb")))) == "not_a_depot"


def test_a_depot_says_what_the_medium_holds(depot: pathlib.Path) -> None:
    assert check_layout(Folder(str(depot))) == Volume()
    volume = Volume(2, 2, frozenset({DIGEST}))
    (depot / "depot.json").write_bytes(volume.encode())
    assert check_layout(Folder(str(depot))) == volume


def test_a_medium_that_fails_says_so(depot: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: t.Any) -> t.NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    assert reason_of(lambda: read_blob(Folder(str(depot)), DIGEST, len(CONTENT))) == "io_error"


def test_a_file_that_shrinks_while_it_is_read_is_refused(depot: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_folder, "PIECE", 1000)
    pieces = Folder(str(depot)).pieces(DIGEST)
    next(pieces)
    os.truncate(depot / "blobs" / "sha256" / DIGEST, 1000)
    assert reason_of(lambda: list(pieces)) == "blob_corrupt"
