# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_store
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import of_bytes
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_store import DepotStore, Form
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import blob, sha256

DATA = [bytes([number]) * 5_000 for number in range(7)]
BLOBS = [blob(data) for data in DATA]


def stored(depot: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (depot / "blobs" / "sha256").iterdir()}


def write(depot: Path, form: Form | None = None) -> int:
    store = DepotStore(str(depot), form)
    with store.locked():
        store.prepare()
        return store.write(BLOBS)


@pytest.mark.parametrize("batch", [1, 12_000, 1 << 30])
@pytest.mark.parametrize("form", [Form(), Form(sync_each=True), Form(verify=False)])
def test_blobs_get_their_names_whole(batch: int, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_store, "BATCH", batch)
    assert write(tmp_path, form) == sum(map(len, DATA))
    assert stored(tmp_path) == {sha256(data): data for data in DATA}
    assert os.listdir(tmp_path / "partial") == []


def test_parts_get_their_names_the_first_one_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed: list[str] = []
    original = os.replace

    def replace(source: str, to: str) -> None:
        original(source, to)
        renamed.append(os.path.basename(to))

    monkeypatch.setattr(os, "replace", replace)
    write(tmp_path, Form(part_size=2_000))
    name = BLOBS[0].sha256
    assert [one for one in renamed if one.startswith(name)] == [f"{name}.p{number:04d}" for number in (2, 1, 0)]
    assert DepotStore(str(tmp_path)).sizes([name]) == {name: 5_000}


def test_what_reads_back_otherwise_gets_no_name_and_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stick that takes everything and forgets some of it."""
    original = _depot_store._read_back

    def rotten(paths: t.Sequence[str]) -> str:
        if os.path.basename(paths[0]) == BLOBS[3].sha256:
            Path(paths[0]).write_bytes(b"rot")
        return original(paths)

    monkeypatch.setattr(_depot_store, "_read_back", rotten)
    with pytest.raises(DepotError, match="take another one") as caught:
        write(tmp_path)
    assert (caught.value.reason, caught.value.details["blob"]) == ("blob_corrupt", BLOBS[3].sha256)
    assert BLOBS[3].sha256 not in stored(tmp_path)
    monkeypatch.undo()
    assert write(tmp_path) == len(DATA[3])
    assert stored(tmp_path) == {sha256(data): data for data in DATA}


@pytest.mark.parametrize("form", [Form(), Form(verify=False)])
@pytest.mark.parametrize("given", [b"x" * len(DATA[1]), DATA[1] + b"x", DATA[1][:-1]], ids=["other", "more", "less"])
def test_a_source_that_gives_something_else_is_blamed_and_not_the_medium(
    form: Form, given: bytes, tmp_path: Path
) -> None:
    changed = replace(BLOBS[1], source=of_bytes(given))
    store = DepotStore(str(tmp_path), form)
    with store.locked():
        store.prepare()
        with pytest.raises(DepotError, match="on this host is not what it is said to be") as caught:
            store.write([BLOBS[0], changed])
    assert (caught.value.reason, caught.value.details["blob"]) == ("blob_corrupt", changed.sha256)
    assert changed.sha256 not in stored(tmp_path)
    assert changed.sha256 not in os.listdir(tmp_path / "partial")


def test_reading_back_drops_what_the_kernel_remembers_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, _start, _length, what: advice.append(what))
    write(tmp_path)
    assert advice.count(os.POSIX_FADV_DONTNEED) == len(BLOBS)


def test_what_is_not_the_blob_that_its_name_says_is_gone_on_with(tmp_path: Path) -> None:
    write(tmp_path)
    torn = tmp_path / "blobs" / "sha256" / BLOBS[2].sha256
    torn.write_bytes(DATA[2][:3_000])
    store = DepotStore(str(tmp_path))
    assert store.sizes([BLOBS[2].sha256]) == {BLOBS[2].sha256: 3_000}
    with store.locked():
        store.write([BLOBS[2]])
    assert stored(tmp_path) == {sha256(data): data for data in DATA}


@pytest.mark.parametrize(("before", "after"), [(2_000, None), (None, 2_000), (2_000, 1_500)])
def test_a_torn_blob_is_written_in_the_form_that_the_medium_needs_now(
    before: int | None, after: int | None, tmp_path: Path
) -> None:
    write(tmp_path, Form(part_size=before))
    folder = tmp_path / "blobs" / "sha256"
    torn = sorted(folder.glob(f"{BLOBS[2].sha256}*"))[-1]
    torn.write_bytes(torn.read_bytes()[:-1])
    store = DepotStore(str(tmp_path), Form(part_size=after))
    with store.locked():
        store.prepare()
        store.write([BLOBS[2]])
    assert store.corrupt([one.sha256 for one in BLOBS]) == []
    assert store.sizes([BLOBS[2].sha256]) == {BLOBS[2].sha256: 5_000}


def test_blobs_that_are_damaged_are_told(tmp_path: Path) -> None:
    write(tmp_path, Form(part_size=2_000))
    part = tmp_path / "blobs" / "sha256" / f"{BLOBS[4].sha256}.p0001"
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    assert DepotStore(str(tmp_path)).corrupt([one.sha256 for one in BLOBS]) == [BLOBS[4].sha256]


def test_leftovers_of_other_blobs_are_removed_and_those_of_this_one_kept(tmp_path: Path) -> None:
    store = DepotStore(str(tmp_path))
    with store.locked():
        store.prepare()
        for name in ("a" * 64, "index.json.new", BLOBS[0].sha256):
            (tmp_path / "partial" / name).write_bytes(b"123")
        assert store.partial_bytes() == 9
        store.clear(BLOBS)
        assert os.listdir(tmp_path / "partial") == [BLOBS[0].sha256]


def test_a_second_writer_is_told_that_there_is_one(tmp_path: Path) -> None:
    with DepotStore(str(tmp_path)).locked():
        with pytest.raises(DepotError, match="another run") as caught, DepotStore(str(tmp_path)).locked():
            pass
        assert caught.value.reason == "locked"
    with DepotStore(str(tmp_path)).locked():
        pass


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "partial", "metadata"])
def test_a_link_for_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "depot" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    store = DepotStore(str(tmp_path / "depot"))
    with store.locked(), pytest.raises(DepotError) as caught:
        store.prepare()
    assert caught.value.reason == "unsafe_path"
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_link_for_a_file_is_replaced_or_refused_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    store = DepotStore(str(tmp_path / "depot"))
    with store.locked():
        store.prepare()
        (tmp_path / "depot" / "partial" / "index.json.new").symlink_to(tmp_path / "victim")
        with pytest.raises(DepotError) as caught:
            store.put("index.json", b"new")
    assert caught.value.reason == "unsafe_path"
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_small_file_is_replaced_only_by_another_one(tmp_path: Path) -> None:
    store = DepotStore(str(tmp_path))
    with store.locked():
        store.prepare()
        assert [store.put("index.json", data) for data in (b"1", b"1", b"2")] == [True, False, True]
    assert (tmp_path / "index.json").read_bytes() == b"2"


def test_another_medium_in_its_place_is_noticed(tmp_path: Path) -> None:
    store = DepotStore(str(tmp_path / "depot"))
    with store.locked():
        store.prepare()
        (tmp_path / "depot").rename(tmp_path / "pulled")
        (tmp_path / "depot").mkdir()
        with pytest.raises(DepotError, match="Put it in again") as caught:
            store.sync()
    assert caught.value.reason == "io_error"
