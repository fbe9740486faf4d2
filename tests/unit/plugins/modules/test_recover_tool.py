# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._zipapp import loaded_source, sources_of
from ansible_collections.emorobcare.fleet.plugins.modules import recover_tool

Result = dict[str, t.Any]
Run = t.Callable[..., Result]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> Result:
        paths = {"path": str(tmp_path / "lib" / "tool.pyz"), "root": str(tmp_path / "fleet")}
        with patch_module_args({**paths, **args}), pytest.raises(SystemExit):
            recover_tool.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


@pytest.fixture(name="program")
def program_fixture(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "tool.pyz"


def commit(root: Path, stack: str) -> None:
    places = Places(str(root / "fleet"), "", stack)
    committed = Commit(Identity("9f86d081884c7d65", "s"), "2026-11-21T09:30:00Z", {}, {})
    save_journal(places, Journal(stack, "ab" * 32, committed=committed))


def test_it_is_written_once_and_check_mode_and_diff_tell_the_truth(run: Run, program: Path) -> None:
    predicted = run(_ansible_check_mode=True)
    assert not program.exists()
    first = run()
    assert (predicted["changed"], first["changed"]) == (True, True)
    assert predicted["diff"] == first["diff"]
    assert first["diff"]["before"]["state"] == "absent"
    assert first["diff"]["after"] == {
        "path": str(program),
        "state": "present",
        "sha256": first["sha256"],
        "mode": "0755",
    }
    assert program.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in program.parent.iterdir()] == ["tool.pyz"]
    second = run()
    assert not second["changed"]
    assert second["diff"]["before"] == second["diff"]["after"] == first["diff"]["after"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda program: program.write_bytes(program.read_bytes() + b"x"), id="another content"),
        pytest.param(lambda program: program.chmod(0o644), id="another mode"),
        pytest.param(lambda program: program.unlink(), id="gone"),
    ],
)
def test_whatever_differs_is_put_right(run: Run, program: Path, spoil: t.Callable[[Path], None]) -> None:
    sha256 = run()["sha256"]
    spoil(program)
    assert run(_ansible_check_mode=True)["changed"]
    again = run()
    assert (again["changed"], again["sha256"]) == (True, sha256)
    assert not run()["changed"]


def test_other_folders_make_another_program(run: Run) -> None:
    assert run()["changed"]
    assert run(secrets_root="/srv/secrets")["changed"]


def test_it_runs_without_ansible_and_has_all_that_it_imports(run: Run, program: Path, tmp_path: Path) -> None:
    run()
    commit(tmp_path, "shop")
    # -S: not even what is installed beside this Python.
    done = subprocess.run([sys.executable, "-I", "-S", program, "--check"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("shop: at rest on release 9f86d081884c\n", "", 0)
    names = "__import__('sys').path.insert(0, __import__('sys').argv[1])\n" + "".join(
        f"import {recover_tool.__name__.rpartition('.modules.')[0]}.module_utils.{name}\n"
        for name in sources_of("_release_recover", loaded_source)
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", names, program], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_it_goes_with_the_last_stack(run: Run, program: Path, tmp_path: Path) -> None:
    run()
    commit(tmp_path, "desk")
    commit(tmp_path, "shop")
    kept = run(state="absent", besides="shop")
    assert (kept["changed"], kept["needed"]) == (False, ["desk"])
    assert program.exists()
    (tmp_path / "fleet" / "stacks" / "desk" / "state.json").unlink()
    assert run(state="absent", besides="shop", _ansible_check_mode=True)["changed"]
    assert program.exists()
    gone = run(state="absent", besides="shop")
    assert (gone["changed"], gone["needed"], gone["sha256"]) == (True, [], None)
    assert not program.parent.exists()
    assert not run(state="absent", besides="shop")["changed"]


def test_what_else_is_in_its_folder_stays(run: Run, program: Path) -> None:
    run()
    (program.parent / "other").touch()
    assert run(state="absent")["changed"]
    assert os.listdir(program.parent) == ["other"]


def test_a_folder_that_cannot_be_is_a_refusal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(path=str(tmp_path / "file" / "tool.pyz"))
    assert result["reason"] == "write_failed"
    assert str(tmp_path / "file") in result["msg"]
