# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import (
    Commit,
    Failure,
    Journal,
    decode_journal,
    encode_journal,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity

EMPTY = Journal("shop", "ab" * 32)


def commit(release: str, settings: str = "s") -> Commit:
    return Commit(Identity(release, settings), "2026-11-21T00:00:00Z", {"web": Hashes("a", "b")}, {"web": 1.5})


def test_a_journal_is_read_as_it_was_written() -> None:
    failure = Failure("now", "r1", "gate_failed", "web died")
    full = EMPTY.committing(commit("r1"), 3).committing(commit("r2"), 3).entering("gate", Identity("r3", "s"))
    for journal in (EMPTY, full, full.settled(failure)):
        assert decode_journal(encode_journal(journal), "state.json") == journal


def test_a_commit_ends_what_was_under_way_and_keeps_those_before() -> None:
    journal = EMPTY.entering("candidate", Identity("r1", "s"))
    assert journal.kept == (Identity("r1", "s"),)
    for release in ("r1", "r2", "r3"):
        journal = journal.committing(commit(release), keep=2)
    assert (journal.phase, journal.candidate, journal.failure) == ("idle", None, None)
    assert journal.committed == commit("r3")
    assert journal.history == (commit("r2"),)
    assert journal.kept == (Identity("r3", "s"), Identity("r2", "s"))


def test_a_release_is_in_the_history_once_for_each_of_its_settings() -> None:
    journal = EMPTY
    for one in (commit("r1"), commit("r2"), commit("r1"), commit("r1", "other")):
        journal = journal.committing(one, keep=9)
    assert journal.history == (commit("r1"), commit("r2"))


def test_a_removed_stack_has_nothing_committed_but_may_come_back() -> None:
    journal = EMPTY.committing(commit("r1"), 3).removed()
    assert journal.committed is None
    assert journal.history == (commit("r1"),)


FORMAT_1 = {
    "schema": 1,
    "stack": "shop",
    "key": "ab" * 32,
    "phase": "activating",
    "candidate": {"release": "r2", "settings": "s"},
    "committed": {"release": "r1", "settings": "s", "since": "then", "hashes": {"web": ["a", "b"]}, "ready": {}},
    "history": [],
    "failure": {"at": "then", "release": "r2", "reason": "gate_failed", "message": "died"},
}


@pytest.mark.parametrize(
    ("was", "phase"),
    [("activating", "candidate"), ("gating", "gate"), ("going_back", "going_back"), ("idle", "idle")],
)
def test_format_1_is_read_and_knows_of_no_sides(was: str, phase: str) -> None:
    journal = decode_journal(json.dumps({**FORMAT_1, "phase": was}).encode(), "state.json")
    assert journal is not None
    assert (journal.phase, journal.colour, journal.candidate) == (phase, "", Identity("r2", "s"))
    assert journal.committed == Commit(Identity("r1", "s"), "then", {"web": Hashes("a", "b")}, {})
    assert json.loads(encode_journal(journal))["schema"] == 2


def test_a_commit_keeps_what_was_forced_and_what_cannot_be_undone() -> None:
    one = dataclasses.replace(commit("r1"), colour="blue", irreversible=("load",), overrides=("busy", "memory"))
    journal = EMPTY.committing(one, 3)
    assert decode_journal(encode_journal(journal), "state.json") == journal


@pytest.mark.parametrize(
    ("committed", "wanted", "moves"),
    [
        (None, "", False),
        (None, "blue", False),
        ("", "", False),
        ("", "blue", True),
        ("blue", "", True),
        ("blue", "green", False),
    ],
)
def test_a_stack_moves_when_it_gets_sides_or_loses_them(committed: str | None, wanted: str, moves: bool) -> None:
    journal = EMPTY if committed is None else EMPTY.committing(dataclasses.replace(commit("r"), colour=committed), 3)
    assert journal.moves(wanted) is moves


def test_a_commit_with_something_left_to_remove_says_so_until_that_is_done() -> None:
    journal = EMPTY.entering("soak", Identity("r1", "s"), "green").committing(commit("r1"), 3, retire=True)
    assert (journal.phase, journal.candidate, journal.colour) == ("retire", None, "")
    assert journal.settled().phase == "idle"
    assert journal.settled().committed == commit("r1")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"schema": 2}', encode_journal(EMPTY)[:-9], b"\xff", b'{"schema": 1, "key": "xyz"}'],
)
def test_a_torn_journal_is_none(content: bytes) -> None:
    assert decode_journal(content, "state.json") is None


def test_a_journal_of_a_newer_version_is_refused() -> None:
    newer = json.dumps({**json.loads(encode_journal(EMPTY)), "schema": 3}).encode()
    with pytest.raises(ReleaseError, match=r"state.json has schema 3, this version .* reads up to 2") as caught:
        decode_journal(newer, "state.json")
    assert caught.value.reason == "journal_newer"
