# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, checked
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, lock, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.modules import stack_release_info

Result = dict[str, t.Any]
Run = t.Callable[..., Result]
ID = "9f86d081884c7d65"


class Engine:
    """An engine without containers."""

    def __init__(self) -> None:
        self.down = False

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        assert list(argv[:3]) == ["docker", "container", "ls"]
        return checked(
            Answer(1, "", "Cannot connect to the Docker daemon at unix:///x") if self.down else Answer(0, "", "")
        )


@pytest.fixture(name="engine")
def engine_fixture(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(stack_release_info, "default_cli", lambda: engine)
    return engine


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: Engine) -> Run:
    """Run the module as Ansible would; return its JSON."""

    def run(**args: t.Any) -> Result:
        with patch_module_args({"root": str(tmp_path), **args}), pytest.raises(SystemExit):
            stack_release_info.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def write(root: Path, stack: str) -> Places:
    places = Places(str(root), "", stack)
    save_journal(places, Journal(stack, "ab" * 32, committed=Commit(Identity(ID, "s"), "2026-11-21T09:30:00Z", {}, {})))
    document = Path(places.release(ID)) / "release.json"
    document.parent.mkdir(parents=True)
    document.write_text(json.dumps({"environment": "prod"}))
    return places


def test_every_stack_is_told_of_or_the_one_that_is_named_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    assert run() == {"changed": False, "engine": None, "stacks": []}
    write(tmp_path, "desk")
    write(tmp_path, "shop")
    before = sorted(tmp_path.rglob("*"))
    found = run(_ansible_check_mode=True)
    assert [(one["stack"], one["release"], one["environment"]) for one in found["stacks"]] == [
        ("desk", ID, "prod"),
        ("shop", ID, "prod"),
    ]
    assert [one["stack"] for one in run(stack="shop")["stacks"]] == ["shop"]
    assert run(stack="none")["stacks"] == []
    assert sorted(tmp_path.rglob("*")) == before


PROBLEMS: list[t.Any] = [
    pytest.param(json.dumps({"schema": 99}), "journal_newer", "schema 99", id="newer"),
    pytest.param("torn", "journal_lost", "cannot be read", id="torn"),
]


@pytest.mark.parametrize(("content", "reason", "message"), PROBLEMS)
def test_a_journal_that_cannot_be_read_is_said_and_hides_no_other_stack(
    run: Run, tmp_path: Path, content: str, reason: str, message: str
) -> None:
    Path(write(tmp_path, "desk").journal).write_text(content)
    write(tmp_path, "shop")
    desk, shop = run()["stacks"]
    assert (desk["problem"]["reason"], desk["release"], desk["phase"]) == (reason, None, None)
    assert message in desk["problem"]["message"]
    assert (shop["problem"], shop["release"]) == (None, ID)


def test_the_journal_before_counts_where_the_last_one_is_torn(run: Run, tmp_path: Path) -> None:
    places = write(tmp_path, "shop")
    save_journal(places, Journal("shop", "ab" * 32))
    Path(places.journal).write_text("torn")
    (shop,) = run()["stacks"]
    assert (shop["problem"], shop["release"]) == (None, ID)


def test_a_document_that_is_gone_or_torn_is_told(run: Run, tmp_path: Path) -> None:
    places = write(tmp_path, "shop")
    (Path(places.release(ID)) / "release.json").write_text("torn")
    (shop,) = run()["stacks"]
    assert (shop["release"], shop["environment"]) == (ID, None)


def test_an_engine_that_does_not_answer_is_said_and_the_journals_are_told(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    write(tmp_path, "shop")
    engine.down = True
    found = run()
    assert "does not answer" in found["engine"]
    assert (found["stacks"][0]["release"], found["stacks"][0]["services"]) == (ID, [])


def test_a_run_that_is_at_work_is_told(run: Run, tmp_path: Path) -> None:
    places = write(tmp_path, "shop")
    with lock(places, 1):
        assert run()["stacks"][0]["working"]
    assert not run()["stacks"][0]["working"]


def test_a_name_that_could_be_another_folder_is_refused(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "shop")
    assert run(stack="../x")["reason"] == "release_invalid"
