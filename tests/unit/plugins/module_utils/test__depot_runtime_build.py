# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_build import (
    build_collection,
    digests_of,
    download,
    match_wheels,
    repack,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digest_of
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_wheels import Pin, Target

A, B = "a" * 64, "b" * 64
NEW, OLD = Target("3.13", "amd64"), Target("3.12", "amd64")
EVERYWHERE = Pin("jmespath", "1.1.0", "", frozenset({A}))
OLD_ONLY = Pin("typing-extensions", "4.16.0", "python_version < '3.13'", frozenset({B}))
WHEEL = "jmespath-1.1.0-py3-none-any.whl"
CHECKOUT = Path(__file__).resolve().parents[4]


def archive(path: Path, names: t.Sequence[str], time: int, owner: str, mode: int = 0o644) -> Path:
    """A collection's archive as some machine makes it."""
    with tarfile.open(path, "w:gz") as tar:
        folder = tarfile.TarInfo("docs")
        folder.type, folder.mode, folder.mtime, folder.uname = tarfile.DIRTYPE, 0o775, time, owner
        tar.addfile(folder)
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.uid, member.mode = len(name), time, owner, time, mode
            tar.addfile(member, io.BytesIO(name.encode()))
    return path


def test_the_same_files_give_the_same_archive_whoever_packed_them_and_when(tmp_path: Path) -> None:
    first = archive(tmp_path / "1.tar.gz", ["MANIFEST.json", "docs/a.md", "README.md"], 1_700_000_000, "ann")
    second = archive(tmp_path / "2.tar.gz", ["docs/a.md", "README.md", "MANIFEST.json"], 1_800_000_000, "bob", 0o664)
    for source in (first, second):
        repack(str(source), str(source.with_suffix(".tar")))
    assert digest_of(str(tmp_path / "1.tar.tar")) == digest_of(str(tmp_path / "2.tar.tar"))
    with tarfile.open(tmp_path / "1.tar.tar") as tar:
        assert tar.getnames() == ["MANIFEST.json", "README.md", "docs", "docs/a.md"]
        content = tar.extractfile("docs/a.md")
        assert content is not None
        assert content.read() == b"docs/a.md"


def test_another_content_gives_another_archive_and_a_program_stays_one(tmp_path: Path) -> None:
    first = archive(tmp_path / "1.tar.gz", ["run"], 1, "a", 0o644)
    second = archive(tmp_path / "2.tar.gz", ["run"], 1, "a", 0o755)
    for source in (first, second):
        repack(str(source), str(source) + ".new")
    assert digest_of(str(first) + ".new") != digest_of(str(second) + ".new")


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b\x08\x00 cut"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(DepotError, match="no archive") as caught:
        repack(str(tmp_path / "x.tar.gz"), str(tmp_path / "y.tar"))
    assert caught.value.reason == "invalid"


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.tar.gz", [f"file-{number}" for number in range(500)], 1, "a")
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DepotError, match="no archive"):
        repack(str(whole), str(tmp_path / "y.tar"))


def test_wheels_that_serve_stay_and_what_is_missing_is_told_by_target() -> None:
    found = match_wheels([EVERYWHERE, OLD_ONLY], [NEW, OLD], {WHEEL: A, "other-1-py3-none-any.whl": A})
    assert found.present == {WHEEL: A}
    assert found.missing == {NEW: (), OLD: (OLD_ONLY,)}
    assert not found.complete
    assert match_wheels([EVERYWHERE], [NEW], {WHEEL: A}).complete


def test_a_wheel_that_was_changed_is_missing() -> None:
    assert match_wheels([EVERYWHERE], [NEW], {WHEEL: B}).missing == {NEW: (EVERYWHERE,)}


def test_pip_is_asked_for_what_is_missing_and_for_nothing_else(tmp_path: Path) -> None:
    asked: list[str] = []

    def pip(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        asked.append(Path(argv[-1]).read_text())
        return 0, "", ""

    download(match_wheels([EVERYWHERE, OLD_ONLY], [NEW, OLD], {WHEEL: A}), str(tmp_path), pip)
    assert asked == [f"typing-extensions==4.16.0 --hash=sha256:{B}\n"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "blob_corrupt", "another file"),
        ("WARNING: Retrying after NewConnectionError", "unavailable", "cannot be reached"),
        ("ERROR: No matching distribution found for x==1", "unavailable", "Python 3.12 on amd64"),
    ],
)
def test_what_pip_says_becomes_a_reason_and_a_way_out(tmp_path: Path, said: str, reason: str, told: str) -> None:
    wheels = match_wheels([OLD_ONLY], [OLD], {})
    with pytest.raises(DepotError, match=told) as caught:
        download(wheels, str(tmp_path), lambda _argv, _environment: (1, "", said))
    assert caught.value.reason == reason


def test_a_folder_without_galaxy_yml_is_no_collection(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(DepotError, match=r"no galaxy\.yml") as caught:
        build_collection(str(tmp_path / "source"), str(tmp_path), lambda _argv, _environment: (0, "", ""))
    assert caught.value.reason == "invalid"


def run_command(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param("plugins/__pycache__", id="compiled code"),
        pytest.param(".git", id="a hidden folder"),
        pytest.param("roles/x/.git", id="a hidden folder below"),
        pytest.param("collections", id="other collections"),
        pytest.param("inventories/mine/group_vars", id="an inventory"),
        pytest.param("secrets", id="a folder that nobody knows"),
        pytest.param("playbooks/group_vars", id="variables beside playbooks"),
        pytest.param("playbooks/host_vars", id="variables of hosts"),
    ],
)
def test_what_is_not_the_collection_itself_is_not_packed(tmp_path: Path, folder: str) -> None:
    source, work = tmp_path / "source", tmp_path / "work"
    for one in (folder, "plugins/modules"):
        (source / one).mkdir(parents=True)
        (source / one / "file").write_text("x")
    (source / "galaxy.yml").write_text("name: x")
    (source / "vault-password.txt").write_text("x")
    work.mkdir()

    def galaxy(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        tree = Path(argv[-1])
        names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
        archive(work / "acme-x-1.0.0.tar.gz", names, 1, "a")
        return 0, "", ""

    built = build_collection(str(source), str(work), galaxy)
    assert Path(built).name == "acme-x-1.0.0.tar"
    with tarfile.open(built) as tar:
        assert tar.getnames() == ["docs", "galaxy.yml", "plugins/modules/file"]


def test_of_this_checkout_only_the_collection_itself_goes_along(tmp_path: Path) -> None:
    with tarfile.open(build_collection(str(CHECKOUT), str(tmp_path), run_command)) as tar:
        names = tar.getnames()
    known = {"CHANGELOG.md", "COPYING", "README.md", "docs", "meta", "playbooks", "plugins", "roles"}
    assert {name.partition("/")[0] for name in names} == {*known, "FILES.json", "MANIFEST.json"}
    assert {"playbooks/site.yml", "plugins/action/depot_sign.py", "roles/depot/tasks/main.yml"} <= set(names)


def test_what_ansible_galaxy_says_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "galaxy.yml").write_text("name: x")
    with pytest.raises(DepotError, match="namespace is missing"):
        build_collection(str(tmp_path / "source"), str(tmp_path), lambda _argv, _env: (1, "", "namespace is missing"))


def test_without_ansible_galaxy_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "galaxy.yml").write_text("name: x")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(DepotError, match="ansible_playbook_python") as caught:
        build_collection(str(tmp_path / "source"), str(tmp_path), lambda _argv, _environment: (0, "", ""))
    assert caught.value.reason == "library_missing"


def test_wheels_of_a_folder_are_named_with_their_digests(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"a")
    (tmp_path / "a.txt").write_bytes(b"a")
    assert digests_of(str(tmp_path)) == {"a.whl": digest_of(str(tmp_path / "a.whl"))}
    assert digests_of(str(tmp_path / "none")) == {}
