# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_scratch import scratch_directory


def test_it_can_be_entered_by_others_and_goes_afterwards(tmp_path: Path) -> None:
    with scratch_directory(str(tmp_path)) as scratch:
        assert Path(scratch).parent == tmp_path
        assert os.stat(scratch).st_mode & 0o777 == 0o755
        (Path(scratch) / "tree").mkdir()
    assert os.listdir(tmp_path) == []


def test_it_goes_when_its_use_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), scratch_directory(str(tmp_path)):
        raise ValueError("boom")
    assert os.listdir(tmp_path) == []


def test_that_of_a_process_that_died_is_removed_and_one_in_use_is_not(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        context = scratch_directory(str(tmp_path))
        context.__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(os.listdir(tmp_path)) == 1
    with scratch_directory(str(tmp_path)) as first, scratch_directory(str(tmp_path)) as second:
        assert sorted(os.listdir(tmp_path)) == sorted([Path(first).name, Path(second).name])


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "fleet-base-mine").mkdir()
    (tmp_path / "other").mkdir()
    with scratch_directory(str(tmp_path)):
        assert {"fleet-base-mine", "other"} < set(os.listdir(tmp_path))
