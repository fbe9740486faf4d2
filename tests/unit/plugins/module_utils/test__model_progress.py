# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def clock_fixture() -> Clock:
    return Clock()


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    return tmp_path / "store" / "progress" / "x.json"


def read(path: Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(path.read_text()))


def test_the_file_says_how_far_the_task_is_and_is_there_only_while_it_works(path: Path, clock: Clock) -> None:
    with Progress(str(path), "speech/1", clock) as progress:
        assert not path.exists()
        progress.tell("fetch", 30, 100, 10)
        assert read(path) == {
            "schema": 1,
            "model": "speech/1",
            "phase": "fetch",
            "total": 100,
            "done": 30,
            "resumed": 10,
            "started": 1000.0,
            "updated": 1000.0,
            "pid": os.getpid(),
        }
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(path.parent) == ["x.json"]
    assert os.listdir(path.parent) == []


def test_it_is_removed_when_the_task_fails_as_well(path: Path) -> None:
    progress = Progress(str(path), "speech/1")
    with pytest.raises(ZeroDivisionError), progress:
        fail_after(progress)
    assert os.listdir(path.parent) == []


def fail_after(progress: Progress) -> t.NoReturn:
    progress.tell("fetch", 1, 2)
    raise ZeroDivisionError


def test_it_is_written_at_most_twice_a_second_and_at_once_in_a_new_phase(path: Path, clock: Clock) -> None:
    with Progress(str(path), "speech/1", clock) as progress:
        seen = []
        for now, phase, done in [
            (1000.0, "verify", 1),
            (1000.4, "verify", 2),
            (1000.5, "verify", 3),
            (1000.6, "fetch", 4),
            (1000.7, "fetch", 5),
            (1001.1, "fetch", 6),
        ]:
            clock.now = now
            progress.tell(phase, done, 10)
            document = read(path)
            seen.append((document["done"], document["started"], document["updated"]))
    assert seen == [
        (1, 1000.0, 1000.0),
        (1, 1000.0, 1000.0),
        (3, 1000.0, 1000.5),
        (4, 1000.6, 1000.6),
        (4, 1000.6, 1000.6),
        (6, 1000.6, 1001.1),
    ]


@pytest.mark.parametrize("place", ["", "file/below.json", "folder"])
def test_where_it_cannot_be_written_or_is_not_wanted_nothing_fails(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with Progress(str(tmp_path / place) if place else "", "speech/1") as progress:
        progress.tell("fetch", 1, 2)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert (tmp_path / "folder" / "full").exists()


def test_a_full_disk_is_no_failure_and_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: t.Any) -> t.NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with Progress(str(path), "speech/1") as progress:
        progress.tell("fetch", 1, 2)
        assert not path.exists()
    assert os.listdir(path.parent) == []


def test_a_task_that_has_nothing_to_tell_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with Progress(str(tmp_path / "mine"), "speech/1"):
        pass
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    for name in ("x.json", "x.json.new"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with Progress(str(tmp_path / "x.json"), "speech/1") as progress:
        progress.tell("fetch", 1, 2)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_two_threads_do_not_write_at_the_same_time(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    writing: list[int] = []
    dump = json.dump
    with Progress(str(path), "speech/1", clock) as progress:

        def dumping(document: t.Any, file: t.Any) -> None:
            writing.append(document["done"])
            clock.now += 1
            if len(writing) == 1:
                other = threading.Thread(target=progress.tell, args=("verify", 2, 10))
                other.start()
                other.join(60)
            dump(document, file)

        monkeypatch.setattr(json, "dump", dumping)
        progress.tell("verify", 1, 10)
        assert writing == [1]
        assert read(path)["done"] == 1
        progress.tell("verify", 3, 10)
        assert read(path)["done"] == 3
