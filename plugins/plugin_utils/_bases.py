# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The base images that Dockerfiles ask for, by their recipes."""

from __future__ import annotations

import functools
import pathlib
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Arg, Dockerfile
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import tag_of
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    Problem,
    StackFileError,
    shown,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import parse_yaml

BaseSource = t.Literal["debian", "registry"]
BASE_SOURCES: tuple[BaseSource, ...] = ("debian", "registry")


@dataclass(frozen=True)
class Base:
    """A base image: its recipe and the SHA-256 of the recipe's canonical JSON."""

    name: str
    input: str
    recipe: t.Mapping[str, t.Any]

    @property
    def reference(self) -> str:
        return f"emorobcare.fleet/{self.name}:{tag_of(self.input)}"

    def as_result(self) -> dict[str, t.Any]:
        return {"name": self.name, "reference": self.reference, "input": self.input, "recipe": dict(self.recipe)}


def recipe_name(arg: str) -> str:
    """Return the recipe that an ARG asks for: base-python for BASE_PYTHON."""
    return arg.lower().replace("_", "-")


def load_base(arg: Arg, file: str, folder: pathlib.Path) -> Base:
    """Read the recipe of a base, from a folder with one C(<name>.yml) each.

    Raises:
        StackFileError: the recipe does not exist, or is not a mapping. C(file) is the Dockerfile that asks for it.
    """

    def absent(message: str) -> Problem:
        return Problem(file, arg.line, (), f"ARG {arg.name}: {message}")

    recipe = _read_recipe(recipe_name(arg.name), absent, folder)
    return Base(recipe_name(arg.name), digest(canonical(recipe)), recipe)


def _read_recipe(name: str, absent: t.Callable[[str], Problem], folder: pathlib.Path) -> dict[str, t.Any]:
    """Read a recipe and what it extends; C(absent) says where it was asked for, should it not exist."""
    recipe: dict[str, t.Any] = {}
    read: list[str] = []
    wanted: t.Any = name
    while wanted is not None:
        path = folder / f"{wanted}.yml"
        if not path.is_file():
            recipes = sorted(recipe.stem for recipe in folder.glob("base-*.yml"))
            raise StackFileError([absent(unknown("recipe", wanted, recipes, "Recipes"))])
        document = parse_yaml(shown(path), path.read_bytes())
        if not isinstance(document.data, dict):
            raise StackFileError([document.problem((), "a recipe must be a mapping")])
        recipe = extend(document.data, recipe)
        read.append(wanted)
        wanted = recipe.pop("extends", None)
        if wanted in read:
            raise StackFileError([document.problem(("extends",), f"{wanted} extends {read[-1]} already")])
        absent = functools.partial(document.problem, ("extends",))
    return recipe


def extend(below: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a recipe on top of another: lists go on, mappings are merged, and of single values its own count."""
    merged = dict(below)
    for key, value in own.items():
        under = below.get(key)
        if isinstance(under, list) and isinstance(value, list):
            merged[key] = under + value
        elif isinstance(under, dict) and isinstance(value, dict):
            merged[key] = {**under, **value}
        else:
            merged[key] = value
    return merged


def source_problems(dockerfile: Dockerfile, file: str, source: BaseSource) -> t.Iterator[Problem]:
    """Return what keeps a Dockerfile from being built with the bases of a source."""
    if source == "registry":
        for arg in dockerfile.bases:
            if not arg.default:
                yield Problem(
                    file, arg.line, (), f"ARG {arg.name} has no default to pull; give it one: an image with its digest"
                )
        return
    if dockerfile.syntax_line is not None:
        message = "'# syntax=' makes the build pull a frontend, and base_source is debian; remove the line"
        yield Problem(file, dockerfile.syntax_line, (), message)
    names = {arg.name for arg in dockerfile.bases}
    for stage in dockerfile.pulled:
        if stage.variable not in names:
            message = (
                f"FROM {stage.source} would be pulled, and base_source is debian; name it by an ARG before the first"
                " FROM, such as ARG BASE_PYTHON=…, and build FROM ${BASE_PYTHON}"
            )
            yield Problem(file, stage.line, (), message)
