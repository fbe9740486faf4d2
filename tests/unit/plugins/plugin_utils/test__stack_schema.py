# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from jsonschema import Draft202012Validator

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_relations import relation_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import SCHEMA_FILE, schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml

SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
REFERENCE = pathlib.Path(__file__).parents[4] / "docs" / "stack-file.md"

KINDS = "container, exec, http, log, tcp"
HTTP_KEYS = "body, body_file, expect, headers, json, max_latency, method, path, port, scheme, status"
DURATION = 'a number of seconds above 0, or a number with ms, s, m or h ("2s", "500ms", 120)'


def messages(text: str) -> list[str]:
    return [str(problem) for problem in schema_problems(parse_yaml("stack.yml", text.encode()))]


def gate(check: str) -> str:
    return f"name: x\nservices:\n  api:\n    lifecycle: stateless\n    gate:\n      - {check}\n"


def http(settings: str) -> str:
    return gate("http: {port: 1, path: /, " + settings + "}")


def stack(rest: str) -> str:
    return "name: x\nservices: {api: {lifecycle: job}}\n" + rest


def model_file(settings: str) -> str:
    return stack('models:\n  - name: m\n    version: "1"\n    files:\n      - {' + settings + "}\n")


GOOD_FILE = f'path: a, sha256: "{"0" * 64}", size: 0, source: "https://x/y"'

GOOD = [
    pytest.param(stack(""), id="smallest"),
    pytest.param(http("json: {a: [1]}, status: 404, max_latency: 0.5"), id="JSON body"),
    pytest.param(http("json: false"), id="a JSON body may be false"),
    pytest.param(gate("container: {state: running, health: healthy, restarts: 0}"), id="container"),
    pytest.param(gate("exec: {command: [sh, -c, ''], exit_code: 1, expect_output: ^x, timeout: 5s}"), id="command"),
    pytest.param(gate("log: {pattern: 'ready in [0-9]+ s', absent: false}"), id="log"),
    pytest.param(gate("tcp: {port: 5432, max_latency: 500ms}"), id="connection"),
    pytest.param(http('headers: {Content-Type: "audio/wav", X-Empty: ""}'), id="headers"),
    pytest.param(
        stack("images: {api: {context: ./images/api, dockerfile: docker/Dockerfile, max_size: 1}}"), id="image"
    ),
    pytest.param(stack("images: {api: {context: a..b/c}}"), id="dots in a name"),
    pytest.param(model_file(GOOD_FILE), id="model"),
    pytest.param(model_file(f'path: a, sha256: "sha256:{"0" * 64}", sources: ["file:///a"]'), id="model, little said"),
    pytest.param(model_file(GOOD_FILE.replace("size: 0", "size: 1.5 GiB, required: false")), id="model, rough size"),
    pytest.param(stack("models: []"), id="no models"),
    pytest.param(stack("models: models/all.json"), id="models in a file"),
    pytest.param(
        stack('models: {m: {url: "hf://a/b@c/d", checksum: "sha256:' + "0" * 64 + '"}}'), id="models, plainly"
    ),
    pytest.param(
        stack("parameters: {A: {type: bool, default: false}, B2_: {type: int, choices: [1, 2]}}"), id="parameters"
    ),
    pytest.param(stack("rollout: {success_threshold: 1, gate_timeout: 90}"), id="rollout"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_allowed_passes(text: str) -> None:
    assert messages(text) == []


FAULTS = [
    pytest.param(
        gate("http: {port: 1, path: /, prot: 2}"),
        f"stack.yml:6: services.api.gate[0].http.prot: unknown key 'prot'; did you mean 'port'? Allowed: {HTTP_KEYS}",
        id="unknown key with a near one",
    ),
    pytest.param(
        stack("backup: {}"),
        "stack.yml:3: backup: unknown key 'backup'. Allowed:"
        " audit, busy, hardening, images, ingress, models, name, parameters, rollout, secrets, services",
        id="unknown key at the top",
    ),
    pytest.param(
        stack("secrets: {key: {description: Not here, not there.}}"),
        "stack.yml:3: secrets.key.not there.: unknown key 'not there.'. Allowed: description;"
        " quote text that has a comma",
        id="comma in a description",
    ),
    pytest.param(
        gate("tpc: {port: 1}"),
        f"stack.yml:6: services.api.gate[0].tpc: unknown key 'tpc'; did you mean 'tcp'? Allowed: {KINDS}",
        id="kind of check",
    ),
    pytest.param(
        gate("{}"), f"stack.yml:6: services.api.gate[0]: must not be empty; allowed: {KINDS}", id="empty check"
    ),
    pytest.param(
        gate("{tcp: {port: 1}, log: {pattern: x}}"),
        "stack.yml:6: services.api.gate[0]: has 2 keys (tcp, log); allowed: one",
        id="two kinds in one check",
    ),
    pytest.param(
        gate("container: {}"),
        "stack.yml:6: services.api.gate[0].container: must not be empty; allowed: exit_code, health, restarts, state",
        id="nothing said of the container",
    ),
    pytest.param(
        gate("container: {state: runing}"),
        "stack.yml:6: services.api.gate[0].container.state: \"runing\" is not allowed; did you mean 'running'?"
        " Allowed: running, exited",
        id="state",
    ),
    pytest.param(
        gate("container: {restarts: -1}"),
        "stack.yml:6: services.api.gate[0].container.restarts: -1 is not allowed;"
        " allowed: a whole number from 0 to 1000000",
        id="restarts",
    ),
    pytest.param(
        gate("exec: {command: pg_isready -q}"),
        'stack.yml:6: services.api.gate[0].exec.command: "pg_isready -q" is a string; must be a list',
        id="a command line",
    ),
    pytest.param(
        gate("exec: {command: []}"),
        "stack.yml:6: services.api.gate[0].exec.command: must not be empty",
        id="no command",
    ),
    pytest.param(
        gate("exec: {command: [nc, 80]}"),
        "stack.yml:6: services.api.gate[0].exec.command[1]: 80 is a whole number; must be a string; quote it",
        id="a number in a command",
    ),
    pytest.param(
        gate("exec: {command: [a], exit_code: 256}"),
        "stack.yml:6: services.api.gate[0].exec.exit_code: 256 is not allowed; allowed: a whole number from 0 to 255",
        id="exit code",
    ),
    pytest.param(
        gate("exec: {command: [a], timeout: 2 s}"),
        f'stack.yml:6: services.api.gate[0].exec.timeout: "2 s" is not allowed; allowed: {DURATION}',
        id="timeout",
    ),
    pytest.param(
        gate("log: {absent: true}"),
        "stack.yml:6: services.api.gate[0].log: key 'pattern' is missing; needed: pattern",
        id="no pattern",
    ),
    pytest.param(
        gate('log: {pattern: ""}'),
        "stack.yml:6: services.api.gate[0].log.pattern: must not be empty",
        id="empty pattern",
    ),
    pytest.param(
        gate("tcp: {port: 1, host: db}"),
        "stack.yml:6: services.api.gate[0].tcp.host: unknown key 'host'. Allowed: max_latency, port",
        id="key of a connection",
    ),
    pytest.param(
        gate("http: {path: /}"),
        "stack.yml:6: services.api.gate[0].http: key 'port' is missing; needed: port, path",
        id="missing key",
    ),
    pytest.param("name: x\n", "stack.yml:1: key 'services' is missing; needed: name, services", id="no services"),
    pytest.param("name: x\nservices: {}\n", "stack.yml:2: services: must not be empty", id="empty services"),
    pytest.param("- x\n", 'stack.yml:1: ["x"] is a list; must be a mapping', id="a list"),
    pytest.param(
        "name: x\nservices:\n  api:\n",
        "stack.yml:3: services.api: is empty; must be a mapping",
        id="nothing after a key",
    ),
    pytest.param(
        stack("models: [{name: m, version: 1.0, files: [{" + GOOD_FILE + "}]}]"),
        "stack.yml:3: models[0].version: 1.0 is a number; must be a string; quote it",
        id="number for a string",
    ),
    pytest.param(
        http("status: '200'").replace("port: 1", "port: 8000"),
        'stack.yml:6: services.api.gate[0].http.status: "200" is a string; must be a whole number; remove the quotes',
        id="string for a number",
    ),
    pytest.param(
        http("status: true"),
        "stack.yml:6: services.api.gate[0].http.status: true is true or false; must be a whole number",
        id="boolean for a number",
    ),
    pytest.param(
        "name: x\nservices: {api: {lifecycle: statless}}\n",
        "stack.yml:2: services.api.lifecycle: \"statless\" is not allowed; did you mean 'stateless'?"
        " Allowed: stateless, stateful, job, ingress",
        id="misspelt choice",
    ),
    pytest.param(
        http("method: get"),
        'stack.yml:6: services.api.gate[0].http.method: "get" is not allowed.'
        " Allowed: GET, HEAD, POST, PUT, PATCH, DELETE",
        id="choice in lower case",
    ),
    pytest.param(
        http("max_latency: 2 s"),
        f'stack.yml:6: services.api.gate[0].http.max_latency: "2 s" is not allowed; allowed: {DURATION}',
        id="duration",
    ),
    pytest.param(
        stack("rollout: {gate_timeout: 0}"),
        f"stack.yml:3: rollout.gate_timeout: 0 is not allowed; allowed: {DURATION}",
        id="0",
    ),
    pytest.param(
        stack("rollout: {gate_timeout: 0.0s}"),
        f'stack.yml:3: rollout.gate_timeout: "0.0s" is not allowed; allowed: {DURATION}',
        id="0 with a unit",
    ),
    pytest.param(
        gate("http: {port: 65536, path: /}"),
        "stack.yml:6: services.api.gate[0].http.port: 65536 is not allowed; allowed: a whole number from 1 to 65535",
        id="port",
    ),
    pytest.param(
        http("body_file: a/../../b"),
        'stack.yml:6: services.api.gate[0].http.body_file: "a/../../b" is not allowed;'
        " allowed: a relative path without '..', such as gate/golden.wav",
        id="escape",
    ),
    pytest.param(
        stack("images: {api: {context: /srv}}"),
        "stack.yml:3: images.api.context: \"/srv\" is not allowed; allowed: a relative path without '..',"
        " such as gate/golden.wav",
        id="absolute path",
    ),
    pytest.param(
        "name: Emo_RobCare\nservices: {api: {lifecycle: job}}\n",
        'stack.yml:1: name: "Emo_RobCare" is not allowed;'
        " allowed: lower-case letters, digits and single dashes between them, at most 40",
        id="name",
    ),
    pytest.param(
        f"name: {'x' * 41}\nservices: {{api: {{lifecycle: job}}}}\n",
        f'stack.yml:1: name: "{"x" * 41}" has 41 characters; allowed: at most 40',
        id="long name",
    ),
    pytest.param(
        "name: |\n  x\nservices: {api: {lifecycle: job}}\n",
        'stack.yml:1: name: "x\\n" is not allowed; allowed: lower-case letters, digits and single dashes between them,'
        " at most 40",
        id="name with a newline",
    ),
    pytest.param(
        stack("parameters: {COMPOSE_FILE: {type: str}}"),
        'stack.yml:3: parameters.COMPOSE_FILE: "COMPOSE_FILE" is not a name of a parameter; allowed:'
        " upper-case letters, digits and underscores; not PATH, HOME, LC_ALL, FLEET_…, COMPOSE_…, DOCKER_…",
        id="reserved parameter",
    ),
    pytest.param(
        stack("images: {api: {context: a, args: {BASE_PYTHON: x}}}"),
        'stack.yml:3: images.api.args.BASE_PYTHON: "BASE_PYTHON" is not a name of a build argument; allowed: letters,'
        " digits and underscores, not beginning with BASE_ (the Dockerfile names its bases)",
        id="base as an argument",
    ),
    pytest.param(
        model_file(GOOD_FILE.replace("0" * 64, "A" * 64)),
        f'stack.yml:7: models[0].files[0].sha256: "{"A" * 58}… is not allowed; allowed: 64 lower-case hex digits,'
        " with or without 'sha256:' before them",
        id="digest",
    ),
    pytest.param(
        model_file(GOOD_FILE.replace("https", "ftp")),
        'stack.yml:7: models[0].files[0].source: "ftp://x/y" is not allowed; allowed: https://host/path, http://host/path,'
        " hf://organisation/repository@revision/path, oci://registry/repository@sha256:digest, depot:///folder!/name,"
        " file:///path, or pip://package==version!/path/in/wheel",
        id="source",
    ),
    pytest.param(
        model_file(GOOD_FILE.replace("size: 0", "size: 14 gigs")),
        'stack.yml:7: models[0].files[0].size: "14 gigs" is not allowed; allowed: a whole number of bytes, which is'
        " held to; or a rough figure with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)"
        ' (90868376, "14GB")',
        id="size of a model",
    ),
    pytest.param(
        stack("models: {m: {url: 'https://x/y', sha256: x}}"),
        [
            "stack.yml:3: models.m.sha256: unknown key 'sha256'. Allowed: checksum, path, required, size, url, urls,"
            " version",
            "stack.yml:3: models.m: key 'checksum' is missing; needed: checksum",
        ],
        id="key of the other form",
    ),
    pytest.param(
        stack("models: {m/n: {url: 'https://x/y', checksum: 'sha256:" + "0" * 64 + "'}}"),
        "stack.yml:3: models.m/n: \"m/n\" is not a name of a model; allowed: letters, digits, '.', '_' and '-',"
        " beginning with a letter or digit",
        id="name of a model",
    ),
    pytest.param(
        stack("models: {m: {url: 'https://x/y', checksum: '" + "0" * 64 + "'}}"),
        f"stack.yml:3: models.m.checksum: \"{'0' * 58}… is not allowed; allowed: 'sha256:' and 64 lower-case"
        " hex digits",
        id="checksum",
    ),
    pytest.param(
        stack("models: 7"),
        "stack.yml:3: models: 7 is a whole number; must be a list or a mapping or a string; quote it",
        id="models of another type",
    ),
    pytest.param(
        http("json: null"),
        "stack.yml:6: services.api.gate[0].http.json: is empty; must be a mapping or a list or a string or a number or"
        " true or false",
        id="null as a body",
    ),
    pytest.param(
        stack("parameters: {A: {type: str, choices: [a, a]}}"),
        'stack.yml:3: parameters.A.choices: ["a", "a"] has a value twice',
        id="choice twice",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_fault_is_told_with_line_place_value_and_what_is_allowed(text: str, message: str | list[str]) -> None:
    assert sorted(messages(text)) == ([message] if isinstance(message, str) else message)


def test_models_that_would_be_read_from_outside_the_stack_are_refused() -> None:
    for path in ("../models.json", "/srv/models.json", "a/../../b"):
        (message,) = messages(stack(f"models: {path}"))
        assert message.startswith(f'stack.yml:3: models: "{path}" is not allowed; allowed: ')


def test_all_faults_are_told_at_once() -> None:
    found = messages("name: X\nimges: {}\nservices:\n  api: {lifecycle: no}\n  db:\n")
    assert [message.split(": ")[:2] for message in sorted(found)] == [
        ["stack.yml:1", "name"],
        ["stack.yml:2", "imges"],
        ["stack.yml:4", "services.api.lifecycle"],
        ["stack.yml:5", "services.db"],
    ]


def nodes(schema: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Walk a schema, definitions and all."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_has_no_alternatives_whose_errors_could_not_name_one_cause() -> None:
    keywords = {"anyOf", "oneOf", "not", "if"}
    assert [node for node in nodes(SCHEMA) if keywords & set(node)] == []


def test_editors_can_explain_every_definition_and_every_mapping_refuses_unknown_keys() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert {"title", "description"} <= set(definition), name
    for node in nodes(SCHEMA):
        if node.get("type") == "object":
            assert "additionalProperties" in node


def test_the_reference_names_every_key() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    keys = {key for node in nodes(SCHEMA) if node.get("type") == "object" for key in node.get("properties", {})}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []


def test_the_example_of_the_reference_is_a_stack_file() -> None:
    example = re.search(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    document = parse_yaml("stack.yml", example[1].encode())
    assert schema_problems(document) == []
    assert relation_problems(document) == []
