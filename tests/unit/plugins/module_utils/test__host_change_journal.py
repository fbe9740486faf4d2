# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    ABSENT,
    Action,
    FileState,
    Kept,
    Record,
    digest,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import (
    Journal,
    Places,
    lock,
    names,
    read_content,
    read_journal,
    read_kept,
    read_note,
    refuse_if_locked,
    save_contents,
    save_journal,
    save_kept,
    save_note,
    seconds_left,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

OLD = FileState("file", 0o640, 1, 2, digest(b"old"), (("user.origin", "6f6c64"),))
KEPT = Kept((Record("/etc/demo", ABSENT, OLD),), ("/etc/demo.d",), (("a", "b"),), (("c",),))
WAITING = Journal(
    "waiting", (Action("/etc/demo", OLD, ABSENT),), ("/x",), (("a",),), KEPT, ("/y",), True, "s", 60, 9.5, "b"
)


@pytest.fixture(name="places")
def places_fixture(tmp_path: Path) -> Places:
    places = Places(str(tmp_path / "host"), "demo")
    save_contents(places, {digest(b"old"): b"old"})
    return places


def test_what_is_written_down_is_read_again(places: Places) -> None:
    assert (read_journal(places), read_kept(places), read_note(places)) == (None, Kept(), None)
    save_journal(places, WAITING)
    save_kept(places, KEPT)
    save_note(places, "why")
    assert (read_journal(places), read_kept(places)) == (WAITING, KEPT)
    assert (note := read_note(places))
    assert note.why == "why"
    assert read_content(places, digest(b"old")) == b"old"
    assert names(places.folder) == ["demo"]
    save_kept(places, Kept())
    assert not Path(places.kept).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "x"}', '{"version": 1}', '{"version": 1, "records": 7}'])
def test_a_record_that_cannot_be_read_is_no_empty_one(places: Places, text: str) -> None:
    for path in (places.journal, places.kept):
        Path(path).write_text(text)
    for read in (read_journal, read_kept):
        with pytest.raises(HostError, match="cannot be read, so it is not known what the files were") as caught:
            read(places)
        assert caught.value.reason == "record_lost"


def test_a_record_of_a_later_version_is_left_to_that(places: Places) -> None:
    Path(places.journal).write_text(json.dumps({"version": 2}))
    with pytest.raises(HostError, match="later version") as caught:
        read_journal(places)
    assert caught.value.reason == "record_newer"


def test_a_damaged_content_is_not_given_back(places: Places) -> None:
    Path(places.content(digest(b"old"))).write_bytes(b"odl")
    with pytest.raises(HostError, match="is damaged") as caught:
        read_content(places, digest(b"old"))
    assert caught.value.reason == "record_lost"


@pytest.mark.parametrize(
    ("phase", "clock", "boot", "left"),
    [
        ("waiting", 0.0, "b", 9.5),
        ("waiting", 9.5, "b", 0.0),
        ("waiting", 99.0, "b", 0.0),
        ("waiting", -99.0, "b", 60.0),  # never longer than was asked for
        ("waiting", 0.0, "another", 0.0),
        ("waiting", 0.0, "", 0.0),
        ("probing", 0.0, "b", 0.0),
    ],
)
def test_a_change_waits_for_its_time_in_its_boot(phase: str, clock: float, boot: str, left: float) -> None:
    journal = Journal(phase, (), (), (), KEPT, confirm=60, deadline=9.5, boot="b")  # type: ignore[arg-type]
    assert seconds_left(journal, clock, boot) == left


def test_the_lock_is_for_one_and_its_folder_for_its_owner(places: Places) -> None:
    refuse_if_locked(str(places.folder) + "/nowhere")
    with lock(places.folder, 0):
        told = r"another change of this host is under way \(process [0-9]+"
        with pytest.raises(HostError, match=told) as caught, lock(places.folder, 0):
            pass
        assert caught.value.reason == "locked"
        with pytest.raises(HostError):
            refuse_if_locked(places.folder)
    refuse_if_locked(places.folder)
    assert Path(places.folder).stat().st_mode & 0o777 == 0o700
