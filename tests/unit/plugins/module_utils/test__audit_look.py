# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _audit_look
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_archive import ArchiveError, SavedImage
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import LayerFacts, Probe
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_look import Cache, inspect, probe, see
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_engine import Answer, ImageEngineError
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import BASE, CONFIG, OWN

ONE = {"Id": "sha256:1", "Size": 5100, "RepoTags": ["demo:1"], "RootFS": {"Layers": list(CONFIG.diff_ids)}}
SAVED = SavedImage("sha256:1", ("demo:1",), CONFIG, (BASE, OWN))


@pytest.fixture(name="saves")
def saves_fixture(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the engine was asked to save, and the layers of it that were known."""
    asked: list[list[str]] = []

    def read(references: list[str], known: t.Mapping[str, LayerFacts]) -> list[SavedImage]:
        asked.append([*references, *known])
        return [SAVED]

    monkeypatch.setattr(_audit_look, "_read_saved", read)
    return asked


def test_layers_are_read_once_and_known_afterwards(saves: list[list[str]], tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))
    first = see({"demo:1": ONE}, cache)
    assert see({"demo:1": ONE}, cache) == first
    assert first["demo:1"].layers == (BASE, OWN)
    assert first["demo:1"].config == CONFIG
    assert saves == [["demo:1"]]


def test_only_what_is_new_of_a_new_version_is_read(saves: list[list[str]], tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    see({"demo:1": ONE}, cache)
    cache.put("layer", OWN.diff_id, {})  # as if it had never been read
    see({"demo:1": {**ONE, "Id": "sha256:2"}}, cache)
    assert saves == [["demo:1"], ["demo:1", BASE.diff_id]]


def test_torn_facts_are_read_anew(saves: list[list[str]], tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    seen = see({"demo:1": ONE}, cache)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text(encoding="utf-8")[:20], encoding="utf-8")
    assert see({"demo:1": ONE}, cache) == seen
    assert len(saves) == 2


def test_without_a_folder_nothing_is_kept(saves: list[list[str]]) -> None:
    for _again in range(2):
        see({"demo:1": ONE}, Cache(None))
    assert len(saves) == 2


def test_facts_that_nobody_used_for_a_month_go(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.put("layer", "old", {})
    (old,) = tmp_path.iterdir()
    os.utime(old, (0, 0))
    cache.put("layer", "new", {})
    cache.prune()
    assert (cache.get("layer", "old"), cache.get("layer", "new")) == (None, {})


def test_a_read_only_cache_writes_nothing(saves: list[list[str]], tmp_path: Path) -> None:
    see({"demo:1": ONE}, Cache(str(tmp_path / "cache"), read_only=True))
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_was_replaced_meanwhile_is_refused(saves: list[list[str]]) -> None:
    with pytest.raises(ArchiveError, match="was replaced while it was read"):
        see({"demo:1": {**ONE, "RootFS": {"Layers": ["sha256:other"]}}}, Cache(None))


def test_images_are_found_by_tag_digest_and_id() -> None:
    digest = "python@sha256:" + "0" * 64
    two = {"Id": "sha256:2", "RepoTags": None, "RepoDigests": [digest]}
    answer = Answer(1, json.dumps([ONE, two]), "Error: No such image: nope:1\n")
    tagged = digest.replace("@", ":3.13@")
    asked = ["demo:1", "sha256:2", tagged, "nope:1"]
    found = inspect(asked, lambda _argv: answer)
    assert {name: image["Id"] for name, image in found.items()} == {
        "demo:1": "sha256:1",
        "sha256:2": "sha256:2",
        tagged: "sha256:2",
    }


@pytest.mark.parametrize("answer", [Answer(1, "", "permission denied"), Answer(0, "{", "")])
def test_an_engine_that_gives_no_answer_is_told(answer: Answer) -> None:
    with pytest.raises(ImageEngineError):
        inspect(["a", "b"], lambda _argv: answer)


def test_a_probe_runs_once_for_an_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs: list[str] = []

    def run(image: str, _config: t.Any) -> Probe:
        runs.append(image)
        return Probe(False, "no curl")

    monkeypatch.setattr(_audit_look, "run_probe", run)
    seen = _audit_look.Seen("sha256:1", 1, CONFIG, (BASE, OWN))
    cache = Cache(str(tmp_path))
    assert [probe(seen, cache), probe(seen, cache)] == [Probe(False, "no curl")] * 2
    assert runs == ["sha256:1"]
