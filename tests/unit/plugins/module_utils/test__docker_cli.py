# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import (
    Answer,
    Compose,
    DockerCli,
    checked,
    compose_argv,
    events_argv,
    exec_argv,
    image_id_argv,
    inspect_argv,
    list_argv,
    logs_argv,
    logs_since_argv,
    must,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

GLOBAL = ["docker", "compose", "--ansi", "never", "--progress", "quiet", "--project-name", "shop"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (compose_argv("shop"), GLOBAL),
        (
            Compose("shop", "/r", "/s.env", ("/r/compose.yml", "/h.json")).argv("up", "--detach"),
            [
                *GLOBAL,
                *("--project-directory", "/r", "--env-file", "/s.env", "--file", "/r/compose.yml", "--file", "/h.json"),
                *("up", "--detach"),
            ],
        ),
        (inspect_argv(["a", "b"]), ["docker", "container", "inspect", "--", "a", "b"]),
        (image_id_argv("-x"), ["docker", "image", "inspect", "--format", "{{.Id}}", "--", "-x"]),
        (logs_argv("a", 20), ["docker", "container", "logs", "--tail", "20", "--", "a"]),
        (logs_since_argv("a", ""), ["docker", "container", "logs", "--", "a"]),
        (logs_since_argv("a", "1.5"), ["docker", "container", "logs", "--since", "1.5", "--", "a"]),
        (
            exec_argv("a", ["sh", "-c", "true"], ["A=b"]),
            ["docker", "container", "exec", "--env", "A=b", "--", "a", "sh", "-c", "true"],
        ),
        (
            events_argv(["shop"], ["die"], 1.5, 121.5),
            [
                *("docker", "events", "--since", "1.500000", "--until", "121.500000"),
                *("--filter", "label=com.docker.compose.project=shop"),
                *("--filter", "type=container", "--filter", "event=die", "--format", "{{json .}}"),
            ],
        ),
        (
            events_argv(["shop-blue", "shop-data"], [], 1, 2),
            [
                *("docker", "events", "--since", "1.000000", "--until", "2.000000"),
                *("--filter", "label=com.docker.compose.project"),
                *("--filter", "type=container", "--format", "{{json .}}"),
            ],
        ),
        (
            list_argv("volume", "shop"),
            ["docker", "volume", "ls", "--format", "{{.Name}}", "--filter", "label=com.docker.compose.project=shop"],
        ),
    ],
)
def test_what_docker_is_told(argv: list[str], expected: list[str]) -> None:
    assert argv == expected


def test_containers_of_one_off_commands_are_not_the_projects() -> None:
    assert "label=com.docker.compose.oneoff=False" in list_argv("container", "shop")


@pytest.mark.parametrize(
    ("stderr", "hint"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "systemctl start docker"),
        ("failed to connect to the docker API at unix:///x; check if the path is correct", "systemctl start docker"),
        ("docker: 'compose' is not a docker command.", "docker-compose"),
        ("unknown flag: --ansi", "docker-compose"),
    ],
)
def test_no_engine_and_no_compose_are_told_with_the_way_out(stderr: str, hint: str) -> None:
    with pytest.raises(ReleaseError, match=hint) as caught:
        checked(Answer(1, "", stderr))
    assert caught.value.reason == "docker_unavailable"


def test_other_failures_are_the_callers() -> None:
    failed = Answer(1, "", "no such thing\n")
    assert checked(failed) == failed
    with pytest.raises(ReleaseError, match="docker ps failed: no such thing"):
        must(failed, "docker ps")


def test_a_command_that_is_not_there_is_told_with_the_way_out() -> None:
    with pytest.raises(ReleaseError, match="install Docker") as caught:
        DockerCli({"PATH": "/nothing"}).ask(["no-such-docker"])
    assert caught.value.reason == "docker_unavailable"


def test_an_engine_that_hangs_is_not_waited_for_without_end() -> None:
    with pytest.raises(ReleaseError, match=r"gave no answer within 0.1 s; the Docker engine hangs") as caught:
        DockerCli(os.environ).ask([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.1)
    assert caught.value.reason == "docker_unavailable"


def test_children_see_dockers_settings_and_nothing_else_of_ours() -> None:
    cli = DockerCli({**os.environ, "DOCKER_HOST": "unix:///x", "COMPOSE_FILE": "y", "PORT": "1", "LC_ALL": "es"})
    printed = cli.ask([sys.executable, "-c", "import os; print(*sorted(os.environ.items()))"]).stdout
    assert "('DOCKER_HOST', 'unix:///x')" in printed
    assert "('LC_ALL', 'C')" in printed
    assert "COMPOSE_FILE" not in printed
    assert "PORT" not in printed


def test_children_keep_what_holds_the_lock() -> None:
    reader, writer = os.pipe()
    try:
        check = f"import os; os.fstat({writer}); print('open')"
        assert DockerCli(os.environ, [writer]).ask([sys.executable, "-c", check]).stdout == "open\n"
        assert DockerCli(os.environ).ask([sys.executable, "-c", check]).code == 1
        # What only looks does not act.
        stream = DockerCli(os.environ, [writer]).stream([sys.executable, "-c", check])
        assert b"Bad file descriptor" in b"".join(iter(stream.read, b""))
        assert stream.close() == 1
    finally:
        os.close(reader)
        os.close(writer)


def test_a_watched_command_ends_by_itself_when_nothing_is_wrong() -> None:
    code = "import sys; sys.stderr.write('said'); sys.exit(3)"
    assert DockerCli(os.environ).watch([sys.executable, "-c", code], 60, lambda: False, 0.01) == Answer(3, "", "said")


@pytest.mark.parametrize(("timeout", "glance"), [(60.0, True), (0.05, False)])
def test_a_watched_command_is_stopped_at_a_glance_or_when_its_time_is_over(timeout: float, glance: bool) -> None:
    code = "import time; time.sleep(600)"
    answer = DockerCli(os.environ).watch([sys.executable, "-c", code], timeout, lambda: glance, 0.01)
    assert answer.code == -1


def test_a_stream_is_read_piece_by_piece_to_its_end() -> None:
    code = "import os; os.write(1, b'out '); os.write(2, b'err'); os._exit(3)"
    stream = DockerCli(os.environ).stream([sys.executable, "-c", code])
    assert b"".join(iter(stream.read, b"")) == b"out err"
    assert stream.close() == 3


def test_a_stream_that_says_nothing_is_not_waited_for_and_ends_when_it_is_closed() -> None:
    stream = DockerCli(os.environ).stream([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(TimeoutError):
        stream.read(0.05)
    assert stream.close() == -9


def test_whoever_reads_a_stream_that_is_stopped_sees_its_end() -> None:
    stream = DockerCli(os.environ).stream([sys.executable, "-c", "import time; time.sleep(600)"])
    stream.stop()
    assert stream.read() == b""
    assert stream.close() == -9
