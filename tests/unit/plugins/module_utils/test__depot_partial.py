# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import random
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_partial
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_partial import (
    Blob,
    count_parts,
    fill,
    gives_another,
    of_bytes,
    of_file,
    of_spool,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import blob, sha256

DATA = random.Random(5).randbytes(10_000)
PIECE = 1000


@pytest.fixture(name="small_pieces", autouse=True)
def small_pieces_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_partial, "PIECE", PIECE)
    monkeypatch.setattr(_depot_partial, "_INLINE", 500)


def of(folder: Path, data: bytes) -> Blob:
    (folder / "source").write_bytes(data)
    return Blob(sha256(data), len(data), of_file(str(folder / "source")), "a test's blob")


def whole(paths: t.Sequence[Path]) -> bytes:
    return b"".join(path.read_bytes() for path in paths)


FLIPPED = DATA[:4500] + bytes([DATA[4500] ^ 1]) + DATA[4501:]


@pytest.mark.parametrize(
    ("there", "written"),
    [
        (None, 10_000),
        (b"", 10_000),
        (DATA[:4500], 6_000),
        (DATA, 0),
        (FLIPPED, 6_000),
        (DATA[:4500] + bytes(5_500), 6_000),
        (DATA + b"more", 0),
        (b"something else", 10_000),
    ],
    ids=["nothing", "empty", "a beginning", "all", "a flipped bit", "zeros of a power cut", "too much", "another"],
)
@pytest.mark.parametrize("limit", [100_000, 3_000, 1_000, 777])
def test_what_an_interrupted_run_left_is_gone_on_with_from_where_it_is_right(
    there: bytes | None, written: int, limit: int, tmp_path: Path
) -> None:
    paths = [tmp_path / f"part{number}" for number in range(-(-len(DATA) // limit))]
    if there is not None:
        for number, path in enumerate(paths):
            part = there[number * limit :] if number == len(paths) - 1 else there[number * limit : (number + 1) * limit]
            if part:
                path.write_bytes(part)
    assert fill(of(tmp_path, DATA), [str(path) for path in paths], limit, sync=False) == written
    assert whole(paths) == DATA
    assert [path.stat().st_size for path in paths[:-1]] == [limit] * (len(paths) - 1)


def test_an_empty_blob_is_an_empty_file(tmp_path: Path) -> None:
    assert fill(blob(b""), [str(tmp_path / "a")], 1, sync=True) == 0
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", FLIPPED, b""])
def test_a_source_with_other_content_is_refused_and_nothing_of_it_stays(data: bytes, tmp_path: Path) -> None:
    found = Blob(sha256(DATA), len(DATA), of_bytes(data), "weights.bin of model voice 1")
    with pytest.raises(DepotError, match=r"weights\.bin of model voice 1 on this host") as caught:
        fill(found, [str(tmp_path / "a")], 100_000, sync=False)
    assert caught.value.reason == "blob_corrupt"
    assert os.listdir(tmp_path) == []


def test_a_link_is_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "a").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        fill(blob(DATA), [str(tmp_path / "a")], 100_000, sync=False)
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_source_that_cannot_be_read_is_no_fault_of_the_medium(tmp_path: Path) -> None:
    found = Blob(sha256(DATA), len(DATA), of_file(str(tmp_path / "gone")), "x")
    with pytest.raises(DepotError, match="gone cannot be read"):
        fill(found, [str(tmp_path / "a")], 100_000, sync=False)


@pytest.mark.parametrize(
    ("size", "part_size", "count"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (30, 10, 3), (1 << 40, None, 1)]
)
def test_only_what_is_larger_than_a_part_has_parts(size: int, part_size: int | None, count: int) -> None:
    assert count_parts(size, part_size) == count


def test_more_parts_than_there_are_names_for_are_refused() -> None:
    with pytest.raises(DepotError, match="part_size 10"):
        count_parts(100_000, 10)


def test_a_spool_is_gone_once_it_was_given_whole_and_not_before(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(DATA)
    half = of_spool(str(spool))()
    assert next(half)
    assert spool.exists()
    del half
    assert spool.exists()
    assert b"".join(of_spool(str(spool))()) == DATA
    assert not spool.exists()


def test_only_what_is_read_and_is_wrong_is_another_content(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_bytes(DATA)
    spooled = replace(blob(DATA), source=of_spool(str(spool)))
    assert not gives_another(spooled)
    assert not gives_another(spooled)  # it is gone, so nobody knows
    assert gives_another(replace(blob(DATA), source=of_bytes(b"x")))
