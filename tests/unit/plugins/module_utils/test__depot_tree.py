# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import (
    digest_of,
    digests_below,
    put,
    write_whole,
)


def test_every_file_is_named_by_its_path_below_the_folder_with_its_digest(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.deb").write_bytes(b"a")
    (tmp_path / "Packages").write_bytes(b"")
    assert digests_below(str(tmp_path)) == {
        "Packages": hashlib.sha256(b"").hexdigest(),
        "pool/a.deb": hashlib.sha256(b"a").hexdigest(),
    }


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert digests_below(str(tmp_path / "none")) == {}


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling link", "pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sub").mkdir()
    odd = tmp_path / "sub" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        target = {"link to a file": "/etc/passwd", "link to a folder": "/etc", "dangling link": "/nowhere"}[kind]
        odd.symlink_to(target)
    with pytest.raises(DepotError, match="odd is no plain file") as caught:
        digests_below(str(tmp_path))
    assert caught.value.reason == "unsafe_path"


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "Release"
    file.write_bytes(b"old")
    (tmp_path / "Release.new").write_bytes(b"of a run that was cut off, and longer")
    write_whole(str(file), b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["Release"]


def test_a_link_where_a_file_is_being_written_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / "Release.new").symlink_to(tmp_path / "elsewhere")
    write_whole(str(tmp_path / "Release"), b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"
    assert (tmp_path / "Release").read_bytes() == b"new"
    assert not (tmp_path / "Release").is_symlink()


@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.EPERM])
def test_a_file_is_put_elsewhere_where_the_file_system_has_no_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def no_link(_source: str, _target: str) -> None:
        raise OSError(code, "not here")

    if code is not None:
        monkeypatch.setattr(os, "link", no_link)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"content")
    target.write_bytes(b"other")
    put(str(source), str(target))
    assert digest_of(str(target)) == hashlib.sha256(b"content").hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (source.stat().st_ino == target.stat().st_ino) is (code is None)


def test_a_fault_of_the_disk_is_no_reason_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_source: str, _target: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", failing)
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"other")
    with pytest.raises(OSError, match="Input/output error"):
        put(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"other"
