# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What goes into each image of a stack: its context, its arguments and its bases, and the digest of them all."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._bases import (
    Base,
    BaseSource,
    load_base,
    source_problems,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Dockerfile, parse_dockerfile
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import context_files, image_input, tag_of
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    KeyPath,
    Problem,
    StackFileError,
    show,
    shown,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import Audit, Image, Lifecycle, Stack, plain
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

# ARGs that BuildKit knows without a declaration.
_PREDEFINED = re.compile(r"(HTTP|HTTPS|FTP|NO|ALL)_PROXY|BUILDKIT_\w+|SOURCE_DATE_EPOCH", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class PreparedImage:
    """An image and everything that its build and its audit need.

    The context is absolute, max_size is in bytes; sources are what FROM lines pull, once arguments are filled in.
    Of the arguments, base_args are those whose value is the reference of a base that we make.
    """

    service: str
    name: str
    input: str
    context: pathlib.Path
    dockerfile: str
    args: t.Mapping[str, str]
    max_size: int | None
    bases: tuple[Base, ...]
    sources: tuple[str, ...] = ()
    base_args: tuple[str, ...] = ()
    lifecycle: Lifecycle = "stateless"
    audit: Audit = field(default_factory=Audit)

    @property
    def reference(self) -> str:
        return f"{self.name}:{tag_of(self.input)}"

    def as_result(self) -> dict[str, t.Any]:
        return {
            "service": self.service,
            "name": self.name,
            "reference": self.reference,
            "input": self.input,
            "context": str(self.context),
            "dockerfile": self.dockerfile,
            "args": dict(self.args),
            "base_args": list(self.base_args),
            "max_size": self.max_size,
        }

    def as_audit(self) -> dict[str, t.Any]:
        recipes = {base.reference: base.name for base in self.bases}
        policy = {} if self.audit.max_layers is None else {"max_layers": self.audit.max_layers}
        return {
            "service": self.service,
            "reference": self.reference,
            "input": self.input,
            "lifecycle": self.lifecycle,
            "context": str(self.context),
            "dockerfile": self.dockerfile,
            "bases": [{"reference": source, "recipe": recipes.get(source)} for source in self.sources],
            "max_size": self.max_size,
            "rules": plain(self.audit.rules),
            **policy,
        }


def prepare_images(
    folder: pathlib.Path,
    stack_file: Document,
    stack: Stack,
    services: t.Container[str],
    base_source: BaseSource,
    recipes: pathlib.Path,
) -> tuple[list[PreparedImage], list[Problem]]:
    """Return the image of each service that there is, and what keeps them from being built.

    Services whose images come from the same input under the same rules share that of the first.
    """
    prepared: list[PreparedImage] = []
    problems: list[Problem] = []
    for image in stack.images:
        if image.service not in services:
            continue
        try:
            prepared.append(_prepare(folder, stack_file, stack, image, base_source, recipes))
        except StackFileError as exc:
            problems += exc.problems
    return _shared(prepared), problems


def _shared(images: t.Sequence[PreparedImage]) -> list[PreparedImage]:
    groups: dict[str, list[PreparedImage]] = {}
    keys = [json.dumps([image.input, image.audit.max_layers, plain(image.audit.rules)]) for image in images]
    for key, image in zip(keys, images, strict=True):
        groups.setdefault(key, []).append(image)
    return [_as_one(image, groups[key]) for key, image in zip(keys, images, strict=True)]


def _as_one(image: PreparedImage, group: t.Sequence[PreparedImage]) -> PreparedImage:
    """Return a service's image as the one that all of the group share: what is strictest for one counts for all."""
    sizes = [one.max_size for one in group if one.max_size is not None]
    lifecycles: list[Lifecycle] = [one.lifecycle for one in group if one.lifecycle != "job"]
    return dataclasses.replace(
        image,
        name=group[0].name,
        max_size=min(sizes, default=None),
        lifecycle=lifecycles[0] if lifecycles else "job",
    )


def _prepare(
    folder: pathlib.Path,
    stack_file: Document,
    stack: Stack,
    image: Image,
    base_source: BaseSource,
    recipes: pathlib.Path,
) -> PreparedImage:
    context, file = _find_dockerfile(folder, stack_file, image)
    dockerfile = parse_dockerfile(file.read_text(encoding="utf-8", errors="replace"))
    problems = [*_arg_problems(stack_file, image, dockerfile), *source_problems(dockerfile, shown(file), base_source)]
    if problems:
        raise StackFileError(problems)
    bases, base_args = _resolve_bases(dockerfile, shown(file), base_source, recipes)
    args = {**image.args, **base_args}
    service = stack.services.get(image.service)
    return PreparedImage(
        service=image.service,
        name=f"{stack.name}/{image.service}",
        input=image_input(context_files(context, image.dockerfile), image.dockerfile, args),
        context=context,
        dockerfile=image.dockerfile,
        args=dict(sorted(args.items())),
        max_size=image.max_size,
        bases=bases,
        sources=_sources(dockerfile, args),
        base_args=tuple(sorted(base_args)) if base_source == "debian" else (),
        lifecycle="stateless" if service is None else service.lifecycle,
        audit=image.audit,
    )


def _sources(dockerfile: Dockerfile, args: t.Mapping[str, str]) -> tuple[str, ...]:
    """Return what the FROM lines pull, each once."""
    values = {**{arg.name: arg.default or "" for arg in dockerfile.globals}, **args}
    sources = (_VARIABLE.sub(lambda name: values.get(name[1] or name[2], ""), one.source) for one in dockerfile.pulled)
    return tuple(dict.fromkeys(sources))


def _find_dockerfile(folder: pathlib.Path, stack_file: Document, image: Image) -> tuple[pathlib.Path, pathlib.Path]:
    at: KeyPath = ("images", image.service)
    context = folder / image.context
    if not context.is_dir():
        raise _at(stack_file, (*at, "context"), f"{show(image.context)} is not a folder of the stack's folder")
    if not context.resolve().is_relative_to(folder.resolve()):
        raise _at(stack_file, (*at, "context"), f"{show(image.context)} leads out of the stack's folder")
    file = context / image.dockerfile
    if not file.is_file():
        raise _at(stack_file, (*at, "dockerfile"), f"there is no {show(image.dockerfile)} in {shown(context)}")
    return context, file


def _arg_problems(stack_file: Document, image: Image, dockerfile: Dockerfile) -> t.Iterator[Problem]:
    for name in image.args:
        if name not in dockerfile.arg_names and not _PREDEFINED.fullmatch(name):
            message = unknown("build argument", name, sorted(dockerfile.arg_names), "ARGs of the Dockerfile")
            yield stack_file.problem(("images", image.service, "args", name), message)


def _resolve_bases(
    dockerfile: Dockerfile, file: str, base_source: BaseSource, recipes: pathlib.Path
) -> tuple[tuple[Base, ...], dict[str, str]]:
    """Return the bases that we make, and the values of the ARGs that name a base."""
    if base_source == "registry":
        return (), {arg.name: arg.default for arg in dockerfile.bases if arg.default}
    bases: dict[str, Base] = {}
    problems: list[Problem] = []
    for arg in dockerfile.bases:
        try:
            bases[arg.name] = load_base(arg, file, recipes)
        except StackFileError as exc:
            problems += exc.problems
    if problems:
        raise StackFileError(problems)
    return tuple(bases.values()), {name: base.reference for name, base in bases.items()}


def _at(document: Document, path: KeyPath, message: str) -> StackFileError:
    return StackFileError([document.problem(path, message)])
