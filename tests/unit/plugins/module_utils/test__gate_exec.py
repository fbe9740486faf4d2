# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _gate_exec
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import DockerCli, Stream
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ExecCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_exec import MARK, kill_marked, run_command
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker, Said


class Local(DockerCli):
    """Runs what is meant for a container on this machine, with the settings that it would have there."""

    def __init__(self) -> None:
        super().__init__(os.environ)
        self.said: list[str] = []

    def stream(self, argv: t.Sequence[str]) -> Stream:
        self.said = list(argv)
        start = argv.index("--")
        return super().stream(["env", argv[argv.index("--env") + 1], *argv[start + 2 :]])


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_command_is_run_in_its_container_with_a_mark_and_no_shell() -> None:
    docker = Local()
    reply = run_command(docker, "c1", ExecCheck(("echo", "$HOME; x")), 60)
    assert (reply.status, reply.body, reply.error) == (0, b"$HOME; x\n", "")
    assert docker.said[:4] == ["docker", "container", "exec", "--env"]
    assert docker.said[4].startswith(f"{MARK}=")
    assert docker.said[5:] == ["--", "c1", "echo", "$HOME; x"]


def test_both_outputs_and_the_exit_code_come_back() -> None:
    code = "import os; os.write(1, b'out '); os.write(2, b'err'); os._exit(3)"
    reply = run_command(Local(), "c1", ExecCheck(python(code)), 60)
    assert (reply.status, reply.body) == (3, b"out err")


def test_of_a_long_output_the_beginning_is_kept() -> None:
    reply = run_command(Local(), "c1", ExecCheck(python("print('ab' * 500_000)")), 60)
    assert reply.status == 0
    assert reply.body == b"ab" * 32 * 1024


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_hangs_is_killed_with_all_that_it_started() -> None:
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print('begun', child.pid, flush=True)\n"
        "child.wait()"
    )
    reply = run_command(Local(), "c1", ExecCheck(python(code), timeout=1.5), 60)
    assert reply.error.startswith("did not end within 1.5 s and was killed; it said: begun ")
    assert not reply.cut
    child = int(reply.error.split()[-1])
    while runs(child):  # it has been killed; that it is gone takes a moment
        pass


def test_a_command_that_never_falls_silent_is_killed_too() -> None:
    reply = run_command(Local(), "c1", ExecCheck(("yes",), timeout=2), 60)  # a busy machine needs a while to start it
    assert reply.error.startswith("did not end within 2 s and was killed; it said: y y y")


def test_a_command_that_the_end_of_the_gate_cut_off_is_told_apart() -> None:
    reply = run_command(Local(), "c1", ExecCheck(("sleep", "600")), 0.2)
    assert reply.cut
    assert "did not end within 0.2 s and was killed" in reply.error


def test_what_cannot_be_found_is_said_to_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gate_exec, "kill_marked", lambda mark: 0)
    reply = run_command(Local(), "c1", ExecCheck(("sleep", "600"), timeout=0.2), 60)
    assert "was not found on this host to be killed: it may still run" in reply.error


def test_only_what_bears_the_mark_is_killed() -> None:
    with subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "1"}) as process:
        assert kill_marked(f"{MARK}=2") == 0
        assert process.poll() is None
        assert kill_marked(f"{MARK}=1") == 1
        assert process.wait() == -9


class Failing(NoDocker):
    """Fails to run anything."""

    def __init__(self, code: int, text: str) -> None:
        self._code, self._text = code, text

    def stream(self, argv: t.Sequence[str]) -> Stream:
        return Said(self._text.encode(), self._code)


# What Docker 28 says.
NEVER_RAN = [
    (1, "Error response from daemon: container c1 is not running\n"),
    (126, "OCI runtime exec failed: exec failed: unable to start container process: permission denied: unknown\n"),
    (127, 'OCI runtime exec failed: exec failed: exec: "x": executable file not found in $PATH: unknown\n'),
]


@pytest.mark.parametrize(("code", "text"), NEVER_RAN)
def test_a_command_that_never_ran_has_no_exit_code_even_if_that_one_is_wanted(code: int, text: str) -> None:
    reply = run_command(Failing(code, text), "c1", ExecCheck(("x",), exit_code=code), 60)
    assert reply.error == text.strip()


def test_an_engine_that_is_gone_is_no_answer_of_the_service() -> None:
    with pytest.raises(ReleaseError, match="systemctl start docker"):
        run_command(Failing(1, "Cannot connect to the Docker daemon at unix:///x."), "c1", ExecCheck(("x",)), 60)
