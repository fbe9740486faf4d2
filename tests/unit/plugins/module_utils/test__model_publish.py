# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _model_publish
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_chain import chains
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_fetch import Fetch, Settings
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_look import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Origins
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Plan, make_plan
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_publish import Outcome, carry_out
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_verify import Reader
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import State, Wanted, WantedFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Stamp, Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_partial import Partial, read_log
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._memory import (
    SMALL_CHUNK,
    MemoryOrigin,
    Served,
    final,
    noise,
    sha256,
    shrink,
    wanted,
)

LARGE = noise(5 * SMALL_CHUNK + 77)
needs_chains = pytest.mark.skipif(not chains(), reason="this Python has no libcrypto of its own")


class Host:
    def __init__(self, root: Path) -> None:
        self.store = Store(str(root))
        self.served: dict[str, Served] = {}

    def file(self, path: str, content: bytes, **more: t.Any) -> WantedFile:
        self.served.setdefault(path, Served(content))
        return wanted(content, path, path=path, **more)

    def carry_out(self, *files: WantedFile, state: State = "present", version: str = "1") -> tuple[Plan, Outcome]:
        asked = Wanted("speech", version, state, files)
        with self.store.locked(0):
            seen = look(self.store, asked, Reader(self.store))
            plan = make_plan(asked, seen.found)
            settings = Settings(retry=Retry(0), concurrency=1)
            origin = MemoryOrigin(**self.served)
            return carry_out(
                self.store,
                asked,
                plan,
                seen,
                lambda: Fetch(self.store, plan.fetches, settings, Origins(origin.make)),
                lambda _fetch: None,
            )

    def published(self, path: str = "", version: str = "1") -> Path:
        return Path(self.store.version("speech", version), path)

    def stamped(self, *contents: bytes) -> bool:
        """Whether the stamps hold of exactly these contents."""
        stamps = self.store.read_stamps()
        there = {sha256(one): Stamp.of(os.stat(self.store.blob(sha256(one)))) for one in contents}
        return stamps == there


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    shrink(monkeypatch)
    return Host(tmp_path / "root")


def test_a_version_appears_whole_with_its_record_its_stamps_and_its_chain_values(host: Host) -> None:
    _plan, outcome = host.carry_out(host.file("m", LARGE), host.file("deep/n", b"n"))
    assert host.published("m").read_bytes() == LARGE
    assert host.published("deep/n").read_bytes() == b"n"
    assert host.published("deep").stat().st_mode & 0o777 == 0o755
    assert host.store.read_record("speech", "1") == {"m": sha256(LARGE), "deep/n": sha256(b"n")}
    assert host.stamped(LARGE, b"n")
    assert len(host.store.read_states(sha256(LARGE), len(LARGE))) == (5 if chains() else 0)
    assert outcome.bytes_fetched == len(LARGE) + 1
    assert os.listdir(host.store.staging) == os.listdir(host.store.partial) == []


@pytest.mark.parametrize("content", [LARGE, b"x", b"", noise(SMALL_CHUNK), noise(SMALL_CHUNK + 1)])
def test_chain_values_are_noted_for_content_of_more_than_one_chunk_only(host: Host, content: bytes) -> None:
    host.carry_out(host.file("m", content))
    noted = [sha256(content)] if len(content) > SMALL_CHUNK and chains() else []
    assert os.listdir(host.store.chunks) == noted


def test_after_a_failed_source_there_is_no_version_and_what_came_before_is_kept_and_stamped(host: Host) -> None:
    host.served["bad"] = Served(b"bad", opening=refuse)
    with pytest.raises(ModelError, match="there is none"):
        host.carry_out(host.file("m", b"m"), host.file("n", b"n"), host.file("bad", b"bad"))
    assert not host.published().exists()
    assert host.store.read_record("speech", "1") is None
    assert host.stamped(b"m", b"n")


def refuse(*_args: t.Any) -> t.NoReturn:
    raise final()


def test_the_first_error_is_the_one_to_show_where_the_notes_cannot_be_written_either(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host.served["bad"] = Served(b"bad", opening=refuse)
    monkeypatch.setattr(Store, "write_stamps", full)
    with pytest.raises(ModelError, match="there is none"):
        host.carry_out(host.file("n", b"n"), host.file("bad", b"bad"))


ORDER = ["sync", "write_states", "write_record", "rename", "write_stamps"]


def test_nothing_is_claimed_before_it_is_durable(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def note(holder: t.Any, name: str, when: t.Callable[..., bool] = lambda *_args: True) -> None:
        call = getattr(holder, name)

        def noting(*args: t.Any, **more: t.Any) -> t.Any:
            result = call(*args, **more)
            if when(*args):
                done.append(name)
            return result

        monkeypatch.setattr(holder, name, noting)

    for name in ("sync", "write_states", "write_record", "write_stamps"):
        note(Store, name)
    note(os, "rename", lambda _old, new: new == str(host.published()))
    host.carry_out(host.file("m", LARGE), host.file("n", b"n"))
    assert done == [name for name in ORDER if chains() or name != "write_states"]


@needs_chains
@pytest.mark.parametrize("interrupted", [False, True])
def test_what_is_right_of_damaged_content_is_taken_over_unless_an_interrupted_run_has_brought_more(
    host: Host, interrupted: bool
) -> None:
    file = host.file("m", LARGE)
    host.carry_out(file)
    path = host.published("m")
    path.chmod(0o644)
    with open(path, "r+b") as damaged:
        damaged.seek(2 * SMALL_CHUNK + 1)
        damaged.write(b"\x00\x01")
    if interrupted:
        partial = Partial(host.store.part(file.sha256), host.store.log(file.sha256), file.size)
        partial.start()
        partial.note_source("http://h/m", '"1"')
        with open(path, "rb") as damaged:
            partial.copy_from(damaged.fileno(), 0, SMALL_CHUNK)
        partial.note_chunk(0, "")
        partial.close()
    plan, outcome = host.carry_out(file, state="verified")
    assert path.read_bytes() == LARGE
    assert path.samefile(host.store.blob(file.sha256))
    assert plan.corrupt == (("m", 2 * SMALL_CHUNK, 3 * SMALL_CHUNK),)
    kept = SMALL_CHUNK if interrupted else len(LARGE) - SMALL_CHUNK
    assert (outcome.bytes_resumed, outcome.bytes_fetched) == (kept, len(LARGE) - kept)
    assert host.stamped(LARGE)


@needs_chains
def test_what_was_taken_over_stays_for_the_next_run_when_no_source_answers(host: Host) -> None:
    file = host.file("m", LARGE)
    host.carry_out(file)
    path = host.published("m")
    path.chmod(0o644)
    with open(path, "r+b") as damaged:
        damaged.write(b"\x00\x01")
    host.served["m"] = Served(LARGE, opening=refuse)
    with pytest.raises(ModelError, match="there is none"):
        host.carry_out(file, state="verified")
    assert sorted(read_log(host.store.log(file.sha256), file.size).chunks) == [1, 2, 3, 4, 5]
    host.served["m"] = Served(LARGE)
    assert host.carry_out(file)[1].bytes_fetched == SMALL_CHUNK
    assert path.read_bytes() == LARGE


def test_an_optional_file_that_is_damaged_and_that_no_source_has_is_taken_away(host: Host) -> None:
    files = [host.file("m", b"m"), host.file("extra", b"extra", required=False)]
    host.carry_out(*files)
    path = host.published("extra")
    path.chmod(0o644)
    path.write_bytes(b"extrA")
    host.served["extra"] = Served(b"extra", opening=refuse)
    plan, outcome = host.carry_out(*files)
    assert (plan.unavailable, list(outcome.unavailable)) == (("extra",), [sha256(b"extra")])
    assert os.listdir(host.published()) == ["m"]
    assert host.store.read_stamps()[sha256(b"m")] == Stamp.of(os.stat(host.published("m")))


def test_removing_a_version_takes_content_chain_values_and_stamps_of_its_own_only(host: Host) -> None:
    other = noise(2 * SMALL_CHUNK, 5)
    host.carry_out(host.file("m", LARGE), host.file("n", b"n"))
    host.carry_out(host.file("o", other), host.file("n", b"n"), version="2")
    host.carry_out(state="absent")
    assert not host.published().exists()
    assert sorted(os.listdir(host.store.blobs)) == sorted([sha256(other), sha256(b"n")])
    assert os.listdir(host.store.chunks) == ([sha256(other)] if chains() else [])
    assert host.stamped(other, b"n"), "its own unlinking must not make the other version be read again"
    assert host.store.read_record("speech", "1") is None


def test_a_stamp_of_content_that_was_written_to_meanwhile_is_dropped(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = _model_publish._publish

    def meddling(*args: t.Any) -> None:
        publish(*args)
        os.utime(host.published("n"), ns=(1, 1))

    monkeypatch.setattr(_model_publish, "_publish", meddling)
    host.carry_out(host.file("m", b"m"), host.file("n", b"n"))
    assert list(host.store.read_stamps()) == [sha256(b"m")]
