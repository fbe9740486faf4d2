# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Stream, list_all_argv
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_exec import MARK
from ansible_collections.emorobcare.fleet.plugins.modules import health_gate
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker, Pipe, Said

Result = dict[str, t.Any]


def container(service: str, **state: t.Any) -> dict[str, t.Any]:
    return {
        "Id": f"id-{service}",
        "Name": f"/shop-{service}-1",
        "Image": "i",
        "State": {"Status": "running", **state},
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "HostConfig": {},
    }


class Transcript(NoDocker):
    """The conversation with Docker: each command that is expected, and its answer. Nothing happens meanwhile."""

    def __init__(self, *lines: tuple[str, Answer]) -> None:
        self.lines = list(lines)
        self.events = Pipe()

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        expected, answer = self.lines.pop(0)
        assert " ".join(argv) == expected
        return answer

    def stream(self, argv: t.Sequence[str]) -> Stream:
        if argv[1] == "events":
            return self.events
        # What is asked side by side comes in any order.
        words = " ".join(word for word in argv if not word.startswith(MARK))
        line = next(line for line in self.lines if line[0] == words)
        self.lines.remove(line)
        return Said(line[1].stdout.encode(), line[1].code)


LIST = (
    "docker container ls --quiet --all --no-trunc --filter label=com.docker.compose.oneoff=False "
    "--filter label=com.docker.compose.project=shop"
)
Run = t.Callable[..., Result]


@pytest.fixture(name="run")
def run_fixture(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module as Ansible would, over a transcript that must be used up; return its JSON."""

    def run(*lines: tuple[str, Answer], **args: t.Any) -> Result:
        transcript = Transcript(*lines)
        monkeypatch.setattr(health_gate, "default_cli", lambda: transcript)
        with patch_module_args(args if "projects" in args else {"project": "shop", **args}), pytest.raises(SystemExit):
            health_gate.main()
        assert not transcript.lines
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def inspect(*containers: dict[str, t.Any]) -> tuple[str, Answer]:
    ids = " ".join(item["Id"] for item in containers)
    return f"docker container inspect -- {ids}", Answer(0, json.dumps(containers), "")


def listed(*containers: dict[str, t.Any]) -> tuple[tuple[str, Answer], tuple[str, Answer]]:
    return (LIST, Answer(0, "\n".join(item["Id"] for item in containers), "")), inspect(*containers)


def test_the_gate_passes_when_every_round_in_a_row_did(run: Run) -> None:
    web, load = container("web", Health={"Status": "healthy"}), container("load", Status="exited")
    result = run(
        *listed(web, load),
        inspect(web, load),
        services={"web": {}, "load": {"lifecycle": "job"}},
        success_threshold=2,
        interval=0,
    )
    assert not result["changed"]
    assert [(row["service"], row["check"], row["ok"], row["attempts"]) for row in result["checks"]] == [
        ("load", "container", True, 2),
        ("web", "container", True, 2),
    ]


def test_a_dead_container_fails_at_once_with_its_log(run: Run) -> None:
    web = container("web", Status="exited", ExitCode=3)
    logs = ("docker container logs --tail 20 -- id-web", Answer(0, "starting\n", "no database\n"))
    result = run(*listed(web), logs, services={"web": {}})
    assert (result["failed"], result["reason"]) == (True, "gate_failed")
    assert (result["service"], result["check"]) == ("web", "container")
    assert result["log"] == ["starting", "no database"]
    assert result["msg"].startswith("service web, container: ended with exit code 3 and is not restarted")
    assert result["msg"].endswith("\n  starting\n  no database")
    assert result["checks"][0]["failures"] == 1


def test_commands_and_logs_of_containers_are_asked_for(run: Run) -> None:
    web = container("web", StartedAt="2026-11-21T10:00:00Z")
    gate = [{"exec": {"command": ["check", "--all"]}}, {"log": {"pattern": "^ready"}}]
    log = ("docker container logs -- id-web", Answer(0, "starting\nready in 3 s\n", ""))
    command = ("docker container exec --env -- id-web check --all", Answer(0, "all well\n", ""))
    result = run(*listed(web), log, command, services={"web": {"gate": gate}}, success_threshold=1)
    assert [(row["check"], row["answer"], row["attempts"]) for row in result["checks"]] == [
        ("container", "running", 1),
        ("exec check --all", "exit code 0: all well", 1),
        ("log with ^ready", "found: ready in 3 s", 1),
    ]
    assert result["checks"][1]["latency"] == result["checks"][1]["slowest"] == result["checks"][1]["median"]
    assert result["checks"][2]["median"] is None
    assert result["rounds"] == 1


def test_a_forbidden_line_fails_at_once_with_the_end_of_the_log(run: Run) -> None:
    web = container("web", StartedAt="2026-11-21T10:00:00Z", FinishedAt="2026-11-21T09:00:00Z")
    tail = ("docker container logs --tail 20 -- id-web", Answer(0, "panic: no disk\n", ""))
    log = ("docker container logs --since 1795253400.000000 -- id-web", Answer(0, "panic: no disk\n", ""))
    result = run(*listed(web), log, tail, services={"web": {"gate": [{"log": {"pattern": "panic", "absent": True}}]}})
    assert (result["reason"], result["check"]) == ("gate_failed", "log without panic")
    assert result["msg"].startswith("service web, check 'log without panic': a line that must not appear: panic: no")


def test_an_out_of_memory_kill_is_named_with_the_limit(run: Run) -> None:
    web = container("web", Status="exited", ExitCode=137, OOMKilled=True)
    web["HostConfig"] = {"Memory": 64_000_000}
    logs = ("docker container logs --tail 20 -- id-web", Answer(0, "", ""))
    result = run(*listed(web), logs, services={"web": {}})
    assert "(killed: out of memory, limit 64 MB)" in result["answer"]


def test_several_projects_are_one_gate(run: Run) -> None:
    web, db = container("web"), container("db")
    listed = (" ".join(list_all_argv()), Answer(0, f"{web['Id']} shop-b\n{db['Id']} shop-d\nx other\n", ""))
    services: Result = {"web": {}, "db": {}}
    result = run(listed, inspect(web, db), services=services, projects=["shop-b", "shop-d"], success_threshold=1)
    assert [row["service"] for row in result["checks"]] == ["db", "web"]


def test_a_service_without_a_container_is_waited_for_until_the_time_is_over(run: Run) -> None:
    result = run((LIST, Answer(0, "", "")), services={"web": {}}, timeout=0)
    assert result["reason"] == "gate_timeout"
    assert "there is no container of this service" in result["msg"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param({"services": {"web": {"gate": [{"udp": {}}]}}}, "a dictionary with one key", id="unknown check"),
        pytest.param({"services": {}, "projects": []}, "at least one name", id="no project"),
        pytest.param({"services": {}, "projects": ["a", ""]}, "no empty one", id="empty project"),
        pytest.param({"services": {}, "success_threshold": 0}, "success_threshold must be at least 1", id="threshold"),
        pytest.param({"services": {}, "timeout": -1}, "timeout must be at least 0", id="time"),
        pytest.param(
            {"services": {"web": {"gate": [{"http": {"port": 1, "body_file": "x"}}]}}}, "needs files_root", id="body"
        ),
    ],
)
def test_a_wrong_task_is_refused_before_docker_is_asked(run: Run, args: dict[str, t.Any], message: str) -> None:
    result = run(**args)
    assert result["reason"] == "gate_invalid"
    assert message in result["msg"]


def test_a_body_outside_of_its_folder_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    gate = [{"http": {"port": 1, "method": "POST", "body_file": "link"}}]
    result = run(services={"web": {"gate": gate}}, files_root=str(tmp_path / "files"))
    assert "leads out" in result["msg"]


def test_check_mode_skips_the_gate(run: Run) -> None:
    result = run(services={"web": {}}, _ansible_check_mode=True)
    assert result["skipped"]
    assert not result["changed"]
