# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_checks import ContainerCheck, ExecCheck, TcpCheck
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import (
    canonical,
    digest,
    parse_document,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import parse_compose
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._release import (
    BuiltImage,
    PulledImage,
    carried_problems,
    compose_release,
    pulled_images,
    release_document,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import make_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

LABELS = {"org.emorobcare.fleet.stack": "demo"}
API = BuiltImage("api", "demo/api:0123", "0123")


class Loader(yaml.SafeLoader):
    """Reads !reset as the word."""


Loader.add_constructor("!reset", lambda _loader, node: "RESET " + str(node.value))


def release(*texts: str, images: t.Sequence[BuiltImage] = (API,)) -> dict[str, t.Any]:
    documents = [parse_compose(f"{number}.yml", text.encode()) for number, text in enumerate(texts)]
    data: dict[str, t.Any] = yaml.load(compose_release("demo", documents, images), Loader)
    return data


def test_built_services_are_pinned_and_all_are_labelled() -> None:
    data = release("services: {api: {build: images/api}, db: {image: postgres}}")
    assert data["services"] == {
        "api": {"image": "demo/api:0123", "pull_policy": "never", "build": "RESET null", "labels": LABELS},
        "db": {"labels": LABELS},
    }


def test_only_a_build_that_is_there_is_taken_away() -> None:
    assert "build" not in release("services: {api: {image: x}}")["services"]["api"]
    assert (
        "build"
        not in release("services: {api: {build: x}}", "services: {api: {build: !reset null}}")["services"]["api"]
    )


SHA = "sha256:" + "0123456789abcdef" * 4


def documents_of(*texts: str) -> list[Document]:
    return [parse_compose(f"{number}.yml", text.encode()) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "pulled"),
    [
        pytest.param(
            ["services: {api: {image: x}, db: {image: postgres:17}}"], {"db": "postgres:17"}, id="not what we build"
        ),
        pytest.param(
            ["services: {db: {image: postgres:17}}", "services: {db: {profiles: [upstream]}}"], {}, id="no profile"
        ),
        pytest.param(
            ["services: {db: {image: postgres:17}}", "services: {db: {image: postgres:18}}"],
            {"db": "postgres:18"},
            id="last",
        ),
        pytest.param(["services: {db: {image: 'postgres:${TAG}'}}"], {"db": "postgres:${TAG}"}, id="as it is written"),
    ],
)
def test_what_hosts_pull_is_told(texts: list[str], pulled: dict[str, str]) -> None:
    found = pulled_images(documents_of(*texts), [API])
    assert {name: image.source for name, image in found.items()} == pulled


@pytest.mark.parametrize(
    ("source", "carried"),
    [
        ("postgres:17", "postgres:17"),
        ("postgres", "postgres"),
        (f"mongo:8.0@{SHA}", "mongo:8.0-0123456789ab"),
        (f"mongo@{SHA}", "mongo:0123456789ab"),
        (f"host.lan:5000/x/y:1@{SHA}", "host.lan:5000/x/y:1-0123456789ab"),
        (f"host.lan:5000/x/y@{SHA}", "host.lan:5000/x/y:0123456789ab"),
    ],
)
def test_a_depot_brings_an_image_by_a_tag(source: str, carried: str) -> None:
    assert PulledImage(source).carried == carried


def test_a_release_that_a_depot_brings_pulls_nothing() -> None:
    texts = f"services: {{api: {{image: x}}, db: {{image: 'mongo:8.0@{SHA}'}}, extra: {{image: y, profiles: [more]}}}}"
    data = yaml.load(compose_release("demo", documents_of(texts), [API], carried=True), Loader)
    assert data["services"]["db"] == {"image": "mongo:8.0-0123456789ab", "pull_policy": "never", "labels": LABELS}
    assert data["services"]["extra"] == {"labels": LABELS}
    assert "image" not in yaml.load(compose_release("demo", documents_of(texts), [API]), Loader)["services"]["db"]


def test_a_depot_must_know_which_image_it_brings() -> None:
    texts = ["services: {db: {image: 'postgres:17'}}", "services:\n  db:\n    image: postgres:${TAG}"]
    (problem,) = carried_problems(documents_of(*texts), [API])
    assert "1.yml:3" in str(problem)
    assert "postgres:${TAG} has a variable" in str(problem)


THINGS = [
    pytest.param("networks", "{}", ["default"], id="the network that Compose makes by itself"),
    pytest.param(
        "networks", "{networks: {edge: , inner: {internal: true}}}", ["default", "edge", "inner"], id="networks"
    ),
    pytest.param(
        "networks", "{networks: {default: {external: true}, edge: {external: true}}}", None, id="external networks"
    ),
    pytest.param("volumes", "{}", None, id="no volumes"),
    pytest.param("volumes", "{volumes: {a: , b: {external: true}, c: {name: x}}}", ["a", "c"], id="volumes"),
]


@pytest.mark.parametrize(("section", "text", "labelled"), THINGS)
def test_what_compose_makes_is_labelled_and_what_is_external_left_alone(
    section: str, text: str, labelled: list[str] | None
) -> None:
    made = release(text).get(section)
    assert made == (None if labelled is None else {name: {"labels": LABELS} for name in labelled})


def test_a_service_that_an_overlay_takes_away_does_not_come_back() -> None:
    assert list(release("services: {api: {image: x}, db: {image: y}}", "services: {db: !reset null}")["services"]) == [
        "api"
    ]


def test_dollar_signs_reach_compose_as_such() -> None:
    text = compose_release("demo", [parse_compose("c", b"services: {api: }")], [BuiltImage("api", "a$b", "0")])
    assert '"image": "a$$b"' in text


def test_the_order_in_which_things_are_written_does_not_matter() -> None:
    one, other = "{services: {a: , b: }, volumes: {x: , y: }}", "{volumes: {y: , x: }, services: {b: , a: }}"
    first, second = (compose_release("demo", [parse_compose("c", text.encode())], [API]) for text in (one, other))
    assert first == second


def test_a_document_names_files_by_digest_and_models_without_sources_and_rough_sizes() -> None:
    source = {"path": "m", "sha256": "0" * 64, "size": 1, "source": "https://x/y"}
    rough = {"path": "n", "sha256": "1" * 64, "size": "1GB", "sources": ["https://x/y"], "required": False}
    stack = make_stack(
        {
            "name": "demo",
            "services": {"api": {"lifecycle": "stateless"}, "proxy": {"lifecycle": "ingress"}},
            "models": [{"name": "m", "version": "1", "files": [source, rough]}],
        }
    )
    document = release_document(stack, None, ["compose.yml"], {"compose.yml": b""}, [API], ["api"])
    assert document == {
        "schema": 1,
        "stack": "demo",
        "environment": None,
        "compose": ["compose.yml"],
        "files": {"compose.yml": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        "images": {"api": {"reference": "demo/api:0123", "input": "0123"}},
        "models": [
            {
                "name": "m",
                "version": "1",
                "files": [
                    {"path": "m", "sha256": "0" * 64, "size": 1},
                    {"path": "n", "sha256": "1" * 64, "required": False},
                ],
            }
        ],
        "services": {"api": {"lifecycle": "stateless", "url": None, "gate": []}},
        "parameters": {},
        "secrets": {},
        "rollout": {"success_threshold": 3, "gate_timeout": 120.0},
    }


def gated(*checks: dict[str, t.Any]) -> dict[str, t.Any]:
    services = {"api": {"lifecycle": "stateless", "gate": list(checks)}, "load": {"lifecycle": "job"}}
    stack = make_stack({"name": "demo", "services": services})
    return release_document(stack, "prod", ["compose.yml"], {"compose.yml": b""}, [], ["api", "load"])


def test_a_release_of_old_kept_its_id() -> None:
    """Hosts know releases by their ids: what a check may say besides changes none that says nothing of it."""
    rich = {"port": 8000, "path": "/e", "method": "POST", "json": {"a": 1}, "expect": "b", "max_latency": "2s"}
    document = gated({"http": {"port": 8000, "path": "/health"}}, {"http": rich})
    assert digest(canonical(document)) == "b6935dc852ca499116aa16dc884c624eac040bf499f792486e766fc3ea92cb8e"


def test_every_kind_of_check_reaches_the_host() -> None:
    document = gated(
        {"container": {"health": "healthy", "restarts": 0}},
        {"exec": {"command": ["pg_isready", "-q"], "timeout": "5s"}},
        {"tcp": {"port": 5432, "max_latency": "500ms"}},
    )
    assert document["services"]["api"]["gate"][2] == {"tcp": {"port": 5432, "max_latency": 0.5}}
    api = parse_document(document).gate.services[0]
    assert api.container == ContainerCheck("running", "healthy", 0)
    assert api.checks == (ExecCheck(("pg_isready", "-q"), timeout=5.0), TcpCheck(5432, 0.5))
