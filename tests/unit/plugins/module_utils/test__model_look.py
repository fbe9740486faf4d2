# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import Look, look, published_versions
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Published, Use
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import State, Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_CHUNK,
    noise,
    sha256,
    shrink,
    wanted,
)

A, B = b"content a", b"content b"


class Host:
    """A store in which versions are put by hand."""

    def __init__(self, root: Path) -> None:
        self.store = Store(str(root))
        self.reader = Reader(self.store)
        with self.store.locked(0):
            pass

    def blob(self, content: bytes, stamp: bool = True) -> Path:
        path = Path(self.store.blob(sha256(content)))
        path.write_bytes(content)
        path.chmod(0o444)
        if stamp:
            self.stamp(path, content)
        return path

    def stamp(self, path: Path, content: bytes) -> None:
        self.store.write_stamps({**self.store.read_stamps(), sha256(content): Stamp.of(path.stat())})

    def path(self, path: str = "m", version: str = "1") -> Path:
        place = Path(self.store.version("speech", version), path)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def publish(self, version: str = "1", **contents: bytes) -> None:
        for name, content in contents.items():
            blob = self.blob(content, stamp=False)
            os.link(blob, self.path(name, version))
            self.stamp(blob, content)
        pins = {name: sha256(content) for name, content in contents.items()}
        self.store.write_record("speech", version, pins)

    def look(self, *files: WantedFile, state: State = "present", version: str = "1") -> Look:
        self.reader = Reader(self.store)
        return look(self.store, Wanted("speech", version, state, files), self.reader)


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


def one(content: bytes = A, path: str = "m", **more: t.Any) -> WantedFile:
    return wanted(content, path=path, **more)


def touch(host: Host) -> None:
    os.utime(host.path(), ns=(7, 7))


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def test_a_host_that_has_nothing_is_found_so(host: Host) -> None:
    found = host.look(one()).found
    assert (found.published, found.pins, found.extras, found.blobs) == (False, None, (), frozenset())
    assert found.files["m"].condition == "missing"


def test_what_is_stamped_is_not_read(host: Host) -> None:
    host.publish(m=A, n=B)
    seen = host.look(one(A, "m"), one(B, "n"))
    assert {path: file.condition for path, file in seen.found.files.items()} == {"m": "whole", "n": "whole"}
    assert (host.reader.bytes_read, seen.found.unstamped, sorted(seen.right)) == (0, False, sorted(map(sha256, (A, B))))


def test_verifying_reads_what_is_stamped_once_though_version_and_store_both_have_it(host: Host) -> None:
    host.publish(m=A)
    seen = host.look(one(), state="verified")
    assert seen.found.files["m"].condition == "whole"
    assert (host.reader.bytes_read, seen.found.unstamped) == (len(A), False)


CONDITIONS: list[t.Any] = [
    # what happened to the version "1" with the file m, what it is found to be, whether the store has it (again)
    pytest.param(lambda h: damage(h.path(), b"content x"), "wrong", False, id="changed in place"),
    pytest.param(lambda h: h.path().unlink(), "missing", True, id="deleted"),
    pytest.param(
        lambda h: [h.path().unlink(), h.path().write_bytes(A)], "stray", True, id="replaced by a copy of its own"
    ),
    pytest.param(
        lambda h: [h.path().unlink(), h.path().write_bytes(b"other")], "wrong", True, id="replaced by something else"
    ),
    pytest.param(
        lambda h: [h.blob(A).unlink(), h.path().chmod(0o444)], "orphan", True, id="lost by the store, and touched"
    ),
    pytest.param(lambda h: [h.path().unlink(), h.path().mkdir()], "missing", True, id="replaced by a folder"),
    pytest.param(lambda h: [h.path().unlink(), h.path().symlink_to(h.blob(A))], "missing", True, id="by a link"),
    pytest.param(touch, "whole", True, id="touched"),
]


@pytest.mark.parametrize(("happens", "condition", "stored"), CONDITIONS)
def test_the_condition_of_a_file_is_found(
    host: Host, happens: t.Callable[[Host], t.Any], condition: str, stored: bool
) -> None:
    host.publish(m=A)
    happens(host)
    found = host.look(one()).found
    assert found.files["m"].condition == condition
    assert (sha256(A) in found.blobs) is (stored and condition != "whole")
    assert found.pins == {"m": sha256(A)}


def test_what_does_not_belong_there_is_found_and_a_folder_of_it_as_one(host: Host) -> None:
    host.publish(m=A)
    host.path("deep/x").write_bytes(b"")
    host.path("stray").write_bytes(b"")
    assert host.look(one()).found.extras == ("deep", "stray")


@pytest.fixture(name="large")
def large_fixture(host: Host, monkeypatch: pytest.MonkeyPatch) -> bytes:
    shrink(monkeypatch)
    return noise(3 * SMALL_CHUNK)


def test_what_an_interrupted_run_has_brought_is_found(host: Host, large: bytes) -> None:
    file = one(large)
    partial = Partial(host.store.part(file.sha256), host.store.log(file.sha256), file.size)
    partial.start()
    partial.note_chunk(1, "")
    partial.close()
    assert host.look(file).found.resumable == {file.sha256: SMALL_CHUNK}
    host.blob(large)
    assert host.look(file).found.resumable == {}


def test_a_log_without_its_file_is_nothing_to_go_on_from(host: Host, large: bytes) -> None:
    file = one(large)
    partial = Partial(host.store.part(file.sha256), host.store.log(file.sha256), file.size)
    partial.start()
    partial.note_chunk(1, "")
    partial.close()
    os.truncate(host.store.part(file.sha256), SMALL_CHUNK)
    assert host.look(file).found.resumable == {file.sha256: 0}
    os.unlink(host.store.part(file.sha256))
    assert host.look(file).found.resumable == {file.sha256: 0}


def test_content_that_cannot_be_read_is_an_error_with_its_path(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.publish(m=A)

    def broken(*_args: t.Any) -> t.NoReturn:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        host.look(one(), state="verified")
    assert caught.value.reason == "io_error"


def test_what_goes_with_a_version_is_what_no_other_one_has_or_needs(host: Host) -> None:
    host.publish("1", m=A, n=B, o=b"only here")
    host.publish("2", n=b"needed, and its link was deleted")
    os.link(host.store.blob(sha256(B)), host.path("n2", "2"))
    host.store.write_record("speech", "2", {"n": sha256(A)})
    found = host.look(state="absent").found
    assert found.garbage == {sha256(b"only here"): 9}
    assert (found.published, found.uses) == (True, ())


def test_who_uses_a_version_is_found_when_it_is_to_go(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.publish(m=A)
    use = Use("shop", "a" * 64)
    monkeypatch.setattr(_model_look, "uses", lambda _root: {("speech", "1"): [use], ("other", "1"): [use, use]})
    assert host.look(state="absent").found.uses == (use,)
    os.utime(host.store.record("speech", "1"), ns=(7, 7))
    host.publish("2", m=A)
    os.utime(host.store.record("speech", "2"), ns=(8, 8))
    assert published_versions(host.store, "speech") == [Published("1", 7, True), Published("2", 8, False)]
    assert published_versions(host.store, "none") == []
