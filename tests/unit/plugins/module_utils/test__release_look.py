# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, lock, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal, Phase
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_look import (
    in_use,
    is_locked,
    stacks_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity

COMMIT = Commit(Identity("r1", "s1"), "2026-11-21T09:30:00Z", {}, {})


def places_of(root: Path, stack: str = "shop") -> Places:
    return Places(str(root), "/nowhere", stack)


def write(root: Path, stack: str, phase: Phase = "idle", committed: bool = True) -> Places:
    journal = Journal(stack, "ab" * 32, phase, committed=COMMIT if committed else None)
    save_journal(places := places_of(root, stack), journal)
    return places


def test_a_stack_is_a_folder_with_a_journal(tmp_path: Path) -> None:
    assert stacks_of(str(tmp_path)) == []
    for stack in ("shop", "desk"):
        write(tmp_path, stack)
    (tmp_path / "stacks" / "shop.lock").touch()
    (tmp_path / "stacks" / "empty").mkdir()
    (tmp_path / "stacks" / "No_Stack").mkdir()
    (tmp_path / "stacks" / "No_Stack" / "state.json").touch()
    before = tmp_path / "stacks" / "torn" / "state.json.before"
    before.parent.mkdir()
    before.touch()
    assert stacks_of(str(tmp_path)) == ["desk", "shop", "torn"]


IN_USE: list[t.Any] = [
    pytest.param("idle", True, True, id="it has a release"),
    pytest.param("gate", False, True, id="its first release is under way"),
    pytest.param("idle", False, False, id="it was taken off"),
    pytest.param("removing", False, False, id="it is being taken off"),
]


@pytest.mark.parametrize(("phase", "committed", "needed"), IN_USE)
def test_a_stack_is_in_use_while_something_could_be_recovered(
    tmp_path: Path, phase: Phase, committed: bool, needed: bool
) -> None:
    write(tmp_path, "shop", phase, committed)
    assert in_use(str(tmp_path)) == (["shop"] if needed else [])
    assert in_use(str(tmp_path), besides="shop") == []


@pytest.mark.parametrize("content", ["torn", json.dumps({"schema": 99})])
def test_a_journal_that_does_not_tell_counts_as_in_use(tmp_path: Path, content: str) -> None:
    Path(write(tmp_path, "shop").journal).write_text(content)
    assert in_use(str(tmp_path)) == ["shop"]


def test_a_lock_is_seen_without_being_made_or_taken(tmp_path: Path) -> None:
    places = write(tmp_path, "shop")
    assert not is_locked(places)
    assert not os.path.exists(places.lock)
    with lock(places, 1):
        assert is_locked(places)
    assert not is_locked(places)
