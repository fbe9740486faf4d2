# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from samplemind.errors import SettingsError, StoreError
from samplemind.index import Index
from samplemind.settings import read_settings

RIGHT = {
    "LIBRARY_URL": "sqlite:///data/library.db",
    "QUEUE_URL": "redis://redis:6379/0",
    "INDEX_URL": "http://chromadb:8000/",
}


def test_a_file_needs_no_password_and_a_server_does(tmp_path: Path) -> None:
    assert read_settings(RIGHT).index_url == "http://chromadb:8000"
    server = {**RIGHT, "LIBRARY_URL": "mongodb://samplemind@mongodb/samplemind"}
    with pytest.raises(SettingsError, match="LIBRARY_PASSWORD_FILE is ''"):
        read_settings(server)
    (tmp_path / "password").write_text("sesame\n")
    settings = read_settings({**server, "LIBRARY_PASSWORD_FILE": str(tmp_path / "password")})
    assert settings.library_password == "sesame"
    assert "sesame" not in repr(settings)


FAULTS = [
    ("LIBRARY_URL", "mysql://x", "allowed are URLs such as sqlite://… or mongodb://…"),
    ("LIBRARY_URL", "sqlite://", "LIBRARY_URL is 'sqlite://'"),
    ("QUEUE_URL", "redis://:hidden@redis", "QUEUE_URL holds a password"),
    ("INDEX_URL", "", "INDEX_URL is ''"),
    ("LOG_LEVEL", "loud", "allowed are debug, info, warning"),
]


@pytest.mark.parametrize(("name", "value", "message"), FAULTS)
def test_a_wrong_setting_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({**RIGHT, name: value})
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


def index(*answers: httpx.Response) -> tuple[Index, list[str]]:
    """An index whose server gives these answers, and what it was asked."""
    asked: list[str] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path.rpartition('collections')[2]}")
        return left.pop(0)

    client = httpx.Client(base_url="http://index", transport=httpx.MockTransport(answer))
    return Index("http://index", client), asked


COLLECTION = httpx.Response(200, json={"id": "c1"})
FOUND = httpx.Response(200, json={"ids": [["a", "b"]], "distances": [[0.0, 2.0]]})


def test_the_collection_is_made_once() -> None:
    one, asked = index(COLLECTION, httpx.Response(200, json={}), FOUND)
    one.put("a", [1.0])
    assert one.near([1.0], 2) == [("a", 1.0), ("b", 0.0)]
    assert asked == ["POST ", "POST /c1/upsert", "POST /c1/query"]


def test_a_new_server_gets_the_collection_again() -> None:
    one, asked = index(COLLECTION, httpx.Response(404, json={}), httpx.Response(200, json={"id": "c2"}), FOUND)
    with pytest.raises(StoreError, match="the index does not answer"):
        one.near([1.0], 2)
    assert one.near([1.0], 2)[0] == ("a", 1.0)
    assert asked[-1] == "POST /c2/query"
