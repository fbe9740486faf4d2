# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from emorobcare_api.errors import SettingsError
from emorobcare_api.settings import Place, read_settings


def test_the_defaults_are_the_embedded_form() -> None:
    settings = read_settings({})
    assert settings.documents == Place("sqlite", "sqlite:///data/documents.db", Path("/data/documents.db"))
    assert settings.vectors == Place("file", "file:///data/vectors", Path("/data/vectors"))
    assert settings.triples == Place("file", "file:///triples", Path("/triples"))
    assert (settings.password, settings.seed, settings.log_level) == (None, True, "info")
    assert not any(place.is_remote for place in (settings.documents, settings.vectors, settings.triples))


def test_servers_are_named_by_url_and_the_password_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    settings = read_settings(
        {
            "DOCUMENTS_URL": "mongodb://care@mongodb:27017/care?authSource=admin",
            "DOCUMENTS_PASSWORD_FILE": str(tmp_path / "password"),
            "VECTORS_URL": "http://qdrant:6333/",
            "TRIPLES_URL": "https://fuseki/care",
            "SEED": "no",
            "LOG_LEVEL": "debug",
        }
    )
    assert settings.password == "s3cret"
    assert settings.vectors.url == "http://qdrant:6333"
    assert settings.documents.is_remote
    assert settings.triples.is_remote
    assert (settings.seed, settings.log_level) == (False, "debug")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DOCUMENTS_URL", "mysql://h/d", "sqlite://, mongodb://"),
        ("DOCUMENTS_URL", "documents.db", "sqlite://"),
        ("DOCUMENTS_URL", "sqlite://documents.db", "three slashes"),
        ("DOCUMENTS_URL", "sqlite:///", "absolute path"),
        ("DOCUMENTS_URL", "mongodb:///care", "names no host"),
        ("DOCUMENTS_PASSWORD_FILE", "/nowhere/at/all", "cannot be read"),
        ("VECTORS_URL", "qdrant:6333", "file://, http://, https://"),
        ("TRIPLES_URL", "http://[::1", "not a URL"),
        ("SEED", "perhaps", "yes, no"),
        ("LOG_LEVEL", "loud", "debug, info, warning"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings({"DOCUMENTS_URL": "mongodb://h/d", name: value})
    assert name in str(caught.value)


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    with pytest.raises(SettingsError, match="empty"):
        read_settings({"DOCUMENTS_URL": "mongodb://h/d", "DOCUMENTS_PASSWORD_FILE": str(tmp_path / "password")})


def test_what_is_embedded_needs_no_secret() -> None:
    assert read_settings({"DOCUMENTS_PASSWORD_FILE": "/dev/null"}).password is None


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="DOCUMENTS_PASSWORD_FILE") as caught:
        read_settings({"DOCUMENTS_URL": "mongodb://care:hunter2@mongodb/care"})
    assert "hunter2" not in str(caught.value)
