# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The files of a stack's folder that travel with a release: Compose files, and what they and the gate name."""

from __future__ import annotations

import pathlib
import posixpath
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import references
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._release import COMPOSE_RELEASE
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import KeyPath, Problem, show
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

LARGEST_FILE = 10_000_000
"""Bytes; larger files belong into an image or are models."""

# What the host itself puts into a release's folder.
_RESERVED = frozenset({COMPOSE_RELEASE, "models", "release.json", ".env"})


@dataclass(frozen=True)
class _Named:
    """A file that a document names at a place."""

    path: str
    document: Document
    at: KeyPath
    optional: bool = False


def release_files(
    folder: pathlib.Path, stack_file: Document, documents: t.Sequence[Document]
) -> tuple[dict[str, bytes], list[Problem]]:
    """Return the files by their path below the folder, Compose files left out, and what is wrong with the others."""
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for named in (*_body_files(stack_file), *_compose_references(documents)):
        if named.optional and not (folder / named.path).exists():
            continue
        fault = _fault(folder, named.path)
        if fault:
            problems.append(named.document.problem(named.at, f"{show(named.path)} {fault}"))
        else:
            files[named.path] = (folder / named.path).read_bytes()
    return files, problems


def _body_files(stack_file: Document) -> t.Iterator[_Named]:
    for name, service in stack_file.data["services"].items():
        for index, check in enumerate(service.get("gate", [])):
            if "body_file" in check.get("http", {}):
                at = ("services", name, "gate", index, "http", "body_file")
                yield _Named(posixpath.normpath(check["http"]["body_file"]), stack_file, at)


def _compose_references(documents: t.Sequence[Document]) -> t.Iterator[_Named]:
    for reference in references(documents):
        yield _Named(reference.path, reference.part.document, reference.part.path, reference.optional)


def _fault(folder: pathlib.Path, name: str) -> str:
    """Say why a file cannot travel with a release; an empty string when it can."""
    if "$" in name:
        return "has a variable, so that nobody can say which file the release needs; name the file"
    if name.startswith("..") or not (folder / name).resolve().is_relative_to(folder.resolve()):
        return "is outside the stack's folder; a release carries only files that are in it"
    if name.split("/")[0] in _RESERVED:
        return f"cannot be carried: the host itself writes {name.split('/')[0]!r} there; give the file another name"
    path = folder / name
    if path.is_dir():
        return "is a folder; a release carries files: name them one by one, or put them into an image"
    if not path.is_file():
        return "does not exist in the stack's folder"
    if path.stat().st_size > LARGEST_FILE:
        return f"is larger than {LARGEST_FILE // 1_000_000} MB; make it a model, or put it into an image"
    return ""
