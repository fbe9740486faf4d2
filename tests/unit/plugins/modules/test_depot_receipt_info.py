# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import shutil
import time
import typing as t
from pathlib import Path
from unittest import mock

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.emorobcare.fleet.plugins.action.depot_receipt_info import ActionModule
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_receipt import (
    KEPT,
    Receipt,
    make_key,
    newest_of,
    read_receipts,
    sign,
    write_receipt,
)
from ansible_collections.emorobcare.fleet.plugins.modules import depot_receipt_info

Result = dict[str, t.Any]
A, B = "a" * 64, "b" * 64
TIME = 1_800_000_000  # 2027-01-15 08:00 UTC
DAY = 86_400


class Stick:
    """A stick that came back with receipts, and the folder of public keys that the controller keeps."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.now = TIME + DAY
        self.path = folder / "stick"
        self.path.mkdir()
        self.keys = folder / "keys"
        self.keys.mkdir()
        self._folder = folder
        self._capsys = capsys

    def write(self, host: str, when: int = TIME, key: str = "", known: bool = True, **more: t.Any) -> None:
        place = str(self._folder / "private" / (key or host))
        public = make_key(place, host)
        if known and not key:
            (self.keys / f"{host}.pub").write_text(f"{public}\n")
        told = {"demo": {"id": A, "counter": 3, "state": "committed", "gate": []}}
        receipt = Receipt(host, when, **{"releases": told, "digests": frozenset({A, B}), **more})
        write_receipt(str(self.path / "receipts"), sign(receipt, place))

    def module(self, **arguments: t.Any) -> Result:
        clock = mock.Mock(wraps=time, time=lambda: self.now)
        with (
            mock.patch.object(depot_receipt_info, "time", clock),
            patch_module_args({"depot": str(self.path), **arguments}),
            pytest.raises(SystemExit),
        ):
            depot_receipt_info.main()
        return t.cast("Result", json.loads(self._capsys.readouterr().out))

    def read(self, **arguments: t.Any) -> Result:
        """Run the action, and as its host the module."""
        task = mock.MagicMock(spec=Task, check_mode=False, async_val=0, environment=None, no_log=False)
        task.args = {"depot": str(self.path), "keys": str(self.keys), **arguments}
        loader = DataLoader()
        action = ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, Templar(loader=loader), None)

        def execute(module_name: str, module_args: Result, task_vars: Result) -> Result:
            assert module_name == "emorobcare.fleet.depot_receipt_info"
            return self.module(**module_args)

        with mock.patch.object(action, "_execute_module", execute):
            return action.run(task_vars={})


@pytest.fixture(name="stick")
def stick_fixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Stick:
    return Stick(tmp_path, capsys)


def test_what_is_signed_by_a_known_key_is_believed_and_told(stick: Stick) -> None:
    stick.write("robot-7")
    stick.write("robot-8.lan", TIME + 60)
    told = stick.read()
    assert (told["changed"], told["refused"]) == (False, [])
    assert [one["host"] for one in told["receipts"]] == ["robot-7", "robot-8.lan"]
    assert told["lines"][0] == "robot-7: demo release 3 committed, 2027-01-15 08:00 UTC"
    documented = yaml.safe_load(depot_receipt_info.RETURN)
    assert set(told["receipts"][0]) == set(documented["receipts"]["contains"])
    assert set(documented) - {"reason"} <= set(told)


def test_what_is_not_is_not_believed_and_told_why(stick: Stick) -> None:
    stick.write("robot-7")
    stick.write("robot-7", TIME + 60, key="stolen")
    stick.write("stranger", known=False)
    told = stick.read()
    assert [one["time"] for one in told["receipts"]] == [TIME]
    assert {Path(one["path"]).parent.name: one["why"] for one in told["refused"]} == {
        "robot-7": "it is not signed by the key of 'robot-7'",
        "stranger": "no key of host 'stranger' is known",
    }
    assert sum(line.startswith("NOT believed: ") for line in told["lines"]) == 2


def test_a_refusal_is_told_with_its_reason(stick: Stick) -> None:
    stick.write("robot-7", refused={"reason": "expired", "message": "renew it"})
    told = stick.read()
    assert told["receipts"][0]["refused"] == {"reason": "expired", "message": "renew it"}
    assert told["lines"][1] == "robot-7: REFUSED a depot (expired), 2027-01-15 08:00 UTC: renew it"


def test_the_newest_counts_unless_its_clock_is_known_to_be_wrong(stick: Stick) -> None:
    stick.write("robot-7", TIME + 60, digests=frozenset({A}))
    stick.write("robot-7", TIME)
    stick.write("robot-7", TIME * 2, refused={"reason": "clock", "message": "ahead"})
    told = stick.read(hosts=["robot-7"])
    assert ([one["time"] for one in told["receipts"]], told["held"]) == ([TIME + 60], [A])
    alone = Receipt("robot-9", TIME, refused={"reason": "clock", "message": "ahead"})
    assert newest_of([alone], TIME) == {"robot-9": alone}


def test_a_receipt_of_a_fast_clock_does_not_hide_those_after_the_clock_was_set_right(stick: Stick) -> None:
    stick.write("robot-7", TIME + 180 * DAY, digests=frozenset({A}), refused={"reason": "expired", "message": "renew"})
    assert [one["time"] for one in stick.read()["receipts"]] == [TIME + 180 * DAY]
    stick.write("robot-7", TIME, digests=frozenset({B}))
    told = stick.read(hosts=["robot-7"])
    assert ([one["time"] for one in told["receipts"]], told["held"]) == ([TIME], [B])
    stick.now = TIME + 179 * DAY  # the clock of whoever reads may be a day behind
    assert [one["time"] for one in stick.read()["receipts"]] == [TIME + 180 * DAY]


def test_only_what_every_host_holds_may_be_left_out(stick: Stick) -> None:
    stick.write("robot-7")
    stick.write("robot-8", digests=frozenset({B}))
    assert stick.read(hosts=["robot-7", "robot-8"])["held"] == [B]
    refused = stick.read(hosts=["robot-7", "robot-9"])
    assert (refused["failed"], refused["reason"]) == (True, "base_missing")


def test_what_is_believed_is_kept_once_and_what_is_not_is_not_kept(stick: Stick, tmp_path: Path) -> None:
    stick.write("robot-7")
    stick.write("robot-7", TIME + 60, key="stolen")
    dest = tmp_path / "kept"
    dest.mkdir()
    assert stick.module(dest=str(dest), _ansible_check_mode=True)["changed"] is False  # no key is given here
    first = stick.read(dest=str(dest))
    assert (first["changed"], len(read_receipts(Folder(str(dest))))) == (True, 1)
    again = stick.read(dest=str(dest))
    assert (again["changed"], len(read_receipts(Folder(str(dest))))) == (False, 1)


def kept(dest: Path) -> list[int]:
    return [signed.receipt.time for signed in read_receipts(Folder(str(dest)))]


def test_an_older_stick_does_not_push_newer_receipts_out(stick: Stick, tmp_path: Path) -> None:
    dest = tmp_path / "kept"
    times = [TIME + number for number in range(KEPT)]
    for when in times:
        stick.write("robot-7", when)
    old = tmp_path / "old"
    shutil.copytree(stick.path, old)
    stick.write("robot-8", TIME)
    for when in (TIME + 100, TIME + 101):
        stick.write("robot-7", when)
    assert stick.read(dest=str(dest))["changed"]
    newer = [*times[2:], TIME + 100, TIME + 101, TIME]
    assert kept(dest) == newer
    assert stick.read(depot=str(old), dest=str(dest))["changed"] is False
    assert kept(dest) == newer


def test_a_refusal_by_a_clock_that_is_wrong_is_kept_whatever_time_it_says(stick: Stick, tmp_path: Path) -> None:
    dest = tmp_path / "kept"
    stick.write("robot-7", TIME)
    stick.read(dest=str(dest))
    stick.write("robot-7", 60, refused={"reason": "clock", "message": "behind"})
    stick.write("robot-7", TIME + 180 * DAY, refused={"reason": "expired", "message": "renew"})
    stick.write("robot-7", TIME - 1)
    assert stick.read(dest=str(dest))["changed"]
    stick.write("robot-7", TIME + 2)
    assert stick.read(dest=str(dest))["changed"]
    assert kept(dest) == [TIME, 60, TIME + 180 * DAY, TIME + 2]


def test_without_keys_nobody_is_believed(stick: Stick) -> None:
    stick.write("robot-7")
    told = stick.module()
    assert (told["receipts"], len(told["refused"])) == ([], 1)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema":1}', b"[" * 100_000])
def test_what_is_no_receipt_is_passed_over(stick: Stick, content: bytes) -> None:
    stick.write("robot-7")
    (stick.path / "receipts" / "robot-7" / "9.json").write_bytes(content)
    assert len(stick.read()["receipts"]) == 1


@pytest.mark.parametrize("time", [10**18, -(10**18)])
def test_a_robot_that_signs_an_impossible_time_does_not_stop_the_others(stick: Stick, time: int) -> None:
    stick.write("robot-7")
    stick.write("robot-8", time)
    told = stick.read()
    assert [one["host"] for one in told["receipts"]] == ["robot-7"]


def test_a_folder_of_keys_that_is_not_there_is_an_error_and_no_empty_answer(stick: Stick, tmp_path: Path) -> None:
    stick.write("robot-7")
    refused = stick.read(keys=str(tmp_path / "nothing"))
    assert (refused["failed"], refused["reason"]) == (True, "key_missing")
    assert "nothing" in refused["msg"]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_key_that_cannot_be_read_is_named(stick: Stick, content: bytes | None) -> None:
    key = stick.keys / "robot-7.pub"
    key.mkdir() if content is None else key.write_bytes(content)
    refused = stick.read()
    assert (refused["failed"], "robot-7.pub" in refused["msg"]) == (True, True)


@pytest.mark.parametrize("left", ["host.new", "host.new.pub"])
def test_a_key_whose_making_was_cut_off_is_made_again(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text("half of it")
    public = make_key(str(tmp_path / "host"), "robot-7")
    assert sorted(os.listdir(tmp_path)) == ["host", "host.pub"]
    assert public == (tmp_path / "host.pub").read_text().strip()
    (tmp_path / "host").unlink()  # as if the run had been cut off between the two
    assert make_key(str(tmp_path / "host"), "robot-7") != public
