# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import Volume
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_sync import Synced, SyncRequest, sync
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.tests.faults._pulls import pull
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_content import (
    Content,
    Depot,
    noise,
    sha256,
)
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import shrink


@pytest.fixture(name="depot")
def depot_fixture(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    return tmp_path / "root"


def run(depot: Depot, root: Path, say: t.Any = None, **more: t.Any) -> Synced:
    return sync(Folder(str(depot.folder)), SyncRequest(depot.manifest, str(root), **more), say)


def stored(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "store" / "sha256").iterdir()}


def version(root: Path, name: str = "1") -> dict[str, bytes]:
    folder = root / "models" / "speech" / name
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pulled(depot: Depot, root: Path, name: str = "1") -> Plan:
    """What model_pull would do where no source gives anything."""
    files = [
        {"path": path, "sha256": sha256(data), "size": len(data), "source": "file:///nowhere"}
        for path, data in depot.model(name).items()
    ]
    return pull(root, *files, version=name).plan


def test_the_store_has_all_but_images_and_the_models_are_published(depot: Depot, root: Path) -> None:
    done = run(depot, root)
    assert (done.changed, done.complete, done.published) == (True, True, ("speech/1",))
    assert done.bytes_copied == sum(map(len, depot.kept.values()))
    assert stored(root) == depot.kept
    assert version(root) == depot.model()
    assert done.plan.pulls.keys() == depot.pulled


def test_content_is_read_only_and_a_model_is_linked_to_the_store(depot: Depot, root: Path) -> None:
    run(depot, root)
    assert {path.stat().st_mode & 0o777 for path in (root / "store" / "sha256").iterdir()} == {0o444}
    for path, data in depot.model().items():
        assert os.path.samefile(root / "models" / "speech" / "1" / path, Store(str(root)).blob(sha256(data)))


def test_the_second_run_copies_nothing_and_reads_nothing(depot: Depot, root: Path) -> None:
    run(depot, root)
    depot.folder.rename(depot.folder.with_name("away"))  # not even the depot
    done = run(depot, root)
    assert (done.changed, done.bytes_copied, done.bytes_read) == (False, 0, 0)


def test_model_pull_finds_its_own_work(depot: Depot, root: Path) -> None:
    run(depot, root)
    assert pulled(depot, root).action == "none"


def test_what_model_pull_has_brought_is_not_copied(depot: Depot, root: Path, tmp_path: Path) -> None:
    files = []
    for path, data in depot.model().items():
        (tmp_path / sha256(data)).write_bytes(data)
        source = f"file://{tmp_path}/{sha256(data)}"
        files.append({"path": path, "sha256": sha256(data), "size": len(data), "source": source})
    pull(root, *files)
    done = run(depot, root)
    assert done.published == ()
    assert not {sha256(data) for data in depot.model().values()} & done.plan.copies.keys()
    assert stored(root) == depot.kept


def test_check_mode_tells_the_same_and_changes_nothing(depot: Depot, root: Path) -> None:
    told = run(depot, root, check_mode=True)
    assert not root.exists()
    done = run(depot, root)
    assert (told.plan, told.changed, told.published) == (done.plan, done.changed, done.published)


def test_progress_ends_at_what_was_copied(depot: Depot, root: Path) -> None:
    said: list[tuple[int, int]] = []
    done = run(depot, root, say=lambda now, total: said.append((now, total)))
    assert said
    assert {total for _now, total in said} == {done.bytes_copied}
    assert all(0 <= now <= total for now, total in said)


def test_only_what_a_later_release_adds_is_copied(depot: Depot, root: Path, tmp_path: Path) -> None:
    run(depot, root)
    content = Content(release=b'{"schema":1,"counter":2}', models={**depot.content.models, "2": {"m": b"new"}})
    later = Depot(tmp_path / "later", content)
    done = run(later, root)
    assert done.plan.copies.keys() == later.kept.keys() - depot.kept.keys()
    assert done.published == ("speech/2",)
    assert (version(root), version(root, "2")) == (depot.model(), {"m": b"new"})


def test_what_a_delta_leaves_out_comes_from_the_store(depot: Depot, root: Path, tmp_path: Path) -> None:
    base = {sha256(data) for data in depot.model().values()}
    delta = Depot(tmp_path / "delta", Content(models={"1": depot.model(), "2": depot.model()}), assumes=base)
    with pytest.raises(DepotError) as caught:
        run(delta, root)
    assert caught.value.reason == "base_missing"
    assert not root.exists()
    run(depot, root)
    assert run(delta, root).published == ("speech/2",)
    assert version(root, "2") == depot.model()


def test_volumes_are_synced_in_any_order_and_models_appear_when_they_are_whole(root: Path, tmp_path: Path) -> None:
    order: list[str] = []
    for number, _kind in enumerate(("first", "second", "third")):
        depot = Depot(tmp_path / f"volume{number}")
        order = [one for one in depot.manifest.named if one in depot.blobs]
        blobs = frozenset(order[number::3])
        depot.keep_only(Volume(number + 1, 3, blobs))
    done: list[Synced] = []
    for number in (2, 0, 1):
        folder = Folder(str(tmp_path / f"volume{number}"))
        volume = Volume(number + 1, 3, frozenset(order[number::3]))
        done.append(sync(folder, SyncRequest(depot.manifest, str(root), volume)))
    assert [one.complete for one in done] == [False, False, True]
    assert sum(len(one.published) for one in done) == 1
    assert version(root) == depot.model()
    assert stored(root).keys() == depot.kept.keys() | depot.pulled


def test_a_blob_that_comes_in_parts_is_one_in_the_store(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch)
    big = noise(300_001)
    depot = Depot(tmp_path / "parts", Content(models={"1": {"m": big}}))
    depot.split(sha256(big), 70_000)
    run(depot, root)
    assert version(root) == {"m": big}
    assert pulled(depot, root).action == "none"


def test_content_that_was_changed_in_the_store_is_copied_again(depot: Depot, root: Path) -> None:
    run(depot, root)
    for digest in (depot.manifest.release, depot.manifest.models[0].files["model.bin"]):
        path = Path(Store(str(root)).blob(digest))
        path.chmod(0o644)
        path.write_bytes(b"rot")
    done = run(depot, root)
    assert done.plan.copies.keys() == {depot.manifest.release, depot.manifest.models[0].files["model.bin"]}
    assert stored(root) == depot.kept
    assert version(root) == depot.model()
    assert pulled(depot, root).action == "none"


@pytest.mark.parametrize("stamp", [True, False], ids=["and is known to be right", "and must be read"])
def test_content_that_only_a_model_has_left_is_in_the_store_again(root: Path, tmp_path: Path, stamp: bool) -> None:
    both = b"a licence, of the model and of the release"
    depot = Depot(tmp_path / "depot", Content(files={"LICENSE": both}, models={"1": {"LICENSE": both}}))
    run(depot, root)
    store = Store(str(root))
    os.unlink(store.blob(sha256(both)))
    if stamp:
        left = os.lstat(root / "models" / "speech" / "1" / "LICENSE")
        store.write_stamps({**store.read_stamps(), sha256(both): Stamp.of(left)})
    assert run(depot, root).changed
    assert stored(root) == depot.kept
    assert os.path.samefile(root / "models" / "speech" / "1" / "LICENSE", store.blob(sha256(both)))
    assert not run(depot, root).changed


def test_lost_stamps_cost_one_reading_and_no_copying(depot: Depot, root: Path) -> None:
    run(depot, root)
    (root / "store" / "stamps.json").unlink()
    done = run(depot, root)
    assert (done.changed, done.bytes_copied) == (False, 0)
    assert done.bytes_read == sum(map(len, depot.kept.values()))
    assert run(depot, root).bytes_read == 0


def test_a_version_that_is_published_with_other_content_is_refused_before_anything_is_copied(
    depot: Depot, root: Path, tmp_path: Path
) -> None:
    other = Depot(tmp_path / "other", Content(release=b"{}", models={"1": {"model.bin": b"another"}}))
    run(other, root)
    before = stored(root)
    for check_mode in (True, False):
        with pytest.raises(DepotError) as caught:
            run(depot, root, check_mode=check_mode)
        assert caught.value.reason == "immutable"
        assert stored(root) == before
    assert version(root) == {"model.bin": b"another"}


@pytest.mark.parametrize("path", ["A/x", "model.bin/y"])
def test_a_model_whose_paths_are_one_on_some_file_system_is_refused(depot: Depot, root: Path, path: str) -> None:
    model = depot.manifest.models[0]
    digest = model.files["model.bin"]
    twisted = dataclasses.replace(model, files={**model.files, path: digest, "a/X": digest})
    manifest = dataclasses.replace(depot.manifest, models=(twisted,))
    with pytest.raises(DepotError) as caught:
        sync(Folder(str(depot.folder)), SyncRequest(manifest, str(root)))
    assert caught.value.reason == "manifest_invalid"
    assert not root.exists()


@pytest.mark.parametrize("root", ["/", "relative", "//", "/x/.."])
def test_a_root_that_cannot_be_one_is_refused(depot: Depot, root: str) -> None:
    with pytest.raises(DepotError) as caught:
        SyncRequest(depot.manifest, root)
    assert caught.value.reason == "invalid"
