# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from vitalyst_backend.errors import SettingsError
from vitalyst_backend.settings import read_settings


@pytest.fixture(name="environment")
def environment_fixture(tmp_path: Path) -> dict[str, str]:
    for name, text in (("neo4j", "neo4j/graph-word\n"), ("redis", "cache-word"), ("empty", ""), ("half", "neo4j/")):
        (tmp_path / name).write_text(text)
    return {
        "DATABASE_URL": "bolt://neo4j:7687",
        "REDIS_URL": "redis://redis:6379",
        "AUTH0_DOMAIN": "tenant.example",
        "AUTH0_AUDIENCE": "vitalyst",
        "NEO4J_AUTH_FILE": str(tmp_path / "neo4j"),
        "REDIS_PASSWORD_FILE": str(tmp_path / "redis"),
    }


def test_the_settings_are_read_and_show_no_secret(environment: dict[str, str]) -> None:
    settings = read_settings(environment)
    assert (settings.neo4j_user, settings.neo4j_password, settings.redis_password) == (
        "neo4j",
        "graph-word",
        "cache-word",
    )
    assert "word" not in repr(settings)
    assert not settings.is_development


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({})
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "AUTH0_DOMAIN",
        "AUTH0_AUDIENCE",
        "NEO4J_AUTH_FILE",
        "REDIS_PASSWORD_FILE",
    ):
        assert f"{name} is missing" in str(caught.value)


FAULTS = [
    ("DATABASE_URL", "mysql://x", "allowed are URLs that start with file://, bolt://, neo4j://"),
    ("DATABASE_URL", "bolt://neo4j:hidden@neo4j", "DATABASE_URL holds a user or a password"),
    ("REDIS_URL", "redis://", "which names no host"),
    ("NEO4J_AUTH_FILE", "half", "must hold user/password"),
    ("NEO4J_AUTH_FILE", "empty", "which is empty; write the secret into it"),
    ("REDIS_PASSWORD_FILE", "nowhere", "cannot be read"),
    ("LOG_LEVEL", "loud", "allowed are debug, info, warning"),
]


@pytest.mark.parametrize(("name", "value", "message"), FAULTS)
def test_a_wrong_setting_is_named(
    environment: dict[str, str], tmp_path: Path, name: str, value: str, message: str
) -> None:
    value = str(tmp_path / value) if name.endswith("_FILE") else value
    with pytest.raises(SettingsError) as caught:
        read_settings({**environment, name: value})
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_development_does_without_secrets(environment: dict[str, str], tmp_path: Path) -> None:
    empty = str(tmp_path / "empty")
    more = {"ENVIRONMENT": "development", "NEO4J_AUTH_FILE": empty, "REDIS_PASSWORD_FILE": empty}
    assert read_settings({**environment, **more}).is_development
