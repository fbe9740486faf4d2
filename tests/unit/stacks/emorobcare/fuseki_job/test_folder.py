# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import signal
import typing as t
from pathlib import Path

import pyoxigraph
import pytest
from emorobcare_ontology import folder as module
from emorobcare_ontology.folder import FolderError, load_into_folder
from emorobcare_ontology.ontology import Ontology, read_ontology


def make(tmp_path: Path, *texts: str) -> Ontology:
    file = tmp_path / "o.ttl"
    file.write_text("".join(f'<http://e/a> <http://e/b> "{text}" .\n' for text in texts))
    return read_ontology(file)


def shown(folder: Path) -> set[str]:
    """The texts that a reader finds."""
    store = pyoxigraph.Store.read_only(str(folder / "current"))
    found = store.quads_for_pattern(None, pyoxigraph.NamedNode("http://e/b"), None, None)
    return {t.cast(pyoxigraph.Literal, quad.object).value for quad in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "triples"
    folder.mkdir()
    return folder


def test_an_ontology_is_loaded_once(tmp_path: Path, folder: Path) -> None:
    ontology = make(tmp_path, "one")
    assert load_into_folder(ontology, folder) is True
    before = (folder / "current").lstat()
    assert load_into_folder(ontology, folder) is False
    assert (folder / "current").lstat() == before
    assert shown(folder) == {"one"}


def test_a_reader_keeps_the_old_ontology_open_while_the_new_one_takes_its_place(tmp_path: Path, folder: Path) -> None:
    load_into_folder(make(tmp_path, "one"), folder)
    reader = pyoxigraph.Store.read_only(str((folder / "current").resolve()))
    load_into_folder(make(tmp_path, "two"), folder)
    assert len(reader) == 2
    assert shown(folder) == {"two"}


def test_only_the_current_store_and_the_one_before_are_kept(tmp_path: Path, folder: Path) -> None:
    for text in ("one", "two", "three", "four"):
        load_into_folder(make(tmp_path, text), folder)
    assert len(list((folder / "stores").iterdir())) == 2
    assert load_into_folder(make(tmp_path, "three"), folder) is True
    assert shown(folder) == {"three"}


def test_what_a_killed_run_left_is_removed_and_never_shown(tmp_path: Path, folder: Path) -> None:
    half = folder / "stores" / ".building"
    half.mkdir(parents=True)
    (half / "CURRENT").write_text("half written")
    (folder / ".current").symlink_to("stores/.building")
    load_into_folder(make(tmp_path, "one"), folder)
    assert shown(folder) == {"one"}
    assert not half.exists()


def load_and_die(ontology: Ontology, folder: Path, step: str) -> None:
    """Load, and be killed when ``step`` is reached."""

    def die(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, step, die)
    load_into_folder(ontology, folder)


@pytest.mark.parametrize(("step", "seen"), [("_build", "old"), ("_point", "old"), ("_remove_all_but", "new")])
def test_killed_at_any_step_the_old_or_the_new_ontology_is_shown_and_the_next_run_finishes(
    tmp_path: Path, folder: Path, step: str, seen: str
) -> None:
    load_into_folder(make(tmp_path, "old"), folder)
    new = make(tmp_path, "new")
    process = multiprocessing.get_context("spawn").Process(target=load_and_die, args=(new, folder, step))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert shown(folder) == {seen}
    load_into_folder(new, folder)
    assert shown(folder) == {"new"}


def test_a_store_that_lost_triples_is_not_published(tmp_path: Path, folder: Path) -> None:
    ontology = make(tmp_path, "one")
    with pytest.raises(FolderError, match="holds 2 triples, not 9"):
        load_into_folder(Ontology(ontology.digest, ontology.triples, 9), folder)
    assert not (folder / "current").exists()


def test_a_volume_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nowhere"):
        load_into_folder(make(tmp_path, "one"), tmp_path / "nowhere")
