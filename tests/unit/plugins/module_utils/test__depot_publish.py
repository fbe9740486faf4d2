# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import parse_index, parse_volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_publish import (
    Publication,
    check_names,
    make_publication,
    refuse_older,
    superseded,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_targets import (
    Target,
    artifact_of,
    found_targets,
    index_names,
    metadata_targets,
    newest_targets,
    read_target,
    target_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_write import Share
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    manifest,
    sha256,
    signed,
)

OLD, NEW = manifest((10, 20)), manifest((10, 20, 30), counter=2)
EMPTY = sha256(b"{}")


def publication(held: t.Collection[str], prune: bool = True, releases: t.Any = (NEW,)) -> Publication:
    metadata = signed(2, *(dataclasses.asdict(target_of(one)) for one in releases))
    pairs = [(target_of(one), one) for one in releases]
    return make_publication(metadata, ["1.targets.json", "1.root.json"], pairs, held, Share(), prune)


def test_timestamp_comes_last_and_index_and_volume_before_all_metadata() -> None:
    found = publication(NEW.blobs)
    assert [name for name, _data in found.files] == [
        "index.json",
        "depot.json",
        "metadata/2.targets.json",
        "metadata/2.snapshot.json",
        "metadata/1.root.json",
    ]
    assert found.last is not None
    assert found.superseded == ("1.targets.json",)


def test_pruning_keeps_what_the_releases_and_the_tools_need() -> None:
    both = {*OLD.blobs, *NEW.blobs, target_of(OLD).sha256, target_of(NEW).sha256, "e" * 64}
    assert publication(both, prune=False).pruned == frozenset()
    assert publication(both, releases=(OLD, NEW)).pruned == {"e" * 64}
    found = publication(both)
    assert found.pruned == {target_of(OLD).sha256, "e" * 64}
    assert found.kept == both - found.pruned | {EMPTY, sha256(artifact_of(NEW))}
    assert parse_volume(dict(found.files)["depot.json"]).blobs == both | {EMPTY, sha256(artifact_of(NEW))}


def test_what_the_newest_release_assumes_is_pruned_unless_an_older_one_needs_it() -> None:
    differential = dataclasses.replace(NEW, assumes=frozenset({NEW.images[0].layers[0]}))
    assert publication(NEW.blobs, releases=(differential,)).pruned == differential.assumes
    assert publication(NEW.blobs, releases=(OLD, differential)).pruned == frozenset()


def test_the_index_lists_what_is_there_by_the_names_that_tools_use() -> None:
    found = publication({*NEW.blobs, target_of(NEW).sha256})
    index = parse_index(dict(found.files)["index.json"])
    assert index == {
        "demo/api:1": (NEW.images[0].manifest, 100),
        "models/voice:1": (NEW.models[0].manifest, 100),
        "releases/demo:2": (sha256(artifact_of(NEW)), len(artifact_of(NEW))),
    }
    assert index_names([NEW], ()) == {}


def test_of_one_name_the_index_has_the_newest() -> None:
    image = dataclasses.replace(OLD.images[0], manifest="a" * 64)
    old = dataclasses.replace(OLD, images=(image,), blobs={**OLD.blobs, "a" * 64: 7})
    assert index_names([NEW, old], {"a" * 64, *NEW.blobs})["demo/api:1"] == (NEW.images[0].manifest, 100)


@pytest.mark.parametrize(
    ("there", "given", "gone"),
    [
        (
            ["1.targets.json", "2.targets.json", "3.targets.json"],
            ["3.targets.json"],
            {"1.targets.json", "2.targets.json"},
        ),
        (
            ["1.root.json", "timestamp.json", "9.snapshot.json"],
            ["2.root.json", "10.snapshot.json"],
            {"9.snapshot.json"},
        ),
        (["10.targets.json"], ["9.targets.json"], set()),
        (["1.targets.json"], ["timestamp.json"], set()),
    ],
)
def test_older_metadata_goes_but_roots_stay(there: list[str], given: list[str], gone: set[str]) -> None:
    assert set(superseded(there, given)) == gone


@pytest.mark.parametrize(
    "name", ["", "root.json", "01.root.json", "1.timestamp.json", "a/1.root.json", "1.root.json.new"]
)
def test_other_names_are_refused(name: str) -> None:
    check_names(signed(1))
    with pytest.raises(DepotError) as caught:
        check_names([name])
    assert caught.value.reason == "invalid"


def test_the_newest_targets_are_by_number() -> None:
    assert (
        newest_targets(["9.targets.json", "10.targets.json", "11.snapshot.json", "x.targets.json"]) == "10.targets.json"
    )
    assert newest_targets([]) is None


def test_targets_are_read_and_what_is_no_release_is_passed_over() -> None:
    target = target_of(NEW)
    data = signed(1, dataclasses.asdict(target), {"path": "notes.txt", "sha256": "a" * 64, "length": 1})[
        "1.targets.json"
    ]
    assert metadata_targets(data) == [target]
    assert (target.stack, target.counter) == ("demo", 2)


def test_torn_metadata_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "1.targets.json").write_bytes(b'{"signed": {')
    assert found_targets(Folder(str(tmp_path))) == []


def test_a_release_manifest_under_another_name_is_refused(tmp_path: Path) -> None:
    target = target_of(NEW)
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    assert read_target(Folder(str(tmp_path)), target) is None
    (blobs / target.sha256).write_bytes(NEW.encode())
    assert read_target(Folder(str(tmp_path)), target) == NEW
    with pytest.raises(DepotError) as caught:
        read_target(Folder(str(tmp_path)), Target("releases/demo/3.json", target.sha256, target.length))
    assert caught.value.reason == "blob_corrupt"


FIRST = {"1.root.json": b"one", "timestamp.json": b'{"signed": {"version": 4}}'}


@pytest.mark.parametrize(
    ("there", "timestamp", "allowed"),
    [
        pytest.param(FIRST, b'{"signed": {"version": 5}}', True, id="newer"),
        pytest.param(FIRST, FIRST["timestamp.json"], True, id="the same"),
        pytest.param(FIRST, b'{"signed": {"version": 3}}', False, id="older"),
        pytest.param(FIRST, b'{"signed": {"version": 4}, "other": 1}', False, id="another one of the same version"),
        pytest.param({}, b'{"signed": {"version": 1}}', True, id="a new depot"),
        pytest.param({**FIRST, "timestamp.json": b"torn"}, b'{"signed": {"version": 1}}', True, id="a torn one"),
    ],
)
def test_newer_metadata_is_not_replaced_by_older(there: dict[str, bytes], timestamp: bytes, allowed: bool) -> None:
    given = {"1.root.json": b"one", "timestamp.json": timestamp}
    if allowed:
        refuse_older(there, given, "/media/usb")
        return
    with pytest.raises(DepotError, match=r"copy /media/usb/metadata/\*\.json") as caught:
        refuse_older(there, given, "/media/usb")
    assert caught.value.reason == "older"
