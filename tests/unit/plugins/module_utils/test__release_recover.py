# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_recover
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, checked, not_installed
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_back import Back
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_files import Places, lock, save_journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal, Phase
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_prepare import Site
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_recover import Errand, main, recover_all
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

ID = "9f86d081884c7d65"
COMMIT = Commit(Identity(ID, "s1"), "2026-11-21T09:30:00Z", {}, {}, colour="green")


class Engine:
    """An engine that is up after some questions."""

    def __init__(self, silent: int = 0, there: bool = True) -> None:
        self.silent, self.there, self.asked = silent, there, 0

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        assert list(argv[:2]) == ["docker", "version"]
        self.asked += 1
        if not self.there:
            raise not_installed()
        if self.asked <= self.silent:
            return checked(Answer(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock"))
        return Answer(0, "28.0", "")


class Host:
    """A host with stacks, and what `recover` makes of them."""

    def __init__(self, root: Path) -> None:
        self.errand = Errand(str(root / "fleet"), str(root / "secrets"), patience=5, lock_timeout=0.1)
        self.engine = Engine()
        self.recovered: list[str] = []
        self.backs: dict[str, t.Any] = {}
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def places(self, stack: str) -> Places:
        return Places(self.errand.root, self.errand.secrets_root, stack)

    def write(self, stack: str, phase: Phase, committed: Commit | None = COMMIT) -> None:
        save_journal(self.places(stack), Journal(stack, "ab" * 32, phase, committed=committed))

    def recover(self, site: Site, journal: Journal, mask: Masker) -> tuple[Journal, Back]:
        self.recovered.append(journal.stack)
        back = self.backs.get(journal.stack, Back(ID, "The host is back"))
        if isinstance(back, Exception):
            raise back
        return (journal.settled() if back.settled else journal), back

    def run(self, **more: t.Any) -> bool:
        self.lines.clear()
        errand = replace(self.errand, **more)
        return recover_all(errand, lambda _fds: t.cast(t.Any, self.engine), self.lines.append, self.warnings.append)


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(_release_recover, "recover", host.recover)
    monkeypatch.setattr(_release_recover, "_POLL", 0.0)
    return host


GONE = ReleaseError("settings.env of release 9f86d081884c is gone", reason="release_gone")
STACKS: list[t.Any] = [
    pytest.param("idle", COMMIT, None, True, "at rest on release 9f86d081884c (green)", id="at rest"),
    pytest.param("idle", None, None, True, "at rest, with no release", id="taken off"),
    pytest.param("removing", None, None, True, "is being taken off", id="being taken off"),
    pytest.param(
        "gate", COMMIT, Back(ID, ""), True, "back on release 9f86d081884c (green); the run was cut off in step gate"
    ),
    pytest.param("retire", COMMIT, Back(ID, ""), True, "stays on release 9f86d081884c (green), and what that replaced"),
    pytest.param("data", None, Back(None, ""), True, "nothing was committed before", id="a first release"),
    pytest.param("gate", COMMIT, Back(None, "Going back failed too", False), False, "NOT brought back: Going back"),
    pytest.param("gate", COMMIT, GONE, False, "NOT brought back (release_gone): settings.env", id="something is gone"),
    pytest.param("gate", COMMIT, KeyError("x"), False, "NOT brought back: KeyError: 'x'", id="a bug"),
]


@pytest.mark.parametrize(("phase", "committed", "back", "at_rest", "said"), STACKS)
def test_a_line_tells_how_it_went_and_the_next_stack_has_its_turn(
    host: Host, phase: Phase, committed: Commit | None, back: t.Any, at_rest: bool, said: str
) -> None:
    host.write("desk", phase, committed)
    host.write("shop", "soak")
    host.backs["desk"] = back
    assert host.run() is at_rest
    assert len(host.lines) == 2
    assert host.lines[0].startswith(f"desk: {said}"), host.lines
    assert host.lines[1].startswith("shop: back on release 9f86d081884c (green); the run was cut off in step soak")
    assert host.recovered[-1] == "shop"


CHECKS: list[t.Any] = [
    pytest.param("idle", COMMIT, True, "at rest on release 9f86d081884c (green)"),
    pytest.param("gate", COMMIT, False, "was cut off in step gate; would go back to release 9f86d081884c (green)"),
    pytest.param("gate", None, False, "was cut off in step gate; its containers would be removed"),
    pytest.param("retire", COMMIT, False, "release 9f86d081884c (green) stays; what it replaced would be removed"),
]


@pytest.mark.parametrize(("phase", "committed", "at_rest", "said"), CHECKS)
def test_check_only_tells(host: Host, phase: Phase, committed: Commit | None, at_rest: bool, said: str) -> None:
    host.write("shop", phase, committed)
    before = {path: path.read_bytes() for path in Path(host.errand.root).rglob("*") if path.is_file()}
    assert host.run(check=True) is at_rest
    assert said in host.lines[0]
    assert {path: path.read_bytes() for path in Path(host.errand.root).rglob("*") if path.is_file()} == before
    assert (host.recovered, host.engine.asked) == ([], 0)


@pytest.mark.parametrize("check", [True, False])
def test_a_newer_journal_is_refused_and_named(host: Host, check: bool) -> None:
    host.write("shop", "gate")
    Path(host.places("shop").journal).write_text(json.dumps({"schema": 99}))
    assert not host.run(check=check)
    assert "(journal_newer)" in host.lines[0]
    assert host.places("shop").journal in host.lines[0]
    assert host.recovered == []


@pytest.mark.parametrize("check", [True, False])
def test_without_a_journal_that_can_be_read_nothing_is_done_and_that_is_said(host: Host, check: bool) -> None:
    host.write("shop", "gate")
    Path(host.places("shop").journal).write_text("torn")
    assert not host.run(check=check)
    assert "cannot be read, so it is not known what was committed" in host.lines[0]
    assert host.recovered == []


def test_a_run_that_is_at_work_is_left_alone(host: Host) -> None:
    host.write("shop", "gate")
    with lock(host.places("shop"), 1):
        assert not host.run()
        assert "NOT brought back (locked): another run is at work" in host.lines[0]
        assert not host.run(check=True)
        assert host.lines == ["shop: a run is at work"]
    assert host.run()


def test_the_engine_is_waited_for_and_only_where_there_is_something_to_do(host: Host) -> None:
    host.write("shop", "idle")
    assert host.run()
    assert host.engine.asked == 0
    host.write("shop", "gate")
    host.engine = Engine(silent=3)
    assert host.run()
    assert host.engine.asked == 4


def test_an_engine_that_does_not_come_is_named_and_one_that_is_not_there_is_not_waited_for(host: Host) -> None:
    host.write("shop", "gate")
    host.engine = Engine(silent=10**9)
    assert not host.run(patience=0.01)
    assert "(docker_unavailable): the Docker engine does not answer" in host.lines[0]
    host.engine = Engine(there=False)
    assert not host.run(patience=60)
    assert host.engine.asked == 1


def test_no_secret_is_shown_not_even_one_that_only_an_older_release_mounts(host: Host) -> None:
    host.write("shop", "gate")
    folder = Path(host.places("shop").mounted)
    folder.mkdir(parents=True)
    (folder / "key.1").write_text("old-hunter22")
    (folder.parent / "key").write_text("new-hunter22")
    host.backs["shop"] = ReleaseError("it logs new-hunter22 and old-hunter22\nand more", reason="gate_failed")
    assert not host.run()
    assert host.lines == ["shop: NOT brought back (gate_failed): it logs ******** and ******** and more"]


def test_the_command_ends_with_what_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = Host(tmp_path)
    words = [host.errand.root, host.errand.secrets_root]
    assert main([], *words) == 0
    host.write("shop", "idle")
    assert main([], *words) == 0
    host.write("shop", "gate")
    assert main(["--check"], *words) == 1
    assert main(["--check", "--root", str(tmp_path / "none")], *words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shop: at rest on release 9f86d081884c (green)",
        "shop: a run was cut off in step gate; would go back to release 9f86d081884c (green)",
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["--no-such-option"], *words)
