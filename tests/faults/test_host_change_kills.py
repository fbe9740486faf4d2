# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of a host's files is killed, or the power cut, at each of its steps: the host has all of it or nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import stat
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_change_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import Change, FileWanted, Outcome
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_guard import at_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import Places
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import confirm, transact
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.tests.faults._crash import LoopDisk, before_each_step, killed_at
from ansible_collections.emorobcare.fleet.tests.faults._releases import wait_for

Tree = dict[str, tuple[int, str]]
MOST_STEPS = 400


@dataclass(frozen=True)
class Host:
    """A folder that stands for a host: one file to replace, one to make in a new folder, one to remove, one to own."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "etc"

    @property
    def folder(self) -> str:
        return str(self.root / "state")

    def make(self) -> Host:
        self.files.mkdir(parents=True)
        for name, mode in (("old.conf", 0o640), ("gone.conf", 0o600), ("mode.conf", 0o666)):
            (self.files / name).write_text(f"{name} before\n")
            (self.files / name).chmod(mode)
        return self

    def change(self, text: str) -> Change:
        at = {name: str(self.files / name) for name in ("old.conf", "gone.conf", "mode.conf")}
        command = ("cp", at["old.conf"], str(self.root / "effective"))
        return Change(
            "demo",
            (
                FileWanted(at["old.conf"], text),
                FileWanted(str(self.files / "new.d" / "deep" / "new.conf"), text, 0o600),
                FileWanted(at["gone.conf"], state="absent"),
                FileWanted(at["mode.conf"], mode=0o644),
            ),
            activate=(command,),
        )

    def do(self, change: Change) -> Outcome:
        return transact(change, folder=self.folder, probe=None, check=False, guard=unguarded)

    def tree(self) -> Tree:
        """All that there is of files and folders, temporary ones included."""
        found = {}
        for path in sorted(self.files.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            found[str(path.relative_to(self.files))] = (mode, path.read_text() if path.is_file() else "folder")
        return found

    def ended(self) -> bool:
        """Whether nothing is left of a change but what is kept of it."""
        places = Places(self.folder, "demo")
        there = [path for path in (places.journal, places.guard) if os.path.exists(path)]
        return not there and not _host_change_boot.boot_remembers(places)


def guarded(host: Host, change: Change) -> Outcome:
    return transact(change, folder=host.folder, probe=None, check=False)


def unguarded(_places: Places) -> None:
    """Nothing watches; whoever comes next finds what was left."""


@pytest.fixture(name="no_systemd", autouse=True)
def no_systemd_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are the lab host's to try."""
    monkeypatch.setattr(_host_change_boot, "BOOTED", str(tmp_path / "no-systemd"))


@pytest.fixture(name="fast")
def fast_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote, so nothing waits for the disk here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Kill(t.NamedTuple):
    """What is cut off, from what to what, on which host."""

    name: str
    prepare: t.Callable[[Host], object]
    do: t.Callable[[Host], object]


KILLS = [
    Kill("the first change", lambda host: None, lambda host: host.do(host.change("one\n"))),
    Kill("a later change", lambda host: host.do(host.change("one\n")), lambda host: host.do(host.change("two\n"))),
    Kill(
        "giving back",
        lambda host: host.do(host.change("one\n")),
        lambda host: host.do(Change("demo", state="absent")),
    ),
]


def settle(host: Host) -> None:
    """What the next run does first; it has nothing to do itself."""
    host.do(Change("other", (FileWanted(str(host.files / "other.conf"), state="absent"),)))


def at_next_boot(host: Host) -> None:
    at_boot(Places(host.folder, "demo"))


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("ends", [settle, at_next_boot])
@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.name)
def test_killed_at_any_step_the_host_has_all_or_nothing_and_the_same_task_finishes(
    kill: Kill, ends: t.Callable[[Host], None], tmp_path: Path
) -> None:
    reference = Host(tmp_path / "reference").make()
    kill.prepare(reference)
    before = reference.tree()
    kill.do(reference)
    after = reference.tree()
    assert before != after
    ended = set()
    for step in range(1, MOST_STEPS):
        host = Host(tmp_path / str(step)).make()
        kill.prepare(host)
        killed = killed_at(step, lambda host=host: kill.do(host))  # type: ignore[misc]
        ends(host)
        assert host.tree() in (before, after), f"a mix, killed at step {step}"
        assert host.ended(), step
        ended.add("before" if host.tree() == before else "after")
        kill.do(host)
        assert host.tree() == after, step
        if kill.name != "giving back":
            host.do(Change("demo", state="absent"))
        assert host.tree() == Host(tmp_path / f"{step}-fresh").make().tree(), f"originals lost, killed at step {step}"
        shutil.rmtree(host.root)
        if not killed:
            assert ended == {"before", "after"}
            return
    pytest.fail("it takes more steps than were tried")


@pytest.mark.usefixtures("fast")
def test_what_takes_back_may_itself_be_killed_at_any_step(tmp_path: Path) -> None:
    before = Host(tmp_path / "reference").make().tree()
    for first in range(1, steps_until_it_stays(Host(tmp_path / "steps").make()), 9):
        for second in range(1, MOST_STEPS):
            host = Host(tmp_path / f"{first}-{second}").make()
            killed_at(first, lambda host=host: host.do(host.change("one\n")))  # type: ignore[misc]
            killed = killed_at(second, lambda host=host: settle(host))  # type: ignore[misc]
            settle(host)
            assert host.tree() == before, (first, second)
            assert host.ended()
            shutil.rmtree(host.root)
            if not killed:
                break


def steps_until_it_stays(host: Host) -> int:
    """How many steps a change makes before the journal says that it stays."""
    journal = Path(host.folder) / "demo" / "journal.json"
    steps = 0

    def count(number: int) -> None:
        nonlocal steps
        if journal.exists() and json.loads(journal.read_text())["phase"] != "committing":
            steps = number

    with before_each_step(count):
        host.do(host.change("one\n"))
    return steps


@pytest.mark.usefixtures("fast")
def test_commands_of_the_way_back_run_when_those_of_the_way_there_may_have(tmp_path: Path) -> None:
    host = Host(tmp_path / "host").make()
    host.do(host.change("one\n"))
    effective = host.root / "effective"
    for step in range(1, MOST_STEPS):
        killed = killed_at(step, lambda: host.do(host.change("two\n")))
        settle(host)
        assert effective.read_text() == (host.files / "old.conf").read_text(), step
        host.do(host.change("one\n"))
        if not killed:
            return


def test_after_a_power_cut_at_any_step_the_disk_has_all_or_nothing(disks: Path) -> None:
    image = disks / "disk.img"
    pictures = []
    with LoopDisk(image, 8 << 20) as mount:
        disk = LoopDisk(image)
        host = Host(mount / "host").make()
        os.sync()
        before = host.tree()

        def shoot(step: int) -> None:
            picture = disks / f"{step}.img"
            disk.picture(picture)
            pictures.append(picture)

        with before_each_step(shoot):
            host.do(host.change("one\n"))
        shoot(0)
        after = host.tree()
    seen = []
    for picture in pictures:
        picture.rename(image)  # the journal names paths, so the disk must be where it was
        with LoopDisk(image):
            settle(host)
            assert host.tree() in (before, after), f"a mix after a power cut at {picture.name}"
            seen.append(host.tree() == after)
    assert not seen[0]
    assert seen[-1]
    assert seen == sorted(seen), "a change that had stayed was lost again"


def test_without_systemd_the_guard_is_a_process_that_outlives_the_task(tmp_path: Path) -> None:
    host = Host(tmp_path / "host").make()
    before = host.tree()
    journal = Path(host.folder) / "demo" / "journal.json"
    dies = dataclasses.replace(host.change("one\n"), activate=(("sh", "-c", "kill -9 $PPID"),), deactivate=(("true",),))
    child = os.fork()
    if child == 0:
        try:
            guarded(host, dies)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    wait_for(lambda: not journal.exists())
    assert host.tree() == before
    again = host.do(host.change("one\n"))
    assert again.recovered == ("change demo was cut off (activating) and was taken back",)


def test_what_nobody_confirms_goes_back_and_what_somebody_confirms_stays(tmp_path: Path) -> None:
    host = Host(tmp_path / "host").make()
    before = host.tree()
    assert guarded(host, dataclasses.replace(host.change("one\n"), confirm=1)).waits == 1
    assert host.tree() != before
    wait_for(lambda: not (Path(host.folder) / "demo" / "journal.json").exists())
    assert host.tree() == before
    with pytest.raises(HostError, match="nobody confirmed change demo within 1 s") as caught:
        confirm("demo", folder=host.folder, check=False)
    assert caught.value.reason == "unconfirmed"
    guarded(host, dataclasses.replace(host.change("one\n"), confirm=600))
    after = host.tree()
    assert confirm("demo", folder=host.folder, check=True).changed
    assert confirm("demo", folder=host.folder, check=False).changed
    assert not confirm("demo", folder=host.folder, check=False).changed
    assert host.tree() == after
