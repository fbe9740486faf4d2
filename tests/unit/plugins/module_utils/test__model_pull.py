# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_look, _model_origins, _model_pull
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import chains
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Use
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pull import Pulled, Request, explain
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import parse_wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import read_log
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_CHUNK,
    MemoryOrigin,
    Served,
    final,
    noise,
    shrink,
)

CONTENTS = {"model.bin": b"weights", "more/vocab.txt": b"a b c", "more/deep/copy.txt": b"a b c"}


def no_commands(command: t.Sequence[str], _folder: str) -> Ended:
    raise AssertionError(f"nothing here needs {command}")


class World:
    """A host with a stick whose files tasks pull."""

    def __init__(self, folder: Path) -> None:
        self.stick = folder / "stick"
        self.root = folder / "root"
        self.store = Store(str(self.root))
        self.stick.mkdir()

    def pull(self, contents: t.Mapping[str, bytes] | None = None, **more: t.Any) -> Pulled:
        options = {"name": "speech", "version": "1", "state": "present", "check_mode": False, **more}
        files = []
        for path, content in (CONTENTS if contents is None else contents).items():
            digest = hashlib.sha256(content).hexdigest()
            (self.stick / digest).write_bytes(content)
            source = f"file://{self.stick}/{digest}"
            file = {"path": path, "sha256": digest, "size": len(content), "source": source}
            files.append({**file, **more.get("change", {}).get(path, {})})
        wanted = parse_wanted({**options, "files": files if options["state"] != "absent" else None})
        request = Request(
            str(self.root),
            wanted,
            Settings(retry=Retry(0), **more.get("settings", {})),
            more.get("keep", 0),
            lock_timeout=0,
            check_mode=options["check_mode"],
            progress_path=more.get("progress_path", ""),
        )
        return _model_pull.pull(request, HostPip(no_commands))

    def published(self, name: str = "speech", version: str = "1") -> Path:
        return self.root / "models" / name / version

    def contents(self, **which: str) -> dict[str, bytes]:
        folder = self.published(**which)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def blob(self, content: bytes) -> Path:
        return Path(self.store.blob(hashlib.sha256(content).hexdigest()))

    def pull_until_quiet(self, **more: t.Any) -> Pulled:
        """Pull twice; the second one must change nothing and read nothing."""
        first = self.pull(**more)
        again = self.pull(**more)
        assert (again.plan.action, again.bytes_read) == ("none", 0)
        return first


@pytest.fixture(name="world")
def world_fixture(tmp_path: Path) -> World:
    return World(tmp_path)


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {str(p): (p.lstat().st_ino, p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*")}


def test_a_version_is_published_read_only_as_links_and_shared_content_is_stored_once(world: World) -> None:
    result = world.pull_until_quiet()
    assert world.contents() == CONTENTS
    assert result.outcome.bytes_fetched == result.plan.bytes_to_fetch == len(b"weights") + len(b"a b c")
    assert world.published().joinpath("more/vocab.txt").samefile(world.blob(b"a b c"))
    assert world.published().joinpath("more/deep/copy.txt").samefile(world.blob(b"a b c"))
    modes = {path.stat().st_mode & 0o7777 for path in world.published().rglob("*") if path.is_file()}
    assert modes == {0o444}
    assert {path.stat().st_mode & 0o7777 for path in world.root.joinpath("models").rglob("*") if path.is_dir()} == {
        0o755
    }


def test_a_second_model_fetches_only_what_the_store_lacks_and_leaves_the_first_one_stamped(world: World) -> None:
    world.pull()
    result = world.pull_until_quiet(contents={"v.txt": b"a b c", "new": b"new"}, name="other")
    assert result.outcome.bytes_fetched == len(b"new")
    again = world.pull()
    assert (again.plan.action, again.bytes_read) == ("none", 0)


def test_check_mode_writes_nothing_at_all(world: World) -> None:
    result = world.pull(check_mode=True)
    assert (result.plan.action, result.plan.bytes_to_fetch, result.outcome.bytes_fetched) == ("publish", 12, 0)
    assert not world.root.exists()
    world.pull()
    damage(world.published() / "model.bin", b"rotten!")
    before = tree(world.root)
    assert world.pull(check_mode=True).plan.action == "repair"
    assert world.pull(check_mode=True, state="absent").plan.action == "remove"
    assert tree(world.root) == before


DAMAGES: list[t.Any] = [
    # id, what happens, paths repaired, content fetched again
    pytest.param(
        lambda w: damage(w.published() / "model.bin", b"rotten!"), {"model.bin"}, {b"weights"}, id="flipped in place"
    ),
    pytest.param(
        lambda w: damage(w.published() / "model.bin", b"short"), {"model.bin"}, {b"weights"}, id="truncated in place"
    ),
    pytest.param(
        lambda w: damage(w.published() / "more/vocab.txt", b"A B C"),
        {"more/vocab.txt", "more/deep/copy.txt"},
        {b"a b c"},
        id="flipped, with a twin",
    ),
    pytest.param(lambda w: (w.published() / "model.bin").unlink(), {"model.bin"}, set(), id="deleted"),
    pytest.param(
        lambda w: shutil.rmtree(w.published() / "more"),
        {"more/vocab.txt", "more/deep/copy.txt"},
        set(),
        id="folder gone",
    ),
    pytest.param(
        lambda w: [(w.published() / "model.bin").unlink(), w.blob(b"weights").unlink()],
        {"model.bin"},
        {b"weights"},
        id="deleted with the store's",
    ),
    pytest.param(
        lambda w: [(w.published() / "model.bin").unlink(), (w.published() / "model.bin").symlink_to("/etc/passwd")],
        {"model.bin"},
        set(),
        id="replaced by a link",
    ),
    pytest.param(
        lambda w: [(w.published() / "model.bin").unlink(), (w.published() / "model.bin" / "x").mkdir(parents=True)],
        {"model.bin"},
        set(),
        id="replaced by a folder",
    ),
    pytest.param(lambda w: w.blob(b"a b c").unlink(), {"more/vocab.txt"}, set(), id="the store's deleted"),
    pytest.param(
        lambda w: [w.blob(b"weights").unlink(), w.blob(b"weights").write_bytes(b"rotten!")],
        {"model.bin"},
        set(),
        id="the store's replaced",
    ),
    pytest.param(lambda w: (w.published() / "model.bin").chmod(0o666), {"model.bin"}, set(), id="made writable"),
    pytest.param(lambda w: (w.published() / "more" / "stranger").touch(), {"more/stranger"}, set(), id="a stranger"),
    pytest.param(lambda w: (w.published() / "empty").mkdir(), {"empty"}, set(), id="a strange folder"),
]


@pytest.mark.parametrize(("happens", "repaired", "fetched"), DAMAGES)
def test_a_damaged_version_is_repaired_and_said_to_be(
    world: World, happens: t.Callable[[World], t.Any], repaired: set[str], fetched: set[bytes]
) -> None:
    world.pull()
    inode = world.published().stat().st_ino
    happens(world)
    result = world.pull_until_quiet()
    assert world.contents() == CONTENTS
    assert result.plan.action == "repair"
    assert repaired <= {path for path, _why in result.plan.repairs}
    assert set(result.outcome.fetched) == {hashlib.sha256(content).hexdigest() for content in fetched}
    assert not list(world.published().rglob("stranger"))
    assert world.published().stat().st_ino == inode, "containers that mount the folder would not see the repair"


def test_a_folder_replaced_by_a_link_is_repaired_without_writing_behind_the_link(world: World, tmp_path: Path) -> None:
    world.pull()
    shutil.move(world.published() / "more", tmp_path / "elsewhere")
    (world.published() / "more").symlink_to(tmp_path / "elsewhere")
    before = tree(tmp_path / "elsewhere")
    world.pull_until_quiet()
    assert world.contents() == CONTENTS
    assert not (world.published() / "more").is_symlink()
    assert tree(tmp_path / "elsewhere") == before


def test_a_version_restored_from_a_backup_is_read_once_and_shares_the_stores_content_again(world: World) -> None:
    world.pull()
    shutil.copytree(world.published(), world.root / "copy", copy_function=shutil.copy2)
    shutil.rmtree(world.published())
    (world.root / "copy").rename(world.published())
    result = world.pull_until_quiet()
    assert result.bytes_read > 0
    assert result.outcome.bytes_fetched == 0
    assert world.published().joinpath("model.bin").samefile(world.blob(b"weights"))


@pytest.mark.parametrize("touch", [os.utime, lambda path: os.chmod(path, 0o444)])
def test_a_file_that_was_touched_but_is_right_is_read_once_and_is_no_change(
    world: World, touch: t.Callable[[Path], None]
) -> None:
    world.pull()
    touch(world.published() / "model.bin")
    result = world.pull_until_quiet()
    assert (result.plan.action, result.plan.changed, result.bytes_read) == ("stamp", False, len(b"weights"))


@pytest.mark.parametrize("name", ["stamps.json", "versions/speech@1.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_lost_notes_cost_a_read_and_are_no_change(world: World, name: str, content: bytes | None) -> None:
    world.pull()
    notes = world.root / "store" / name
    notes.unlink() if content is None else notes.write_bytes(content)
    assert not world.pull_until_quiet().plan.changed


def test_other_content_under_a_published_version_is_refused_in_check_mode_too(world: World) -> None:
    world.pull()
    before = tree(world.root)
    for check_mode in (True, False):
        with pytest.raises(ModelError, match=r"model\.bin: published sha256") as caught:
            world.pull({**CONTENTS, "model.bin": b"other"}, check_mode=check_mode)
        assert caught.value.reason == "immutable"
    assert tree(world.root) == before
    assert world.pull({**CONTENTS, "model.bin": b"other"}, version="2").plan.action == "publish"


def test_a_folder_that_we_did_not_publish_is_adopted_when_right_and_refused_when_not(world: World) -> None:
    for path, content in CONTENTS.items():
        (world.published() / path).parent.mkdir(parents=True, exist_ok=True)
        (world.published() / path).write_bytes(content)
        (world.published() / path).chmod(0o444)
    result = world.pull_until_quiet()
    assert result.outcome.bytes_fetched == 0
    assert {why for _path, why in result.plan.repairs} == {
        "was missing from the store",
        "was a copy beside the store's",
    }
    world.published("other").mkdir(parents=True)
    with pytest.raises(ModelError) as caught:
        world.pull(name="other")
    assert caught.value.reason == "foreign"


def test_absence_removes_the_version_and_only_what_nothing_else_has(world: World) -> None:
    world.pull()
    world.pull({"v.txt": b"a b c"}, name="other")
    result = world.pull(state="absent")
    assert (result.plan.changed, result.plan.bytes_freed) == (True, len(b"weights"))
    assert not world.published().parent.exists()
    assert os.listdir(world.store.blobs) == [hashlib.sha256(b"a b c").hexdigest()]
    assert not world.pull(state="absent").plan.changed
    other = world.pull({"v.txt": b"a b c"}, name="other")
    assert (other.plan.action, other.bytes_read) == ("none", 0)


def test_absence_keeps_content_that_a_damaged_version_still_needs_or_that_is_linked_from_elsewhere(
    world: World,
) -> None:
    world.pull()
    world.pull({"v.txt": b"a b c"}, name="other")
    (world.published("other") / "v.txt").unlink()
    os.link(world.blob(b"weights"), world.root / "linked by a release")
    assert world.pull(state="absent").plan.bytes_freed == 0
    assert sorted(os.listdir(world.store.blobs)) == sorted(
        hashlib.sha256(content).hexdigest() for content in (b"weights", b"a b c")
    )


def test_absence_on_a_host_that_never_had_anything_writes_nothing(world: World) -> None:
    assert not world.pull(state="absent").plan.changed
    assert not world.root.exists()


def test_a_version_is_published_again_after_its_removal(world: World) -> None:
    world.pull()
    world.pull(state="absent")
    world.pull_until_quiet(contents={"model.bin": b"other"})
    assert world.contents() == {"model.bin": b"other"}


def test_only_the_last_version_of_a_model_takes_its_folder_with_it(world: World) -> None:
    world.pull()
    world.pull(version="2")
    world.pull(state="absent")
    assert os.listdir(world.published().parent) == ["2"]


def test_a_root_that_is_a_link_is_refused_before_any_write(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    world.root.symlink_to(tmp_path / "elsewhere")
    for check_mode in (True, False):
        with pytest.raises(ModelError, match="symbolic link") as caught:
            world.pull(check_mode=check_mode)
        assert caught.value.reason == "unsafe_path"
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("root", ["relative", "/", "//", "/x/.."])
def test_a_root_that_is_no_folder_of_its_own_is_refused(root: str) -> None:
    wanted = parse_wanted({"name": "speech", "version": "1", "state": "absent", "files": None})
    with pytest.raises(ModelError, match="absolute path"):
        Request(root, wanted, Settings())


def no_pip(_command: t.Sequence[str], _folder: str) -> Ended:
    return Ended(1, "", "No module named pip")


def test_a_missing_pip_is_told_in_check_mode_and_refused_before_anything_is_fetched(
    world: World, tmp_path: Path
) -> None:
    file = {"path": "m", "sha256": "a" * 64, "size": 1, "source": "pip://a==1!/m"}
    wanted = parse_wanted({"name": "speech", "version": "1", "state": "present", "files": [file]})
    request = Request(str(tmp_path / "root"), wanted, Settings(), check_mode=True)
    assert _model_pull.pull(request, HostPip(no_pip)).tools_missing == ("pip",)
    with pytest.raises(ModelError, match="this host has no pip"):
        _model_pull.pull(dataclasses.replace(request, check_mode=False), HostPip(no_pip))
    assert not (tmp_path / "root").exists()
    assert world.pull(check_mode=True).tools_missing == ()


@pytest.mark.parametrize(
    ("number", "reason", "hint"),
    [
        (errno.ENOSPC, "no_space", "free space there"),
        (errno.EDQUOT, "no_space", "free space there"),
        (errno.EROFS, "read_only", "remount it"),
        (errno.EACCES, "read_only", "become root"),
        (errno.EIO, "io_error", "check the disk"),
    ],
)
def test_a_failing_disk_is_explained(number: int, reason: str, hint: str) -> None:
    error = explain(OSError(number, os.strerror(number), "/srv/store/x"), "/srv")
    assert error.reason == reason
    assert f"/srv/store/x: {os.strerror(number)}; " in str(error)
    assert hint in str(error)


# Large files, by chunks.

LARGE = noise(5 * SMALL_CHUNK + 77)
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


@pytest.fixture(name="large")
def large_fixture(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A host with a version of one large file, in small."""
    shrink(monkeypatch)
    world.pull({"model.bin": LARGE})
    return world


def rot(world: World, *chunks: int) -> None:
    """Change content as a dying disk does: the stamps still hold."""
    path = world.published() / "model.bin"
    path.chmod(0o644)
    with open(path, "r+b") as file:
        for index in chunks:
            file.seek(index * SMALL_CHUNK + 5)
            file.write(b"\x00\x01\x02")
    path.chmod(0o444)
    world.store.write_stamps({hashlib.sha256(LARGE).hexdigest(): Stamp.of(path.stat())})


def span(index: int) -> tuple[str, int, int]:
    return ("model.bin", index * SMALL_CHUNK, min((index + 1) * SMALL_CHUNK, len(LARGE)))


@needs_chains
def test_only_the_ranges_that_are_wrong_are_named_and_fetched_again(large: World) -> None:
    rot(large, 1, 3)
    assert large.pull({"model.bin": LARGE}).plan.action == "none", "nobody has looked"
    before = large.published().stat().st_ino
    predicted = large.pull({"model.bin": LARGE}, state="verified", check_mode=True)
    result = large.pull({"model.bin": LARGE}, state="verified")
    assert large.contents() == {"model.bin": LARGE}
    for each in (predicted, result):
        assert each.plan.action == "repair"
        assert each.plan.corrupt == (span(1), span(3))
        assert each.plan.bytes_to_fetch == 2 * SMALL_CHUNK
        assert each.bytes_read == len(LARGE)
    assert (result.outcome.bytes_fetched, result.outcome.bytes_resumed) == (
        2 * SMALL_CHUNK,
        len(LARGE) - 2 * SMALL_CHUNK,
    )
    assert large.published().stat().st_ino == before
    assert os.listdir(large.store.partial) == []
    again = large.pull({"model.bin": LARGE}, state="verified")
    assert (again.plan.action, again.plan.corrupt) == ("none", ())


@needs_chains
def test_damage_that_cannot_be_repaired_is_told_and_nothing_is_taken_away(large: World) -> None:
    rot(large, 5)
    before = (large.published() / "model.bin").read_bytes()
    (large.stick / hashlib.sha256(LARGE).hexdigest()).unlink()
    elsewhere = {"model.bin": {"source": None, "sources": ["https://127.0.0.1:1/gone"]}}
    with pytest.raises(ModelError, match=r"is damaged on this host \(model\.bin\) and could not be repaired") as caught:
        large.pull({"model.bin": LARGE}, state="verified", change=elsewhere)
    _path, start, stop = span(5)
    assert caught.value.details["corrupt"] == [{"path": "model.bin", "start": start, "stop": stop}]
    assert (large.published() / "model.bin").read_bytes() == before


def test_a_version_that_is_verified_is_read_whole_each_inode_once_and_is_not_changed(world: World) -> None:
    world.pull()
    before = tree(world.root)
    for _number in range(2):
        result = world.pull(state="verified")
        assert (result.plan.action, result.changed) == ("none", False)
        assert result.bytes_read == len(b"weights") + len(b"a b c")
    assert tree(world.root) == before


def test_a_version_that_is_not_there_is_published_by_verifying_it(world: World) -> None:
    assert world.pull(state="verified").plan.action == "publish"
    assert world.contents() == CONTENTS


@needs_chains
def test_chain_values_are_kept_beside_content_of_several_chunks_and_go_with_it(large: World) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    assert len(large.store.read_states(digest, len(LARGE))) == 5
    large.pull(name="small")
    assert os.listdir(large.store.chunks) == [digest]
    large.pull(state="absent")
    assert os.listdir(large.store.chunks) == []


# Sources that are no files.


def serving(monkeypatch: pytest.MonkeyPatch, origin: MemoryOrigin) -> None:
    monkeypatch.setattr(_model_origins, "make_origin", lambda *_args: origin)


def from_web(*paths: str, **more: t.Any) -> dict[str, t.Any]:
    """Return the changes that have files come from the origin that `serving` sets up."""
    return {path: {"source": f"http://h/{path}", **more} for path in paths}


def test_an_interrupted_task_is_gone_on_with_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    log = world.store.log(hashlib.sha256(LARGE).hexdigest())

    def reading(position: int) -> None:
        while position >= 3 * SMALL_CHUNK + 9 and len(read_log(log, len(LARGE)).chunks) < 3:
            threading.Event().wait(0.01)

    served = Served(LARGE, cut=[3 * SMALL_CHUNK + 9], reading=reading)
    serving(monkeypatch, MemoryOrigin(m=served))
    change = {"model.bin": {"source": "http://h/m"}}
    with pytest.raises(ModelError, match="ended after 196617 of 327757 bytes"):
        world.pull({"model.bin": LARGE}, change=change)
    assert not world.published().exists()
    predicted = world.pull({"model.bin": LARGE}, change=change, check_mode=True)
    assert predicted.plan.bytes_to_fetch == len(LARGE) - 3 * SMALL_CHUNK
    result = world.pull({"model.bin": LARGE}, change=change)
    assert world.contents() == {"model.bin": LARGE}
    assert result.outcome.bytes_resumed == 3 * SMALL_CHUNK
    assert result.outcome.bytes_fetched == result.plan.bytes_to_fetch == len(LARGE) - 3 * SMALL_CHUNK


def test_what_was_fetched_before_a_failure_is_neither_fetched_nor_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Served(b"bad", opening=lambda *_args: refuse())
    serving(monkeypatch, MemoryOrigin(good=Served(b"good"), bad=bad))
    files = {"good": b"good", "bad": b"bad"}
    with pytest.raises(ModelError):
        world.pull(files, change=from_web(*files), settings={"concurrency": 1})
    bad.opening = lambda *_args: None
    result = world.pull(files, change=from_web(*files))
    assert (result.outcome.bytes_fetched, result.bytes_read) == (3, 0)


def refuse() -> t.NoReturn:
    raise final("there is none")


def test_an_optional_file_that_no_source_has_is_left_out_and_tried_again_by_the_next_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = Served(b"extra", opening=lambda *_args: refuse())
    serving(monkeypatch, MemoryOrigin(m=Served(b"m"), extra=extra))
    files = {"m": b"m", "extra": b"extra"}
    change = {**from_web("m"), **from_web("extra", required=False)}
    result = world.pull(files, change=change)
    assert (result.changed, result.plan.unavailable) == (True, ("extra",))
    assert [str(error) for error in result.outcome.unavailable.values()] == ["there is none"]
    assert world.contents() == {"m": b"m"}
    again = world.pull(files, change=change)
    assert (again.changed, again.plan.unavailable) == (False, ("extra",))
    extra.opening = lambda *_args: None
    assert world.pull(files, change=change).plan.action == "repair"
    assert world.contents() == files


@pytest.mark.parametrize("size", [None, "14GB", "0B"])
def test_a_size_that_is_not_pinned_is_asked_for_once_and_known_after(
    world: World, monkeypatch: pytest.MonkeyPatch, size: str | None
) -> None:
    origin = MemoryOrigin(m=Served(b"content"))
    serving(monkeypatch, origin)
    change = from_web("m", size=size)
    result = world.pull({"m": b"content"}, change=change)
    assert [file.size for file in result.wanted.files] == [7]
    assert world.contents() == {"m": b"content"}
    origin.served.clear()  # the stamp says it now
    again = world.pull({"m": b"content"}, change=change)
    assert (again.plan.action, again.wanted.files[0].size) == ("none", 7)


def test_a_size_that_one_source_does_not_say_another_one_may(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = MemoryOrigin(a=Served(b"content", told_size=None), b=Served(b"content", opening=lambda *_args: refuse()))
    origin.served["http://h/c"] = Served(b"content")
    serving(monkeypatch, origin)
    change = {"m": {"size": None, "source": None, "sources": ["http://h/a", "http://h/b", "http://h/c"]}}
    assert world.pull({"m": b"content"}, change=change, check_mode=True).plan.bytes_to_fetch == 7


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_size_that_nobody_says_is_refused_before_anything_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    served = Served(b"content", told_size=None)
    serving(monkeypatch, MemoryOrigin(m=served))
    with pytest.raises(ModelError, match="pin its size") as caught:
        world.pull({"m": b"content"}, change=from_web("m", size=None), check_mode=check_mode)
    assert caught.value.reason == "no_size"
    served.opening = lambda *_args: refuse()
    with pytest.raises(ModelError, match="there is none"):
        world.pull({"m": b"content"}, change=from_web("m", size=None), check_mode=check_mode)
    assert served.sent == 0
    assert not world.root.exists()


@pytest.mark.parametrize("required", [True, False])
def test_content_of_unpinned_size_stays_when_notes_are_lost_and_no_source_answers(
    world: World, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    served = Served(b"content")
    serving(monkeypatch, MemoryOrigin(m=served))
    change = from_web("m", size=None, required=required)
    world.pull({"m": b"content"}, change=change)
    (world.root / "store" / "stamps.json").unlink()
    served.opening = lambda *_args: refuse()
    result = world.pull({"m": b"content"}, change=change)
    assert (result.changed, result.plan.unavailable) == (False, ())
    assert world.contents() == {"m": b"content"}


def test_origins_are_closed_when_the_task_is_done_and_when_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = MemoryOrigin(m=Served(b"content"))
    serving(monkeypatch, origin)
    world.pull({"m": b"content"}, change=from_web("m", size=None), check_mode=True)
    assert origin.closed == 1
    origin.served["http://h/m"].opening = lambda *_args: refuse()
    with pytest.raises(ModelError):
        world.pull({"m": b"content"}, change=from_web("m"))
    assert origin.closed > 1


# Which versions stay.


def versions(world: World) -> list[str]:
    return sorted(version for name, version in world.store.published() if name == "speech")


def publish(world: World, *names: str) -> None:
    for number, name in enumerate(names):
        world.pull({"m": name.encode()}, version=name)
        os.utime(world.published(version=name), ns=(number, number))


@pytest.mark.parametrize(
    ("keep", "wanted", "removed"),
    [
        (0, "5", ()),
        (1, "5", ("1", "2", "3", "4")),
        (2, "5", ("1", "2", "3")),
        (9, "5", ()),
        (1, "2", ("1", "3")),  # a robot that was taken back: the last published one stays, and its own
        (4, "1", ()),
    ],
)
def test_as_many_versions_stay_as_are_to_be_kept(
    world: World, keep: int, wanted: str, removed: tuple[str, ...]
) -> None:
    publish(world, "1", "2", "3", "4")
    world.pull({"m": b"other"}, name="other")
    before = set(versions(world))
    predicted = world.pull({"m": wanted.encode()}, version=wanted, keep=keep, check_mode=True)
    assert set(versions(world)) == before
    result = world.pull({"m": wanted.encode()}, version=wanted, keep=keep)
    assert predicted.removed == result.removed == removed
    assert set(versions(world)) == (before | {wanted}) - set(removed)
    assert len(os.listdir(world.store.blobs)) == len(versions(world)) + 1
    assert world.contents(name="other") == {"m": b"other"}
    again = world.pull({"m": wanted.encode()}, version=wanted, keep=keep)
    assert (again.changed, again.removed, again.bytes_read) == (False, (), 0)


def use(monkeypatch: pytest.MonkeyPatch, *models: tuple[str, str]) -> None:
    monkeypatch.setattr(_model_look, "uses", lambda _root: {model: [Use("shop", "a" * 64)] for model in models})


def test_a_version_that_a_release_uses_is_not_removed_by_either_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(world, "1", "2", "3")
    use(monkeypatch, ("speech", "1"))
    assert world.pull({"m": b"3"}, version="3", keep=1).removed == ("2",)
    for check_mode in (True, False):
        with pytest.raises(ModelError, match="is in use on this host") as caught:
            world.pull(version="1", state="absent", check_mode=check_mode)
        assert caught.value.reason == "in_use"
    assert versions(world) == ["1", "3"]


def test_how_many_are_to_be_kept_is_a_number_of_versions() -> None:
    wanted = parse_wanted({"name": "speech", "version": "1", "state": "absent", "files": None})
    with pytest.raises(ModelError, match="keep must be 0"):
        Request("/srv", wanted, Settings(), keep=-1)


# Progress.


def test_progress_is_told_while_it_works_and_gone_after(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.root / "store" / "progress" / "x.json"
    seen: list[dict[str, t.Any]] = []

    def reading(_position: int) -> None:
        for _number in range(6000):
            if path.exists():
                break
            threading.Event().wait(0.01)
        seen.append(json.loads(path.read_text()))

    serving(monkeypatch, MemoryOrigin(m=Served(b"content", reading=reading)))
    world.pull({"m": b"content"}, change=from_web("m"), progress_path=str(path))
    assert [(one["model"], one["phase"], one["total"]) for one in seen] == [("speech/1", "fetch", 7)]
    assert not path.exists()
    (world.root / "store" / "stamps.json").unlink()
    assert world.pull({"m": b"content"}, change=from_web("m"), progress_path=str(path)).bytes_read == 7
    assert os.listdir(path.parent) == []


def test_progress_that_cannot_be_written_fails_nothing(world: World) -> None:
    (world.stick / "file").write_bytes(b"")
    world.pull(progress_path=str(world.stick / "file" / "x.json"))
    world.pull(progress_path=str(world.stick / "file" / "x.json"), state="verified")
    assert world.contents() == CONTENTS
