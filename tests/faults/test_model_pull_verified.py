# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Content that goes bad on the host's disk is found, named by range, and fetched again as little of it as can be."""

from __future__ import annotations

import json
import os
import random
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    Result,
    Run,
    contents,
    gone,
    left_over,
    sha256,
    version_of,
    wanted_file,
)
from ansible_collections.emorobcare.fleet.tests.faults._server import Answer, FaultServer

pytestmark = pytest.mark.usefixtures("small_chunks")

LAST = 10_003  # bytes in the last one of five chunks
CONTENT = random.Random(6).randbytes(4 * CHUNK + LAST)


@dataclass
class Published:
    """A version of one file of five chunks, whose server counts what is asked of it from now on."""

    root: Path
    content: bytes
    server: FaultServer
    run: Run

    def __post_init__(self) -> None:
        self.url = self.server.serve("/model.bin", self.content)
        self.file = wanted_file(self.url, content=self.content)
        result = self.run(self.file)
        assert result["changed"], result
        self.before = self.server.sent

    @property
    def path(self) -> Path:
        return version_of(self.root) / "model.bin"

    @property
    def blob(self) -> Path:
        return self.root / "store" / "sha256" / sha256(self.content)

    @property
    def record(self) -> Path:
        return self.root / "store" / "chunks" / sha256(self.content)

    @property
    def sent(self) -> int:
        return self.server.sent - self.before

    def flip(self, *offsets: int, unnoticed: bool = True) -> None:
        """Flip bytes on the disk; `unnoticed`, as a failing disk does it: no time of the file tells."""
        times = self.path.stat()
        with self.path.open("r+b") as file:
            for offset in offsets:
                file.seek(offset)
                file.write(bytes([self.content[offset] ^ 0xFF]))
        if unnoticed:
            os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))
            self.restamp()

    def restamp(self) -> None:
        """Have the store's notes tell the times that the file has now: nobody can set a ctime back."""
        notes = self.root / "store" / "stamps.json"
        document = json.loads(notes.read_text())
        status = self.path.stat()
        document["stamps"][sha256(self.content)] = [
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        ]
        notes.write_text(json.dumps(document))

    def verify(self, **more: t.Any) -> Result:
        return self.run(self.file, state="verified", **more)

    def check_whole(self) -> None:
        assert contents(version_of(self.root)) == {"model.bin": self.content}
        assert left_over(self.root) == []
        assert self.blob.stat().st_ino == self.path.stat().st_ino
        assert self.path.stat().st_mode & 0o777 == 0o444
        again = self.verify()
        assert (again["changed"], again["corrupt"], again["bytes_read"]) == (False, [], len(self.content)), again


@pytest.fixture(name="published")
def published_fixture(small_chunks: None, server: FaultServer, run: Run, tmp_path: Path) -> Published:
    return Published(tmp_path / "root", CONTENT, server, run)


def span(*chunks: int) -> dict[str, t.Any]:
    """One corrupt range of whole chunks, as the result tells it."""
    return {"path": "model.bin", "start": chunks[0] * CHUNK, "stop": min((chunks[-1] + 1) * CHUNK, 4 * CHUNK + LAST)}


def test_what_is_right_is_read_and_left_alone(published: Published) -> None:
    published.check_whole()
    assert published.sent == 0


def test_a_version_that_is_not_there_is_published(published: Published) -> None:
    result = published.verify(version="2")
    assert (result["changed"], result["action"]) == (True, "publish"), result
    assert published.sent == 0, "the store has its content"


CORRUPT = [
    # the flipped bytes, the corrupt ranges by chunks
    pytest.param([0], [(0,)], id="the first byte"),
    pytest.param([2 * CHUNK + 5], [(2,)], id="a byte in the middle"),
    pytest.param([3 * CHUNK - 1], [(2,)], id="the last byte of a chunk"),
    pytest.param([4 * CHUNK + LAST - 1], [(4,)], id="the last byte"),
    pytest.param([CHUNK, 3 * CHUNK + 7], [(1,), (3,)], id="two chunks apart"),
    pytest.param([CHUNK, 2 * CHUNK, 4 * CHUNK], [(1, 2), (4,)], id="neighbours and one apart"),
    pytest.param([0, CHUNK, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK], [(0, 1, 2, 3, 4)], id="every chunk"),
]


@pytest.mark.parametrize("unnoticed", [pytest.param(True, id="unnoticed"), pytest.param(False, id="noticed")])
@pytest.mark.parametrize(("offsets", "spans"), CORRUPT)
def test_only_the_corrupt_chunks_are_fetched_again(
    offsets: list[int], spans: list[tuple[int, ...]], unnoticed: bool, published: Published
) -> None:
    published.flip(*offsets, unnoticed=unnoticed)
    damaged = published.path.read_bytes()
    corrupt = [span(*chunks) for chunks in spans]
    size = sum(each["stop"] - each["start"] for each in corrupt)
    planned = published.verify(_ansible_check_mode=True)
    assert planned["changed"], planned
    assert planned["corrupt"] == corrupt
    assert planned["bytes_to_fetch"] == size
    assert (published.sent, published.path.read_bytes() == damaged) == (0, True)
    result = published.verify()
    assert (result["changed"], result["action"]) == (True, "repair"), result
    assert result["corrupt"] == corrupt
    assert [repair["path"] for repair in result["repaired"]] == ["model.bin"]
    assert published.sent == size == result["bytes_fetched"]
    published.check_whole()


def test_present_trusts_the_stamps_and_verified_does_not(published: Published) -> None:
    published.flip(7)
    result = published.run(published.file)
    assert (result["changed"], result["bytes_read"]) == (False, 0)
    assert published.verify()["changed"]
    published.check_whole()


def test_present_repairs_by_the_chunk_what_was_touched(published: Published) -> None:
    published.flip(7, unnoticed=False)
    result = published.run(published.file)
    assert (result["action"], result["corrupt"]) == ("repair", [span(0)]), result
    assert published.sent == CHUNK
    published.check_whole()


RECORDS: dict[str, t.Callable[[Path], object]] = {
    "gone": lambda record: record.unlink(),
    "empty": lambda record: record.write_bytes(b""),
    "no JSON": lambda record: record.write_bytes(b"\0" * 300),
    "another schema": lambda record: _edit(record, schema=99),
    "another size": lambda record: _edit(record, size=5),
    "another chunk size": lambda record: _edit(record, chunk=4096),
    "a chunk size of 0": lambda record: _edit(record, chunk=0),
    "too few states": lambda record: _edit(record, states=["0" * 64]),
    "wrong states": lambda record: _edit(record, states=["0" * 64] * 4),
    "states that are none": lambda record: _edit(record, states=["x", None, 3, {}]),
    "a list": lambda record: record.write_text("[]"),
}


def _edit(record: Path, **values: t.Any) -> None:
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))


@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in RECORDS.items()])
def test_without_a_good_chunk_record_content_is_still_verified_and_repaired(
    damage: t.Callable[[Path], object], published: Published
) -> None:
    damage(published.record)
    assert published.verify()["changed"] is False, "right content is right without a record"
    damage_again = published.record.exists()
    published.flip(CHUNK + 1)
    if damage_again:
        damage(published.record)
    result = published.verify()
    assert (result["changed"], result["action"]) == (True, "repair"), result
    assert published.sent <= len(published.content)
    published.check_whole()


def test_a_record_that_claims_wrong_content_to_be_right_does_not_make_it_so(
    published: Published, run: Run, server: FaultServer
) -> None:
    """The chain must end in the pinned digest, so a record can at worst cost a transfer."""
    evil = bytearray(published.content)
    evil[5] ^= 1
    other = wanted_file(server.serve("/evil", bytes(evil)), content=bytes(evil))
    assert run(other, version="2")["changed"]
    published.flip(5)
    published.record.write_bytes((published.record.parent / sha256(bytes(evil))).read_bytes())
    assert published.verify()["changed"]
    published.check_whole()


def test_truncated_content_keeps_its_whole_chunks(published: Published) -> None:
    os.truncate(published.path, 2 * CHUNK + 9)
    published.restamp()
    result = published.verify()
    assert result["action"] == "repair", result
    assert published.sent <= len(published.content) - 2 * CHUNK
    published.check_whole()


@pytest.mark.parametrize("size", [0, 4 * CHUNK, 4 * CHUNK + LAST + 1, 9 * CHUNK])
def test_content_of_any_other_size_is_repaired(size: int, published: Published) -> None:
    os.truncate(published.path, size)
    assert published.verify()["action"] == "repair"
    published.check_whole()


def test_a_deleted_blob_is_taken_back_from_the_version(published: Published) -> None:
    published.blob.unlink()
    published.verify()
    assert published.sent == 0
    assert published.path.read_bytes() == published.content


def test_a_deleted_file_is_linked_again_from_the_store(published: Published) -> None:
    published.path.unlink()
    assert published.verify()["action"] == "repair"
    assert published.sent == 0
    published.check_whole()


def test_content_that_is_gone_altogether_is_fetched_again(published: Published) -> None:
    published.path.unlink()
    published.blob.unlink()
    assert published.verify()["action"] == "repair"
    assert published.sent == len(published.content)
    published.check_whole()


def test_what_one_version_repaired_another_one_takes_from_the_store(published: Published) -> None:
    published.run(published.file, version="2")
    published.flip(9)
    assert published.verify()["changed"]
    sent = published.sent
    result = published.verify(version="2")
    assert result["action"] == "repair", result
    assert published.sent == sent == CHUNK
    assert contents(version_of(published.root, "2")) == {"model.bin": published.content}


def test_without_any_source_the_damage_is_told_and_the_good_chunks_are_kept(published: Published) -> None:
    published.flip(CHUNK, 3 * CHUNK)
    published.server.serve("/model.bin", published.content, Answer(status=503))
    result = published.verify()
    assert (result["failed"], result["reason"]) == (True, "unavailable"), result
    assert result["corrupt"] == [span(1), span(3)]
    assert published.path.exists(), "what is there is better than nothing"
    published.server.serve("/model.bin", published.content)
    assert published.verify()["changed"]
    assert published.sent == 2 * CHUNK
    published.check_whole()


def test_a_source_that_lies_in_a_repair_is_left_for_the_next_one(published: Published, mirror: FaultServer) -> None:
    published.flip(CHUNK)
    published.server.serve("/model.bin", published.content, Answer(corrupt_at=CHUNK + 1))
    good = mirror.serve("/copy.bin", published.content)
    published.file = wanted_file(published.url, good, content=published.content)
    result = published.verify()
    assert result["files"][0]["served_by"] == good, result
    published.check_whole()


def test_a_repair_that_is_interrupted_leaves_the_version_as_it_was_and_goes_on(published: Published) -> None:
    published.flip(0, CHUNK, 2 * CHUNK)
    damaged = published.path.read_bytes()
    published.server.serve(
        "/model.bin", published.content, Answer(cut_at=CHUNK + 5), gone(published.root, published.content, {0})
    )
    assert published.verify()["failed"]
    assert published.path.read_bytes() == damaged
    published.server.serve("/model.bin", published.content)
    assert published.verify()["changed"]
    assert published.sent <= 3 * CHUNK + 5
    published.check_whole()


def test_a_small_file_that_rotted_is_fetched_again_as_a_whole(server: FaultServer, run: Run, tmp_path: Path) -> None:
    small = Published(tmp_path / "root", b"small", server, run)
    small.flip(1)
    result = small.verify()
    assert result["action"] == "repair", result
    assert small.sent == len(b"small")
    small.check_whole()
