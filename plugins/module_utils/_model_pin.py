# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Pins of a model's files: what is to be pinned, under which names, and how they read in stack.yml. No I/O."""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
import textwrap
import typing as t
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import (
    FileSource,
    HttpSource,
    PipSource,
    Source,
    check_path,
    parse_source,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import Wanted, WantedFile

DigestFrom = t.Literal["announced", "computed"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_LIKE_A_NUMBER = re.compile(r"[0-9]+(?:e[0-9]+)?")
_SHOWN = 10  # how many paths a message lists


@dataclass(frozen=True)
class HubRequest:
    """Files of a repository on a hub: those that match `include` (none: all) and do not match `exclude`."""

    repo: str
    revision: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class PinRequest:
    """What to pin, as which model. `named` are files with their sources, `sources` name themselves."""

    name: str
    version: str
    named: tuple[tuple[str, tuple[Source, ...]], ...] = ()
    sources: tuple[Source, ...] = ()
    hub: HubRequest | None = None


@dataclass(frozen=True)
class Pin:
    """A file with its digest (hex) and size (bytes), and whether they were announced or computed from its bytes."""

    path: str
    sha256: str
    size: int
    sources: tuple[Source, ...]
    digest_from: DigestFrom


def parse_pin_request(params: t.Mapping[str, t.Any]) -> PinRequest:
    """Build a request from the module's options.

    Raises:
        ModelError: an option breaks a rule.
    """
    hub = None
    if params["hub"]:
        text = f"hf://{params['hub']}@{quote(params['revision'], safe='')}/x"
        source: t.Any = parse_source(text, f"hub {params['hub']!r}, revision {params['revision']!r}")
        hub = HubRequest(source.repo, source.revision, tuple(params["include"] or ()), tuple(params["exclude"] or ()))
    return PinRequest(
        name=params["name"],
        version=params["version"],
        named=tuple(_parse_named(item) for item in params["files"] or []),
        sources=tuple(parse_source(text, "sources") for text in params["sources"] or []),
        hub=hub,
    )


def _parse_named(item: t.Mapping[str, t.Any]) -> tuple[str, tuple[Source, ...]]:
    what = f"files: {item['path']}"
    check_path(item["path"], "files")
    texts = item["sources"] or ([item["source"]] if item["source"] else [])
    if not texts or (item["sources"] and item["source"]):
        raise ModelError(f"{what}: exactly one of source and sources must be given")
    return item["path"], tuple(parse_source(text, what) for text in texts)


def is_commit(revision: str) -> bool:
    """Whether a revision cannot move."""
    return bool(_COMMIT.fullmatch(revision))


def select(paths: t.Iterable[str], include: t.Sequence[str], exclude: t.Sequence[str]) -> list[str]:
    """Return the paths that match a pattern of `include` and none of `exclude`, in order of their names.

    Patterns are those of a shell, over the whole path; `*` matches "/" as well, and "folder/" all that is in it.

    Raises:
        ModelError: a pattern of `include` matches nothing, or nothing is left.
    """
    there = sorted(paths)
    for pattern in include:
        if not any(_matches(path, pattern) for path in there):
            raise ModelError(f"include: {pattern!r} matches no file; there is {_listed(there)}")
    found = [path for path in there if not include or any(_matches(path, pattern) for pattern in include)]
    left = [path for path in found if not any(_matches(path, pattern) for pattern in exclude)]
    if not left:
        raise ModelError(f"exclude: leaves no file of {_listed(found)}")
    return left


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)


def _listed(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "no file") + more


def path_of(source: Source) -> str:
    """Return the path under which a file goes by its source's own name.

    Raises:
        ModelError: the source has no name for it.
    """
    if isinstance(source, HttpSource):
        path = unquote(posixpath.basename(urlsplit(source.url).path))
    elif isinstance(source, FileSource):
        path = posixpath.basename(source.path)
    elif isinstance(source, PipSource):
        path = posixpath.basename(source.member)
    else:
        path = source.path
    if not path:
        raise ModelError(f"sources: {source.shown} has no name for the file; list it in files, with a path")
    check_path(path, f"sources: {source.shown}")
    return path


def together(files: t.Iterable[tuple[str, Source]]) -> dict[str, tuple[Source, ...]]:
    """Return the sources of each path, in the order in which they were named."""
    sources: dict[str, dict[Source, None]] = {}
    for path, source in files:
        sources.setdefault(path, {})[source] = None
    return {path: tuple(several) for path, several in sources.items()}


def check_pins(request: PinRequest, pins: t.Iterable[Pin]) -> None:
    """Refuse what model_pull would refuse: a name, a path or a collision.

    Raises:
        ModelError: the option that breaks a rule.
    """
    files = tuple(WantedFile(pin.path, pin.sha256, pin.size, pin.sources) for pin in pins)
    Wanted(name=request.name, version=request.version, state="present", files=files)


def as_model(request: PinRequest, pins: t.Iterable[Pin]) -> dict[str, t.Any]:
    """Return the model as stack.yml and model_pull take it. Sources are shown without credentials."""
    return {"name": request.name, "version": request.version, "files": [_as_file(pin) for pin in pins]}


def _as_file(pin: Pin) -> dict[str, t.Any]:
    file: dict[str, t.Any] = {"path": pin.path, "sha256": pin.sha256, "size": pin.size}
    shown = [source.shown for source in pin.sources]
    return {**file, "source": shown[0]} if len(shown) == 1 else {**file, "sources": shown}


def as_yaml(model: t.Mapping[str, t.Any]) -> str:
    """Return the model as a list of one, which is what a file of models is. Hosts may have no YAML library."""
    lines = [f"- name: {_scalar(model['name'])}", f"  version: {json.dumps(model['version'])}", "  files:"]
    for file in model["files"]:
        lines += [
            f"    - path: {_scalar(file['path'])}",
            f"      sha256: {_digest(file['sha256'])}",
            f"      size: {file['size']}",
        ]
        if "source" in file:
            lines.append(f"      source: {_scalar(file['source'])}")
        else:
            lines += ["      sources:", *(f"        - {_scalar(source)}" for source in file["sources"])]
    return "\n".join(lines) + "\n"


def as_stack(text: str) -> str:
    """Return a list of models as it reads in stack.yml."""
    return "models:\n" + textwrap.indent(text, "  ")


def _scalar(text: str) -> str:
    """Return a YAML scalar that every reader takes for this text; a JSON string is one."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


def _digest(text: str) -> str:
    return f'"{text}"' if _LIKE_A_NUMBER.fullmatch(text) else text


def unshown(pins: t.Iterable[Pin]) -> list[str]:
    """Return the sources of which a part is hidden, so that what is shown of them cannot be pasted as it is."""
    sources = (source for pin in pins for source in pin.sources)
    return [source.shown for source in sources if isinstance(source, HttpSource) and "***" in source.shown]
