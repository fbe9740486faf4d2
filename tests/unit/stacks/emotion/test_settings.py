# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from emotion_app.errors import SettingsError
from emotion_app.settings import read_settings


@pytest.fixture(name="environment")
def environment_fixture(tmp_path: Path) -> dict[str, str]:
    for name, text in (("password", "secret-word\n"), ("jwt", "j" * 32), ("short", "j"), ("empty", "")):
        (tmp_path / name).write_text(text)
    return {
        "DATABASE_URL": "mysql://emotion@db/emotion_detector",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "REDIS_URL": "redis://redis:6380",
        "JWT_SECRET_FILE": str(tmp_path / "jwt"),
    }


def test_the_settings_are_read(environment: dict[str, str]) -> None:
    settings = read_settings({**environment, "ALLOWED_ORIGINS": "https://a.example, http://b.example:8080"})
    assert (settings.database.host, settings.database.port, settings.database.name) == ("db", 3306, "emotion_detector")
    assert (settings.cache.port, settings.rate_limit) == (6380, 100)
    assert settings.allowed_origins == ("https://a.example", "http://b.example:8080")
    assert settings.database.password == "secret-word"


def test_no_secret_is_shown(environment: dict[str, str]) -> None:
    assert "secret-word" not in repr(read_settings(environment))
    assert "jjj" not in repr(read_settings(environment))


def test_development_does_without_secrets(environment: dict[str, str], tmp_path: Path) -> None:
    empty = str(tmp_path / "empty")
    more = {"ENVIRONMENT": "development", "JWT_SECRET_FILE": empty, "DATABASE_PASSWORD_FILE": empty}
    one, other = (read_settings({**environment, **more}).jwt_secret for _time in range(2))
    assert len(one) >= 32
    assert one != other


FAULTS = [
    ({"DATABASE_URL": "mysql://u:hidden@db/x"}, "DATABASE_URL holds a password"),
    ({"DATABASE_URL": "postgres://db/x"}, "write mysql://"),
    ({"REDIS_URL": ""}, "REDIS_URL is ''; write redis://"),
    ({"RATE_LIMIT": "0"}, "RATE_LIMIT is '0'; allowed are whole numbers from 1"),
    ({"RATE_LIMIT": "many"}, "RATE_LIMIT is 'many'"),
    ({"ALLOWED_ORIGINS": "friend.example"}, "ALLOWED_ORIGINS has 'friend.example'"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'; allowed are debug, info, warning"),
    ({"ENVIRONMENT": "x"}, "ENVIRONMENT is 'x'; allowed are development, production"),
    ({"JWT_SECRET_FILE": "/nonexistent"}, "JWT_SECRET_FILE is '/nonexistent', which cannot be read"),
]


@pytest.mark.parametrize(("more", "message"), FAULTS)
def test_a_wrong_variable_is_named_with_what_is_allowed(
    environment: dict[str, str], more: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({**environment, **more})
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = {"JWT_SECRET_FILE": str(tmp_path / "short"), "DATABASE_PASSWORD_FILE": str(tmp_path / "empty")}
    with pytest.raises(SettingsError) as caught:
        read_settings({**environment, **wrong})
    assert "JWT_SECRET_FILE must name a file with a secret of at least 32 bytes" in str(caught.value)
    assert "DATABASE_PASSWORD_FILE must name" in str(caught.value)
