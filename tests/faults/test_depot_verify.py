# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Depots that are damaged, manipulated or pulled: verifying tells all of it, by file, and reads no bomb."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import BLOBS
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import Verified, verify
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import Depot, noise, sha256

MODEL = sha256(noise(9_000))
NAMED = "model.bin of model speech 1"


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


def look(depot: Depot, **more: t.Any) -> Verified:
    return verify(Folder(str(depot.folder)), [depot.manifest], **more)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def size_of(path: Path) -> int:
    return path.stat().st_size


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("tmp"))
    other.rename(one)
    one.with_name("tmp").rename(other)


def replace_by(path: Path, make: t.Callable[[Path], object]) -> None:
    content = path.read_bytes()
    (path.parents[2].parent / "elsewhere").write_bytes(content)
    path.unlink()
    make(path)


FAULTS: dict[str, tuple[t.Callable[[Path], object], str]] = {
    "the first byte flipped": (lambda path: flip(path, 0), "content"),
    "the last byte flipped": (lambda path: flip(path, size_of(path) - 1), "content"),
    "truncated by a byte": (lambda path: os.truncate(path, size_of(path) - 1), "size"),
    "emptied": (lambda path: os.truncate(path, 0), "size"),
    "a byte longer": (lambda path: os.truncate(path, size_of(path) + 1), "size"),
    "zeros of the right size": (lambda path: path.write_bytes(bytes(size_of(path))), "content"),
    "a sparse bomb of 10 GiB": (lambda path: os.truncate(path, 10 << 30), "size"),
    "removed": (os.unlink, "missing"),
    "a link to the same bytes": (lambda path: replace_by(path, lambda p: p.symlink_to("../../../elsewhere")), "unsafe"),
    "a link to nowhere": (lambda path: replace_by(path, lambda p: p.symlink_to("/nowhere")), "unsafe"),
    "a link to itself": (lambda path: replace_by(path, lambda p: p.symlink_to(p)), "unsafe"),
    "a folder": (lambda path: replace_by(path, os.mkdir), "unsafe"),
    "a pipe": (lambda path: replace_by(path, os.mkfifo), "unsafe"),
    "a device": (lambda path: replace_by(path, lambda p: p.symlink_to("/dev/zero")), "unsafe"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_blob_that_is_not_what_was_signed_is_told_by_file_and_by_what_it_is_for(depot: Depot, fault: str) -> None:
    change, kind = FAULTS[fault]
    change(depot.path(MODEL))
    done = look(depot)
    assert [(problem.kind, problem.file, problem.named) for problem in done.problems] == [
        (kind, f"{BLOBS}/{MODEL}", NAMED)
    ]
    assert done.blobs == len(depot.blobs) - 1
    # What has another size is not read: a bomb costs nothing.
    assert done.bytes_read == sum(map(len, depot.blobs.values())) - (9_000 if kind != "content" else 0)
    with pytest.raises(DepotError, match=f"{MODEL} \\({NAMED}\\)"):
        done.check()


def test_all_that_is_wrong_is_told_and_not_just_the_first(depot: Depot) -> None:
    for digest in depot.blobs:
        if depot.blobs[digest]:
            flip(depot.path(digest), 0)
    done = look(depot)
    assert len(done.problems) == len([data for data in depot.blobs.values() if data])
    assert {problem.kind for problem in done.problems} == {"content"}


def test_two_blobs_that_were_swapped_are_both_wrong(depot: Depot) -> None:
    first, second = depot.manifest.packages["trixie"]["pool/a.deb"], depot.manifest.release
    swap(depot.path(first), depot.path(second))
    assert {problem.file for problem in look(depot).problems} == {f"{BLOBS}/{first}", f"{BLOBS}/{second}"}


PARTS: dict[str, tuple[t.Callable[[list[Path]], object], str]] = {
    "a part flipped": (lambda parts: flip(parts[1], 0), "content"),
    "a part truncated": (lambda parts: os.truncate(parts[0], 3_999), "size"),
    "the last part missing": (lambda parts: os.unlink(parts[2]), "size"),
    "the first part missing": (lambda parts: os.unlink(parts[0]), "missing"),
    "two parts swapped": (lambda parts: swap(parts[0], parts[1]), "content"),
    "a part that is a link": (lambda parts: replace_by(parts[1], lambda p: p.symlink_to("/dev/zero")), "unsafe"),
    "a part that is a bomb": (lambda parts: os.truncate(parts[2], 10 << 30), "size"),
    "a part too many": (lambda parts: parts[0].with_suffix(".p0003").write_bytes(b"x"), "size"),
}


@pytest.mark.parametrize("fault", PARTS)
def test_parts_that_do_not_make_the_blob_are_told(depot: Depot, fault: str) -> None:
    change, kind = PARTS[fault]
    change(depot.split(MODEL, 4_000))
    assert kind in {problem.kind for problem in look(depot).problems}
    assert all(MODEL in problem.file for problem in look(depot).problems)


def test_a_file_that_nobody_names_is_told_and_wrong_only_if_one_is_strict(depot: Depot) -> None:
    depot.path("0" * 64).write_bytes(b"whatever")
    done = look(depot)
    assert done.extra == (f"{BLOBS}/{'0' * 64}",)
    done.check()
    with pytest.raises(DepotError, match="is not part of the depot"):
        look(depot, strict=True).check()


ODD = ["readme.txt", MODEL.upper(), f"{MODEL}.p1", f"{MODEL}.part", f"{MODEL} ", f".{MODEL}", "0" * 63]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_no_blob_has_is_told(depot: Depot, name: str) -> None:
    (depot.folder / BLOBS / name).write_bytes(b"")
    assert [(p.kind, p.file) for p in look(depot).problems] == [("unsafe", f"{BLOBS}/{name}")]


def test_a_link_that_nobody_names_is_told(depot: Depot) -> None:
    depot.path("0" * 64).symlink_to("/etc/passwd")
    assert [problem.kind for problem in look(depot).problems] == ["unsafe"]


@pytest.mark.parametrize("name", ["oci-layout", "index.json", "depot.json", "metadata/timestamp.json"])
def test_a_link_in_place_of_a_file_of_the_depot_is_told(depot: Depot, name: str) -> None:
    path = depot.folder / name
    path.rename(depot.folder / "moved")
    path.symlink_to(depot.folder / "moved")
    assert name in {problem.file for problem in look(depot).problems if problem.kind == "unsafe"}


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "metadata"])
def test_a_folder_of_the_depot_that_is_a_link_is_told(depot: Depot, name: str) -> None:
    path = depot.folder / name
    path.rename(depot.folder / "moved")
    path.symlink_to(depot.folder / "moved")
    problems = look(depot).problems
    assert {problem.kind for problem in problems} == {"unsafe"}
    assert name in {problem.file for problem in problems}


def test_the_medium_that_cannot_be_read_is_told_for_each_blob_that_it_fails_on(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.preadv
    inode = depot.path(MODEL).stat().st_ino

    def fail(fd: int, buffers: t.Any, offset: int) -> int:
        if os.fstat(fd).st_ino == inode:
            raise OSError(5, os.strerror(5))
        return original(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)
    done = look(depot)
    assert [(problem.kind, problem.named) for problem in done.problems] == [("unreadable", NAMED)]
    with pytest.raises(DepotError) as caught:
        done.check()
    assert caught.value.reason == "io_error"


def test_a_depot_that_is_gone_is_not_told_blob_by_blob(depot: Depot) -> None:
    depot.folder.rename(depot.folder.with_name("elsewhere"))
    depot.folder.mkdir()
    with pytest.raises(DepotError, match="is gone") as caught:
        look(depot)
    assert caught.value.reason == "io_error"


def test_a_blob_that_shrinks_while_it_is_read_is_told(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_verify

    monkeypatch.setattr(_depot_verify, "_BUFFER", 1_000)
    done = look(
        depot, workers=1, say=lambda done, _total: os.truncate(depot.path(MODEL), 2_000) if done == 1_000 else None
    )
    assert [(problem.kind, problem.named) for problem in done.problems] == [("content", NAMED)]
    assert "became shorter" in str(done.problems[0])
