# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.emorobcare.fleet.plugins.action.image_report import ActionModule

BUILT = {"service": "api", "reference": "demo/api:1", "id": "sha256:a", "size": 1000, "built": True, "reason": "new"}


def report(dest: Path, check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    """Run the action as a task would."""
    task = mock.MagicMock(spec=Task, check_mode=check_mode, async_val=0, environment=None, no_log=False)
    task.args = {"dest": str(dest), "title": "demo", "images": [BUILT], **changes}
    loader = DataLoader()
    action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, Templar(loader=loader), None)
    return action.run(task_vars={})


def test_a_report_is_written_once_and_then_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "new" / "demo.html"
    first = report(page)
    assert (first["changed"], first["dest"], first["not_scanned"]) == (True, str(page), ["api"])
    assert sorted(path.name for path in page.parent.iterdir()) == ["demo.html", "demo.sizes.json"]
    stamp = page.stat().st_mtime_ns
    assert report(page, images=[{**BUILT, "built": False, "reason": ""}])["changed"] is False
    assert page.stat().st_mtime_ns == stamp


def test_the_next_build_is_compared_with_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    report(page)
    told = report(page, images=[{**BUILT, "id": "sha256:b", "size": 1500}])
    assert "+500 B (+50 %)" in told["table"][1]
    assert "+500 B (+50 %)" in page.read_text()


def test_check_mode_writes_nothing_and_tells_what_would_change(tmp_path: Path) -> None:
    page = tmp_path / "new" / "demo.html"
    assert report(page, check_mode=True)["changed"] is True
    assert not page.parent.exists()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"schema": 9}'])
def test_sizes_that_are_torn_do_not_stop_a_report(tmp_path: Path, torn: str) -> None:
    (tmp_path / "demo.sizes.json").write_text(torn)
    assert report(tmp_path / "demo.html")["changed"] is True
    assert json.loads((tmp_path / "demo.sizes.json").read_text())["schema"] == 1


def test_a_crash_before_the_rename_leaves_the_old_report(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    report(page)
    old = page.read_bytes()
    with mock.patch.object(os, "fsync", side_effect=OSError("the disk is full")):
        told = report(page, images=[{**BUILT, "id": "sha256:b", "size": 1500}])
    assert (told["failed"], told["msg"]) == (True, "the disk is full")
    assert page.read_bytes() == old


def test_places_of_sboms_are_as_seen_from_the_page(tmp_path: Path) -> None:
    audit = {"service": "api", "reference": "demo/api:1", "id": "sha256:a", "sbom": str(tmp_path / "sbom" / "a b.json")}
    report(tmp_path / "pages" / "demo.html", audits=[audit])
    assert 'href="./../sbom/a%20b.json"' in (tmp_path / "pages" / "demo.html").read_text()


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    told = report(tmp_path / "demo.html", images=[{"service": "api"}])
    assert told["failed"] is True
    assert "image_build" in told["msg"]
    assert list(tmp_path.iterdir()) == []
