# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import INDEX, Volume, encode_index
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import Problem, Verified, verify
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import (
    Content,
    Depot,
    noise,
    sha256,
)


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


def look(depot: Depot, **more: t.Any) -> Verified:
    return verify(Folder(str(depot.folder)), [depot.manifest], **more)


def test_a_good_depot_is_read_whole_and_nothing_is_wrong(depot: Depot) -> None:
    done = look(depot, strict=True)
    assert done == Verified(str(depot.folder), len(depot.blobs), sum(map(len, depot.blobs.values())))
    done.check()


def test_a_blob_that_two_releases_share_is_read_once(depot: Depot, tmp_path: Path) -> None:
    folder = Folder(str(depot.folder))
    assert verify(folder, [depot.manifest, depot.manifest]).bytes_read == look(depot).bytes_read


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_progress_is_told_in_order_up_to_the_last_byte(depot: Depot, workers: int) -> None:
    said: list[tuple[int, int]] = []
    look(depot, workers=workers, say=lambda done, total: said.append((done, total)))
    total = sum(map(len, depot.blobs.values()))
    assert [done for done, _total in said] == sorted(done for done, _total in said)
    assert said[-1] == (total, total)


@pytest.mark.parametrize("size", [0, 1, 4_000, 4_001, 9_000])
def test_a_blob_in_parts_is_read_as_one(depot: Depot, size: int, tmp_path: Path) -> None:
    content = noise(9_000)
    other = Depot(tmp_path / "other", Content(models={"1": {"m": content}}))
    for limit in (size or 100, 4_000):
        if other.path(sha256(content)).exists():
            other.split(sha256(content), max(limit, 90))
    assert look(other, strict=True).problems == ()


@pytest.mark.parametrize("start", [0, 1, 3_999, 4_000, 4_001, 8_999, 9_000, 9_001])
@pytest.mark.parametrize("parts", [False, True])
def test_a_blob_is_read_from_any_byte_into_the_readers_memory(depot: Depot, start: int, parts: bool) -> None:
    content = depot.model()["model.bin"]
    if parts:
        depot.split(sha256(content), 4_000)
    buffer = memoryview(bytearray(1_000))
    got = b""
    with Folder(str(depot.folder)).open_blob(sha256(content), start) as blob:
        assert blob.size == len(content)
        while count := blob.readinto(buffer):
            got += buffer[:count]
    assert got == content[start:]


def test_what_a_depot_leaves_out_is_not_missed(depot: Depot, tmp_path: Path) -> None:
    layer = depot.manifest.images[0].layers[0]
    delta = Depot(tmp_path / "delta", assumes={layer})
    assert not delta.path(layer).exists()
    assert look(delta).problems == ()


def test_what_other_volumes_have_is_not_missing_and_what_this_one_should_have_is(depot: Depot) -> None:
    order = sorted(depot.blobs)
    volume = Volume(1, 2, frozenset(order[:3]))
    depot.keep_only(volume)
    done = look(depot, volume=volume)
    assert (done.blobs, done.elsewhere, done.problems) == (3, len(order) - 3, ())
    depot.path(order[0]).unlink()
    assert [problem.kind for problem in look(depot, volume=volume).problems] == ["missing"]


def test_what_a_manifest_says_twice_with_two_sizes_is_wrong_once(depot: Depot, tmp_path: Path) -> None:
    import dataclasses

    digest = depot.manifest.release
    liar = dataclasses.replace(depot.manifest, blobs={**depot.manifest.blobs, digest: 5})
    done = verify(Folder(str(depot.folder)), [depot.manifest, liar])
    assert [(problem.kind, problem.named) for problem in done.problems] == [("size", "the release document")]


def test_what_the_index_lists_for_tools_is_checked_too_and_is_not_extra(depot: Depot) -> None:
    artifact = b'{"config":{"digest":"sha256:%s"},"layers":[]}' % (b"1" * 64)
    for name, data in ((sha256(artifact), artifact), ("1" * 64, b"")):
        depot.path(name).write_bytes(data)
    (depot.folder / INDEX).write_bytes(encode_index({"a:1": (sha256(artifact), len(artifact))}))
    assert [file for file in look(depot).extra if "1" * 64 in file or sha256(artifact) in file] == []
    depot.path(sha256(artifact)).write_bytes(artifact[:-1] + b" ")
    problems = look(depot).problems
    assert [(problem.kind, problem.named) for problem in problems] == [("content", "a:1")]


RANKS: list[t.Any] = [
    (["missing"], "blob_missing"),
    (["missing", "size"], "blob_corrupt"),
    (["content", "unsafe"], "unsafe_path"),
    (["missing", "unreadable", "content"], "io_error"),
    (["extra"], "blob_corrupt"),
]


@pytest.mark.parametrize(("kinds", "reason"), RANKS)
def test_the_reason_is_that_of_the_worst_and_all_are_told(kinds: list[t.Any], reason: str) -> None:
    problems = tuple(Problem(kind, f"blobs/{kind}", "model x", "is odd") for kind in kinds)
    with pytest.raises(DepotError) as caught:
        Verified("/stick", 0, 0, problems).check()
    assert caught.value.reason == reason
    assert [problem["kind"] for problem in caught.value.details["problems"]] == kinds
    assert all(f"blobs/{kind} (model x) is odd" in str(caught.value) for kind in kinds)


def test_a_message_lists_the_first_problems_and_counts_the_rest() -> None:
    problems = tuple(Problem("missing", f"blobs/{number}", "", "is not there") for number in range(9))
    with pytest.raises(DepotError, match=r"blobs/4 is not there; and 4 more\. Write"):
        Verified("/stick", 0, 0, problems).check()


def test_hashes_are_those_of_hashlib(depot: Depot) -> None:
    """The helper's own names are what they say, so a test above that passes has proven something."""
    for digest in depot.blobs:
        assert hashlib.sha256(depot.path(digest).read_bytes()).hexdigest() == digest
