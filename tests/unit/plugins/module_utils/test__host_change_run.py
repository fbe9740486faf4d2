# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _host_change_back, _host_change_boot
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import Change, FileWanted, Outcome
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_journal import Places
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import transact
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import Probe, Probes


class Host:
    """A folder with a file, a command that says what the file held when it ran, and what changes are made of."""

    def __init__(self, root: Path) -> None:
        self.file, self.effective, self.folder = root / "demo.conf", root / "effective", root / "host"
        self.file.write_text("old\n")
        self.file.chmod(0o640)
        self.guarded: list[str] = []

    def change(self, content: str = "new\n", **more: t.Any) -> Change:
        commands = {"activate": (("cp", str(self.file), str(self.effective)),), **more}
        return Change("demo", (FileWanted(str(self.file), content),), **commands)

    def do(self, change: Change, **more: t.Any) -> Outcome:
        settings = {"probe": None, "check": False, "settle": 0.0, "lock_timeout": 0.0, "guard": self.guard, **more}
        return transact(change, folder=str(self.folder), **settings)

    def guard(self, places: Places) -> None:
        """Is started when the journal is written, and nothing else has been."""
        assert Path(places.journal).exists()
        self.guarded.append(self.file.read_text())

    def is_as_it_was(self) -> bool:
        same = self.file.read_text() == "old\n" and self.file.stat().st_mode & 0o777 == 0o640
        return same and not (self.folder / "demo").exists()


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(_host_change_boot, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(_host_change_boot, "BOOTED", str(tmp_path / "no-systemd"))
    monkeypatch.setattr(_host_change_back, "_PAUSE", 0.0)
    return Host(tmp_path)


def answers(*statuses: t.Any) -> t.Callable[[], Probes]:
    """Ask containers, which say this the first time, that the second time, and so on."""
    left = iter(statuses)
    return lambda: {"dns": Probe(next(left), "said so")}


def never() -> Probes:
    raise AssertionError("nothing was to be asked")


def test_a_change_is_made_guarded_and_probed_on_both_sides(host: Host) -> None:
    outcome = host.do(host.change(), probe=answers("pass", "pass"))
    assert (outcome.changed, outcome.files, outcome.waits) == (True, (str(host.file),), 0)
    assert (outcome.before, outcome.after) == ({"dns": Probe("pass", "said so")},) * 2
    assert (host.guarded, host.effective.read_text()) == (["old\n"], "new\n")
    assert host.file.stat().st_mode & 0o777 == 0o640


def test_where_there_is_nothing_to_do_nothing_is_done(host: Host) -> None:
    assert not host.do(host.change("old\n"), probe=never).changed
    host.do(host.change())
    host.effective.unlink()
    host.guarded.clear()
    assert not host.do(host.change(), probe=never).changed
    assert not host.effective.exists()
    assert host.guarded == []


def test_check_mode_tells_the_difference_and_writes_nothing(host: Host, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    outcome = host.do(host.change(), check=True, probe=never)
    assert (outcome.changed, outcome.files) == (True, (str(host.file),))
    assert [(one.before, one.after) for one in outcome.diff] == [("old\n", "new\n")]
    assert sorted(tmp_path.rglob("*")) == before
    assert not host.do(host.change("old\n"), check=True).changed


def test_what_breaks_a_probe_is_taken_back_with_both_results(host: Host) -> None:
    with pytest.raises(HostError) as caught:
        host.do(host.change(), probe=answers("pass", "fail", "pass"))
    assert caught.value.reason == "probe_failed"
    assert "dns: before pass (said so), after fail (said so)" in str(caught.value)
    assert str(caught.value).endswith("Change demo was taken back, and what passed before passes again")
    assert caught.value.details["reverted"]
    assert {when: found["dns"]["status"] for when, found in caught.value.details["probes"].items()} == {
        "before": "pass",
        "after": "fail",
        "again": "pass",
    }
    assert host.is_as_it_was()
    assert host.effective.read_text() == "old\n"


def test_what_stays_broken_after_the_way_back_is_told(host: Host) -> None:
    with pytest.raises(HostError, match="was taken back, and still: dns: before pass"):
        host.do(host.change(), probe=answers("pass", "fail", "fail"))


def test_what_was_broken_before_is_no_hindrance(host: Host) -> None:
    assert host.do(host.change(), probe=answers("fail", "fail")).changed


def test_what_is_only_slow_gets_its_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert host.do(host.change(), probe=answers("pass", "fail", "fail", "pass"), settle=60.0).changed


def test_a_program_that_is_a_word_of_a_command_does_not_hide_what_is_wrong(host: Host) -> None:
    program = "import sys\n\nsys.exit('sshd goes by something else')\n"
    with pytest.raises(HostError, match=r"python3 -c … -x failed: exit code 1: sshd goes by something else"):
        host.do(host.change(activate=(("python3", "-c", program, "-x"),), deactivate=(("true",),)))


def test_a_command_that_fails_takes_the_change_back(host: Host) -> None:
    copies = ("cp", str(host.file), str(host.effective))
    commands = (copies, ("ls", "/nowhere"), ("touch", f"{host.effective}.never"))
    with pytest.raises(HostError, match=r"ls /nowhere failed: exit code 2: .*No such file") as caught:
        host.do(host.change(activate=commands, deactivate=(copies,)))
    assert (caught.value.reason, caught.value.details["reverted"]) == ("activate_failed", True)
    assert host.is_as_it_was()
    assert host.effective.read_text() == "old\n"
    assert not Path(f"{host.effective}.never").exists()


def test_commands_of_the_way_back_that_fail_are_told_and_do_not_block_the_next_run(host: Host) -> None:
    with pytest.raises(HostError, match="but what was there before does not work: false failed: exit code 1"):
        host.do(host.change(activate=(("false",),)))
    assert host.is_as_it_was()
    assert host.do(host.change()).changed


def test_commands_of_the_way_back_that_say_that_it_is_in_vain_are_not_run_again(host: Host, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    count = ("sh", "-c", f"echo >> {tries}; exit 83")
    with pytest.raises(HostError, match="does not work: sh"):
        host.do(host.change(activate=(("false",),), deactivate=(count,)))
    assert tries.read_text() == "\n"


def test_a_command_that_is_not_there_is_named(host: Host) -> None:
    with pytest.raises(HostError, match=r"no-such-command: No such file or directory"):
        host.do(host.change(activate=(("no-such-command",),), deactivate=(("true",),)))


def test_commands_see_a_small_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "value")
    host.do(host.change(activate=(("sh", "-c", f"env > {host.effective}"),)))
    seen = dict(line.split("=", 1) for line in host.effective.read_text().splitlines())
    assert seen["LC_ALL"] == "C"
    assert "SECRET" not in seen


@pytest.mark.parametrize("check", [False, True])
def test_what_a_checker_refuses_is_not_written_and_a_hidden_content_not_told(host: Host, check: bool) -> None:
    file = FileWanted(str(host.file), "secret word\n", validate=("sh", "-c", "cat %s; exit 1"), diff=False)
    with pytest.raises(HostError, match=r"demo\.conf as wanted is refused by its checker, and nothing was") as caught:
        host.do(Change("demo", (file,)), probe=never, check=check)
    assert caught.value.reason == "validate_failed"
    assert "secret" not in str(caught.value)
    assert host.is_as_it_was()
    assert host.guarded == []


def test_a_checker_sees_the_name_that_the_file_will_have(host: Host) -> None:
    named = ("sh", "-c", 'test "$(basename %s)" = demo.conf && grep new %s')
    assert host.do(Change("demo", (FileWanted(str(host.file), "new\n", validate=named),))).changed


@pytest.mark.parametrize(("check", "refused"), [(True, False), (False, True)])
def test_a_checker_that_is_not_there_yet_is_passed_over_in_check_mode_alone(
    host: Host, check: bool, refused: bool
) -> None:
    change = Change("demo", (FileWanted(str(host.file), "new\n", validate=("no-such-checker", "%s")),))
    if not refused:
        assert host.do(change, check=check).changed
        return
    with pytest.raises(HostError, match="no-such-checker"):
        host.do(change, check=check)


def test_a_user_that_is_not_there_is_refused_by_name(host: Host) -> None:
    change = Change("demo", (FileWanted(str(host.file), owner="no-such-user"),))
    with pytest.raises(HostError, match="owner: there is no owner 'no-such-user'"):
        host.do(change)
    assert host.do(change, check=True).changed


def test_without_a_guard_nothing_is_put_into_effect(host: Host) -> None:
    def fails(_places: Places) -> None:
        raise HostError("no process can be started", reason="guard_failed")

    with pytest.raises(HostError) as caught:
        host.do(host.change(), guard=fails)
    assert caught.value.reason == "guard_failed"
    assert host.is_as_it_was()
    assert not host.effective.exists()


def test_a_disk_that_says_no_takes_the_change_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    second = host.file.with_name("second.conf")
    rename = os.rename

    def full(source: str, target: str) -> None:
        if target == str(second):
            raise OSError(28, "No space left on device", target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    files = (FileWanted(str(host.file), "new\n"), FileWanted(str(second), "new\n"))
    with pytest.raises(HostError, match=r"cannot write .*second\.conf: No space left") as caught:
        host.do(Change("demo", files))
    assert (caught.value.reason, caught.value.details["reverted"]) == ("write_failed", True)
    assert host.is_as_it_was()
    assert [path.name for path in host.file.parent.glob(".*")] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_takes_the_change_back(host: Host, number: signal.Signals) -> None:
    handler = signal.getsignal(number)
    kill = (("sh", "-c", f"kill -{number.value} $PPID; sleep 30"),)
    with pytest.raises(HostError, match=f"cut off by {number.name}") as caught:
        host.do(host.change(activate=kill, deactivate=(("true",),)))
    assert (caught.value.reason, caught.value.details["reverted"]) == ("interrupted", True)
    assert host.is_as_it_was()
    assert signal.getsignal(number) == handler


def test_the_end_of_the_session_does_not_end_a_change_that_waits_to_be_confirmed(host: Host) -> None:
    assert host.do(host.change(activate=(("sh", "-c", "kill -HUP $PPID"),), confirm=60)).waits == 60


def test_the_activation_of_a_caller_is_told_the_way(host: Host) -> None:
    ways: list[tuple[bool, str]] = []
    with pytest.raises(HostError):
        host.do(
            host.change(activate=(("false",),)),
            probe=answers("pass", "fail", "pass"),
            activate=lambda back: ways.append((back, host.file.read_text())),
        )
    assert ways == [(False, "new\n"), (True, "old\n")]


@pytest.mark.parametrize("check", [False, True])
def test_nothing_else_is_changed_while_a_change_waits(host: Host, check: bool) -> None:
    host.do(host.change(confirm=60))
    other = Change("other", (FileWanted(str(host.file), "other\n"),))
    with pytest.raises(HostError, match="change demo waits to be confirmed") as caught:
        host.do(other, check=check)
    assert caught.value.reason == "unconfirmed"


def test_originals_are_given_back_and_edited_files_are_left(host: Host) -> None:
    second = host.file.with_name("made.d") / "second.conf"
    files = (FileWanted(str(host.file), "new\n", 0o600), FileWanted(str(second), "new\n"))
    host.do(Change("demo", files))
    host.do(Change("demo", (FileWanted(str(host.file), "newer\n"), files[1])))
    second.write_text("edited\n")
    outcome = host.do(Change("demo", state="absent"))
    assert outcome.files == (str(host.file),)
    assert [(one.path, one.why) for one in outcome.left] == [(str(second), "somebody has changed its content since")]
    assert (host.file.read_text(), second.read_text()) == ("old\n", "edited\n")
    again = host.do(Change("demo", state="absent"))
    assert (again.changed, len(again.left)) == (False, 1)
    second.unlink()
    assert not host.do(Change("demo", state="absent")).left
    assert host.is_as_it_was()


def test_a_link_is_neither_followed_nor_replaced(host: Host) -> None:
    link = host.file.with_name("link")
    link.symlink_to(host.file)
    with pytest.raises(HostError, match="is a symbolic link") as caught:
        host.do(Change("demo", (FileWanted(str(link), "new\n"),)))
    assert caught.value.reason == "unsafe_path"
    assert (host.file.read_text(), link.is_symlink()) == ("old\n", True)


def test_extended_attributes_come_back(host: Host) -> None:
    try:
        os.setxattr(host.file, "user.origin", b"factory")
    except OSError:
        pytest.skip("this file system has none")
    host.do(host.change())
    assert os.getxattr(host.file, "user.origin") == b"factory"
    os.removexattr(host.file, "user.origin")
    host.do(Change("demo", state="absent"))
    assert os.getxattr(host.file, "user.origin") == b"factory"
