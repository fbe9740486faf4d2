# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime import DONE, Runtime, read_runtime
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime_make import (
    check_room,
    current_id,
    is_done,
    make,
    needed_bytes,
    python_version,
    stale_ids,
    turn_to,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digests_below

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


class Host:
    """Answers commands as a host does on which all goes well; `fails` names the word of a command that does not."""

    def __init__(self, fails: str = "", said: str = "") -> None:
        self.fails = fails
        self.said = said
        self.commands: list[list[str]] = []

    def __call__(self, argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        self.commands.append(list(argv))
        if self.fails and any(self.fails in word for word in argv):
            return 1, "", self.said
        if "venv" in argv:
            os.makedirs(argv[-1])
        return 0, "emorobcare.fleet.depot_packages  x", ""


def environment(dest: Path, name: str, finished_at: int | None) -> None:
    (dest / name).mkdir(parents=True)
    if finished_at is not None:
        (dest / name / DONE).write_text("{}")
        os.utime(dest / name / DONE, (finished_at, finished_at))


@pytest.fixture(name="source")
def source_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "wheels").mkdir(parents=True)
    for name in ("requirements.txt", "pip-24.2-py3-none-any.whl", "emorobcare-fleet-0.1.0.tar"):
        (folder / name).write_bytes(b"x" * 100)
    with zipfile.ZipFile(folder / "wheels" / "x-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("x.py", "#" * 1000)
        wheel.writestr("x.so", "#" * 500)
    return folder


@pytest.fixture(name="runtime")
def runtime_fixture(source: Path) -> Runtime:
    return read_runtime(digests_below(str(source)), str(source))


def test_an_environment_is_made_in_its_place_and_says_last_that_it_is_whole(
    tmp_path: Path, source: Path, runtime: Runtime
) -> None:
    host, dest = Host(), tmp_path / "opt"
    make(str(source), str(dest), runtime, "/usr/bin/python3", "3.13", host)
    name = runtime.id("3.13")
    assert is_done(str(dest), name)
    assert [word for command in host.commands for word in command if word in ("venv", "install", "--list")] == [
        "venv",
        "install",
        "install",
        "--list",
    ]
    assert sorted(path.name for path in (dest / name).iterdir()) == [DONE]


@pytest.mark.parametrize("fails", ["venv", "/pip", "ansible-galaxy", "ansible-doc"])
def test_whatever_step_fails_the_old_one_stays_current_and_the_next_run_begins_anew(
    tmp_path: Path, source: Path, runtime: Runtime, fails: str
) -> None:
    dest, name = tmp_path / "opt", runtime.id("3.13")
    environment(dest, A, 1)
    turn_to(str(dest), A)
    with pytest.raises(DepotError, match="it broke"):
        make(str(source), str(dest), runtime, "/usr/bin/python3", "3.13", Host(fails, "it broke"))
    assert current_id(str(dest)) == A
    assert not is_done(str(dest), name)
    (dest / name).mkdir(exist_ok=True)
    (dest / name / "half").write_text("of the run before")
    make(str(source), str(dest), runtime, "/usr/bin/python3", "3.13", Host())
    assert is_done(str(dest), name)
    assert not (dest / name / "half").exists()


def test_an_environment_in_which_ansible_does_not_find_the_collection_is_not_whole(
    tmp_path: Path, source: Path, runtime: Runtime
) -> None:
    def silent(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str, str]:
        return (*Host()(argv, environment)[:1], "", "")

    with pytest.raises(DepotError, match="does not find"):
        make(str(source), str(tmp_path / "opt"), runtime, "/usr/bin/python3", "3.13", silent)
    assert not is_done(str(tmp_path / "opt"), runtime.id("3.13"))


def test_the_link_turns_whatever_a_run_that_was_cut_off_has_left(tmp_path: Path) -> None:
    for name in (A, B):
        environment(tmp_path, name, 1)
    turn_to(str(tmp_path), A)
    (tmp_path / "current.new").symlink_to(C)
    turn_to(str(tmp_path), B)
    assert current_id(str(tmp_path)) == B
    assert not (tmp_path / "current.new").is_symlink()


@pytest.mark.parametrize("target", [A, "/etc", "..", "nowhere"])
def test_a_link_to_what_was_not_finished_is_not_current(tmp_path: Path, target: str) -> None:
    environment(tmp_path, A, None)
    (tmp_path / "current").symlink_to(target)
    assert current_id(str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("current", "keep", "stale"),
    [
        ("", 1, [A, B, C]),
        ("", 2, [A, C]),
        ("", 3, [C]),
        (A, 1, [B, C]),
        (A, 2, [B, C]),
        (A, 3, [C]),
        (B, 2, [A, C]),
    ],
)
def test_unfinished_and_old_ones_go_and_the_current_one_stays(
    tmp_path: Path, current: str, keep: int, stale: list[str]
) -> None:
    for name, finished in ((A, 1), (B, 2), (C, None), (D, 3)):
        environment(tmp_path, name, finished)
    (tmp_path / "by-hand").mkdir()
    if current:
        turn_to(str(tmp_path), current)
    assert stale_ids(str(tmp_path), D, keep) == stale


def test_nothing_is_stale_where_nothing_is(tmp_path: Path) -> None:
    assert stale_ids(str(tmp_path / "none"), D, 2) == []
    assert current_id(str(tmp_path / "none")) == ""


def test_the_room_counts_what_wheels_unpack_to(source: Path, runtime: Runtime) -> None:
    assert needed_bytes(str(source), runtime) == 2 * 1000 + 500 + 2 * 100


def test_a_wheel_that_is_cut_off_is_refused_before_anything_is_made(source: Path, runtime: Runtime) -> None:
    wheel = source / "wheels" / "x-1-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(DepotError, match=r"x-1-py3-none-any\.whl is no wheel") as caught:
        needed_bytes(str(source), runtime)
    assert caught.value.reason == "blob_corrupt"


def test_without_room_it_is_refused_with_both_numbers(tmp_path: Path) -> None:
    check_room(str(tmp_path / "opt" / "fleet"), 1)
    with pytest.raises(DepotError, match="are free") as caught:
        check_room(str(tmp_path / "opt" / "fleet"), 1 << 60)
    assert (caught.value.reason, caught.value.details["needed"]) == ("no_space", 1 << 60)


def test_a_python_is_asked_for_its_version(tmp_path: Path) -> None:
    assert python_version(sys.executable, lambda _argv, _environment: (0, "3.13\n", "")) == "3.13"
    with pytest.raises(DepotError, match="there is no") as caught:
        python_version(str(tmp_path / "python9"), Host())
    assert caught.value.reason == "library_missing"
    with pytest.raises(DepotError, match="No module named 'venv'"):
        python_version(sys.executable, Host("-c", "ModuleNotFoundError: No module named 'venv'"))
