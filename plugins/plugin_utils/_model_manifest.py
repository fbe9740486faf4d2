# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Models as people write them down, in stack.yml or in a file of their own. Pure.

Two forms say the same. The list form, which all code works with, is that of model_pull:

    [{name, version, files: [{path, sha256, size, source or sources, required}]}]

The plain form is a mapping for models that are one file each:

    {name: {url or urls, checksum: "sha256:…", size, required, version, path}}

There `path` is the last part of the (first) URL, and `version` "sha256-" with the checksum's first digits, unless
given.
"""

from __future__ import annotations

import json
import posixpath
import typing as t
from urllib.parse import unquote, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import (
    HttpSource,
    PipSource,
    parse_source,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import parse_wanted
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import (
    KeyPath,
    Problem,
    StackFileError,
    show,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document, parse_yaml

Finding = tuple[KeyPath, str]
Models = t.Union[t.Sequence[t.Mapping[str, t.Any]], t.Mapping[str, t.Mapping[str, t.Any]]]
"""Either form, as the schema let it through."""

_DIGITS = 12  # of a checksum in a version: enough to tell versions of one model apart, short enough to read


def parse_manifest(file: str, content: bytes, one_version: bool = False) -> Document:
    """Read a file of models, in either form, as YAML or (when its name ends so) as JSON; `file` is for messages.

    With `one_version` a model may have but one version, as in a stack.

    Raises:
        StackFileError: with everything that is wrong.
    """
    document = parse_yaml(file, _as_yaml(file, content))
    if not isinstance(document.data, (dict, list)):
        message = (
            f"{show(document.data)} is neither a list of model versions nor a mapping of names to url and checksum"
        )
        raise StackFileError([document.problem((), message)])
    problems = schema_problems(document, "models")
    if not problems:
        findings = model_findings(document.data, one_version)
        problems = [document.problem(path, message) for path, message in findings]
    if problems:
        raise StackFileError(problems)
    return document


def _as_yaml(file: str, content: bytes) -> bytes:
    """Return JSON as YAML, which takes no tabs between values; JSON has none within them."""
    if not file.lower().endswith(".json"):
        return content
    try:
        json.loads(content)
    except UnicodeDecodeError:
        return content  # what reads YAML says where
    except json.JSONDecodeError as exc:
        raise StackFileError([Problem(file, exc.lineno, (), f"not JSON: {exc.msg} (column {exc.colno})")]) from exc
    return content.replace(b"\t", b" ")


def model_list(models: Models) -> list[dict[str, t.Any]]:
    """Return models in the list form."""
    if isinstance(models, t.Mapping):
        return [_from_plain(name, entry) for name, entry in models.items()]
    return [dict(model) for model in models]


def _from_plain(name: str, entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    digest = entry["checksum"].removeprefix("sha256:")
    urls = _urls(entry)
    file: dict[str, t.Any] = {
        "path": entry.get("path") or (_last_part(urls[0]) if urls else ""),
        "sha256": digest,
        "sources": urls,
        **{key: entry[key] for key in ("size", "required") if key in entry},
    }
    return {"name": name, "version": entry.get("version", f"sha256-{digest[:_DIGITS]}"), "files": [file]}


def _urls(entry: t.Mapping[str, t.Any]) -> list[str]:
    return [*([entry["url"]] if "url" in entry else []), *entry.get("urls", [])]


def _last_part(url: str) -> str:
    """Return the file's name at the end of a source, empty where there is none, or where it is no source."""
    try:
        source = parse_source(url, "url")
    except ModelError:
        return ""
    if isinstance(source, HttpSource):
        return unquote(posixpath.basename(urlsplit(source.url).path))
    return posixpath.basename(source.member if isinstance(source, PipSource) else source.path)


def model_findings(models: Models, one_version: bool) -> list[Finding]:
    """Return what a schema cannot say about models, each with its place below them."""
    findings: list[Finding] = []
    if isinstance(models, t.Mapping):
        for name, entry in models.items():
            findings += [((name, *at), message) for at, message in _plain_findings(name, entry)]
        return findings
    seen: set[tuple[str, str]] = set()
    for index, model in enumerate(models):
        # A release's folder holds a model as models/<name>, so a stack has but one version of it.
        key = (model["name"], "" if one_version else model["version"])
        if key in seen:
            which = "; a stack pins one version of a model" if one_version else f" in version {model['version']!r}"
            findings.append(((index, "name"), f"model {model['name']!r} is already there{which}"))
        seen.add(key)
        findings += [((index,), message) for message in _faults(model)]
    return findings


def _plain_findings(name: str, entry: t.Mapping[str, t.Any]) -> list[Finding]:
    given = [key for key in ("url", "urls") if key in entry]
    if len(given) != 1:
        return [((), f"exactly one of url and urls must be given, got {'both' if given else 'neither'}")]
    findings: list[Finding] = []
    for index, url in enumerate(_urls(entry)):
        place: KeyPath = ("url",) if given == ["url"] else ("urls", index)
        try:
            parse_source(url, f"model {name}")
        except ModelError as exc:
            findings.append((place, str(exc)))
    if findings:
        return findings
    model = _from_plain(name, entry)
    if not model["files"][0]["path"]:
        return [((given[0],), f"{show(_urls(entry)[0])} does not end in a file's name; give path")]
    return [((), message) for message in _faults(model)]


def _faults(model: t.Mapping[str, t.Any]) -> list[str]:
    try:
        parse_wanted({**model, "state": "present"})
    except ModelError as exc:
        return [str(exc)]
    return []
