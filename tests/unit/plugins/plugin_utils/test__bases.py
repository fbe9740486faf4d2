# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import parse_recipe
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._bases import (
    BaseSource,
    load_base,
    recipe_name,
    source_problems,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Arg, parse_dockerfile
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError

SHIPPED = pathlib.Path(__file__).parents[4] / "roles" / "image_build" / "files" / "bases"
ARG = Arg("BASE_PYTHON", "python:3.13", 2)


@pytest.fixture(name="recipes")
def recipes_fixture(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base-python.yml").write_text("# old\nsuite: trixie\npackages: [python3]\nfiles: {/etc/x: y}\n")
    (tmp_path / "base-nginx.yml").write_text("suite: trixie\n")
    return tmp_path


def test_the_name_of_an_arg_is_that_of_a_recipe() -> None:
    assert recipe_name("BASE_PYTHON") == "base-python"
    assert recipe_name("BASE_PYTHON_BUILD") == "base-python-build"


def test_a_base_is_named_by_its_recipe(recipes: pathlib.Path) -> None:
    base = load_base(ARG, "Dockerfile", recipes)
    assert base.reference == f"emorobcare.fleet/base-python:{base.input[:16]}"
    assert base.recipe == {"suite": "trixie", "packages": ["python3"], "files": {"/etc/x": "y"}}


def test_comments_and_order_do_not_count_and_all_else_does(recipes: pathlib.Path) -> None:
    before = load_base(ARG, "Dockerfile", recipes).input
    recipe = recipes / "base-python.yml"
    recipe.write_text("# new\nfiles: {/etc/x: y}\npackages:\n  - python3\nsuite: trixie\n")
    assert load_base(ARG, "Dockerfile", recipes).input == before
    recipe.write_text("suite: trixie\npackages: [python3]\nfiles: {/etc/x: z}\n")
    assert load_base(ARG, "Dockerfile", recipes).input != before


def test_an_unknown_base_is_refused_with_the_recipes_that_there_are(recipes: pathlib.Path) -> None:
    with pytest.raises(StackFileError) as caught:
        load_base(Arg("BASE_PYTON", None, 3), "images/api/Dockerfile", recipes)
    assert str(caught.value) == (
        "images/api/Dockerfile:3: ARG BASE_PYTON: unknown recipe 'base-pyton'; did you mean 'base-python'?"
        " Recipes: base-nginx, base-python"
    )


def test_a_recipe_that_is_no_mapping_is_refused(recipes: pathlib.Path) -> None:
    (recipes / "base-python.yml").write_text("- x\n")
    with pytest.raises(StackFileError, match=r"^base-python.yml:1: a recipe must be a mapping$"):
        load_base(ARG, "Dockerfile", recipes)


def test_a_recipe_goes_on_where_the_one_that_it_extends_ends(recipes: pathlib.Path) -> None:
    (recipes / "base-python.yml").write_text(
        "extends: base-x\npackages: [b]\nkeep: [/k]\nfiles: {/y: own, /z: own}\nrevision: 2\n"
    )
    (recipes / "base-x.yml").write_text("suite: trixie\nrevision: 1\npackages: [a]\nfiles: {/x: below, /y: below}\n")
    assert load_base(ARG, "Dockerfile", recipes).recipe == {
        "suite": "trixie",
        "packages": ["a", "b"],
        "keep": ["/k"],
        "files": {"/x": "below", "/y": "own", "/z": "own"},
        "revision": 2,
    }


def test_what_a_recipe_extends_counts_for_its_digest(recipes: pathlib.Path) -> None:
    (recipes / "base-python.yml").write_text("extends: base-nginx\npackages: [b]\n")
    before = load_base(ARG, "Dockerfile", recipes).input
    (recipes / "base-nginx.yml").write_text("suite: sid\n")
    assert load_base(ARG, "Dockerfile", recipes).input != before


def test_an_unknown_recipe_to_extend_is_refused_where_it_is_named(recipes: pathlib.Path) -> None:
    (recipes / "base-python.yml").write_text("packages: [b]\nextends: base-nginy\n")
    with pytest.raises(StackFileError) as caught:
        load_base(ARG, "Dockerfile", recipes)
    assert str(caught.value) == (
        "base-python.yml:2: extends: unknown recipe 'base-nginy'; did you mean 'base-nginx'?"
        " Recipes: base-nginx, base-python"
    )


def test_recipes_that_extend_each_other_are_refused(recipes: pathlib.Path) -> None:
    (recipes / "base-python.yml").write_text("extends: base-nginx\n")
    (recipes / "base-nginx.yml").write_text("extends: base-python\n")
    with pytest.raises(StackFileError, match=r"^base-nginx.yml:1: extends: base-python extends base-nginx already$"):
        load_base(ARG, "Dockerfile", recipes)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yml")))
def test_every_recipe_of_the_role_is_right(name: str) -> None:
    base = load_base(Arg(name.upper().replace("-", "_"), None, 1), "Dockerfile", SHIPPED)
    recipe = parse_recipe(name, base.recipe)
    assert recipe.packages
    users = next(file.content for file in recipe.files if file.path == "/etc/passwd")
    assert b"app:x:10001:10001:app:/nonexistent:/usr/sbin/nologin\n" in users


SOURCES = [
    pytest.param("ARG BASE_A=x\nFROM $BASE_A", "debian", [], id="base from Debian"),
    pytest.param("ARG BASE_A\nFROM $BASE_A", "debian", [], id="no default needed"),
    pytest.param("FROM scratch", "debian", [], id="nothing to pull"),
    pytest.param("ARG BASE_A=x\nFROM $BASE_A", "registry", [], id="base from a registry"),
    pytest.param("# syntax=x\nFROM python:3", "registry", [], id="a registry can be pulled from"),
    pytest.param(
        "ARG BASE_A\nFROM $BASE_A",
        "registry",
        ["D:1: ARG BASE_A has no default to pull; give it one: an image with its digest"],
        id="nothing to pull by",
    ),
    pytest.param(
        "ARG OTHER=x\nFROM python:3\nFROM $OTHER",
        "debian",
        [
            f"D:{line}: FROM {source} would be pulled, and base_source is debian; name it by an ARG before the first"
            " FROM, such as ARG BASE_PYTHON=…, and build FROM ${BASE_PYTHON}"
            for line, source in ((2, "python:3"), (3, "$OTHER"))
        ],
        id="images of a registry",
    ),
    pytest.param(
        "# syntax=docker/dockerfile:1\nFROM scratch",
        "debian",
        ["D:1: '# syntax=' makes the build pull a frontend, and base_source is debian; remove the line"],
        id="frontend",
    ),
]


@pytest.mark.parametrize(("text", "source", "messages"), SOURCES)
def test_what_the_source_of_bases_cannot_give_is_refused(text: str, source: BaseSource, messages: list[str]) -> None:
    assert [str(problem) for problem in source_problems(parse_dockerfile(text), "D", source)] == messages
