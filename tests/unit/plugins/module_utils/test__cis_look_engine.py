# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts, StoredImage
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_look_engine import (
    container_commands,
    engine_process,
    look_at_engine,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, checked
from ansible_collections.emorobcare.fleet.tests.unit.plugins._docker import NoDocker
from ansible_collections.emorobcare.fleet.tests.unit.plugins._found import INFO, SWARM

BOOTED = 1_700_000_000
TICKS = os.sysconf("SC_CLK_TCK")
HERE, ELSEWHERE = "pid:[1]", "pid:[2]"


def good(value: t.Any) -> Answer:
    return Answer(0, json.dumps(value), "")


CONTAINER = {"Id": "c1", "Name": "/api", "Image": "sha256:aa", "State": {"Status": "running", "Pid": 50}}
ANSWERS: dict[str, Answer] = {
    "info": good(INFO),
    "network inspect bridge": good([{"Name": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}}]),
    "container ls": Answer(0, "c1\n", ""),
    "container inspect": good([CONTAINER]),
    "image ls": Answer(
        0,
        '{"ID":"sha256:aa","Repository":"shop/api","Tag":"1","Digest":"<none>"}\n'
        '{"ID":"sha256:bb","Repository":"<none>","Tag":"<none>","Digest":"<none>"}\n',
        "",
    ),
    "image inspect": good([{"Id": "sha256:aa", "RepoTags": ["shop/api:1"]}]),
    "image history": Answer(0, '"CMD [\\"api\\"]"\n"COPY . /"\n', ""),
}


class Engine(NoDocker):
    """Answers by the first words after `docker`."""

    def __init__(self, **changed: Answer) -> None:
        self.answers = {**ANSWERS, **{name.replace("_", " "): answer for name, answer in changed.items()}}
        self.asked: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        assert timeout is not None, "an engine that hangs would hold the audit up"
        assert timeout <= 15
        words = next((words for words in self.answers if words == " ".join(argv[1 : 1 + len(words.split())])), None)
        assert words, argv
        self.asked.append(words)
        return checked(self.answers[words])


def process(root: Path, number: int, argv: t.Sequence[str], space: str = HERE, began: int = 100) -> None:
    """A process in a /proc; `began` in seconds since the machine booted."""
    folder = root / "proc" / str(number)
    (folder / "ns").mkdir(parents=True)
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    fields = ["S", *["0"] * 18, str(began * TICKS), "0"]
    (folder / "stat").write_text(f"{number} (dock er) d) {' '.join(fields)}\n", encoding="utf-8")
    (folder / "ns" / "pid").symlink_to(space)


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    """A host whose engine was started 100 s after it booted, with another host's engine within it."""
    process(tmp_path, 7, ["/usr/sbin/dockerd", "--bridge=none"], ELSEWHERE)
    process(tmp_path, 42, ["/usr/sbin/dockerd", "-H", "fd://"])
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(HERE)
    (tmp_path / "proc/stat").write_text(f"cpu 1 2 3\nbtime {BOOTED}\n", encoding="utf-8")
    (tmp_path / "etc/docker").mkdir(parents=True)
    os.utime(tmp_path / "etc/docker", (BOOTED,) * 2)
    return tmp_path


def configure(root: Path, text: str, seconds: float = 0.0) -> None:
    """Write daemon.json; `seconds` after the engine's start."""
    path = root / "etc/docker/daemon.json"
    path.write_text(text, encoding="utf-8")
    os.utime(path, (BOOTED + 100 + seconds,) * 2)


def test_an_engine_is_asked_a_handful_of_questions(root: Path) -> None:
    configure(root, '{"userland-proxy": false}')
    engine = Engine()
    found = look_at_engine(engine, str(root))
    assert found == EngineFacts(
        info=INFO,
        bridge={"com.docker.network.bridge.enable_icc": "false"},
        options={"hosts": ["fd://"], "userland-proxy": False},
        containers=(CONTAINER,),
        used=(({"Id": "sha256:aa", "RepoTags": ["shop/api:1"]}, ('CMD ["api"]', "COPY . /")),),
        images=(StoredImage("sha256:aa", "shop/api"), StoredImage("sha256:bb")),
    )
    assert len(engine.asked) == 7


@pytest.mark.parametrize(
    "answer",
    [
        Answer(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?"),
        good({"ServerErrors": ["Cannot connect to the Docker daemon"], "ClientInfo": {}}),
        Answer(1, json.dumps({"ServerErrors": ["permission denied"]}), "errors pretty printing info"),
        Answer(0, "no JSON", ""),
        good([]),
    ],
)
def test_an_engine_that_does_not_answer_is_a_problem_and_its_options_are_still_known(
    root: Path, answer: Answer
) -> None:
    found = look_at_engine(Engine(info=answer), str(root))
    assert found.problem
    assert found.options == {"hosts": ["fd://"]}


BROKEN = Answer(1, "", "it broke")
STRANGE = [BROKEN, Answer(0, "{", ""), good({"strange": 1})]


@pytest.mark.parametrize(
    ("question", "problem", "answer"),
    [
        ("container_ls", "containers_problem", BROKEN),
        *(("container_inspect", "containers_problem", answer) for answer in STRANGE),
        *(("image_ls", "images_problem", answer) for answer in STRANGE),
        *(("image_inspect", "used_problem", answer) for answer in STRANGE),
        *(("image_history", "used_problem", answer) for answer in STRANGE),
        *(("network_inspect_bridge", "bridge_problem", answer) for answer in STRANGE),
    ],
)
def test_a_question_without_an_answer_is_a_problem_of_that_alone(
    root: Path, question: str, problem: str, answer: Answer
) -> None:
    found = look_at_engine(Engine(**{question: answer}), str(root))
    told = {name for name, value in vars(found).items() if name.endswith("problem") and value}
    assert told == {problem}


def test_a_container_that_went_away_meanwhile_is_left_out(root: Path) -> None:
    gone = Answer(1, json.dumps([CONTAINER]), "Error: No such container: c2\n")
    found = look_at_engine(Engine(container_ls=Answer(0, "c1\nc2\n", ""), container_inspect=gone), str(root))
    assert (found.containers, found.containers_problem) == ((CONTAINER,), "")


@pytest.mark.parametrize(
    ("answer", "volumes", "problem"),
    [
        (good([{"Name": "data", "Options": {"o": "bind", "device": "/"}}]), {"data": {"o": "bind", "device": "/"}}, ""),
        (good([{"Name": "data", "Options": None}]), {"data": {}}, ""),
        (Answer(1, "[]", "Error response from daemon: get data: no such volume"), {}, ""),
        (BROKEN, {}, "docker volume inspect"),
    ],
)
def test_volumes_that_are_mounted_are_asked_for_once(
    root: Path, answer: Answer, volumes: dict[str, t.Any], problem: str
) -> None:
    mounts = [{"Type": "volume", "Name": "data"}, {"Type": "volume", "Name": "data"}, {"Type": "bind", "Source": "/x"}]
    engine = Engine(container_inspect=good([{**CONTAINER, "Mounts": mounts}]), **{"volume_inspect_--_data": answer})
    found = look_at_engine(engine, str(root))
    assert found.volumes == volumes
    assert problem in found.volumes_problem
    assert bool(found.volumes_problem) is bool(problem)


def test_an_engine_without_a_default_network_is_no_problem(root: Path) -> None:
    answer = Answer(1, "[]", "Error response from daemon: network bridge not found")
    found = look_at_engine(Engine(network_inspect_bridge=answer), str(root))
    assert (found.bridge, found.bridge_problem) == (None, "")


def test_flags_count_beside_the_file_that_they_name(root: Path) -> None:
    process(root, 5, ["/usr/sbin/dockerd", "--config-file=/srv/d.json", "--icc=false"])
    (root / "srv").mkdir()
    (root / "srv/d.json").write_text('{"debug": true}', encoding="utf-8")
    found = look_at_engine(Engine(), str(root))
    assert found.options == {"config-file": "/srv/d.json", "icc": False, "debug": True}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"icc": false,}', "the engine's options: /etc/docker/daemon.json is no JSON: "),
        ("[]", "the engine's options: /etc/docker/daemon.json holds no JSON object"),
    ],
)
def test_a_daemon_json_that_cannot_be_read_leaves_the_options_unknown(root: Path, text: str, problem: str) -> None:
    configure(root, text)
    found = look_at_engine(Engine(), str(root))
    assert found.options == {}
    assert found.options_problem.startswith(problem)


def test_a_daemon_json_that_may_not_be_read_leaves_the_options_unknown(root: Path) -> None:
    (root / "etc/docker/daemon.json").mkdir()
    problem = look_at_engine(Engine(), str(root)).options_problem
    assert problem == "the engine's options: /etc/docker/daemon.json: Is a directory"


@pytest.mark.parametrize(("seconds", "pending"), [(-1000.0, False), (1.5, False), (3.0, True), (1e6, True)])
def test_a_daemon_json_that_is_newer_than_the_engine_may_not_have_been_read(
    root: Path, seconds: float, pending: bool
) -> None:
    configure(root, "{}", seconds)
    found = look_at_engine(Engine(), str(root))
    assert bool(found.pending) is pending
    assert ("after the engine's start; restart it" in found.pending) is pending


def test_a_daemon_json_that_was_removed_since_the_engines_start_may_still_count(root: Path) -> None:
    os.utime(root / "etc/docker", (BOOTED + 10,) * 2)
    assert look_at_engine(Engine(), str(root)).pending == ""
    os.utime(root / "etc/docker", (BOOTED + 1000,) * 2)
    assert "perhaps removed on " in look_at_engine(Engine(), str(root)).pending


def test_an_engine_whose_start_is_not_known_may_not_have_read_it(root: Path) -> None:
    configure(root, "{}")
    (root / "proc/42/stat").write_text("strange", encoding="utf-8")
    assert look_at_engine(Engine(), str(root)).pending.startswith("when the engine was started")


def test_the_engine_of_a_host_within_this_one_is_not_this_ones(root: Path) -> None:
    assert engine_process(str(root)) == (42, ["/usr/sbin/dockerd", "-H", "fd://"])
    (root / "run").mkdir()
    (root / "run/docker.pid").write_text("7\n", encoding="utf-8")
    assert (engine_process(str(root)) or (0,))[0] == 42


def test_the_process_that_the_engine_has_written_down_comes_first(root: Path) -> None:
    process(root, 41, ["dockerd", "--validate"])
    assert (engine_process(str(root)) or (0,))[0] == 41
    (root / "run").mkdir()
    (root / "run/docker.pid").write_text("42", encoding="utf-8")
    assert (engine_process(str(root)) or (0,))[0] == 42


def test_without_a_process_the_options_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    problem = look_at_engine(Engine(), str(tmp_path)).options_problem
    assert problem == "the engine's options: there is no process dockerd on this host"


def test_what_runs_in_a_container_is_all_of_its_process_namespace(root: Path) -> None:
    process(root, 50, ["/api"], "pid:[9]")
    process(root, 51, ["/usr/sbin/sshd", "-D"], "pid:[9]")
    process(root, 60, ["/host"])
    on_host = {"Id": "c2", "State": {"Pid": 60}}
    gone = {"Id": "c3", "State": {"Pid": 0}}
    found = container_commands(str(root), [CONTAINER, on_host, gone])
    assert found == {"c1": ("/api", "/usr/sbin/sshd -D")}, "of a container with the host's processes nobody can tell"


OVERLAY = {"Name": "ingress", "Options": {"encrypted": ""}}
SERVICE = {"Spec": {"Name": "api", "TaskTemplate": {"ContainerSpec": {"Env": ["A=1"]}}}}


def swarm(root: Path, info: t.Mapping[str, t.Any], **changed: Answer) -> EngineFacts:
    answers = {
        "info": good({**INFO, "Swarm": info}),
        "network_ls": Answer(0, "n1\n", ""),
        "network_inspect_--": good([OVERLAY]),
        "service_ls": Answer(0, "s1\n", ""),
        "service_inspect": good([SERVICE]),
        **changed,
    }
    return look_at_engine(Engine(**answers), str(root))


def test_a_manager_of_a_swarm_is_asked_for_networks_and_services(root: Path) -> None:
    state = root / "var/lib/docker/swarm/docker-state.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"ListenAddr": "10.0.0.2:2377"}', encoding="utf-8")
    found = swarm(root, SWARM).swarm
    assert found.state == {"ListenAddr": "10.0.0.2:2377"}
    assert found.networks == {"ingress": {"encrypted": ""}}
    assert found.environments == {"api": ("A=1",)}
    assert (found.state_problem, found.networks_problem, found.services_problem) == ("", "", "")


def test_what_a_swarm_does_not_tell_is_a_problem(root: Path) -> None:
    found = swarm(root, SWARM, network_ls=BROKEN, service_inspect=BROKEN).swarm
    assert "it broke" in found.networks_problem
    assert "it broke" in found.services_problem
    worker = swarm(root, {**SWARM, "ControlAvailable": False}).swarm
    assert worker.state_problem.endswith("docker-state.json is not there")
