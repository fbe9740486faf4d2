# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import (
    attribute,
    bind_mounts,
    last,
    merged,
    model_of,
    parse_compose,
    references,
    used_variables,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError, dotted
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document


def files(*texts: str) -> list[Document]:
    return [parse_compose(f"{number}.yml", text.encode()) for number, text in enumerate(texts)]


BASE = "services: {api: {image: a, volumes: [./x:/x]}, db: {image: d}}"

MERGED = [
    pytest.param(files(BASE), ["api", "db"], id="one file"),
    pytest.param(files(BASE, "services: {extra: {image: e}}"), ["api", "db", "extra"], id="a file adds"),
    pytest.param(files(BASE, "services: {db: !reset null}"), ["api"], id="a file takes away"),
    pytest.param(
        files(BASE, "services: {db: !reset null}", "services: {db: {image: n}}"), ["api", "db"], id="and back"
    ),
    pytest.param(files(BASE, "services: !override {new: {image: n}}"), ["new"], id="a file replaces"),
    pytest.param(files(BASE, "services: !reset null"), [], id="a file takes all away"),
    pytest.param(files(BASE, "networks: {a: }"), ["api", "db"], id="a file without services"),
    pytest.param(files("services:"), [], id="nothing"),
]


@pytest.mark.parametrize(("documents", "names"), MERGED)
def test_services_are_merged_as_compose_would(documents: list[Document], names: list[str]) -> None:
    assert sorted(merged(documents, "services")) == names


ATTRIBUTES = [
    pytest.param("services: {api: {volumes: [./y:/y]}}", ["./x", "./y"], id="lists are appended"),
    pytest.param("services: {api: {volumes: !override [./y:/y]}}", ["./y"], id="a list is replaced"),
    pytest.param("services: {api: {volumes: !reset []}}", [], id="a list is taken away"),
    pytest.param("services: {api: !override {volumes: [./z:/z]}}", ["./z"], id="a service is replaced"),
    pytest.param("services: {api: }", ["./x"], id="an empty service changes nothing"),
]


@pytest.mark.parametrize(("overlay", "sources"), ATTRIBUTES)
def test_what_a_service_says_is_merged_as_compose_would(overlay: str, sources: list[str]) -> None:
    api = merged(files(BASE, overlay), "services")["api"]
    assert [mount.source for mount in bind_mounts(api)] == sources


MOUNTS = [
    pytest.param("./models/m:/m:ro", ("./models/m", True), id="short"),
    pytest.param("./models/m:/m:z,ro", ("./models/m", True), id="short with options"),
    pytest.param("./models/m:/m", ("./models/m", False), id="short and writable"),
    pytest.param("./models/m:/m:rw", ("./models/m", False), id="short and said to be writable"),
    pytest.param("../x:/x", ("../x", False), id="outside"),
    pytest.param("data:/data", None, id="volume"),
    pytest.param("/dev/x:/dev/x", None, id="absolute path"),
    pytest.param("${HOST_DIR}:/x", None, id="variable"),
    pytest.param(
        {"type": "bind", "source": "./models/m", "target": "/m", "read_only": True}, ("./models/m", True), id="long"
    ),
    pytest.param({"type": "bind", "source": "./m", "target": "/m"}, ("./m", False), id="long and writable"),
    pytest.param({"type": "bind", "source": "conf/x", "target": "/x"}, ("conf/x", False), id="long without a dot"),
    pytest.param({"type": "bind", "source": "/dev/x", "target": "/x"}, None, id="long and absolute"),
    pytest.param({"type": "volume", "source": "data", "target": "/data"}, None, id="long volume"),
    pytest.param({"type": "tmpfs", "target": "/tmp"}, None, id="tmpfs"),
]


@pytest.mark.parametrize(("volume", "expected"), MOUNTS)
def test_bind_mounts_of_the_folder_are_found(volume: t.Any, expected: tuple[str, bool] | None) -> None:
    document = Document("c.yml", {"services": {"api": {"volumes": [volume]}}})
    found = [(mount.source, mount.read_only) for mount in bind_mounts(merged([document], "services")["api"])]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("./models/m", "m"),
        ("models/m/", "m"),
        ("./models/m/sub/file", "m"),
        ("./models", ""),
        ("./models/../x", ""),
        ("./other/m", ""),
        ("../models/m", ""),
    ],
)
def test_a_mount_names_a_model_by_its_source(source: str, name: str) -> None:
    assert model_of(source) == name


def test_files_that_the_host_needs_are_found_wherever_they_are_named() -> None:
    documents = files(
        """
        services:
          api:
            env_file: [./api.env, {path: more.env, required: false}, /etc/host.env]
            volumes: [./conf//nginx.conf:/etc/nginx.conf:ro, ./models/m:/m:ro, data:/data]
          web: {env_file: web.env}
        configs:
          page: {file: ./page.html}
          inline: {content: x}
        """
    )
    found = {reference.path: dotted(reference.part.path) for reference in references(documents)}
    assert found == {
        "api.env": "services.api.env_file[0]",
        "more.env": "services.api.env_file[1].path",
        "conf/nginx.conf": "services.api.volumes[0]",
        "web.env": "services.web.env_file",
        "page.html": "configs.page.file",
    }


def test_the_last_file_says_what_is_not_merged() -> None:
    networks = merged(files("networks: {a: {external: true}}", "networks: {a: {external: false}}"), "networks")
    assert last(networks["a"], "external") is False
    assert last(networks["a"], "name") is None
    assert len(attribute(networks["a"], "external")) == 2


def test_variables_are_found_in_values_with_their_places() -> None:
    (document,) = files("x-a: ['${A}']\nservices: {api: {image: 'i:${B:-1}'}}")
    found = [(variable.name, variable.optional, dotted(path)) for variable, path in used_variables(document)]
    assert found == [("A", False, "x-a[0]"), ("B", True, "services.api.image")]


FAULTS = [
    pytest.param("- a", "0.yml:1: must be a mapping with the key services", id="list"),
    pytest.param("services: [a]", '0.yml:1: services: must be a mapping, not ["a"]', id="list of services"),
    pytest.param("services:\n  api: x", '0.yml:2: services.api: must be a mapping, not "x"', id="service"),
    pytest.param("volumes:\n  v: 3", "0.yml:2: volumes.v: must be a mapping, not 3", id="volume"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_what_is_no_compose_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(StackFileError) as caught:
        files(text)
    assert str(caught.value) == message
