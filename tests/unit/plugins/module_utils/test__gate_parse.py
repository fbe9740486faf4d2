# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ContainerCheck,
    ExecCheck,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_parse import parse_services
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError


def web(**http: t.Any) -> dict[str, t.Any]:
    return {"web": {"gate": [{"http": {"port": 80, **http}}]}}


FULL = {
    "port": 8000,
    "path": "/embed",
    "scheme": "https",
    "method": "post",
    "headers": {"X-A": 1},
    "json": {"text": "señal"},
    "body": None,
    "body_file": None,
    "status": 201,
    "expect": "a == `1`",
    "max_latency": 2,
}


def test_a_check_is_read_whole() -> None:
    (service,) = parse_services({"api": {"lifecycle": "stateful", "gate": [{"http": FULL}]}})
    assert service == ServiceGate(
        "api",
        "stateful",
        (
            HttpCheck(
                port=8000,
                path="/embed",
                scheme="https",
                method="POST",
                headers=(("Content-Type", "application/json"), ("X-A", "1")),
                body='{"text":"señal"}'.encode(),
                status=201,
                expect="a == `1`",
                max_latency=2.0,
            ),
        ),
    )
    assert service.http[0].label == "https POST :8000/embed"


def test_what_is_left_out_or_null_has_a_default() -> None:
    empty = dict.fromkeys(FULL)
    assert parse_services({"api": {"gate": [{"http": {**empty, "port": 1, "path": "/"}}]}}) == (
        ServiceGate("api", "stateless", (HttpCheck(port=1),)),
    )
    assert parse_services({"api": {}}) == (ServiceGate("api"),)


def test_a_content_type_of_ones_own_stays() -> None:
    (service,) = parse_services(web(json=[], method="POST", headers={"content-type": "x/y"}))
    assert service.http[0].headers == (("content-type", "x/y"),)


def gate(*checks: t.Any, lifecycle: str = "stateless") -> dict[str, t.Any]:
    return {"web": {"lifecycle": lifecycle, "gate": list(checks)}}


NULLS = {"exit_code": None, "expect_output": None, "timeout": None, "max_latency": None}
KINDS: list[t.Any] = [
    pytest.param({"tcp": {"port": 5432}}, TcpCheck(5432), id="tcp"),
    pytest.param({"tcp": {"port": 5432, "max_latency": 0.5}}, TcpCheck(5432, 0.5), id="tcp with a limit"),
    pytest.param({"exec": {"command": ["true"]}}, ExecCheck(("true",)), id="exec"),
    pytest.param({"exec": {"command": ["true"], **NULLS}}, ExecCheck(("true",)), id="exec of a release document"),
    pytest.param(
        {"exec": {"command": ["a", ""], "exit_code": 3, "expect_output": "^x", "timeout": 5, "max_latency": 2}},
        ExecCheck(("a", ""), 3, "^x", 5.0, 2.0),
        id="exec with everything",
    ),
    pytest.param({"log": {"pattern": "x"}}, LogCheck("x"), id="log"),
    pytest.param({"log": {"pattern": "x", "absent": True}}, LogCheck("x", True), id="log without"),
]


@pytest.mark.parametrize(("data", "check"), KINDS)
def test_each_kind_is_read(data: dict[str, t.Any], check: Check) -> None:
    assert parse_services(gate(data)) == (ServiceGate("web", "stateless", (check,)),)


CONTAINERS: list[t.Any] = [
    pytest.param("stateless", {"health": "any", "restarts": 0}, ContainerCheck("running", "any", 0), id="running"),
    pytest.param("stateless", {"state": "exited", "exit_code": 3}, ContainerCheck("exited", exit_code=3), id="ended"),
    pytest.param("job", {"exit_code": 3}, ContainerCheck("exited", exit_code=3), id="job"),
    pytest.param("stateful", dict.fromkeys(("state", "health", "restarts", "exit_code")), ContainerCheck(), id="nulls"),
    pytest.param("job", {}, ContainerCheck("exited"), id="nothing said of a job"),
]


@pytest.mark.parametrize(("lifecycle", "data", "check"), CONTAINERS)
def test_how_a_container_must_be_is_read(lifecycle: str, data: dict[str, t.Any], check: ContainerCheck) -> None:
    (service,) = parse_services(gate({"container": data}, lifecycle=lifecycle))
    assert service == ServiceGate("web", lifecycle, (), check)


def test_a_job_may_have_something_to_say() -> None:
    (service,) = parse_services(gate({"log": {"pattern": "12 rows"}}, lifecycle="job"))
    assert service.checks == (LogCheck("12 rows"),)


WRONG = [
    pytest.param({"web": []}, "services.web: \\[\\] is not allowed", id="service"),
    pytest.param({"web": {"lifecycle": "x"}}, "lifecycle: 'x' .* stateless, stateful, job, ingress", id="lifecycle"),
    pytest.param({"web": {"gate": {}, "lifecycle": "job"}}, "", id="an empty gate is no gate"),
    pytest.param(
        {"web": {"lifecycle": "job", **web()["web"]}},
        "a job passes by ending .*'http GET :80/' would find nobody",
        id="job",
    ),
    pytest.param(
        gate({"container": {"state": "exited"}}, {"tcp": {"port": 1}}), "its container must have ended", id="ended"
    ),
    pytest.param(gate({"container": {"state": "running"}}, lifecycle="job"), "container.state: a job", id="job runs"),
    pytest.param(gate({"container": {"exit_code": 0}}), "container.exit_code: .* must run has none", id="exit code"),
    pytest.param(
        gate({"container": {"health": "any"}}, lifecycle="job"), "container.health: .* must have ended", id="health"
    ),
    pytest.param(gate({"container": {"state": "up"}}), "state: 'up' .* running, exited", id="state"),
    pytest.param(gate({"container": {"health": "good"}}), "health: 'good' .* healthy, any", id="health's word"),
    pytest.param(gate({"container": {"restarts": -1}}), "restarts: -1 .* from 0 to", id="restarts"),
    pytest.param(gate({"container": {}}, {"container": {}}), r"gate\[1\]: .* make them one", id="two containers"),
    pytest.param(gate({"tcp": {"host": 1}}), "tcp: 'host' .* keys among port, max_latency", id="key of a connection"),
    pytest.param(gate({"tcp": {}}), "tcp.port: None .* from 1 to 65535", id="no port"),
    pytest.param(gate({"exec": {"command": "true"}}), r"command: 'true' .* \[sh, -c, …\]", id="a command line"),
    pytest.param(gate({"exec": {"command": []}}), "a list of strings", id="no command"),
    pytest.param(gate({"exec": {"command": ["nc", 80]}}), "quote numbers", id="a number in a command"),
    pytest.param(gate({"exec": {"command": [""]}}), "a program", id="no program"),
    pytest.param(gate({"exec": {"command": ["a\0b"]}}), "null characters", id="null in a command"),
    pytest.param(gate({"exec": {"command": ["a"], "exit_code": 256}}), "from 0 to 255", id="exit code of a command"),
    pytest.param(
        gate({"exec": {"command": ["a"], "timeout": 1, "max_latency": 2}}), r"at most timeout \(1\)", id="too patient"
    ),
    pytest.param(gate({"exec": {"command": ["a"], "timeout": "2s"}}), "a number of seconds", id="timeout with a unit"),
    pytest.param(
        gate({"exec": {"command": ["a"], "expect_output": "("}}), r"expect_output: '\(' .* expression", id="output"
    ),
    pytest.param(gate({"log": {}}), "log.pattern: None .* a regular expression", id="no pattern"),
    pytest.param(gate({"log": {"pattern": ""}}), "log.pattern: '' .* a regular expression", id="empty pattern"),
    pytest.param(gate({"log": {"pattern": "a(b"}}), r"pattern: 'a\(b' .* \(missing \)", id="pattern"),
    pytest.param(gate({"log": {"pattern": "a", "absent": "no"}}), "absent: 'no' .* true or false", id="absent"),
    pytest.param(gate({"udp": {}}), r"gate\[0\]: .* one key, container, exec, http, log or tcp", id="kind of check"),
    pytest.param(gate({"tcp": {}, "log": {}}), r"gate\[0\]: .* one key", id="two kinds"),
    pytest.param(gate({"tcp": 80}), r"gate\[0\]: .* that holds the check's settings", id="no settings"),
    pytest.param(web(prot=1), "'prot' is not allowed; it must be keys among port, path", id="unknown key"),
    pytest.param(web(port=0), "http.port: 0 .* from 1 to 65535", id="port"),
    pytest.param(web(port=True), "http.port: True", id="port that is none"),
    pytest.param(web(path="health"), "http.path: 'health' .* begins with /", id="path"),
    pytest.param(web(path="/a b"), "write %20", id="path with a space"),
    pytest.param(web(path="/ñ"), "escape other than ASCII", id="path beyond ASCII"),
    pytest.param(web(scheme="ftp"), "one of http, https", id="scheme"),
    pytest.param(web(json=1, body="x"), "at most one of json, body", id="two bodies"),
    pytest.param(web(headers={"A": "b\r\nC: d"}), "headers.A: .* on one line", id="smuggled header"),
    pytest.param(web(body_file="../x"), "does not leave the folder", id="file outside"),
    pytest.param(web(body_file="/etc/passwd"), "does not leave the folder", id="absolute file"),
    pytest.param(web(expect="a ==="), "expect: 'a ===' .* JMESPath", id="expression"),
    pytest.param(web(max_latency="2s"), "a number of seconds above 0", id="latency with a unit"),
    pytest.param(web(max_latency=0), "a number of seconds above 0", id="latency of zero"),
    pytest.param(web(status=99), "from 100 to 599", id="status"),
]


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_what_is_wrong_is_named_with_place_value_and_what_is_allowed(data: dict[str, t.Any], message: str) -> None:
    if not message:
        assert parse_services(data) == (ServiceGate("web", "job"),)
        return
    with pytest.raises(ReleaseError, match=message) as caught:
        parse_services(data)
    assert caught.value.reason == "gate_invalid"
