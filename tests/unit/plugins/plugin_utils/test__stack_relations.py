# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_relations import relation_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml


def messages(text: str) -> list[str]:
    document = parse_yaml("stack.yml", text.encode())
    assert schema_problems(document) == []
    return [str(problem) for problem in relation_problems(document)]


def service(rest: str) -> str:
    return "name: x\nparameters: {PORT: {type: port}}\nservices:\n  api: {lifecycle: stateless, " + rest + "}\n"


def http(settings: str) -> str:
    return service("gate: [{http: {port: 1, path: /, " + settings + "}}]")


def gate(*checks: str, lifecycle: str = "stateless") -> str:
    return f"name: x\nservices:\n  api: {{lifecycle: {lifecycle}, gate: [{', '.join(checks)}]}}\n"


def two(rest: str) -> str:
    return f"name: x\nservices:\n  api: {{lifecycle: stateless}}\n  load: {{lifecycle: job}}\n{rest}\n"


def parameter(settings: str) -> str:
    return "name: x\nservices: {api: {lifecycle: job}}\nparameters: {P: {" + settings + "}}\n"


def model(*files: str) -> str:
    lines = "".join(
        f'      - {{path: {path}, sha256: "{n:064}", size: 1, source: "https://x/y"}}\n' for n, path in enumerate(files)
    )
    return (
        f'name: x\nservices: {{api: {{lifecycle: job}}}}\nmodels:\n  - name: m\n    version: "1"\n    files:\n{lines}'
    )


GOOD = [
    pytest.param(service("url: 'https://robot:${PORT}/'"), id="url with a parameter"),
    pytest.param(service("url: 'http://x/$$'"), id="url with a dollar sign"),
    pytest.param(http("method: POST, json: 1, expect: 'length(a) == `3`'"), id="body and expectation"),
    pytest.param(two("busy: {service: api, exec: {command: [free]}}\nrollout: {busy_timeout: 1s}"), id="busy"),
    pytest.param(http("method: DELETE, body_file: x"), id="body of a DELETE"),
    pytest.param(gate("{container: {health: any, restarts: 0}}", "{tcp: {port: 1}}"), id="container"),
    pytest.param(gate("{container: {exit_code: 3}}", "{log: {pattern: '12 rows'}}", lifecycle="job"), id="job"),
    pytest.param(gate("{exec: {command: [a], timeout: 2s, max_latency: 2000ms}}"), id="patience"),
    pytest.param(gate("{log: {pattern: a}}", "{log: {pattern: a, absent: true}}"), id="two of a kind"),
    pytest.param(parameter("type: port, default: 8080, choices: [80, 8080]"), id="default among the choices"),
    pytest.param(parameter("type: bool, default: false"), id="false as a default"),
    pytest.param(parameter("type: path, default: /dev/ttyUSB0"), id="path"),
    pytest.param(model("a/b", "a/c", "ab"), id="files side by side"),
    pytest.param("name: x\nservices: {api: {lifecycle: job}}\nmodels: models.json\n", id="models in a file"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_fits_together_passes(text: str) -> None:
    assert messages(text) == []


API = "stack.yml:4: services.api"
CHECK = f"{API}.gate[0].http"
GATE = "stack.yml:3: services.api.gate"
P = "stack.yml:3: parameters.P"

FAULTS = [
    pytest.param(
        http("method: POST, json: 1, body: x"), f"{CHECK}.body: give one body, not 2: json, body", id="two bodies"
    ),
    pytest.param(
        http("body: x"), f"{CHECK}.body: a GET request has no body; set method, to POST for one", id="GET with a body"
    ),
    pytest.param(
        http("method: HEAD, expect: a"),
        f"{CHECK}.expect: a HEAD request has no answer to look into; set method to GET",
        id="HEAD with an expectation",
    ),
    pytest.param(
        http("expect: 'a =='"),
        f'{CHECK}.expect: "a ==" is not JMESPath: Invalid jmespath expression: Incomplete expression',
        id="JMESPath",
    ),
    pytest.param(
        "name: x\nservices:\n  load: {lifecycle: job, gate: [{http: {port: 1, path: /}}]}\n",
        "stack.yml:3: services.load.gate[0].http: a job has ended when the gate looks, and passes by its exit code;"
        " allowed: container, log",
        id="request to a job",
    ),
    pytest.param(
        gate("{container: {state: running}}", lifecycle="job"),
        f"{GATE}[0].container.state: a job passes by ending; remove the key",
        id="job that runs",
    ),
    pytest.param(
        gate("{container: {health: any}}", lifecycle="job"),
        f"{GATE}[0].container.health: a job has ended when the gate looks, and has none; remove the key",
        id="health of a job",
    ),
    pytest.param(
        gate("{container: {state: exited}}"),
        f"{GATE}[0].container.state: a service whose container ends is a job; set lifecycle to job",
        id="service that ends",
    ),
    pytest.param(
        gate("{container: {exit_code: 0}}"),
        f"{GATE}[0].container.exit_code: a container that must run has none; remove the key, or set lifecycle to job",
        id="exit code of what runs",
    ),
    pytest.param(
        gate("{container: {restarts: 0}}", "{container: {restarts: 1}}"),
        f"{GATE}[1].container: there is one before it; make them one",
        id="container twice",
    ),
    pytest.param(
        gate("{exec: {command: ['']}}"), f"{GATE}[0].exec.command[0]: is empty; must be a program", id="no program"
    ),
    pytest.param(
        gate("{exec: {command: [a], timeout: 500ms, max_latency: 1}}"),
        f"{GATE}[0].exec.max_latency: 1 is not allowed; allowed: at most timeout (500ms), which ends the command",
        id="more patient than its timeout",
    ),
    pytest.param(
        gate("{exec: {command: [a], expect_output: '('}}"),
        f'{GATE}[0].exec.expect_output: "(" is not a regular expression:'
        " missing ), unterminated subpattern at position 0",
        id="expression for an output",
    ),
    pytest.param(
        gate("{log: {pattern: 'a**'}}"),
        f'{GATE}[0].log.pattern: "a**" is not a regular expression: multiple repeat at position 2',
        id="expression for a log",
    ),
    pytest.param(
        service("url: 'http://x:${PROT}'"),
        f"{API}.url: unknown parameter 'PROT'; did you mean 'PORT'? Parameters: PORT",
        id="unknown parameter in a url",
    ),
    pytest.param(
        service("url: 'http://x/$'"),
        f"{API}.url: 'http://x/$' has a dollar sign that begins no variable; write $$ for a dollar sign",
        id="dollar sign in a url",
    ),
    pytest.param(
        two("rollout: {strategy: blue_green}"),
        "stack.yml:5: rollout.strategy: sides need an ingress in front of them; add ingress, or use recreate",
        id="sides without an ingress",
    ),
    pytest.param(
        two("rollout: {environments: {prod: {strategy: blue_green}}}"),
        "stack.yml:5: rollout.environments.prod.strategy: sides need an ingress in front of them; add ingress, or use"
        " recreate",
        id="sides of an environment without an ingress",
    ),
    pytest.param(
        two("busy: {service: apo, http: {port: 1, path: /}}"),
        "stack.yml:5: busy.service: unknown service 'apo'; did you mean 'api'? Services: api, load",
        id="an unknown service is asked whether it is busy",
    ),
    pytest.param(
        two("busy: {service: load, http: {port: 1, path: /}}"),
        'stack.yml:5: busy.service: "load" is a job, which cannot be asked; name a service that stays',
        id="a job is asked whether it is busy",
    ),
    pytest.param(
        two("busy: {service: api, http: {port: 1, path: /, json: 1}}"),
        "stack.yml:5: busy.http.json: a GET request has no body; set method, to POST for one",
        id="a request of busy that cannot be sent",
    ),
    *(
        pytest.param(
            two(f"# {key}").replace("stateless", f"{lifecycle}, {key}: {value}"),
            f"stack.yml:3: services.api.{key}: only a service of lifecycle {wanted} has one; remove the key",
            id=f"{key} of another lifecycle",
        )
        for key, value, lifecycle, wanted in (
            ("timeout", "5", "stateless", "job"),
            ("irreversible", "true", "stateful", "job"),
            ("snapshot", "[dump]", "stateless", "stateful"),
        )
    ),
    pytest.param(
        "name: x\nservices: {api: {lifecycle: job}}\nimages: {app: {context: a}}\n",
        "stack.yml:3: images.app: unknown service 'app'; did you mean 'api'? Services: api",
        id="image of no service",
    ),
    pytest.param(
        parameter("type: int, default: '1'"), f'{P}.default: "1" is not of type int; must be a whole number', id="int"
    ),
    pytest.param(
        parameter("type: int, default: true"),
        f"{P}.default: true is not of type int; must be a whole number",
        id="bool for int",
    ),
    pytest.param(
        parameter("type: port, default: 0"),
        f"{P}.default: 0 is not of type port; must be a whole number from 1 to 65535",
        id="port",
    ),
    pytest.param(
        parameter("type: path, default: models"),
        f'{P}.default: "models" is not of type path; must be an absolute path',
        id="relative path",
    ),
    pytest.param(
        parameter("type: str, default: 5"),
        f"{P}.default: 5 is not of type str; must be a string",
        id="number for a string",
    ),
    pytest.param(
        parameter('type: str, default: "a\\nb"'),
        f'{P}.default: "a\\nb" has characters that an environment file cannot hold',
        id="newline",
    ),
    pytest.param(
        parameter("type: str, default: c, choices: [a, b]"),
        f'{P}.default: "c" is not among the choices: a, b',
        id="choices",
    ),
    pytest.param(
        parameter("type: int, choices: [1, b]"),
        f'{P}.choices[1]: "b" is not of type int; must be a whole number',
        id="choice of another type",
    ),
    pytest.param(
        parameter("type: bool, choices: [1]"),
        f"{P}.choices: a parameter of type bool has no choices; remove them",
        id="choices of a bool",
    ),
    pytest.param(
        model("a") + model("b").partition("models:\n")[2],
        "stack.yml:8: models[1].name: model 'm' is already there; a stack pins one version of a model",
        id="model twice",
    ),
    pytest.param(
        model("a").replace('source: "https://x/y"', 'size: "1GB"').replace("size: 1, ", ""),
        "stack.yml:4: models[0]: files: a: exactly one of source and sources must be given, got neither",
        id="no source",
    ),
    pytest.param(
        "name: x\nservices: {api: {lifecycle: job}}\nmodels:\n  m:\n    checksum: sha256:" + "0" * 64 + "\n",
        "stack.yml:4: models.m: exactly one of url and urls must be given, got neither",
        id="no url",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_what_contradicts_itself_is_refused(text: str, message: str) -> None:
    assert messages(text) == [message]


@pytest.mark.parametrize("files", [("a", "a"), ("a", "a/b"), ("./a",), ("Model.bin", "model.bin")])
def test_files_of_a_model_that_a_host_could_not_hold_are_refused(files: tuple[str, ...]) -> None:
    found = messages(model(*files))
    assert len(found) == 1
    assert found[0].startswith("stack.yml:4: models[0]: files: ")
