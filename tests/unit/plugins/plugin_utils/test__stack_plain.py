# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import textwrap
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import decode_files, parse_document
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError

COMPOSE = """\
    services:
      web:
        image: nginx:1
        ports: ["${PORT:-8080}:80"]
        volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro", "data:/data"]
      cache: {image: "redis:7"}
    volumes: {data: }
    """

Load = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with a Compose file and a file that it mounts."""
    folder = tmp_path / "Shop"
    folder.mkdir()
    (folder / "compose.yml").write_text(textwrap.dedent(COMPOSE))
    (folder / "nginx.conf").write_text("events {}\n")
    monkeypatch.chdir(tmp_path)
    return folder


def load(folder: pathlib.Path, environment: str | None = None) -> dict[str, t.Any]:
    return load_stack(folder, environment, "debian", folder)


def problems(folder: pathlib.Path) -> list[str]:
    with pytest.raises(StackFileError) as caught:
        load(folder)
    return [str(problem) for problem in caught.value.problems]


def test_a_folder_with_a_compose_file_alone_is_a_stack(folder: pathlib.Path) -> None:
    stack = load(folder)
    assert (stack["name"], stack["environment"], stack["compose_files"]) == ("shop", None, ["compose.yml"])
    assert {stack[key] == [] for key in ("images", "bases", "models", "audit")} == {True}
    assert (stack["parameters"], stack["secrets"]) == ({}, {})
    assert stack["services"] == {name: {"lifecycle": "stateless", "url": None, "gate": []} for name in ("web", "cache")}
    release = parse_document(stack["release"]["document"], stack["release"]["id"])
    assert (release.stack, release.rollout.strategy, release.ingress) == ("shop", "recreate", None)
    assert sorted(decode_files(release, stack["release"]["files"])) == [
        "compose.release.yml",
        "compose.yml",
        "nginx.conf",
    ]


def test_the_release_is_the_same_wherever_the_folder_is(folder: pathlib.Path) -> None:
    before = load(folder)["release"]["id"]
    folder.rename(folder.parent / "shop")
    assert load(folder.parent / "shop")["release"]["id"] == before


def test_a_name_in_the_compose_file_counts_more_than_the_folders(folder: pathlib.Path) -> None:
    (folder / "compose.prod.yml").write_text("services: {web: {mem_limit: 1g}, more: {image: x}}\n")
    compose = folder / "compose.yml"
    compose.write_text(f"name: kiosk\n{compose.read_text()}")
    assert load(folder)["name"] == "kiosk"
    assert sorted(load(folder)["services"]) == ["cache", "web"]
    assert sorted(load(folder, "prod")["services"]) == ["cache", "more", "web"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            "name: my_shop",
            'Shop/compose.yml:1: name: "my_shop", the name of the project, cannot be a stack\'s; set name here to'
            " lower-case letters, digits and single dashes, at most 40",
            id="a name that a stack cannot have",
        ),
        pytest.param(
            "x-none: 1",
            'my_folder/compose.yml:1: name: "my_folder", the name of the folder, cannot be a stack\'s; set name here to'
            " lower-case letters, digits and single dashes, at most 40",
            id="such a folder",
        ),
    ],
)
def test_a_name_that_no_stack_can_have_is_refused_with_the_way_out(
    folder: pathlib.Path, line: str, message: str
) -> None:
    compose = folder / "compose.yml"
    compose.write_text(f"{line}\n{compose.read_text()}")
    if line.startswith("x-"):
        folder = folder.rename(folder.parent / "my_folder")
    assert problems(folder) == [message]


def test_what_would_have_to_be_built_or_set_is_refused_with_the_way_out(folder: pathlib.Path) -> None:
    compose = folder / "compose.yml"
    compose.write_text(compose.read_text().replace('{image: "redis:7"}', "{build: .}"))
    assert problems(folder) == [
        "Shop/compose.yml:6: services.cache.build: there is no stack.yml, which says how service 'cache' is built; name"
        " an image, or write one with images: {cache: {context: …}}"
    ]
    compose.write_text(compose.read_text().replace("{build: .}", "{image: redis}").replace("PORT:-8080", "PORT"))
    assert problems(folder) == [
        "Shop/compose.yml:4: services.web.ports[0]: ${PORT} is not a parameter of the stack; declare it under"
        " parameters in stack.yml, or give it a default: ${PORT:-…}. Parameters: nothing"
    ]


def test_a_folder_without_either_file_is_no_stack(folder: pathlib.Path) -> None:
    (folder / "compose.yml").unlink()
    assert problems(folder) == [
        "Shop/compose.yml: there is no such file; a stack is a folder with compose.yml, and with stack.yml to say more"
    ]
