# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    Check,
    ContainerCheck,
    ExecCheck,
    HttpCheck,
    LogCheck,
    ServiceGate,
    TcpCheck,
    body_files,
    evaluate,
    require_library,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_parse import parse_services
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError


def web(**http: object) -> dict[str, object]:
    return {"web": {"gate": [{"http": {"port": 80, **http}}]}}


@pytest.mark.parametrize(
    ("check", "label"),
    [
        (HttpCheck(8000, "/a", "https", "POST"), "https POST :8000/a"),
        (TcpCheck(5432), "tcp :5432"),
        (ExecCheck(("psql", "-c", "SELECT 1")), "exec psql -c 'SELECT 1'"),
        (LogCheck("ready$"), "log with ready$"),
        (LogCheck("panic", absent=True), "log without panic"),
    ],
)
def test_a_check_is_named_by_what_it_does(check: Check, label: str) -> None:
    assert check.label == label


def test_long_commands_are_shortened_and_checks_that_look_alike_are_numbered() -> None:
    long = ExecCheck(("python", "-c", "x" * 100))
    labels = [label for label, _check in ServiceGate("a", checks=(long, TcpCheck(1), long, TcpCheck(1, 2.0))).labelled]
    assert len(labels[0]) < 70
    assert labels[1:] == ["tcp :1", f"{labels[0]} (2)", "tcp :1 (2)"]


@pytest.mark.parametrize(
    ("service", "state"),
    [
        (ServiceGate("a"), "running"),
        (ServiceGate("a", "job"), "exited"),
        (ServiceGate("a", container_check=ContainerCheck("exited")), "exited"),
    ],
)
def test_a_container_must_be_as_its_check_says_or_else_its_lifecycle(service: ServiceGate, state: str) -> None:
    assert service.container.state == state
    assert service.ends is (state == "exited")


def test_files_to_send_are_listed_once() -> None:
    services = parse_services({**web(body_file="gate/a"), "other": web(body_file="gate/a")["web"]})
    assert body_files(services) == ("gate/a",)


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    services = parse_services(web(expect="a"))
    require_library(services)
    monkeypatch.setitem(sys.modules, "jmespath", None)
    require_library(parse_services(web()))
    assert parse_services(web(expect="a")) == services
    with pytest.raises(ReleaseError, match=r"service web .* python3-jmespath") as caught:
        require_library(services)
    assert caught.value.reason == "library_missing"


def test_an_expression_that_does_not_fit_the_answer_is_an_error_of_its_own() -> None:
    assert evaluate("length(vector) == `2`", {"vector": [1, 2]}) is True
    with pytest.raises(ReleaseError, match="invalid type for value"):
        evaluate("length(vector)", {})
