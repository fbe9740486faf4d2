# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from newscast_api.migrate import FOLDER, MigrationError, plan, read_migrations


def test_the_migrations_of_the_image_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in read_migrations(FOLDER)][:1] == [1]


def test_only_what_was_not_applied_is_run_and_a_newer_database_is_left() -> None:
    migrations = read_migrations(FOLDER)
    assert plan(migrations, {}) == migrations
    assert plan(migrations, {1: migrations[0].sha256, 99: "newer"}) == []


def test_a_migration_that_was_changed_is_refused() -> None:
    with pytest.raises(MigrationError, match="0001_news"):
        plan(read_migrations(FOLDER), {1: "another"})


@pytest.mark.parametrize("name", ["0002_gap.sql", "1_short.sql"])
def test_a_wrong_name_is_refused_with_the_right_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="0001_"):
        read_migrations(tmp_path)
