# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import copy
import os
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar

from ansible_collections.emorobcare.fleet.plugins.action import depot_tool
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._libraries import LibrariesError
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import first_root, next_root

Result = dict[str, t.Any]


class Host:
    """A host that answers for the module: it wants the libraries until it was sent them."""

    def __init__(self, has_libraries: bool = False, failing: bool = False) -> None:
        self.has_libraries = has_libraries
        self.failing = failing
        self.calls: list[Result] = []
        self.sent = b""

    def execute(self, check_mode: bool, arguments: Result) -> Result:
        self.calls.append(copy.deepcopy(arguments))
        if self.failing:
            return {"failed": True, "msg": "no", "reason": "older", "needs_libraries": True}
        if arguments["libraries"] and not check_mode:
            self.sent = Path(arguments["libraries"]).read_bytes()
            self.has_libraries = True
        return {"changed": True, "needs_libraries": not self.has_libraries}


Runner = t.Callable[..., tuple[Result, list[str]]]


@pytest.fixture(name="keys")
def keys_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "1.root.json").write_bytes(first_root())
    return folder


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Run the action against a host; return its result and the files that were copied to the host."""
    local, remote = tmp_path / "local", tmp_path / "remote"
    for folder in (local, remote):
        folder.mkdir()
    monkeypatch.setattr("ansible.constants.DEFAULT_LOCAL_TMP", str(local))
    monkeypatch.setattr(depot_tool, "pack_libraries", lambda: b"the libraries")

    def run(host: Host, check_mode: bool = False, **arguments: t.Any) -> tuple[Result, list[str]]:
        task = Task()
        task.args = {"keys": str(keys), "fleet": "robots", "host": "robot-7", **arguments}
        task.check_mode = check_mode
        shell = SimpleNamespace(tmpdir=None, join_path=os.path.join)
        connection: t.Any = SimpleNamespace(transport="ssh", become=None, _shell=shell)
        loader, unused = DataLoader(), t.cast("t.Any", None)
        action = depot_tool.ActionModule(task, connection, unused, loader, Templar(loader=loader), unused)
        copied: list[str] = []

        def execute_module(module_name: str, module_args: Result, task_vars: Result) -> Result:
            assert module_name == "emorobcare.fleet.depot_tool"
            return host.execute(check_mode, module_args)

        def transfer_file(source: str, target: str) -> None:
            copied.append(target)
            Path(target).write_bytes(Path(source).read_bytes())

        def remove_tmp_path(path: str | None) -> None:
            for name in copied:
                Path(name).unlink()

        monkeypatch.setattr(action, "_execute_module", execute_module)
        monkeypatch.setattr(action, "_make_tmp_path", lambda: setattr(shell, "tmpdir", str(remote)))
        monkeypatch.setattr(action, "_transfer_file", transfer_file)
        monkeypatch.setattr(action, "_fixup_perms2", lambda paths: None)
        monkeypatch.setattr(action, "_remove_tmp_path", remove_tmp_path)
        result = action.run(task_vars={})
        assert os.listdir(local) == os.listdir(remote) == []
        return result, copied

    return run


def test_the_libraries_are_sent_once(run: Runner) -> None:
    host = Host()
    result, copied = run(host)
    assert (result["changed"], result["needs_libraries"], len(copied)) == (True, False, 1)
    assert host.sent == b"the libraries"
    assert [bool(call["libraries"]) for call in host.calls] == [False, True]
    _result, copied = run(host)
    assert (copied, len(host.calls)) == ([], 3)


@pytest.mark.parametrize("host", [Host(failing=True), Host(has_libraries=True)])
def test_nothing_is_sent_to_a_host_that_refuses_or_has_them(run: Runner, host: Host) -> None:
    result, copied = run(host)
    assert (bool(result.get("failed")), copied, len(host.calls)) == (host.failing, [], 1)


def test_check_mode_sends_nothing(run: Runner) -> None:
    host = Host()
    result, copied = run(host, check_mode=True)
    assert (result["needs_libraries"], copied, len(host.calls)) == (True, [], 1)


def test_the_host_gets_each_root_and_the_newest_one_last(run: Runner, keys: Path) -> None:
    newer = next_root(first_root(), "timestamp", "timestamp-9", "timestamp-1")
    (keys / "2.root.json").write_bytes(newer)
    host = Host(has_libraries=True)
    run(host)
    assert [base64.b64decode(one) for one in host.calls[0]["metadata"]] == [first_root(), newer]
    assert "PRIVATE" not in str(host.calls[0])


def test_what_is_given_for_what_the_controller_fills_in_does_not_count(run: Runner) -> None:
    host = Host(has_libraries=True)
    run(host, metadata="evil", now=1, libraries="/evil", libraries_sha256="evil")
    call = host.calls[0]
    assert ([base64.b64decode(one) for one in call["metadata"]], call["libraries"]) == ([first_root()], None)
    assert call["now"] > 1_000_000_000
    assert call["libraries_sha256"] != "evil"


def test_a_folder_without_a_root_is_refused_and_told_what_makes_it(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    host = Host()
    result, _copied = run(host, keys=str(tmp_path / "empty"))
    assert (result["failed"], result["reason"], host.calls) == (True, "key_missing", [])
    assert "playbooks/keys.yml" in result["msg"]


def test_a_controller_without_the_libraries_is_told_what_to_install(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> bytes:
        raise LibrariesError("tuf is not installed")

    monkeypatch.setattr(depot_tool, "pack_libraries", lacking)
    result, _copied = run(Host())
    assert (result["failed"], result["reason"], result["msg"]) == (True, "library_missing", "tuf is not installed")
