# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wherever a process dies or the power fails, a version is whole or not there, and the next run finishes it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_pull, _store_partial
from ansible_collections.emorobcare.fleet.tests.faults._crash import (
    LoopDisk,
    before_each_step,
    killed_at,
    without_direct,
)
from ansible_collections.emorobcare.fleet.tests.faults._pulls import (
    CHUNK,
    contents,
    left_over,
    pull,
    version_of,
    wanted_file,
)

pytestmark = pytest.mark.usefixtures("small_chunks")


# Every third step finds what goes wrong over more than a step or two, in a third of the time.
STRIDES = [pytest.param(3, id="every third step"), pytest.param(1, id="every step", marks=pytest.mark.slow)]


class Medium:
    """Files of the host to pull from, and what a whole version made of them holds: one file of several chunks."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        large = random.Random(9).randbytes(5 * CHUNK + 777)
        self.contents = {"model.bin": large, "more/vocab.txt": b"a b c", "more/deep/copy.txt": b"a b c"}
        self.files = []
        for number, (path, content) in enumerate(self.contents.items()):
            (folder / str(number)).write_bytes(content)
            self.files.append(wanted_file(f"file://{folder}/{number}", content=content, path=path))

    def publish(self, root: Path, state: str = "present") -> _model_pull.Pulled:
        return pull(root, *self.files, state=state)

    def remove(self, root: Path) -> _model_pull.Pulled:
        return pull(root, state="absent")


@pytest.fixture(name="medium")
def medium_fixture(tmp_path: Path) -> Medium:
    return Medium(tmp_path / "stick")


@pytest.mark.parametrize("stride", STRIDES)
def test_killed_at_any_step_a_publication_is_nothing_or_whole_and_the_next_run_finishes(
    stride: int, medium: Medium, tmp_path: Path
) -> None:
    step, killed = 1 - stride, True
    while killed:
        step += stride
        root = tmp_path / f"root{step}"
        killed = killed_at(step, functools.partial(medium.publish, root))
        if version_of(root).exists():
            assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        medium.publish(root)
        assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        again = medium.publish(root)
        assert (again.plan.action, again.bytes_read) == ("none", 0)
        assert left_over(root) == os.listdir(root / "store" / "staging") == []
        verified = medium.publish(root, "verified")
        assert (verified.plan.changed, verified.plan.corrupt) == (False, ())
    assert step > 60, "the steps were not seen, so nothing was tested"


@pytest.mark.parametrize("stride", STRIDES)
def test_killed_at_any_step_a_removal_is_nothing_or_all_and_the_next_run_finishes(
    stride: int, medium: Medium, tmp_path: Path
) -> None:
    step, killed = 1 - stride, True
    while killed:
        step += stride
        root = tmp_path / f"root{step}"
        medium.publish(root)
        killed = killed_at(step, functools.partial(medium.remove, root))
        if version_of(root).exists():
            assert contents(version_of(root)) == medium.contents, f"killed at step {step}"
        medium.remove(root)
        assert not version_of(root).exists()
        for folder in ("sha256", "staging", "chunks"):
            assert os.listdir(root / "store" / folder) == [], f"killed at step {step}"
        assert not medium.remove(root).plan.changed
    assert step > 10, "the steps were not seen, so nothing was tested"


@pytest.mark.parametrize("stride", STRIDES)
def test_killed_at_any_step_a_repair_goes_on_in_the_next_run(stride: int, medium: Medium, tmp_path: Path) -> None:
    step, killed = 1 - stride, True
    while killed:
        step += stride
        root = tmp_path / f"root{step}"
        medium.publish(root)
        published = version_of(root)
        with (published / "model.bin").open("r+b") as file:
            file.seek(2 * CHUNK)
            file.write(b"rot")
        (published / "more" / "vocab.txt").unlink()
        (published / "stranger").write_bytes(b"?")
        killed = killed_at(step, functools.partial(medium.publish, root))
        medium.publish(root)
        assert contents(published) == medium.contents, f"killed at step {step}"
        assert not medium.publish(root).plan.changed
        assert left_over(root) == []
    assert step > 30, "the steps were not seen, so nothing was tested"


class Cuts:
    """A disk, and pictures of it as a power cut before each step of some work would leave it, without those alike."""

    def __init__(self, folder: Path) -> None:
        self.disk = LoopDisk(folder / "disk.img", 8 << 20)
        self.pictures: list[Path] = []
        self._folder = folder
        self._last = b""

    def take(self, count: int) -> None:
        picture = self._folder / f"cut{count}.img"
        self.disk.picture(picture)
        seen, self._last = self._last, hashlib.sha256(picture.read_bytes()).digest()
        if seen == self._last:
            picture.unlink()
        else:
            self.pictures.append(picture)

    def some(self, every: int) -> t.Iterator[Path]:
        """Yield one picture in `every`, and always the last one."""
        yield from self.pictures[(len(self.pictures) - 1) % every :: every]

    @contextlib.contextmanager
    def during(self) -> t.Iterator[None]:
        with before_each_step(self.take):
            yield
        self.take(0)


@pytest.fixture(name="cuts")
def cuts_fixture(disks: Path) -> Cuts:
    return Cuts(disks)


def whole_or_not_there(
    cuts: Cuts, every: int, files: dict[str, bytes], publish: t.Callable[..., _model_pull.Pulled]
) -> None:
    """Cut the power at the steps of a publication of some files, and look at what the disk has then."""
    with cuts.disk as mount, cuts.during():
        publish(mount / "root")
    seen = []
    for picture in cuts.some(every):
        with LoopDisk(picture) as mount:
            seen.append(version_of(mount / "root").exists())
            if seen[-1]:
                assert contents(version_of(mount / "root")) == files, picture.name
            publish(mount / "root")
            assert contents(version_of(mount / "root")) == files, picture.name
            assert not publish(mount / "root", "verified").plan.changed, picture.name
    assert len(cuts.pictures) > 10, "the steps were not seen, so nothing was tested"
    assert not seen[0]
    assert seen[-1], "it was reported as done before it was on the disk"


@pytest.mark.parametrize("every", STRIDES)
def test_after_a_power_cut_at_any_step_the_disk_shows_nothing_or_a_whole_version(
    every: int, cuts: Cuts, medium: Medium
) -> None:
    whole_or_not_there(cuts, every, medium.contents, medium.publish)


@pytest.mark.parametrize("every", STRIDES)
@pytest.mark.parametrize("path", ["model.bin", "more/vocab.txt"])
def test_after_a_power_cut_nothing_is_owed_to_what_else_was_synced(
    path: str, every: int, cuts: Cuts, medium: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file alone, and all of it written through the page cache: what is not synced is not on the disk."""
    without_direct(monkeypatch)
    medium.files = [file for file in medium.files if file["path"] == path]
    whole_or_not_there(cuts, every, {path: medium.contents[path]}, medium.publish)


def test_what_is_synced_chunk_by_chunk_outlives_a_power_cut(
    cuts: Cuts, medium: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store_partial, "_SYNC_EVERY", 0.0)
    with cuts.disk as mount, cuts.during():
        medium.publish(mount / "root")
    fetched = []
    for picture in cuts.some(3):
        with LoopDisk(picture) as mount:
            fetched.append(medium.publish(mount / "root").outcome.bytes_fetched)
            assert contents(version_of(mount / "root")) == medium.contents, picture.name
    assert [count for count in fetched if 0 < count < len(medium.contents["model.bin"]) - CHUNK]


@pytest.mark.parametrize("every", STRIDES)
def test_after_a_power_cut_at_any_step_of_a_repair_the_next_run_finishes(
    every: int, cuts: Cuts, medium: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store_partial, "_SYNC_EVERY", 0.0)
    with cuts.disk as mount:
        medium.publish(mount / "root")
        with (version_of(mount / "root") / "model.bin").open("r+b") as file:
            file.seek(2 * CHUNK)
            file.write(b"rot")
            file.flush()
            os.fsync(file.fileno())
        with cuts.during():
            medium.publish(mount / "root")
    for picture in cuts.some(every):
        with LoopDisk(picture) as mount:
            assert set(contents(version_of(mount / "root"))) == set(medium.contents), "a repair took a file away"
            medium.publish(mount / "root", "verified")
            assert contents(version_of(mount / "root")) == medium.contents, picture.name
    assert len(cuts.pictures) > 5, "the steps were not seen, so nothing was tested"


@pytest.mark.parametrize("every", STRIDES)
def test_after_a_power_cut_at_any_step_of_a_removal_the_next_run_finishes(
    every: int, cuts: Cuts, medium: Medium
) -> None:
    with cuts.disk as mount:
        medium.publish(mount / "root")
        with cuts.during():
            medium.remove(mount / "root")
    for picture in cuts.some(every):
        with LoopDisk(picture) as mount:
            if version_of(mount / "root").exists():
                assert contents(version_of(mount / "root")) == medium.contents, picture.name
            medium.publish(mount / "root")
            assert contents(version_of(mount / "root")) == medium.contents, picture.name
            medium.remove(mount / "root")
            assert os.listdir(mount / "root" / "store" / "sha256") == [], picture.name
