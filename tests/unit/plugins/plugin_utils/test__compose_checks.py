# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_checks import compose_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import parse_compose
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import make_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml

STACK = f"""\
name: demo
images: {{api: {{context: images/api}}}}
models: [{{name: minilm, version: "1", files: [{{path: m, sha256: "{"0" * 64}", size: 1, source: "https://x/y"}}]}}]
parameters: {{PORT: {{type: port}}}}
secrets: {{password: {{}}}}
services:
  api: {{lifecycle: stateless}}
  db: {{lifecycle: stateful}}
"""

COMPOSE = """\
services:
  api: {build: images/api, ports: ["${PORT}:80"], volumes: ["./models/minilm:/m:ro"]}
  db: {image: db}
secrets: {password: {file: "${FLEET_SECRETS}/password"}}
"""


def messages(overlay: str = "{}", stack: str = STACK, compose: str = COMPOSE, other: str = "{}") -> list[str]:
    stack_file = parse_yaml("stack.yml", stack.encode())
    documents = [parse_compose("compose.yml", compose.encode()), parse_compose("compose.dev.yml", overlay.encode())]
    others = [parse_compose("compose.prod.yml", other.encode())]
    return [str(problem) for problem in compose_problems(stack_file, make_stack(stack_file.data), documents, others)]


GOOD = [
    pytest.param({}, id="the files as they are"),
    pytest.param({"overlay": "services: {db: !reset null}"}, id="an environment without a service"),
    pytest.param(
        {"stack": STACK + "  proxy: {lifecycle: ingress}\n", "other": "services: {proxy: {image: p}}"},
        id="a service of another environment",
    ),
    pytest.param(
        {
            "stack": STACK.replace("password: {}", "password: {}, tls: {}"),
            "other": 'secrets: {t: {file: "${FLEET_SECRETS}/tls"}}',
        },
        id="a secret of another environment",
    ),
    pytest.param({"other": "secrets: {password: !reset null}"}, id="a secret that another environment takes away"),
    pytest.param({"other": "secrets: {t: {file: ./t.txt}}"}, id="secrets of another environment"),
    pytest.param({"other": "services: {api: {image: '${UNKNOWN}'}}"}, id="variables of another environment"),
    pytest.param({"overlay": "services: {api: {environment: ['A=${UNKNOWN:-x}', 'B=$$C']}}"}, id="defaults"),
    pytest.param(
        {"overlay": "services: {api: {volumes: ['${FLEET_SECRETS}/password:/p:ro']}}"}, id="the secrets' folder"
    ),
    pytest.param({"overlay": "services: {api: {extends: {service: db}}}"}, id="extends in the same file"),
    pytest.param(
        {
            "overlay": "services: {db: {build: x}}\n",
            "stack": STACK.replace("{api: {context", "{db: {context: x}, api: {context"),
        },
        id="build of a declared image",
    ),
]


@pytest.mark.parametrize("case", GOOD)
def test_what_fits_together_passes(case: dict[str, str]) -> None:
    assert messages(**case) == []


FAULTS = [
    pytest.param(
        {"stack": STACK + "  dbb: {lifecycle: job}\n"},
        "stack.yml:9: services.dbb: unknown service 'dbb'; did you mean 'db'? Services of the Compose files: api, db",
        id="service that no Compose file has",
    ),
    pytest.param(
        {"overlay": "services:\n  apo: {image: x}"},
        "compose.dev.yml:2: services.apo: service 'apo' has no lifecycle; did you mean 'api'?"
        " add it to services in stack.yml",
        id="service without a lifecycle",
    ),
    pytest.param(
        {"overlay": "services: {db: {build: x}}"},
        "compose.dev.yml:1: services.db.build: nothing builds service 'db'; add it to images in stack.yml,"
        " or name an image",
        id="build of no image",
    ),
    pytest.param(
        {"overlay": "services: {db: {volumes: ['./models/mini:/m:ro']}}"},
        "compose.dev.yml:1: services.db.volumes[0]: unknown model 'mini'; did you mean 'minilm'?"
        " Models of stack.yml: minilm",
        id="unknown model",
    ),
    pytest.param(
        {"overlay": "services: {db: {volumes: [{type: bind, source: ./models/minilm, target: /m}]}}"},
        "compose.dev.yml:1: services.db.volumes[0]: model 'minilm' is mounted writable, and releases share its files;"
        " mount it read-only",
        id="writable model",
    ),
    pytest.param(
        {"overlay": 'secrets: {t: {file: "${FLEET_SECRETS}/pasword"}}'},
        "compose.dev.yml:1: secrets.t.file: unknown secret 'pasword'; did you mean 'password'?"
        " Secrets of stack.yml: password",
        id="undeclared secret",
    ),
    pytest.param(
        {"overlay": "secrets: {t: {file: ./t.txt}}"},
        'compose.dev.yml:1: secrets.t.file: "./t.txt" is not kept by the host; allowed: ${FLEET_SECRETS}/<name>, '
        "or /dev/null in an environment that does without it",
        id="secret in the folder",
    ),
    pytest.param(
        {"stack": STACK.replace("password: {}", "password: {}, tls: {}")},
        "stack.yml:5: secrets.tls: no Compose file uses secret 'tls'; remove it, or use it there:"
        ' secrets: {tls: {file: "${FLEET_SECRETS}/tls"}}',
        id="unused secret",
    ),
    pytest.param(
        {"overlay": "services:\n  api:\n    image: i:${PROT}\n    user: ${PROT}"},
        "compose.dev.yml:3: services.api.image: ${PROT} is not a parameter of the stack; did you mean 'PORT'?"
        " declare it under parameters in stack.yml, or give it a default: ${PROT:-…}. Parameters: PORT",
        id="undeclared variable, told once",
    ),
    pytest.param(
        {"overlay": "services: {api: {user: '${ROBOT:?}'}}"},
        "compose.dev.yml:1: services.api.user: ${ROBOT} is not a parameter of the stack;"
        " declare it under parameters in stack.yml, or give it a default: ${ROBOT:-…}. Parameters: PORT",
        id="required variable",
    ),
    pytest.param(
        {"overlay": "services: {api: {command: 'echo $'}}"},
        "compose.dev.yml:1: services.api.command: 'echo $' has a dollar sign that begins no variable;"
        " write $$ for a dollar sign",
        id="dollar sign",
    ),
    pytest.param(
        {"overlay": "include: [other.yml]"},
        "compose.dev.yml:1: include: a stack does not include other files; put their services here",
        id="include",
    ),
    pytest.param(
        {"overlay": "services: {api: {extends: {file: x.yml, service: y}}}"},
        "compose.dev.yml:1: services.api.extends: a stack does not extend other files; repeat it, or use an anchor",
        id="extends",
    ),
]


@pytest.mark.parametrize(("case", "message"), FAULTS)
def test_what_contradicts_stack_yml_is_refused(case: dict[str, str], message: str) -> None:
    assert messages(**case) == [message]


INGRESS = "ingress: {http: 80, routes: [{path: /, service: api, port: 80}]}\n"
SIDED = COMPOSE.replace('ports: ["${PORT}:80"], ', "")


def test_on_two_sides_nothing_that_only_one_container_can_have_is_accepted() -> None:
    once = "container_name: one, ports: ['80:80'], "
    compose = SIDED.replace("build: images", f"{once}build: images").replace("image: db", f"{once}image: db")
    end = "take it out and name the service in ingress.routes, make it stateful, or set rollout.strategy to recreate"
    assert [message.partition(": ")[2] for message in messages(stack=STACK + INGRESS, compose=compose)] == [
        f"services.api.{key}: service 'api' comes up beside itself, and {key} cannot be there twice; {end}"
        for key in ("container_name", "ports")
    ]
    assert messages(stack=STACK + INGRESS + "rollout: {strategy: recreate}\n", compose=compose) == []


def test_what_an_overlay_takes_away_is_no_obstacle_on_two_sides() -> None:
    overlay = "services: {api: {ports: !reset []}}"
    assert messages(stack=STACK + INGRESS, overlay=overlay) == []
