# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import os
import shlex
import typing as t
from types import SimpleNamespace

import pytest
from ansible import constants
from ansible.playbook.task import Task

from ansible_collections.emorobcare.fleet.plugins.action import model_pull
from ansible_collections.emorobcare.fleet.plugins.action.model_pull import ActionModule, RemoteFile, terminal_width
from ansible_collections.emorobcare.fleet.plugins.modules.model_pull import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._follower import Log, Screen, Source, Terminal
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import Watch

ARGUMENTS: dict[str, t.Any] = {"name": "asr", "version": "3", "files": []}
VARIABLES: dict[str, t.Any] = {"inventory_hostname": "robot-2", "ansible_play_batch": ["robot-1", "robot-2"]}
ANSWER: dict[str, t.Any] = {"changed": True, "action": "publish", "invocation": {}, "diff": {}}


class Connection:
    """Answers a look at a file as a host does that has it, or not, for its user and for the task's user."""

    def __init__(self, transport: str = "ssh", become: object = None, readable: t.Container[bool] = (True,)) -> None:
        self.transport = transport
        self.become = become
        self.socket_path = None
        self.readable = readable
        self._shell = SimpleNamespace(tmpdir="/tmp/x", quote=shlex.quote)


class Followed(t.NamedTuple):
    source: Source
    screen: Screen
    watch: Watch


class Run:
    """Runs the action against a host; keeps what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.asked: list[dict[str, t.Any]] = []
        self.followed: list[Followed] = []
        self.following = False
        self.verbosity = 0
        monkeypatch.setattr(model_pull, "COLUMNS", 80)
        monkeypatch.setattr(model_pull, "Follower", self._follower)
        self.stdout_callback("default")

    def stdout_callback(self, name: str) -> None:
        answers = {"DEFAULT_STDOUT_CALLBACK": name}
        self.monkeypatch.setattr(constants.config, "get_config_value", answers.__getitem__)

    def __call__(
        self,
        arguments: dict[str, t.Any] | None = None,
        variables: dict[str, t.Any] | None = None,
        connection: Connection | None = None,
        **task_options: t.Any,
    ) -> dict[str, t.Any]:
        task = Task()
        task.args = {**ARGUMENTS, **(arguments or {})}
        for name, value in {"action": "emorobcare.fleet.model_pull", "check_mode": False, **task_options}.items():
            setattr(task, name, value)
        given = copy.deepcopy(task.args)
        unused: t.Any = None
        templar: t.Any = SimpleNamespace(template=lambda value: value)
        action = ActionModule(task, t.cast("t.Any", connection or Connection()), unused, unused, templar, unused)
        self.monkeypatch.setattr(action, "_display", SimpleNamespace(verbosity=self.verbosity, vvv=pytest.fail))
        self.monkeypatch.setattr(action, "_execute_module", self._execute_module)
        result = action.run(task_vars={**VARIABLES, **(variables or {})})
        assert task.args == given
        return result

    def _execute_module(self, module_name: str, **how: t.Any) -> dict[str, t.Any]:
        assert module_name == "emorobcare.fleet.model_pull"
        assert self.following == bool(self.followed)
        self.asked.append(how)
        return dict(ANSWER)

    def _follower(self, source: Source, screen: Screen, watch: Watch, _complain: object) -> Run:
        self.followed.append(Followed(source, screen, watch))
        return self

    def __enter__(self) -> Run:
        self.following = True
        return self

    def __exit__(self, *_exc: object) -> None:
        self.following = False


@pytest.fixture(name="run")
def run_fixture(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


def test_the_module_gets_the_tasks_arguments_and_its_result_passes_as_it_is(run: Run) -> None:
    assert run({"retries": 2}) == ANSWER
    [asked] = run.asked
    path = asked["module_args"].pop("progress_path")
    assert asked["module_args"] == {**ARGUMENTS, "retries": 2}
    assert asked["task_vars"] == VARIABLES
    assert os.path.dirname(path) == "/var/lib/fleet/store/progress"
    assert not run.following


def test_each_run_has_its_own_file(run: Run) -> None:
    run()
    run()
    assert len({asked["module_args"]["progress_path"] for asked in run.asked}) == 2


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"root": "/srv/models"}, "/srv/models/store/progress"),
        ({"root": None}, "/var/lib/fleet/store/progress"),
        ({"progress_path": "/run/mine/progress.json"}, "/run/mine"),
    ],
)
def test_progress_is_noted_where_only_the_modules_user_writes(
    run: Run, arguments: dict[str, t.Any], place: str
) -> None:
    run(arguments)
    assert os.path.dirname(run.asked[0]["module_args"]["progress_path"]) == place


def test_the_root_is_the_modules() -> None:
    assert ARGUMENT_SPEC["root"]["default"] == model_pull.ROOT


SILENT: list[t.Any] = [
    pytest.param({}, {}, {"check_mode": True}, id="check mode"),
    pytest.param({}, {}, {"async_val": 60}, id="asynchronous"),
    pytest.param({}, {}, {"no_log": True}, id="no_log"),
    pytest.param({"state": "absent"}, {}, {}, id="nothing is fetched"),
    pytest.param({"root": "~/models"}, {}, {}, id="a home that only the host knows"),
    pytest.param({"root": "$HOME/models"}, {}, {}, id="a variable that only the host knows"),
    pytest.param({"root": "models"}, {}, {}, id="a folder relative to what the host knows"),
    pytest.param({}, {"model_pull_progress": False}, {}, id="switched off"),
    pytest.param({}, {"model_pull_progress": "no"}, {}, id="switched off on the command line"),
    pytest.param({}, {}, {"connection": Connection("winrm")}, id="another connection"),
]


@pytest.mark.parametrize(("arguments", "variables", "how"), SILENT)
def test_nothing_is_shown_where_it_cannot_or_must_not_be(
    run: Run, arguments: dict[str, t.Any], variables: dict[str, t.Any], how: dict[str, t.Any]
) -> None:
    assert run(arguments, variables, **how) == ANSWER
    [asked] = run.asked
    assert run.followed == []
    assert asked["module_args"] == {**ARGUMENTS, **arguments}
    assert asked["wrap_async"] is bool(how.get("async_val"))


@pytest.mark.parametrize(
    ("stdout_callback", "shown"),
    [
        ("default", True),
        ("ansible.builtin.default", True),
        ("ansible.posix.debug", True),
        ("community.general.unixy", True),
        ("json", False),
        ("ansible.posix.json", False),
        ("ansible.posix.jsonl", False),
        ("community.general.null", False),
        ("community.general.dense", False),
        ("ansible.builtin.oneline", False),
        ("awx_display", False),
        ("acme.edge.xml", False),
    ],
)
@pytest.mark.parametrize("verbosity", [0, 4])
def test_only_output_for_people_is_added_to(run: Run, stdout_callback: str, shown: bool, verbosity: int) -> None:
    run.stdout_callback(stdout_callback)
    run.verbosity = verbosity
    run()
    assert bool(run.followed) is shown


@pytest.mark.parametrize(
    ("columns", "verbosity", "screen"), [(80, 0, Terminal), (80, 2, Terminal), (80, 3, Log), (0, 0, Log)]
)
def test_a_line_is_updated_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, run: Run, columns: int, verbosity: int, screen: type[Screen]
) -> None:
    monkeypatch.setattr(model_pull, "COLUMNS", columns)
    run.verbosity = verbosity
    run()
    assert isinstance(run.followed[0].screen, screen)


@pytest.mark.parametrize(
    ("batch", "wait"),
    [
        pytest.param([], 1.0, id="no batch"),
        pytest.param(["robot-2"], 1.0, id="alone"),
        pytest.param(["robot-1", "robot-2"], 1.0, id="second of two"),
        pytest.param(["robot-2", "robot-1", "robot-3"], 3.0, id="first of three"),
        pytest.param([f"robot-{n}" for n in (9, 8, 7, 6, 5, 4, 3, 2)], 2.0, id="eighth of many"),
    ],
)
def test_the_hosts_of_a_batch_take_turns(run: Run, batch: list[str], wait: float) -> None:
    run(variables={"ansible_play_batch": batch})
    assert run.followed[0].screen.wait(30.0) == wait


@pytest.mark.parametrize(("delegate_to", "label"), [(None, "robot-2: asr/3"), ("depot-1", "robot-2 -> depot-1: asr/3")])
def test_the_line_names_host_and_model(run: Run, delegate_to: str | None, label: str) -> None:
    run(delegate_to=delegate_to)
    notes = '{"schema":1,"phase":"publish","total":0,"done":1,"resumed":0,"started":1,"updated":1}'
    assert run.followed[0].watch.line(notes, 0.0) == f"{label}:  publishing  1 B"


class Looks:
    """What RemoteFile asks of an action: commands, each with the time that it takes."""

    def __init__(self, connection: Connection, seconds: float = 0.0) -> None:
        self._connection = connection
        self.now, self.seconds = 0.0, seconds
        self.asked: list[tuple[str, bool]] = []

    def _low_level_execute_command(self, command: str, sudoable: bool) -> dict[str, t.Any]:
        # The looks of the copy that RemoteFile makes are noted here too: the list is shared.
        self.asked.append((command, sudoable))
        found = sudoable in self._connection.readable
        return {"rc": 0, "stdout": "notes"} if found else {"rc": 1, "stdout": "no such file"}


def test_a_file_is_read_without_disturbing_the_tasks_connection() -> None:
    connection = Connection(become=SimpleNamespace(prompt="task"), readable=[True])
    looks = Looks(connection)
    file = RemoteFile(t.cast("t.Any", looks), "/srv/my models/p.json")
    other = t.cast("t.Any", file)._action._connection
    assert (other is connection, other.become is connection.become) == (False, False)
    assert (looks._connection, other.become.prompt) == (connection, "task")
    assert file.read() == "notes"
    assert looks.asked[0][0] == "cat '/srv/my models/p.json'"


@pytest.mark.parametrize(
    ("become", "readable", "ways", "text", "pause"),
    [
        pytest.param(None, [False], [False, False], "notes", 0, id="no other user"),
        pytest.param(None, [], [False, False], "", 0, id="not there"),
        pytest.param("root", [False, True], [False, False], "notes", 0, id="all may read"),
        pytest.param("root", [True], [False, True, True], "notes", 5, id="only the other user may"),
        pytest.param("root", [], [False, True, False, True], "", 5, id="not there for the other user"),
    ],
)
def test_the_other_user_is_asked_only_where_it_must_be_and_seldom(
    become: str | None, readable: list[bool], ways: list[bool], text: str, pause: float
) -> None:
    looks = Looks(Connection(become=become, readable=readable))
    file = RemoteFile(t.cast("t.Any", looks), "/p", clock=lambda: 0.0)
    assert [file.read(), file.read()] == [text, text]
    assert [way for _command, way in looks.asked] == ways
    assert file.pause == pause


def test_a_slow_link_is_left_to_the_model() -> None:
    clock = iter([0.0, 0.5])
    file = RemoteFile(t.cast("t.Any", Looks(Connection(readable=[False]))), "/p", clock=lambda: next(clock))
    file.read()
    assert file.pause == 10.0


@pytest.mark.parametrize(
    ("term", "size", "width"), [("xterm", 120, 120), ("xterm", 0, 80), ("dumb", 120, 0), ("xterm", None, 0)]
)
def test_a_terminal_that_can_update_a_line_is_known_by_its_width(
    monkeypatch: pytest.MonkeyPatch, term: str, size: int | None, width: int
) -> None:
    def get_terminal_size(_descriptor: int) -> os.terminal_size:
        if size is None:
            raise OSError("not a terminal")
        return os.terminal_size((size, 24))

    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(os, "get_terminal_size", get_terminal_size)
    assert terminal_width() == width
