# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import resource
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _docker_engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import (
    Answer,
    Engine,
    Launch,
    began,
    last_words,
    read_launch,
    read_properties,
    reloaded,
    run_command,
    running_pid,
    start_anew,
    start_argv,
    unit_arguments,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

UNIT = """LoadState=loaded
MainPID=42
ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS --label=${NAME} ; pid=42 ; }
Environment=NAME=robot "OTHER=a b"
EnvironmentFiles=/etc/default/docker (ignore_errors=yes)
"""


class Says:
    """Answers each command by its beginning, and remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self._answers, self.asked = answers, list[str]()

    def __call__(
        self,
        argv: t.Sequence[str],
        content: str = "",
        patience: float = 0,
        environment: t.Mapping[str, str] | None = None,
    ) -> Answer:
        self.asked.append(" ".join(argv))
        return self._answers.get(argv[0], Answer(0))


def test_a_units_arguments_have_their_variables_replaced_as_systemd_does_it() -> None:
    files = {"/etc/default/docker": '# no option\nDOCKER_OPTS="--debug --mtu 1400"\nBAD="x\n'}
    assert unit_arguments(read_properties(UNIT), files.__getitem__) == (
        *("-H", "fd://", "--debug", "--mtu", "1400"),
        "--label=robot",
    )


def test_a_unit_without_a_command_has_no_arguments() -> None:
    assert unit_arguments(read_properties("LoadState=not-found\n"), lambda path: "") == ()


def test_a_command_that_is_not_there_or_hangs_answers_as_a_shell_would() -> None:
    assert run_command(["no-such-command"]).code == 127
    assert run_command(["sleep", "60"], patience=0.01).code == 124


def test_a_command_sees_no_setting_that_leads_to_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    printed = run_command(["env"], environment={"MORE": "1"}).stdout.split()
    assert {line.partition("=")[0] for line in printed} == {"PATH", "LC_ALL", "DOCKER_CONTEXT", "MORE"}
    assert "DOCKER_CONTEXT=default" in printed
    assert run_command(["cat"], "given").stdout == "given"


def test_a_process_file_counts_only_if_it_names_an_engine(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    assert running_pid(str(file)) == 0
    for text in (str(os.getpid()), "", "x", "999999999"):
        file.write_text(text)
        assert running_pid(str(file)) == 0


def test_two_starts_of_a_process_are_told_apart() -> None:
    assert began(os.getpid()).isdigit()
    assert began(0) == began(999999999) == ""
    assert Engine(7, "1").identity != Engine(7, "2").identity
    assert Engine().identity == ""


def test_an_engine_is_started_with_what_it_had_and_that_survives_a_note() -> None:
    launch = Launch("/usr/sbin/dockerd", ("--debug",), {"HTTP_PROXY": "x"}, (1024, 4096), "/var/log/x", "/run/x.pid")
    assert Launch.from_json(json.loads(json.dumps(launch.as_json()))) == launch
    argv = start_argv(launch)
    assert argv[-2:] == ["--", "--debug"]
    assert "x" not in argv, "a setting is in the process list"


def test_a_running_process_tells_how_to_start_it_again() -> None:
    with subprocess.Popen(["sleep", "60"], env={"HTTP_PROXY": "x"}) as process:
        launch = read_launch(Engine(process.pid, "1", "", ("--debug",)))
        process.kill()
    assert launch.arguments == ("--debug",)
    assert launch.environment == {"HTTP_PROXY": "x"}
    assert launch.files == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert launch.pid_file != _docker_engine.STARTED_PID


def test_only_the_event_of_a_reload_says_that_there_was_one() -> None:
    other, event = json.dumps({"Action": "prune"}), json.dumps({"Action": "reload"})
    assert reloaded(Says(docker=Answer(0, f"{other}\n{event}\n")), 0)
    assert not reloaded(Says(docker=Answer(0, f"{other}\nno json\n")), 0)
    assert not reloaded(Says(docker=Answer(1, event)), 0)


def test_of_a_log_what_tells_of_the_failure_is_told() -> None:
    log = 'level=info msg="Starting up"\nfailed to start daemon: unknown log opt\nlevel=info msg="bye"\n'
    said = last_words(Says(journalctl=Answer(0, log)), Engine(unit="docker.service"), None, 0)
    assert said == ("failed to start daemon: unknown log opt",)
    assert last_words(Says(tail=Answer(0, "bye\n")), Engine(), Launch("dockerd"), 0) == ("bye",)


def test_failed_starts_do_not_keep_systemd_from_starting_an_engine() -> None:
    run = Says()
    start_anew(run, Engine(1, "1", "docker.service"), None, 1)
    assert run.asked[:2] == ["systemctl reset-failed docker.service", "systemctl restart docker.service"]


def test_an_engine_that_does_not_start_is_told_with_the_end_of_its_log() -> None:
    run = Says(systemctl=Answer(1, "", "Job failed"), journalctl=Answer(0, "unable to configure: bogus\n"))
    with pytest.raises(HostError, match="did not start: unable to configure: bogus") as caught:
        start_anew(run, Engine(1, "1", "docker.service"), None, 1)
    assert caught.value.reason == "restart_failed"


def test_an_engine_that_never_answers_is_given_up() -> None:
    run = Says(docker=Answer(1, "", "Cannot connect"))
    with pytest.raises(HostError, match="no answer within 0 s"):
        start_anew(run, Engine(1, "1", "docker.service"), None, 0)
