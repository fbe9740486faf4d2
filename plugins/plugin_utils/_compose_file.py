# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What we need to know of a stack's Compose files, merged as Compose would. Pure: nothing here touches a file.

Everything else in them is Compose's own business. Rules of merging: the Compose Specification, "Merge" (C(!reset)
takes away, C(!override) replaces, lists are appended).
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    KeyPath,
    Problem,
    StackFileError,
    show,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import Variable, VariableError, variables
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import COMPOSE_TAGS, Document, parse_yaml

Section = t.Literal["services", "networks", "volumes", "secrets", "configs"]
_SECTIONS: tuple[Section, ...] = ("services", "networks", "volumes", "secrets", "configs")


@dataclass(frozen=True)
class Part:
    """What one Compose file says at one place."""

    document: Document
    path: KeyPath
    value: t.Any

    def problem(self, message: str, *below: str | int) -> Problem:
        return self.document.problem((*self.path, *below), message)


Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Mount:
    """A bind mount: its source as written, whether it is read-only, and where it stands."""

    source: str
    read_only: bool
    part: Part


@dataclass(frozen=True)
class Reference:
    """A file of the stack's folder that a Compose file names by a relative path, normalised, without C(./)."""

    path: str
    part: Part
    optional: bool


def parse_compose(file: str, content: bytes) -> Document:
    """Read one Compose file.

    Raises:
        StackFileError: it is not YAML, or its sections are not mappings.
    """
    document = parse_yaml(file, content, COMPOSE_TAGS)
    if not isinstance(document.data, dict):
        raise StackFileError([document.problem((), "must be a mapping with the key services")])
    faults = []
    for section in _SECTIONS:
        value = document.data.get(section) or {}
        if not isinstance(value, dict):
            faults.append(document.problem((section,), f"must be a mapping, not {show(value)}"))
            continue
        for name, item in value.items():
            if item is not None and not isinstance(item, dict):
                faults.append(document.problem((section, name), f"must be a mapping, not {show(item)}"))
    if faults:
        raise StackFileError(faults)
    return document


def merged(documents: t.Sequence[Document], section: Section) -> dict[str, Parts]:
    """Return what the files say about each name of a section, in their order, without what a later one takes away."""
    roots = _kept(tuple(Part(document, (), document.data) for document in documents), section)
    names = {name: None for root in roots for name in root.value or {}}
    found = {name: _kept(roots, name) for name in names}
    return {name: parts for name, parts in found.items() if parts}


def attribute(parts: Parts, key: str) -> Parts:
    """Return what the parts of one thing say about one of its keys."""
    return _kept(parts, key)


def last(parts: Parts, key: str) -> t.Any:
    """Return the value of a key that is not merged but replaced."""
    kept = _kept(parts, key)
    return kept[-1].value if kept else None


def used_variables(document: Document) -> t.Iterator[tuple[Variable, KeyPath]]:
    """Return every variable in the values of a file, with its place.

    Raises:
        StackFileError: a dollar sign begins nothing that Compose knows.
    """
    for path, text in _strings(document.data, ()):
        try:
            yield from ((variable, path) for variable in variables(text))
        except VariableError as exc:
            raise StackFileError([document.problem(path, str(exc))]) from exc


def bind_mounts(service: Parts) -> list[Mount]:
    """Return the bind mounts of a service whose source is a relative path."""
    mounts = [_mount(item) for part in attribute(service, "volumes") for item in items(part)]
    return [mount for mount in mounts if mount is not None]


def items(part: Part) -> list[Part]:
    """Return a list's items; a single value counts as a list of one."""
    if not isinstance(part.value, list):
        return [part]
    return [Part(part.document, (*part.path, index), value) for index, value in enumerate(part.value)]


def references(documents: t.Sequence[Document]) -> list[Reference]:
    """Return the files of the stack's folder that the Compose files need on the host, models left out."""
    found: list[Reference] = []
    for parts in merged(documents, "configs").values():
        found += [Reference(part.value, part, False) for part in attribute(parts, "file")]
    for service in merged(documents, "services").values():
        found += [_env_file(item) for part in attribute(service, "env_file") for item in items(part)]
        found += [Reference(mount.source, mount.part, False) for mount in bind_mounts(service)]
    relative = [one for one in found if _is_relative(one.path) and not model_of(one.path)]
    return [Reference(posixpath.normpath(one.path), one.part, one.optional) for one in relative]


def model_of(source: str) -> str:
    """Return the name of the model that a mount's source names, if it does: C(./models/<name>/…)."""
    folder, slash, rest = posixpath.normpath(source).partition("/")
    return rest.split("/")[0] if folder == "models" and slash else ""


def _kept(parts: Parts, key: str) -> Parts:
    found: list[Part] = []
    for part in parts:
        if not isinstance(part.value, dict) or key not in part.value:
            continue
        path = (*part.path, key)
        tag = part.document.tags.get(path)
        if tag is not None:
            found.clear()
        if tag != "!reset":
            found.append(Part(part.document, path, part.value[key]))
    return tuple(found)


def _strings(value: t.Any, path: KeyPath) -> t.Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _mount(item: Part) -> Mount | None:
    """Return a bind mount of a relative path; in the short form, only a source that begins with a dot is one."""
    if isinstance(item.value, str) and item.value.startswith("."):
        source, _colon, rest = item.value.partition(":")
        return Mount(source, "ro" in rest.partition(":")[2].split(","), item)
    if isinstance(item.value, dict) and item.value.get("type") == "bind" and _is_relative(item.value.get("source")):
        return Mount(item.value["source"], item.value.get("read_only") is True, item)
    return None


def _env_file(item: Part) -> Reference:
    """Read an entry of C(env_file), whose long form is a mapping."""
    if not isinstance(item.value, dict):
        return Reference(item.value, item, False)
    path = item.value.get("path", "")
    return Reference(path, Part(item.document, (*item.path, "path"), path), item.value.get("required") is False)


def _is_relative(path: t.Any) -> bool:
    return isinstance(path, str) and not path.startswith(("/", "~", "$"))
