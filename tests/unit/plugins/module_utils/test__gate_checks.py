# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import (
    HttpCheck,
    ServiceGate,
    body_files,
    evaluate,
    parse_services,
    require_library,
)
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


def test_files_to_send_are_listed_once() -> None:
    services = parse_services({**web(body_file="gate/a"), "other": web(body_file="gate/a")["web"]})
    assert body_files(services) == ("gate/a",)


WRONG = [
    pytest.param({"web": []}, "services.web: \\[\\] is not allowed", id="service"),
    pytest.param({"web": {"lifecycle": "x"}}, "lifecycle: 'x' .* stateless, stateful, job, ingress", id="lifecycle"),
    pytest.param({"web": {"gate": {}, "lifecycle": "job"}}, "", id="an empty gate is no gate"),
    pytest.param({"web": {"lifecycle": "job", **web()["web"]}}, "a job passes by ending", id="job with a gate"),
    pytest.param({"web": {"gate": [{"tcp": {}}]}}, r"gate\[0\]: .* the one key http", id="kind of check"),
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
