# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_engine as engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container, look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import Answer, Compose, Stream, not_installed
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import Gate, ServiceGate
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_compose import Port
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import Masker

COMPOSE = Compose("shop", "/r", "/s.env", ("/r/compose.yml",))
GATE = Gate((ServiceGate("db"), ServiceGate("job", "job"), ServiceGate("web")), timeout=5.0)
NOTHING = engine.Before(())


def inspected(service: str, status: str = "running", **state: t.Any) -> dict[str, t.Any]:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
    return {
        "Id": f"id-{service}",
        "Name": f"/shop-{service}-1",
        "Image": "i",
        "RestartCount": state.pop("restarts", 0),
        "State": {"Status": status, **state},
        "Config": {"Labels": labels},
        "HostConfig": {"RestartPolicy": {"Name": state.pop("policy", "no")}},
    }


class Conversation:
    """Answers each command by what it begins with, and keeps what was said."""

    def __init__(self, **answers: t.Any) -> None:
        self.answers = answers
        self.said: list[str] = []

    def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
        words = " ".join(argv)
        self.said.append(words)
        for key, answer in self.answers.items():
            if key.replace("_", " ") in words:
                taken = answer.pop(0) if isinstance(answer, list) and len(answer) > 1 else answer
                taken = taken[0] if isinstance(taken, list) else taken
                return taken if isinstance(taken, Answer) else Answer(0, taken, "")
        raise AssertionError(f"nobody expected: {words}")

    def watch(self, argv: t.Sequence[str], timeout: float, glance: t.Callable[[], bool], every: float = 0.5) -> Answer:
        return Answer(-1, "", "") if glance() else self.ask(argv)

    def stream(self, argv: t.Sequence[str]) -> Stream:
        raise not_installed()  # a gate does without events


def failed(stderr: str) -> Answer:
    return Answer(1, "", stderr)


def come_up(*containers: dict[str, t.Any], up: t.Any, logs: str = "") -> ReleaseError:
    talk = Conversation(
        up=up, container_ls="ids", container_inspect=json.dumps(containers), container_logs=Answer(0, logs, "")
    )
    with pytest.raises(ReleaseError) as caught:
        engine.bring_up(talk, COMPOSE, GATE, NOTHING, Masker(["hunter2"]))
    return caught.value


def test_containers_are_brought_up_without_building_and_orphans_removed() -> None:
    talk = Conversation(up="", container_ls="")
    engine.bring_up(talk, COMPOSE, GATE, NOTHING, Masker())
    assert talk.said[-1].endswith("--file /r/compose.yml up --detach --no-build --remove-orphans")


# What Compose 2.26 says, and what is there then.
UP_FAILURES = [
    pytest.param(
        [inspected("db", Health={"Status": "unhealthy", "Log": [{"Output": "no disk"}]}), inspected("web", "created")],
        "dependency failed to start: container shop-db-1 is unhealthy",
        ("gate_failed", "db", "running but unhealthy; its health check said: no disk"),
        id="a dependency is unhealthy",
    ),
    pytest.param(
        [inspected("job", "exited", ExitCode=3), inspected("web", "created")],
        'service "job" didn\'t complete successfully: exit 3',
        ("gate_failed", "job", "ended with exit code 3 and is not restarted (restart policy: no)"),
        id="a job failed",
    ),
    pytest.param(
        [inspected("db", "exited", ExitCode=1), inspected("web", "created")],
        "dependency failed to start: container shop-db-1 exited (1)",
        ("gate_failed", "db", "ended with exit code 1 and is not restarted (restart policy: no)"),
        id="a dependency exited",
    ),
]


@pytest.mark.parametrize(("containers", "stderr", "expected"), UP_FAILURES)
def test_the_container_that_made_compose_give_up_is_named(
    containers: list[dict[str, t.Any]], stderr: str, expected: tuple[str, str, str]
) -> None:
    error = come_up(*containers, up=failed(stderr), logs="pw is hunter2\n")
    assert (error.reason, error.details["service"], error.details["answer"]) == expected
    assert error.details["log"] == ["pw is ********"]
    assert str(error) == f"service {expected[1]}, container: {expected[2]}"


def test_what_compose_says_is_passed_on_where_no_container_is_to_blame() -> None:
    stderr = "Error response from daemon: driver failed programming external connectivity for hunter2\n"
    error = come_up(inspected("web", "created"), up=failed(stderr))
    assert error.reason == "activation_failed"
    assert "driver failed programming external connectivity for ********" in str(error)


def test_a_new_container_that_died_for_good_ends_the_wait() -> None:
    error = come_up(inspected("web", "exited", ExitCode=9), up="")
    assert (error.reason, error.details["service"]) == ("gate_failed", "web")


def test_one_that_had_died_before_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    old = inspected("job", "exited", ExitCode=1, StartedAt="2026-11-21T00:00:00Z")
    talk = Conversation(up="", container_ls="ids", container_inspect=json.dumps([old]))
    before = engine.Before(look(talk, "shop"))
    engine.bring_up(talk, COMPOSE, GATE, before, Masker())
    assert talk.said[-1].endswith("--remove-orphans")


def test_compose_is_asked_again_when_a_dependency_crashed_once_and_is_being_restarted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_AGAIN", 0.0)
    crashed = inspected("db", "restarting", ExitCode=1, restarts=1, policy="always")
    refusal = failed("dependency failed to start: container shop-db-1 is unhealthy")
    talk = Conversation(up=[refusal, Answer(0, "", "")], container_ls="ids", container_inspect=json.dumps([crashed]))
    engine.bring_up(talk, COMPOSE, GATE, NOTHING, Masker())
    assert sum("up --detach" in words for words in talk.said) == 2


def test_wrong_compose_files_are_refused_with_composes_words() -> None:
    talk = Conversation(config=failed("services.web.ports must be a list\n"))
    with pytest.raises(ReleaseError, match=r"stack shop: services.web.ports must be a list") as caught:
        engine.resolved(talk, COMPOSE)
    assert caught.value.reason == "release_invalid"


def test_the_configuration_is_resolved_with_its_warnings() -> None:
    answer = Answer(0, json.dumps({"services": {"web": {"image": "a"}}}), 'level=warning msg="careful"\n')
    config, warnings = engine.resolved(Conversation(config=answer), COMPOSE)
    assert config == {"services": {"web": {"image": "a"}}}
    assert warnings == ["careful"]


def test_images_are_found_by_reference() -> None:
    class Images(Conversation):
        def ask(self, argv: t.Sequence[str], timeout: float | None = None) -> Answer:
            return Answer(0, "sha256:1\n", "") if argv[-1] == "a" else failed("No such image: b")

    assert engine.image_ids(Images(), ["b", "a", "a"]) == {"a": "sha256:1", "b": None}


def test_an_image_that_cannot_be_pulled_is_named_with_its_services_and_the_way_out() -> None:
    talk = Conversation(image_pull=failed('Error response from daemon: Get "https://r/v2/": no such host'))
    with pytest.raises(ReleaseError, match=r"image r/x:1 of service a, b .* no such host.*docker load") as caught:
        engine.pull(talk, "r/x:1", ["b", "a"])
    assert caught.value.reason == "image_unavailable"
    assert talk.said == ["docker image pull --quiet -- r/x:1"]


def test_ports_of_ones_own_containers_are_no_obstacle_and_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[int, str] = {80: "taken", 81: "taken", 82: "free", 83: "no_address"}
    monkeypatch.setattr(engine, "try_port", lambda _address, port, _protocol: states[port])
    monkeypatch.setattr(engine, "holder", lambda *_args: "process nginx (pid 7)")
    container = inspected("web")
    container["NetworkSettings"] = {"Ports": {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}]}}
    talk = Conversation(container_ls="id", container_inspect=json.dumps([container]))

    def refuse(project: str, *ports: Port) -> None:
        engine.refuse_taken_ports(talk, project, ports, {"HTTP_PORT": "81"})

    refuse("shop", Port("web", "", 80, "tcp"), Port("web", "", 82, "tcp"))
    refuse("shop")
    for project, port, reason, message in (
        ("other", Port("web", "", 80, "tcp"), "port_taken", "held by container shop-web-1. Stop that, or publish"),
        (
            "shop",
            Port("web", "", 81, "tcp"),
            "port_taken",
            r"process nginx \(pid 7\). Stop that, or set parameter HTTP_PORT",
        ),
        ("shop", Port("web", "10.1.1.1", 83, "tcp"), "address_missing", "this host has no address 10.1.1.1"),
    ):
        with pytest.raises(ReleaseError, match=message) as caught:
            refuse(project, port)
        assert (caught.value.reason, caught.value.details["service"]) == (reason, "web")


def test_a_project_is_taken_down_by_its_labels() -> None:
    talk = Conversation(down="")
    engine.take_down(talk, "shop", volumes=True)
    assert talk.said[0].endswith("--project-name shop down --remove-orphans --volumes")
    with pytest.raises(ReleaseError, match="down of shop failed: in use") as caught:
        engine.take_down(Conversation(down=failed("in use")), "shop")
    assert caught.value.reason == "removal_failed"


def test_nothing_is_removed_where_nothing_is_stale() -> None:
    talk = Conversation(rm="")
    engine.recreate_first(talk, COMPOSE, [])
    assert talk.said == []
    engine.recreate_first(talk, COMPOSE, {"b", "a"})
    assert talk.said[0].endswith("rm --stop --force a b")


def test_a_gate_that_fails_tells_check_answer_and_log() -> None:
    dead = inspected("web", "exited", ExitCode=2)
    others = [inspected("db"), inspected("job", "exited")]
    talk = Conversation(
        container_ls="ids",
        container_inspect=json.dumps([*others, dead]),
        container_logs=Answer(0, "", "boom hunter2\n"),
    )
    with pytest.raises(ReleaseError, match="service web, container: ended with exit code 2") as caught:
        engine.pass_gate(talk, ["shop"], GATE, {}, NOTHING, Masker(["hunter2"]))
    assert caught.value.reason == "gate_failed"
    assert caught.value.details["log"] == ["boom ********"]


def test_side_by_side_calls_keep_their_order_and_raise_the_first_error() -> None:
    assert engine.at_once(lambda: 1, lambda: 2) == [1, 2]

    def wrong() -> Container:
        raise ReleaseError("no", reason="docker_failed")

    with pytest.raises(ReleaseError, match="no"):
        engine.at_once(wrong)
