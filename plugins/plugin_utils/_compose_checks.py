# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hold a stack file and its Compose files against each other. Pure: nothing here touches a file."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import (
    Part,
    Parts,
    attribute,
    bind_mounts,
    last,
    merged,
    model_of,
    used_variables,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    Problem,
    StackFileError,
    did_you_mean,
    one_of,
    show,
    unknown,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_model import Stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

SECRETS_VARIABLE = "FLEET_SECRETS"
"""The variable that stands for the folder of a stack's secrets on the host."""

NO_SECRET = "/dev/null"
"""What an overlay mounts in place of a secret where the service that wants it does not run."""

_ONCE = ("container_name", "ports")
_SECRET = re.compile(r"\$\{FLEET_SECRETS\}/([^/$]+)")


def compose_problems(
    stack_file: Document, stack: Stack, documents: t.Sequence[Document], others: t.Sequence[Document]
) -> list[Problem]:
    """Return everything in which the files contradict each other.

    C(documents) are those of the chosen environment in their order; C(others) the overlays of other environments,
    which count only where it is asked whether something exists at all.
    """
    services = merged(documents, "services")
    return [
        *_service_problems(stack_file, stack, services, [*documents, *others]),
        *_build_problems(stack, services),
        *_mount_problems(stack, services),
        *_secret_problems(stack_file, stack, documents, others),
        *_variable_problems(stack, documents),
        *_foreign_file_problems(documents, services),
        *(_side_problems(stack, services) if stack.ingress else ()),
    ]


def _service_problems(
    stack_file: Document, stack: Stack, services: t.Mapping[str, Parts], everything: t.Sequence[Document]
) -> t.Iterator[Problem]:
    # One by one: what an overlay takes away is there in another environment.
    known = sorted({name for document in everything for name in merged([document], "services")})
    for name in stack.services:
        if name not in known:
            yield stack_file.problem(
                ("services", name), unknown("service", name, known, "Services of the Compose files")
            )
    for name, parts in services.items():
        if name not in stack.services:
            hint = did_you_mean(name, stack.services) or ";"
            yield parts[0].problem(f"service {name!r} has no lifecycle{hint} add it to services in stack.yml")


def _build_problems(stack: Stack, services: t.Mapping[str, Parts]) -> t.Iterator[Problem]:
    images = {image.service for image in stack.images}
    for name, parts in services.items():
        for part in attribute(parts, "build"):
            if name not in images:
                yield part.problem(f"nothing builds service {name!r}; add it to images in stack.yml, or name an image")


def _mount_problems(stack: Stack, services: t.Mapping[str, Parts]) -> t.Iterator[Problem]:
    models = [model.name for model in stack.models]
    for mount in (mount for parts in services.values() for mount in bind_mounts(parts)):
        name = model_of(mount.source)
        if name and name not in models:
            yield mount.part.problem(unknown("model", name, models, "Models of stack.yml"))
        elif name and not mount.read_only:
            yield mount.part.problem(
                f"model {name!r} is mounted writable, and releases share its files; mount it read-only"
            )


def _secret_problems(
    stack_file: Document, stack: Stack, documents: t.Sequence[Document], others: t.Sequence[Document]
) -> t.Iterator[Problem]:
    for parts in merged(documents, "secrets").values():
        for part in attribute(parts, "file"):
            name = _secret_name(part)
            if part.value == NO_SECRET:
                continue
            if name is None:
                allowed = f"allowed: ${{FLEET_SECRETS}}/<name>, or {NO_SECRET} in an environment that does without it"
                yield part.problem(f"{show(part.value)} is not kept by the host; {allowed}")
            elif name not in stack.secrets:
                yield part.problem(unknown("secret", name, stack.secrets, "Secrets of stack.yml"))
    # One by one: what an overlay takes away is there in another environment.
    everything = [parts for document in (*documents, *others) for parts in merged([document], "secrets").values()]
    used = {_secret_name(part) for parts in everything for part in attribute(parts, "file")}
    if stack.ingress and stack.ingress.tls:
        used.add(stack.ingress.tls.certificate)
    for name in stack.secrets:
        if name not in used:
            use = f'secrets: {{{name}: {{file: "${{FLEET_SECRETS}}/{name}"}}}}'
            message = f"no Compose file uses secret {name!r}; remove it, or use it there: {use}"
            yield stack_file.problem(("secrets", name), message)


def _secret_name(file: Part) -> str | None:
    match = _SECRET.fullmatch(str(file.value))
    return match[1] if match else None


def _variable_problems(stack: Stack, documents: t.Sequence[Document]) -> t.Iterator[Problem]:
    for document in documents:
        reported: set[str] = set()
        try:
            for variable, path in used_variables(document):
                declared = variable.optional or variable.name == SECRETS_VARIABLE or variable.name in stack.parameters
                if declared or variable.name in reported:
                    continue
                reported.add(variable.name)
                yield document.problem(path, _undeclared(variable.name, stack.parameters))
        except StackFileError as exc:
            yield from exc.problems


def _undeclared(name: str, parameters: t.Collection[str]) -> str:
    hint = did_you_mean(name, parameters) or ";"
    return (
        f"${{{name}}} is not a parameter of the stack{hint} declare it under parameters in stack.yml, or give it a"
        f" default: ${{{name}:-…}}. Parameters: {one_of(parameters)}"
    )


def _side_problems(stack: Stack, services: t.Mapping[str, Parts]) -> t.Iterator[Problem]:
    """Refuse what a service cannot have on two sides at once; hosts refuse the rest, which only Compose resolves."""
    for name, parts in services.items():
        if name not in stack.services or stack.services[name].lifecycle == "stateful":
            continue
        for key in _ONCE:
            for part in attribute(parts, key):
                yield part.problem(
                    f"service {name!r} comes up beside itself, and {key} cannot be there twice; take it out and name "
                    "the service in ingress.routes, make it stateful, or set rollout.strategy to recreate"
                )


def _foreign_file_problems(documents: t.Sequence[Document], services: t.Mapping[str, Parts]) -> t.Iterator[Problem]:
    """Refuse Compose files that we do not read: what they say would be neither checked nor carried to the host."""
    for document in documents:
        if "include" in document.data:
            yield document.problem(("include",), "a stack does not include other files; put their services here")
    for parts in services.values():
        extends = last(parts, "extends")
        if isinstance(extends, dict) and "file" in extends:
            yield attribute(parts, "extends")[-1].problem(
                "a stack does not extend other files; repeat it, or use an anchor"
            )
