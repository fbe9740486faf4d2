# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_gather import gather, gather_tree
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import (
    document,
    sha256,
    stored,
    wanted,
)

MODELS = {"voice": {"weights.bin": b"w" * 5_000, "vocab.txt": b"a b c"}}


def test_every_blob_of_the_manifest_has_its_bytes(tmp_path: Path) -> None:
    stored(tmp_path, MODELS)
    found = gather(wanted(tmp_path, MODELS), {}, None)
    assert set(found.blobs) == set(found.manifest.blobs)
    for one, blob in found.blobs.items():
        data = b"".join(blob.source())
        assert (sha256(data), len(data)) == (one, found.manifest.blobs[one])


def test_a_file_that_is_not_required_may_be_missing(tmp_path: Path) -> None:
    stored(tmp_path, MODELS)
    asked = wanted(tmp_path, MODELS)
    vocab = sha256(b"a b c")
    (tmp_path / "store" / "sha256" / vocab).unlink()
    with pytest.raises(DepotError, match="model_sync") as caught:
        gather(asked, {}, None)
    assert (caught.value.reason, caught.value.details["blob"]) == ("blob_missing", vocab)
    (model,) = asked.release.models
    optional = {**model.files, "vocab.txt": dataclasses.replace(model.files["vocab.txt"], required=False)}
    release = dataclasses.replace(asked.release, models=(dataclasses.replace(model, files=optional),))
    found = gather(dataclasses.replace(asked, release=release), {}, None)
    assert set(found.manifest.models[0].files) == {"weights.bin"}


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, MODELS)
    (tmp_path / "store" / "sha256" / sha256(b"a b c")).write_bytes(b"a b")
    with pytest.raises(DepotError, match="state: verified") as caught:
        gather(wanted(tmp_path, MODELS), {}, None)
    assert caught.value.reason == "blob_corrupt"


def test_the_release_and_its_files_are_never_left_out(tmp_path: Path) -> None:
    stored(tmp_path, MODELS)
    every = gather(wanted(tmp_path, MODELS), {}, None).manifest
    asked = wanted(tmp_path, MODELS, held=frozenset(every.blobs) | {"f" * 64})
    found = gather(asked, {}, None).manifest
    assert found.assumes == set(every.blobs) - {every.release, *every.files.values()}
    assert found.blobs == every.blobs


def test_a_tree_is_taken_by_path_and_links_in_it_as_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "pool" / "a").mkdir(parents=True)
    (tmp_path / "pool" / "a" / "x.deb").write_bytes(b"x")
    (tmp_path / "by-hash").symlink_to("pool/a/x.deb")
    found = gather_tree(str(tmp_path), "packages.trixie")
    assert {path: blob.sha256 for path, blob in found.items()} == {
        "by-hash": sha256(b"x"),
        "pool/a/x.deb": sha256(b"x"),
    }


@pytest.mark.parametrize("to", ["/etc/hostname", "../outside", "gone", "folder"])
def test_a_link_that_leads_elsewhere_or_to_a_folder_is_refused(to: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    top = tmp_path / "top"
    (top / "folder").mkdir(parents=True)
    (top / "folder" / "file").write_bytes(b"x")
    (top / "link").symlink_to(to)
    with pytest.raises(DepotError, match="link") as caught:
        gather_tree(str(top), "runtime")
    assert caught.value.reason == "unsafe_path"


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DepotError, match="pipe is no file"):
        gather_tree(str(tmp_path), "runtime")


def test_a_manifest_that_a_host_would_refuse_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(DepotError, match="minimum_version") as caught:
        gather(wanted(tmp_path, minimum_version="new"), {}, None)
    assert caught.value.reason == "manifest_invalid"
    assert document()["models"] == []
