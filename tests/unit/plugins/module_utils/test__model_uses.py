# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Use
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_uses import uses
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import Release, digest, parse_document
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import (
    Places,
    remove_data,
    save_journal,
    write_folder,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity

COMPOSE = b"services: {}\n"


def release(*models: str, stack: str = "shop") -> Release:
    files = [{"path": "weights", "sha256": "0" * 64, "size": 3}]
    pairs = [model.split("/") for model in models]
    return parse_document(
        {
            "schema": 1,
            "stack": stack,
            "environment": "",
            "compose": ["compose.yml"],
            "files": {"compose.yml": digest(COMPOSE)},
            "images": {},
            "models": [{"name": name, "version": version, "files": files} for name, version in pairs],
            "services": {},
            "parameters": {},
            "secrets": {},
            "rollout": {"success_threshold": 1, "gate_timeout": 1},
        }
    )


def places(root: Path, stack: str = "shop") -> Places:
    return Places(str(root), str(root / "secrets"), stack)


def deployed(root: Path, *releases: Release, stack: str = "shop", **journal: t.Any) -> Journal:
    """Write releases as stack_release does, and a journal; with nothing else said, the first one is committed."""
    there = places(root, stack)
    for one in releases:
        write_folder(there, one, {"compose.yml": COMPOSE})
    if not journal and releases:
        journal = {"committed": commit(releases[0])}
    return save_journal(there, Journal(stack=stack, key="00", **journal))


def commit(one: Release) -> Commit:
    return Commit(Identity(one.id, "1"), "2026-01-01T00:00:00+00:00", {}, {})


def test_without_stacks_nothing_is_in_use(tmp_path: Path) -> None:
    assert uses(str(tmp_path)) == {}
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "shop.lock").write_text("")
    assert uses(str(tmp_path)) == {}


def test_what_releases_of_any_stack_mount_is_in_use(tmp_path: Path) -> None:
    shop, demo = release("tiny/1"), release("tiny/1", "big/2", stack="demo")
    deployed(tmp_path, shop)
    deployed(tmp_path, demo, stack="demo")
    assert uses(str(tmp_path)) == {
        ("tiny", "1"): [Use("demo", demo.id), Use("shop", shop.id)],
        ("big", "2"): [Use("demo", demo.id)],
    }


def test_a_candidate_and_releases_to_come_back_to_are_uses_too(tmp_path: Path) -> None:
    committed, candidate, earlier, stray = (release(f"tiny/{version}") for version in "1234")
    deployed(
        tmp_path,
        committed,
        candidate,
        earlier,
        stray,
        committed=commit(committed),
        candidate=Identity(candidate.id, "1"),
        history=(commit(earlier),),
        phase="gating",
    )
    assert {version for _name, version in uses(str(tmp_path))} == {"1", "2", "3", "4"}


def test_a_release_without_a_journal_is_a_use(tmp_path: Path) -> None:
    write_folder(places(tmp_path), release("tiny/1"), {"compose.yml": COMPOSE})
    assert list(uses(str(tmp_path))) == [("tiny", "1")]


def test_what_is_being_written_is_none_yet(tmp_path: Path) -> None:
    deployed(tmp_path)
    (tmp_path / "stacks" / "shop" / "releases" / ".staging-x").mkdir(parents=True)
    assert uses(str(tmp_path)) == {}


def test_a_stack_that_was_removed_with_its_data_uses_nothing(tmp_path: Path) -> None:
    deployed(tmp_path, release("tiny/1"))
    remove_data(places(tmp_path))
    assert uses(str(tmp_path)) == {}


def tear(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])


def make_newer(path: Path) -> None:
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 99'))


def change(path: Path) -> None:
    path.chmod(0o600)
    path.write_text(path.read_text().replace("tiny", "big"))


@pytest.mark.parametrize(
    ("damage", "name", "says"),
    [
        pytest.param(tear, "state.json", "it is torn or was edited", id="torn journal"),
        pytest.param(make_newer, "state.json", "has schema 99", id="journal of a newer version"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "state.json", "Is a directory", id="no file"),
        pytest.param(tear, "releases/*/release.json", "it is no JSON", id="torn release"),
        pytest.param(change, "releases/*/release.json", "it was changed after it was made", id="changed release"),
        pytest.param(Path.unlink, "releases/*/release.json", "No such file", id="lost release"),
    ],
)
def test_where_nobody_can_tell_nothing_is_said_to_be_unused(
    tmp_path: Path, damage: t.Callable[[Path], None], name: str, says: str
) -> None:
    deployed(tmp_path, release("tiny/1"))
    (path,) = (tmp_path / "stacks" / "shop").glob(name)
    damage(path)
    with pytest.raises(ModelError) as caught:
        uses(str(tmp_path))
    assert caught.value.reason == "in_use"
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "remove it with its data" in str(caught.value)
