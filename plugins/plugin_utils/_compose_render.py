# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Compose files as one document, as far as rules about services look at it. Pure: nothing here touches a file.

A controller need not have Docker, so that `docker compose config` is no help. Rules of merging: the Compose
Specification, "Merge": mappings are merged, lists are appended, volumes and devices go by where they are in the
container, commands are replaced; C(!reset) takes away, C(!override) replaces. C(extends) is followed within a file;
other files are refused elsewhere.
"""

from __future__ import annotations

import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_compose_facts import target_of
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import KeyPath
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._variables import VariableError, filled
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document

_SECTIONS = ("services", "volumes", "secrets", "configs")
_REPLACED = ("command", "entrypoint", "test")
_BY_TARGET = ("volumes", "devices")

Tags = t.Mapping[KeyPath, str]


def rendered(documents: t.Sequence[Document], values: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return the services, volumes, secrets and configs of Compose files, in the order of merging.

    C(values) are those of variables; one that has no value and no default stays as it is written.
    """
    whole: dict[str, t.Any] = {}
    for document in documents:
        sections = {name: document.data[name] for name in _SECTIONS if document.data.get(name)}
        sections["services"] = {
            name: _extended(document, name, ()) for name in document.data.get("services") or {}
        }  # what another service of the file says, before what this one says
        whole = _merged(whole, sections, (), document.tags)
    return t.cast("dict[str, t.Any]", _filled(whole, values))


def _extended(document: Document, name: str, followed: tuple[str, ...]) -> t.Any:
    services = document.data["services"]
    service = services.get(name)
    extends = service.get("extends") if isinstance(service, dict) else None
    other = extends.get("service") if isinstance(extends, dict) else extends
    if not isinstance(other, str) or other not in services or other in (name, *followed):
        return service
    base = _extended(document, other, (*followed, name))
    return _merged(base, service, ("services", name), document.tags) if isinstance(base, dict) else service


def _merged(base: t.Any, value: t.Any, at: KeyPath, tags: Tags) -> t.Any:
    if value is None:
        return base
    if isinstance(value, dict):
        result = dict(base) if isinstance(base, dict) else {}
        for key, item in value.items():
            tag = tags.get((*at, key))
            below = None if tag == "!override" else result.get(key)
            if tag == "!reset":
                result.pop(key, None)
            else:
                result[key] = _merged(below, item, (*at, key), tags)
        return result
    if isinstance(value, list) and isinstance(base, list) and at[-1] not in _REPLACED:
        if at[-1] in _BY_TARGET:
            taken = {target_of(item) for item in value}
            return [*(item for item in base if target_of(item) not in taken), *value]
        return [*base, *(item for item in value if item not in base)]
    return value


def _filled(value: t.Any, values: t.Mapping[str, str]) -> t.Any:
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return filled(value, values)
    except VariableError:  # told where the files are held against each other
        return value
