# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from emorobcare_ontology.__main__ import ONTOLOGY, run


def test_loading_twice_ends_well_twice_and_says_what_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"TRIPLES_URL": f"file://{tmp_path}"}
    assert run(environment, ONTOLOGY) == 0
    assert run(environment, ONTOLOGY) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(": loaded")
    assert second.endswith(": were loaded already")


@pytest.mark.parametrize(
    ("url", "ontology", "code", "said"),
    [
        ("ftp://fuseki/care", "good", 78, "ftp://fuseki/care"),
        ("http://", "good", 78, "http://host:3030/dataset"),
        ("http://[::1", "good", 78, "not a URL"),
        ("file://triples", "good", 78, "file:///path"),
        ("file:///", "good", 78, "file:///path"),
        ("file:///no/such/volume", "good", 74, "/no/such/volume"),
        ("file:///unused", "bad", 65, "not valid Turtle"),
    ],
)
def test_the_exit_code_and_the_message_tell_what_went_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, ontology: str, code: int, said: str
) -> None:
    (tmp_path / "bad").write_text("this is no Turtle")
    file = {"good": ONTOLOGY, "bad": tmp_path / "bad"}[ontology]
    assert run({"TRIPLES_URL": url}, file) == code
    assert said in capsys.readouterr().err


def test_a_server_that_refuses_ends_with_unavailable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emorobcare_ontology.fuseki.PATIENCE_SECONDS", 0.0)
    assert run({"TRIPLES_URL": "http://127.0.0.1:1/care"}, ONTOLOGY) == 69
    assert "gave up" in capsys.readouterr().err
