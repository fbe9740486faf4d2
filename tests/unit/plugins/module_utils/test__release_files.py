# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_files as files
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    Release,
    canonical,
    digest,
    parse_document,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_content import Store
from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs

CONTENTS = {"compose.yml": b"services: {}\n", "gate/x": b"x"}


@pytest.fixture(name="places")
def places_fixture(tmp_path: Path) -> files.Places:
    return files.Places(str(tmp_path / "fleet"), str(tmp_path / "secrets"), "shop")


def release(**changes: t.Any) -> Release:
    return parse_document(
        {
            "schema": 1,
            "stack": "shop",
            "environment": "",
            "compose": ["compose.yml"],
            "files": {path: digest(content) for path, content in CONTENTS.items()},
            "images": {},
            "models": [{"name": "tiny", "version": "1", "files": [{"path": "weights", "sha256": "0" * 64, "size": 3}]}],
            "services": {},
            "parameters": {},
            "secrets": {},
            "rollout": {"success_threshold": 1, "gate_timeout": 1},
            **changes,
        }
    )


def mode(path: str | Path) -> int:
    return Path(path).stat().st_mode & 0o777


def test_a_releases_folder_is_written_whole_and_found_intact(places: files.Places) -> None:
    one = release()
    assert not files.folder_is_intact(places, one)
    files.write_folder(places, one, CONTENTS)
    folder = Path(places.release(one.id))
    assert files.folder_is_intact(places, one)
    assert (folder / "release.json").read_bytes() == canonical(one.document)
    assert os.readlink(folder / "models" / "tiny") == f"{places.models}/tiny/1"
    assert mode(folder) == 0o755
    assert mode(folder / "gate" / "x") == 0o444
    assert os.listdir(places.releases) == [one.id]


def rewrite(path: Path, content: str) -> None:
    path.unlink()
    path.write_text(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: rewrite(folder / "gate" / "x", "y"), id="changed"),
        pytest.param(lambda folder: (folder / "gate" / "x").unlink(), id="removed"),
        pytest.param(lambda folder: rewrite(folder / "release.json", "{}"), id="another document"),
        pytest.param(lambda folder: (folder / "models" / "tiny").unlink(), id="no link to the model"),
    ],
)
def test_a_changed_folder_is_seen_and_replaced(places: files.Places, damage: t.Callable[[Path], None]) -> None:
    one = release()
    files.write_folder(places, one, CONTENTS)
    damage(Path(places.release(one.id)))
    assert not files.folder_is_intact(places, one)
    files.write_folder(places, one, CONTENTS)
    assert files.folder_is_intact(places, one)


def test_a_write_that_fails_leaves_nothing_and_says_what_and_why(
    places: files.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    make_dirs(places.settings)
    make_dirs(places.releases)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReleaseError, match=r"cannot write the release's folder .*No space left on device") as caught:
        files.write_folder(places, release(), CONTENTS)
    assert caught.value.reason == "write_failed"
    with pytest.raises(OSError, match="No space"):
        files.write_file(f"{places.settings}/x", b"x", 0o600)
    assert os.listdir(places.releases) == []
    assert os.listdir(places.settings) == []


def test_a_file_is_written_only_when_it_differs_and_its_mode_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    assert files.write_file(path, b"one", 0o600)
    assert not files.write_file(path, b"one", 0o600)
    os.chmod(path, 0o644)
    assert not files.write_file(path, b"one", 0o600)
    assert mode(path) == 0o600
    assert files.write_files({path: b"two", f"{path}2": b"two"}, 0o400)
    assert not files.write_files({path: b"two", f"{path}2": b"two"}, 0o400)


@pytest.mark.parametrize(
    ("content", "missing"),
    [(None, "tiny/1/weights is not there"), (b"ab", "has 2 bytes, not 3"), (b"abc", "")],
)
def test_missing_and_wrong_model_files_are_named(places: files.Places, content: bytes | None, missing: str) -> None:
    if content is not None:
        weights = Path(places.models) / "tiny" / "1" / "weights"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(content)
    found = files.missing_models(places, release())
    assert len(found) == bool(missing)
    assert missing in "".join(found)


def test_a_journal_is_kept_for_root_alone(places: files.Places) -> None:
    journal = files.load_journal(places, pytest.fail)
    assert len(journal.key) == 64
    files.save_journal(places, journal)
    assert files.load_journal(places, pytest.fail) == journal
    assert mode(places.journal) == 0o600


RUNS = Commit(Identity("r1", "s"), "now", {}, {})


@pytest.mark.parametrize("lost", [None, "", "{", '{"schema": 2, "sta'])
@pytest.mark.parametrize(
    ("before", "counts"),
    [
        pytest.param(Journal("shop", "00").committing(RUNS, 3), "going_back", id="at rest: something may be under way"),
        pytest.param(Journal("shop", "00").entering("soak", Identity("r2", "s")), "soak", id="a step"),
        pytest.param(Journal("shop", "00"), "idle", id="nothing was committed: nobody knows"),
    ],
)
def test_the_journal_before_counts_where_the_last_one_is_lost(
    places: files.Places, before: Journal, counts: str, lost: str | None
) -> None:
    files.save_journal(places, before)
    files.save_journal(places, before.entering("data", Identity("r3", "s")))
    Path(places.journal).unlink()
    if lost is not None:
        Path(places.journal).write_text(lost)
    warnings: list[str] = []
    journal = files.load_journal(places, warnings.append)
    assert (journal.phase, journal.committed) == (counts, before.committed)
    assert "the one before it counts" in warnings[0]
    assert files.find_journal(places) == (journal, False)
    files.save_journal(places, journal)
    assert files.load_journal(places, pytest.fail) == journal


def test_an_unreadable_journal_is_set_aside_with_a_warning(places: files.Places) -> None:
    warnings: list[str] = []
    Path(places.base).mkdir(parents=True)
    Path(places.journal).write_text("{")
    journal = files.load_journal(places, warnings.append)
    assert "is set aside" in warnings[0]
    assert Path(places.journal).read_text() == "{"
    files.save_journal(places, journal)
    assert Path(f"{places.journal}.unreadable").read_text() == "{"
    assert files.load_journal(places, pytest.fail) == journal


def test_only_one_run_holds_the_lock_and_the_other_learns_who(places: files.Places) -> None:
    mine = f"process {os.getpid()} or a child"
    with files.lock(places, 0), pytest.raises(ReleaseError, match=mine) as caught, files.lock(places, 0):
        pytest.fail("held twice")
    assert caught.value.reason == "locked"
    with files.lock(places, 0):
        assert Path(places.lock).read_text() == f"{os.getpid()}\n"


def test_the_lock_is_held_as_long_as_a_child_keeps_its_descriptor(places: files.Places) -> None:
    with files.lock(places, 0) as fd:
        inherited = os.dup(fd)
    try:
        with pytest.raises(ReleaseError, match="holds"), files.lock(places, 0):
            pytest.fail("held twice")
    finally:
        os.close(inherited)
    with files.lock(places, 0):
        pass


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(places: files.Places) -> None:
    with files.lock(places, 0):
        os.unlink(places.lock)
        with files.lock(places, 0):
            assert Path(places.lock).exists()


def test_what_no_commit_needs_is_pruned_and_what_one_needs_is_kept(places: files.Places) -> None:
    kept, gone = Identity("r1", "s1"), Identity("r0", "s0")
    for path in (places.releases, places.settings, places.mounted):
        make_dirs(path)
    for identity in (kept, gone):
        Path(places.release(identity.release)).mkdir()
        Path(places.env_file(identity)).touch()
        Path(places.mounted_secret("key", identity.settings)).touch()
        Path(places.override(identity)).write_text(f'"{places.mounted_secret("key", identity.settings)}"')
    Path(places.releases, ".staging-x").mkdir()
    journal = Journal("shop", "00").committing(Commit(kept, "now", {}, {}), keep=1)
    files.prune(places, journal)
    assert os.listdir(places.releases) == ["r1"]
    assert sorted(os.listdir(places.settings)) == ["s1-r1.json", "s1.env"]
    assert os.listdir(places.mounted) == ["key.s1"]


def test_all_data_goes_when_asked_and_only_the_stacks_own(places: files.Places) -> None:
    other = files.Places(places.root, places.secrets_root, "other")
    for one in (places, other):
        make_dirs(one.base)
        make_dirs(one.mounted)
    assert files.has_data(places)
    files.remove_data(places)
    assert not files.has_data(places)
    assert files.has_data(other)


PINS = {"weights": "0" * 64}


@pytest.mark.parametrize(
    ("file", "content", "recorded", "missing"),
    [
        pytest.param({}, b"12345", PINS, [], id="published as pinned"),
        pytest.param({}, b"12345", {"weights": "2" * 64}, ["was not published with sha256 000"], id="other content"),
        pytest.param({}, b"12345", None, ["was not published with sha256 000"], id="nobody knows what it is"),
        pytest.param({}, None, PINS, ["is not there"], id="missing"),
        pytest.param({"required": False}, None, PINS, [], id="optional, missing"),
        pytest.param({"required": False, "size": 3}, b"12345", PINS, ["has 5 bytes, not 3"], id="optional, wrong"),
    ],
)
def test_a_file_without_a_pinned_size_is_known_by_what_was_published(
    places: files.Places,
    file: dict[str, t.Any],
    content: bytes | None,
    recorded: dict[str, str] | None,
    missing: list[str],
) -> None:
    version = Path(places.models) / "tiny" / "1"
    version.mkdir(parents=True)
    if content is not None:
        (version / "weights").write_bytes(content)
    if recorded is not None:
        store = Store(places.root)
        make_dirs(store.versions)
        store.write_record("tiny", "1", recorded)
    pin = {"path": "weights", "sha256": "0" * 64, **file}
    found = files.missing_models(places, release(models=[{"name": "tiny", "version": "1", "files": [pin]}]))
    assert len(found) == len(missing)
    assert all(says in line for says, line in zip(missing, found, strict=True))
