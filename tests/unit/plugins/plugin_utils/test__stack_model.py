# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import (
    make_models,
    make_stack,
    plain,
    plain_parameter,
    plain_rollout,
    plain_service,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import SCHEMA_FILE
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._units import seconds

DEFINITIONS = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["$defs"]
SMALLEST: dict[str, t.Any] = {"name": "x", "services": {"api": {"lifecycle": "job"}}}


def normalised(kind: str, **settings: t.Any) -> dict[str, t.Any]:
    gate = [{kind: settings}]
    stack = make_stack({"name": "x", "services": {"api": {"lifecycle": "stateless", "gate": gate}}})
    ((actual, plainly),) = plain(stack.services["api"].gate[0]).items()
    assert actual == kind
    return t.cast("dict[str, t.Any]", plainly)


def check(**settings: t.Any) -> dict[str, t.Any]:
    return normalised("http", **{"port": 80, "path": "/", **settings})


SMALLEST_CHECKS: dict[str, dict[str, t.Any]] = {
    "container": {"restarts": 0},
    "exec": {"command": ["true"]},
    "http": {"port": 80, "path": "/"},
    "log": {"pattern": "x"},
    "tcp": {"port": 80},
}


@pytest.mark.parametrize("kind", sorted(DEFINITIONS["check"]["properties"]))
def test_a_check_has_every_key_and_the_schemas_defaults(kind: str) -> None:
    properties, smallest = DEFINITIONS[kind]["properties"], SMALLEST_CHECKS[kind]
    given = normalised(kind, **smallest)
    assert set(given) == set(properties)
    for key, definition in properties.items():
        assert given[key] == smallest.get(key, definition.get("default")), key


def test_durations_of_each_kind_are_seconds() -> None:
    assert normalised("tcp", port=1, max_latency="500ms")["max_latency"] == 0.5
    command = normalised("exec", command=["true"], timeout="1m", max_latency="2s")
    assert (command["timeout"], command["max_latency"]) == (60.0, 2.0)


@pytest.mark.parametrize(
    ("key", "given", "normal"),
    [
        ("max_latency", "2s", 2.0),
        ("max_latency", 3, 3.0),
        ("body_file", "./gate//a.wav", "gate/a.wav"),
        ("json", {"text": "hola"}, {"text": "hola"}),
        ("json", False, False),
        ("body", "", ""),
        ("headers", {"A": "b"}, {"A": "b"}),
    ],
)
def test_a_check_is_normalised(key: str, given: t.Any, normal: t.Any) -> None:
    assert check(**{key: given})[key] == normal


def test_a_stack_has_defaults_for_all_that_it_leaves_out() -> None:
    stack = make_stack(SMALLEST)
    rollout = DEFINITIONS["rollout"]["properties"]
    assert stack.rollout.success_threshold == DEFINITIONS["threshold"]["default"]
    assert stack.rollout.gate_timeout == seconds(rollout["gate_timeout"]["default"])
    assert (stack.images, stack.models, stack.parameters, stack.secrets) == ((), (), {}, {})
    assert plain_service(stack.services["api"]) == {"lifecycle": "job", "url": None, "gate": []}
    assert plain_rollout(stack.rollout) == {"success_threshold": 3, "gate_timeout": 120.0}
    assert (stack.busy, stack.ingress) == (None, None)


def test_what_only_some_services_have_is_kept_where_it_is_said() -> None:
    services = {
        "load": {"lifecycle": "job", "timeout": "2m", "irreversible": True},
        "db": {"lifecycle": "stateful", "snapshot": ["dump", "/data"]},
    }
    stack = make_stack({"name": "x", "services": services})
    assert plain_service(stack.services["load"]) == {
        "lifecycle": "job",
        "url": None,
        "gate": [],
        "timeout": 120.0,
        "irreversible": True,
    }
    assert plain_service(stack.services["db"])["snapshot"] == ["dump", "/data"]


DOOR = {"http": 80, "routes": [{"path": "/", "service": "api", "port": 1}]}
ROLLOUT = {"soak": "1m", "environments": {"dev": {"strategy": "recreate", "soak": 2}, "prod": {"drain": "5s"}}}
SAID = {"success_threshold": 3, "gate_timeout": 120.0}


@pytest.mark.parametrize(
    ("environment", "ingress", "expected"),
    [
        pytest.param(None, True, {"strategy": "blue_green", "soak": 60.0}, id="no environment"),
        pytest.param("staging", True, {"strategy": "blue_green", "soak": 60.0}, id="one that says nothing"),
        pytest.param("dev", True, {"strategy": "recreate", "soak": 2.0}, id="one without sides"),
        pytest.param("prod", True, {"strategy": "blue_green", "soak": 60.0, "drain": 5.0}, id="one that adds"),
        pytest.param("prod", False, {"soak": 60.0, "drain": 5.0}, id="without an ingress nothing is said of sides"),
    ],
)
def test_an_environment_may_roll_out_in_its_own_way(
    environment: str | None, ingress: bool, expected: dict[str, t.Any]
) -> None:
    more = {"ingress": DOOR} if ingress else {}
    stack = make_stack({**SMALLEST, "rollout": ROLLOUT, **more}, environment)
    assert plain_rollout(stack.rollout) == SAID | expected
    assert (stack.ingress is not None) is (expected.get("strategy") == "blue_green")


def test_who_says_that_the_host_is_busy_is_asked_by_a_check_like_those_of_the_gate() -> None:
    stack = make_stack({**SMALLEST, "busy": {"service": "api", "http": {"port": 1, "path": "/free"}}})
    assert stack.busy is not None
    assert (stack.busy.service, plain(stack.busy.check)) == ("api", {"http": check(port=1, path="/free")})


NO_AUDIT: dict[str, t.Any] = {"max_layers": None, "rules": {}}


def test_an_image_is_normalised() -> None:
    image = {"context": "images/api", "max_size": "300MB", "args": {"A": 1, "B": "x"}}
    stack = make_stack({**SMALLEST, "images": {"web": {"context": "w", "dockerfile": "./D"}, "api": image}})
    assert plain(stack.images) == [
        {
            "service": "api",
            "context": "images/api",
            "dockerfile": "Dockerfile",
            "args": {"A": "1", "B": "x"},
            "max_size": 300_000_000,
            "audit": NO_AUDIT,
        },
        {"service": "web", "context": "w", "dockerfile": "D", "args": {}, "max_size": None, "audit": NO_AUDIT},
    ]


def test_an_image_s_audit_goes_before_the_stack_s() -> None:
    ours = {"level": "warn"}
    theirs = {"level": "ignore", "reason": "vendor", "until": "2027-06-30"}
    image = {"context": "api", "audit": {"rules": {"setuid": theirs}}}
    audit = {"max_layers": 9, "rules": {"setuid": ours, "layers": ours}}
    stack = make_stack({**SMALLEST, "audit": audit, "images": {"api": image}})
    assert plain(stack.images[0].audit) == {"max_layers": 9, "rules": {"setuid": theirs, "layers": ours}}


def test_the_order_in_which_models_and_their_files_are_written_does_not_matter() -> None:
    def model(name: str, *paths: str) -> dict[str, t.Any]:
        files = [{"path": path, "sha256": "0" * 64, "size": 1, "source": "https://x/y"} for path in paths]
        return {"name": name, "version": "1", "files": files}

    one = make_stack({**SMALLEST, "models": [model("a", "x", "y"), model("b", "z")]})
    other = make_stack({**SMALLEST, "models": [model("b", "z"), model("a", "y", "x")]})
    assert plain(one.models) == plain(other.models)


def test_a_file_of_a_model_is_normalised() -> None:
    def file(**more: t.Any) -> t.Any:
        data = {"path": "a", "sha256": "0" * 64, **more}
        return plain(make_models([{"name": "m", "version": "1", "files": [data]}]))[0]["files"][0]

    little = {"path": "a", "sha256": "0" * 64, "size": None, "sources": ["file:///a"], "required": True}
    assert file(source="file:///a") == file(sources=["file:///a"]) == little
    assert file(source="file:///a", sha256="sha256:" + "0" * 64) == little
    assert file(source="file:///a", required=False, size="90868376") == {**little, "required": False, "size": 90868376}
    assert file(source="file:///a", size="14GB")["size"] == "14GB"


def test_a_required_parameter_has_no_default_and_others_keep_a_false_one() -> None:
    stack = make_stack({**SMALLEST, "parameters": {"A": {"type": "str"}, "B": {"type": "bool", "default": False}}})
    assert plain_parameter(stack.parameters["A"]) == {"type": "str", "choices": [], "description": ""}
    assert plain_parameter(stack.parameters["B"]) == {
        "type": "bool",
        "default": False,
        "choices": [],
        "description": "",
    }
