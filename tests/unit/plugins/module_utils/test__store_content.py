# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import mmap
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_ranges import CHUNK
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store

A, B = "a" * 64, "b" * 64


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "root"))
    with store.locked(0):
        pass
    return store


def put(store: Store, digest: str, content: bytes = b"content") -> Path:
    blob = Path(store.blob(digest))
    blob.write_bytes(content)
    blob.chmod(0o444)
    return blob


def test_the_layout_is_as_documented(store: Store) -> None:
    assert sorted(str(path.relative_to(store.root)) for path in Path(store.root).rglob("*")) == [
        "models",
        "store",
        "store/chunks",
        "store/lock",
        "store/partial",
        "store/sha256",
        "store/staging",
        "store/versions",
    ]
    assert store.version("speech", "1") == f"{store.root}/models/speech/1"


@pytest.mark.parametrize(
    "place", ["", "store", "store/sha256", "store/partial", "store/staging", "store/versions", "store/chunks"]
)
@pytest.mark.parametrize("models", ["models", "models/speech", "models/speech/1"])
def test_links_and_files_where_folders_belong_are_refused(
    store: Store, tmp_path: Path, place: str, models: str
) -> None:
    os.makedirs(store.version("speech", "1"))
    store.check_layout("speech", "1")
    for spot, kind in ((place, "a symbolic link"), (models, "not a folder")):
        path = Path(store.root, spot) if spot else Path(store.root)
        aside = tmp_path / "aside"
        path.rename(aside)
        if kind == "a symbolic link":
            path.symlink_to(aside)
        else:
            path.write_bytes(b"")
        with pytest.raises(ModelError, match=kind) as caught:
            store.check_layout("speech", "1")
        assert caught.value.reason == "unsafe_path"
        assert str(path) in str(caught.value)
        path.unlink()
        aside.rename(path)


def test_two_file_systems_below_one_root_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lstat = os.lstat

    def mounted(path: str) -> os.stat_result:
        status = lstat(path)
        return os.stat_result([*status[:2], 99, *status[3:10]]) if path == store.models else status

    monkeypatch.setattr(os, "lstat", mounted)
    with pytest.raises(ModelError, match="are on different file systems") as caught:
        store.check_layout("speech", "1")
    assert caught.value.reason == "unsafe_path"


def test_what_an_interrupted_run_left_is_cleared_under_the_lock(store: Store) -> None:
    Path(store.partial, f"{A}.small").write_bytes(b"half")
    os.makedirs(os.path.join(store.partial, "pip-x", "wheel"))
    os.makedirs(os.path.join(store.staging, "x", "y"))
    with store.locked(0):
        assert os.listdir(store.partial) == os.listdir(store.staging) == []


def age(path: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


DAY = 86400
PARTIALS: list[t.Any] = [
    # names, age of the logs in days, what is kept
    ([f"{A}.part", f"{A}.log"], 0, [f"{A}.part", f"{A}.log"]),
    ([f"{A}.part", f"{A}.log"], 29, [f"{A}.part", f"{A}.log"]),
    ([f"{A}.part", f"{A}.log"], 31, []),  # nobody has asked for it in a long time
    ([f"{A}.part"], 0, []),
    ([f"{A}.log"], 0, []),
    ([f"{A}.part", f"{B}.log"], 0, []),
    ([f"{A}.part", f"{A}.log", f"{B}.part", f"{B}.small", "pip-x"], 1, [f"{A}.part", f"{A}.log"]),
    (["log", "part", ".log", "x"], 0, []),
]


@pytest.mark.parametrize(("names", "days", "kept"), PARTIALS)
def test_what_can_be_gone_on_with_is_kept_for_a_month_and_all_else_is_not(
    store: Store, names: list[str], days: int, kept: list[str]
) -> None:
    for name in names:
        path = Path(store.partial, name)
        path.write_bytes(b"half")
        age(str(path), days * DAY)
    with store.locked(0):
        assert sorted(os.listdir(store.partial)) == sorted(kept)


def test_progress_of_tasks_that_were_killed_is_cleared_and_that_of_others_is_not(store: Store) -> None:
    os.mkdir(store.progress)
    for name, seconds in (("old", 7200), ("new", 1)):
        Path(store.progress, name).write_bytes(b"{}")
        age(os.path.join(store.progress, name), seconds)
    with store.locked(0):
        assert os.listdir(store.progress) == ["new"]


def occupied(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_leftovers_count_as_available_space_and_links_to_content_do_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(store.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: free)  # others write to this disk meanwhile
    before = store.space([], {})
    leftovers = [Path(store.staging, "x"), Path(store.partial, f"{A}.small"), Path(store.partial, "pip-x", "a.whl")]
    leftovers.append(Path(store.partial, f"{B}.part"))
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1 << 20))
    os.link(put(store, B, bytes(1 << 20)), os.path.join(store.staging, "link"))
    after = store.space([], {})
    assert after.available == before.available + sum(map(occupied, leftovers))
    with store.locked(0):
        pass
    assert not [path for path in leftovers if path.exists()], "what counts as available must be cleared"
    assert os.path.ismount(before.mount)
    assert str(store.root).startswith(before.mount)


@pytest.mark.parametrize(("held", "left"), [({}, 1 << 20), ({A: 300_000}, (1 << 20) - 300_000), ({A: 9 << 20}, 0)])
def test_what_a_partial_file_has_reserved_is_for_its_content(
    store: Store, monkeypatch: pytest.MonkeyPatch, held: dict[str, int], left: int
) -> None:
    free = os.statvfs(store.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: free)
    for digest in (A, B):
        Path(store.log(digest)).write_bytes(b"")
        with open(store.part(digest), "wb") as part:
            os.posix_fallocate(part.fileno(), 0, 1 << 20)
    blocks = occupied(Path(store.part(A)))
    available = store.space([A], held).available - free.f_bavail * free.f_frsize
    # And all of the other one, which would be given up.
    assert available == max(left + blocks - (1 << 20), 0) + occupied(Path(store.part(B)))


def test_what_other_contents_hold_is_given_up_as_far_as_the_room_is_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(store.root)
    monkeypatch.setattr(os, "statvfs", lambda _path: free)
    digests = [digit * 64 for digit in "abc"]
    for age, digest in enumerate(digests):
        Path(store.log(digest)).write_bytes(b"")
        Path(store.part(digest)).write_bytes(b"x")
        os.utime(store.part(digest), (age, age))
    store.make_room(free.f_bavail * free.f_frsize, [], {})
    assert len(os.listdir(store.partial)) == 6, "there was room"
    store.make_room(1 << 60, [digests[1]], {})
    assert sorted(os.listdir(store.partial)) == [f"{digests[1]}.log", f"{digests[1]}.part"]


def test_the_space_of_a_root_that_does_not_exist_is_that_of_the_folder_above(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a" / "b"))
    assert store.existing() == str(tmp_path)
    assert store.space([], {}).block == os.statvfs(tmp_path).f_frsize


def test_records_and_stamps_are_read_as_written(store: Store) -> None:
    stamp = Stamp.of(put(store, A).stat())
    store.write_stamps({A: stamp})
    store.write_record("speech", "1", {"m": A})
    assert store.read_stamps() == {A: stamp}
    assert store.read_record("speech", "1") == {"m": A}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema":2,"stamps":{},"files":{}}', '{"schema":1,"stamps":[],"files":[]}']
    + [f'{{"schema":1,"stamps":{{"{A}":{numbers}}}}}' for numbers in ("[1,2]", '["x",1,2,3]', "7", "null")],
)
def test_notes_that_make_no_sense_are_no_notes(store: Store, content: str) -> None:
    Path(store.root, "store", "stamps.json").write_text(content)
    Path(store.record("speech", "1")).write_text(content)
    assert store.read_stamps() == {}
    assert store.read_record("speech", "1") is None


STATES = ["ab" * 32, "cd" * 32]


def test_chain_values_are_read_as_written_and_only_for_the_size_they_are_of(store: Store) -> None:
    store.write_states(A, 3 * CHUNK, STATES)
    assert store.read_states(A, 3 * CHUNK) == STATES
    assert store.read_states(A, 3 * CHUNK + 1) == store.read_states(B, 3 * CHUNK) == []


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"size": None},
        {"chunk": CHUNK // 2},
        {"states": None},
        {"states": {}},
        {"states": [7]},
        {"states": ["AB" * 32]},
        {"states": ["ab"]},
        {"states": ["ab" * 32 + "\n"]},
    ],
)
def test_chain_values_that_make_no_sense_are_none(store: Store, change: dict[str, t.Any]) -> None:
    document = {"schema": 1, "size": 2 * CHUNK, "chunk": CHUNK, "states": STATES[:1]}
    Path(store.chunks, A).write_text(json.dumps({**document, **change}))
    assert store.read_states(A, 2 * CHUNK) == []
    Path(store.chunks, A).write_text(json.dumps(document))
    assert store.read_states(A, 2 * CHUNK) == STATES[:1]


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_a_torn_record_of_chain_values_is_none(store: Store, content: bytes) -> None:
    Path(store.chunks, A).write_bytes(content)
    assert store.read_states(A, 2 * CHUNK) == []


def test_content_that_is_forgotten_takes_its_chain_values_with_it(store: Store) -> None:
    for digest in (A, B):
        put(store, digest)
        store.write_states(digest, 2 * CHUNK, STATES[:1])
    store.forget(A)
    store.forget(A)
    assert os.listdir(store.blobs) == os.listdir(store.chunks) == [B]


def refuse_direct(real: t.Callable[..., int]) -> t.Callable[..., int]:
    """Do as a file system does that knows no O_DIRECT."""

    def open_(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return real(path, flags, mode)

    return open_


@pytest.mark.parametrize("direct", [True, False], ids=["past the page cache", "through it"])
@pytest.mark.parametrize("content", [b"", b"abc", b"x" * 4096, b"x" * 4097])
def test_small_content_is_put_whole_and_read_only_whatever_the_umask(
    store: Store, content: bytes, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(store.partial, f"{A}.small").write_bytes(b"left by another run")
    buffer = memoryview(mmap.mmap(-1, 8192))
    buffer[: len(content)] = content
    if not direct:
        monkeypatch.setattr(os, "open", refuse_direct(os.open))
    old = os.umask(0o077)
    try:
        stamp = store.put_small(A, buffer, len(content))
    finally:
        os.umask(old)
    store.sync()
    status = os.stat(store.blob(A))
    assert Path(store.blob(A)).read_bytes() == content
    assert status.st_mode & 0o777 == 0o444
    assert Stamp.of(status).same_content(stamp)
    assert os.listdir(store.partial) == []


def test_a_link_to_content_is_read_only_even_where_the_content_was_not(store: Store, tmp_path: Path) -> None:
    blob = put(store, A)
    blob.chmod(0o666)
    store.link(A, str(tmp_path / "link"))
    assert (tmp_path / "link").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "link").samefile(blob)


def test_relinking_replaces_a_file_and_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"old")
    put(store, A)
    store.relink(A, str(tmp_path / "m"))
    assert (tmp_path / "m").read_bytes() == b"content"
    assert os.listdir(store.staging) == []


def test_published_versions_are_listed(store: Store) -> None:
    for name, version in (("b", "1"), ("a", "2"), ("a", "1")):
        os.makedirs(store.version(name, version))
    assert list(store.published()) == [("a", "1"), ("a", "2"), ("b", "1")]
    assert list(Store("/nonexistent").published()) == []
