# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read a stack's folder: stack.yml, the Compose files of one environment, and what goes into its images."""

from __future__ import annotations

import base64
import pathlib
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical, digest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._bases import Base, BaseSource
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_checks import compose_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import merged, parse_compose
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._model_manifest import model_list, parse_manifest
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._release import (
    COMPOSE_RELEASE,
    BuiltImage,
    carried_problems,
    compose_release,
    pulled_images,
    release_document,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._release_files import release_files
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_audit import audit_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    Problem,
    StackFileError,
    show,
    shown,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_hardening import Judging, hardening_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_images import PreparedImage, prepare_images
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_ingress import (
    ingress_document,
    ingress_image,
    ingress_problems,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import (
    Stack,
    make_stack,
    plain,
    plain_parameter,
    plain_rollout,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_plain import plain_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_relations import relation_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document, parse_yaml

COMPOSE = "compose.yml"
_OVERLAY = re.compile(r"compose\.([a-z0-9][a-z0-9-]*)\.yml")


def load_stack(
    folder: pathlib.Path,
    environment: str | None,
    base_source: BaseSource,
    recipes: pathlib.Path,
    carried: bool = False,
    judging: Judging | None = None,
) -> dict[str, t.Any]:
    """Read a stack and return it as plain JSON types; the lookup's documentation says what is in it.

    C(folder) is absolute; C(recipes) is the folder of the bases' recipes; C(carried): a depot brings the images.
    C(judging): how services are held against the rules about containers; by default what violates them is refused.

    Raises:
        StackFileError: with everything that is wrong.
        OSError: a file cannot be read.
    """
    _require(folder / COMPOSE)  # before anything else, for whom named another folder
    given = _read_stack_file(folder) if (folder / "stack.yml").is_file() else None
    compose, others = _read_compose_files(folder, environment)
    documents = list(compose.values())
    stack_file = given or plain_stack(folder, documents, others)
    stack = make_stack({**stack_file.data, "models": _read_models(folder, stack_file)}, environment)
    services = merged(documents, "services")
    problems = [*relation_problems(stack_file), *audit_problems(stack_file)]
    violated, refusals = hardening_problems(stack, stack_file, documents, judging or Judging())
    problems += [*refusals, *compose_problems(stack_file, stack, documents, others)]
    own_files, file_problems = release_files(folder, stack_file, documents)
    images, image_problems = prepare_images(folder, stack_file, stack, services, base_source, recipes)
    problems += [*file_problems, *image_problems, *ingress_problems(stack_file, stack, services)]
    built = [BuiltImage(image.service, image.reference, image.input) for image in images]
    problems += carried_problems(documents, built) if carried else []
    if problems:
        raise StackFileError(problems)
    generated = compose_release(stack.name, documents, built, carried).encode()
    pulled = pulled_images(documents, built).values()
    files = {**own_files, **{name: (folder / name).read_bytes() for name in compose}, COMPOSE_RELEASE: generated}
    image, doors = ingress_image(stack_file, base_source, recipes) if stack.ingress else ("", ())
    ingress = ingress_document(stack, services, image)
    document = release_document(stack, environment, [*compose, COMPOSE_RELEASE], files, built, services, ingress)
    return {
        "name": stack.name,
        "environment": environment,
        "path": str(folder),
        "compose_files": list(compose),
        **_stack_result(stack),
        **_image_result(images, doors),
        "pulled": {image.carried if carried else image.source: image.source for image in pulled},
        "services": document["services"],
        "hardening": [one.as_result() for one in violated],
        "release": {
            "id": digest(canonical(document)),
            "document": document,
            "files": {name: base64.b64encode(content).decode("ascii") for name, content in sorted(files.items())},
        },
    }


def _read_stack_file(folder: pathlib.Path) -> Document:
    document = parse_yaml(shown(folder / "stack.yml"), _read(folder / "stack.yml"))
    problems = schema_problems(document)
    if problems:
        raise StackFileError(problems)
    return document


def _read_models(folder: pathlib.Path, stack_file: Document) -> list[dict[str, t.Any]]:
    """Return the models in the list form, from a file of their own if that is what stack.yml names."""
    models = stack_file.data.get("models", [])
    if not isinstance(models, str):
        return model_list(models)
    path = folder / models
    fault = ""
    if not path.resolve().is_relative_to(folder.resolve()):
        fault = "leads out of the stack's folder"
    elif not path.is_file():
        fault = "is no file in the stack's folder; give a list, a mapping, or the path of a JSON or YAML file"
    if fault:
        raise StackFileError([stack_file.problem(("models",), f"{show(models)} {fault}")])
    return model_list(parse_manifest(shown(path), path.read_bytes(), one_version=True).data)


def _read(path: pathlib.Path) -> bytes:
    _require(path)
    return path.read_bytes()


def _require(path: pathlib.Path) -> None:
    if not path.is_file():
        message = "there is no such file; a stack is a folder with compose.yml, and with stack.yml to say more"
        raise StackFileError([Problem(shown(path), None, (), message)])


def _read_compose_files(folder: pathlib.Path, environment: str | None) -> tuple[dict[str, Document], list[Document]]:
    """Return the environment's Compose files by name in their order, and the overlays of the other environments."""
    overlays = {match[1]: match[0] for path in folder.iterdir() if (match := _OVERLAY.fullmatch(path.name))}
    if COMPOSE_RELEASE in overlays.values():
        message = "a release's own Compose file has this name; rename the environment"
        raise StackFileError([Problem(shown(folder / COMPOSE_RELEASE), None, (), message)])
    if environment is not None and environment not in overlays:
        message = unknown("environment", environment, sorted(overlays), "Overlays here (compose.<environment>.yml)")
        raise StackFileError([Problem(shown(folder), None, (), message)])
    chosen = [COMPOSE] if environment is None else [COMPOSE, overlays[environment]]
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    for name in (*chosen, *sorted(set(overlays.values()) - set(chosen))):
        try:
            documents[name] = parse_compose(shown(folder / name), _read(folder / name))
        except StackFileError as exc:
            problems += exc.problems
    if problems:
        raise StackFileError(problems)
    return {name: documents[name] for name in chosen}, [documents[name] for name in documents if name not in chosen]


def _stack_result(stack: Stack) -> dict[str, t.Any]:
    return {
        "models": plain(stack.models),
        "parameters": {name: plain_parameter(parameter) for name, parameter in stack.parameters.items()},
        "secrets": plain(stack.secrets),
        "rollout": plain_rollout(stack.rollout),
    }


def _image_result(images: t.Sequence[PreparedImage], doors: t.Sequence[Base]) -> dict[str, t.Any]:
    bases = {base.name: base for base in (*doors, *(base for image in images for base in image.bases))}
    distinct: dict[str, PreparedImage] = {}
    for image in images:
        distinct.setdefault(image.reference, image)
    return {
        "images": [image.as_result() for image in distinct.values()],
        "audit": [image.as_audit() for image in distinct.values()],
        "bases": [bases[name].as_result() for name in sorted(bases)],
    }
